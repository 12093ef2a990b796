"""Legs in their dense form, whose columns travel as bytes: from messages, and to them.

Thousands of legs are some bytes to copy. Protobuf copies them more often, and looks at each number
on the way.
"""

from array import array
from collections.abc import Sequence
from operator import gt
from typing import Final

from mkrpc.columns import column_from_wire, column_to_wire
from mkrpc.errors import ProtocolError
from mkrpc.limits import IDENTITY_BYTES
from mkrpc.link.legs import Legs
from mkrpc.wire_fields import UncommonError, inside, number_to_bytes, sized, varint
from mkrpc.wire_tags import (
    LEGS_FIRST_SEQ,
    LEGS_OFFSETS,
    LEGS_PLACES,
    LEGS_SOURCE,
    LEGS_WORDS,
)

__all__ = ["dense_from_bytes", "dense_to_bytes", "legs_of_columns"]

_LAST_SEQ: Final = (1 << 64) - 1

_SOURCE: Final = bytes((LEGS_SOURCE, IDENTITY_BYTES))
_WORDS: Final = bytes((LEGS_WORDS,))
_FIRST_SEQ: Final = bytes((LEGS_FIRST_SEQ,))
_OFFSETS: Final = bytes((LEGS_OFFSETS,))
_PLACES: Final = bytes((LEGS_PLACES,))


def legs_of_columns(
    source: bytes, first_seq: int, *, words: bytes, offsets: bytes, places: bytes
) -> Legs:
    """Legs of the columns of one message. :class:`ProtocolError` if they make no sense."""
    icrs = column_from_wire("Q", words)
    cpus = column_from_wire("I", places)
    if len(cpus) == 1:
        cpus *= len(icrs)
    above: Sequence[int] = range(len(icrs))
    if offsets:
        above = column_from_wire("I", offsets)
        if any(map(gt, above, above[1:])):
            raise ProtocolError("write numbers of dense legs that fall")
    if above and first_seq + above[-1] > _LAST_SEQ:
        raise ProtocolError(f"write numbers from {first_seq} on that go beyond 64 bits")
    seqs: Sequence[int] = range(first_seq, first_seq + len(icrs))
    if offsets:
        seqs = array("Q", [first_seq + offset for offset in above])
    if not icrs or not len(seqs) == len(icrs) == len(cpus):
        raise ProtocolError("legs whose columns differ in length")
    return Legs(source, seqs, icrs, cpus)


def _columns(legs: Legs) -> tuple[bytes, bytes, bytes]:
    """Words, offsets and places."""
    words, cpus, seqs = legs.words, legs.cpus, legs.seqs
    assert isinstance(words, array)
    assert isinstance(cpus, array)
    offsets = b""
    if isinstance(seqs, array):
        first = seqs[0]
        offsets = column_to_wire(array("I", [seq - first for seq in seqs]))
    places, size = column_to_wire(cpus), cpus.itemsize
    alike = places == places[:size] * len(cpus)
    return column_to_wire(words), offsets, places[:size] if alike else places


def dense_from_bytes(data: bytes, at: int, end: int, source: bytes) -> Legs:
    """Legs of which ``source`` has been read, and that have not been sent before: the rest of the
    message, which begins with their words. ProtocolError as :func:`legs_of_columns`."""
    offsets = b""
    words, at = _column(data, at, LEGS_WORDS)
    if data[at] != LEGS_FIRST_SEQ:
        raise UncommonError
    first_seq, at = varint(data, at + 1)
    if data[at] == LEGS_OFFSETS:
        offsets, at = _column(data, at, LEGS_OFFSETS)
    places, at = _column(data, at, LEGS_PLACES)
    if at != end or not first_seq:
        raise UncommonError
    return legs_of_columns(source, first_seq, words=words, offsets=offsets, places=places)


def _column(data: bytes, at: int, tag: int) -> tuple[bytes, int]:
    if data[at] != tag:
        raise UncommonError
    at, end = inside(data, at + 1)
    return data[at:end], end


def dense_to_bytes(legs: Legs) -> bytes:
    """The message of dense legs, without what is said of those that have been sent before."""
    assert len(legs.source) == IDENTITY_BYTES
    assert legs.seqs[0], "0 says that the form is plain"
    words, offsets, places = _columns(legs)
    return b"".join(
        (
            *(_SOURCE, legs.source),
            *(_WORDS, number_to_bytes(len(words)), words),
            *(_FIRST_SEQ, number_to_bytes(legs.seqs[0])),
            _OFFSETS + sized(offsets) if offsets else b"",
            *(_PLACES, number_to_bytes(len(places)), places),
        )
    )
