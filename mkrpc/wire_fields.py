"""What protobuf is made of: numbers and fields, read from bytes and written.

A number is a varint: seven bits a byte, the lowest first. Each reader begins where it is told, and
says where what it read ends. What it does not read is not wrong: protobuf may know it.
"""

from typing import Final

__all__ = [
    "ONE_BYTE",
    "UncommonError",
    "flag",
    "inside",
    "number_to_bytes",
    "short",
    "short_to_bytes",
    "sized",
    "varint",
    "word_at",
]

_U32: Final = 0xFFFF_FFFF
_U64: Final = 0xFFFF_FFFF_FFFF_FFFF
_LAST_SHIFT: Final = 56

ONE_BYTE: Final = [bytes((number,)) for number in range(128)]
"""Each of these as it is."""


class UncommonError(Exception):
    """For protobuf to read."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of at most 63 bits."""
    byte = data[at]
    if byte < 128:
        return byte, at + 1
    number = byte & 127
    shift = 7
    while True:
        at += 1
        byte = data[at]
        if byte < 128:
            return number | byte << shift, at + 1
        number |= (byte & 127) << shift
        shift += 7
        if shift > _LAST_SHIFT:
            raise UncommonError


def short(data: bytes, at: int) -> tuple[int, int]:
    """A number of at most 32 bits."""
    number, at = varint(data, at)
    if number > _U32:
        raise UncommonError
    return number, at


def flag(data: bytes, at: int) -> tuple[bool, int]:
    if data[at] != 1:
        raise UncommonError
    return True, at + 1


def word_at(data: bytes, at: int) -> int:
    """The ICR word that begins there: 8 bytes, the lowest first."""
    low = data[at] | data[at + 1] << 8 | data[at + 2] << 16 | data[at + 3] << 24
    high = data[at + 4] | data[at + 5] << 8 | data[at + 6] << 16 | data[at + 7] << 24
    return high << 32 | low


def inside(data: bytes, at: int) -> tuple[int, int]:
    """Where a field with a length begins, and where it ends."""
    size, at = varint(data, at)
    end = at + size
    if end > len(data):
        raise UncommonError
    return at, end


# Written. A field that is 0 or empty is left out, which is the callers' part.


def number_to_bytes(number: int) -> bytes:
    """A number of at most 64 bits; more, or less than 0, is a bug."""
    if 0 <= number < 0x80:
        return ONE_BYTE[number]
    if 0 < number < 0x4000:
        return (number & 0x7F | 0x80 | number >> 7 << 8).to_bytes(2, "little")
    if 0 < number < 0x20_0000:
        two = number & 0x7F | 0x80 | (number << 1 & 0x7F00) | 0x8000
        return (two | number >> 14 << 16).to_bytes(3, "little")
    assert 0 <= number <= _U64, number
    content: list[int] = []
    while number > 0x7F:
        content.append(number & 0x7F | 0x80)
        number >>= 7
    content.append(number)
    return bytes(content)


def short_to_bytes(number: int) -> bytes:
    """A number of at most 32 bits."""
    assert number <= _U32, number
    return number_to_bytes(number)


def sized(content: bytes) -> bytes:
    """What follows the tag of a text, a message or a column."""
    return number_to_bytes(len(content)) + content
