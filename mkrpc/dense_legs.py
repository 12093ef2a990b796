"""Legs in their dense form, whose columns travel as bytes: from messages, and to them.

Thousands of legs are some bytes to copy. Protobuf copies them more often, and looks at each number
on the way.
"""

from array import array
from collections.abc import Sequence
from operator import gt

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

__all__ = ["columns_of", "dense_from_bytes", "dense_to_bytes", "legs_of_columns"]

_LAST_SEQ = (1 << 64) - 1

_SOURCE = bytes((LEGS_SOURCE, IDENTITY_BYTES))
_WORDS = bytes((LEGS_WORDS,))
_FIRST_SEQ = bytes((LEGS_FIRST_SEQ,))
_OFFSETS = bytes((LEGS_OFFSETS,))
_PLACES = bytes((LEGS_PLACES,))


def legs_of_columns(
    source: bytes, first_seq: int, *, words: bytes, offsets: bytes, places: bytes
) -> Legs:
    """Legs of the columns of one message. :class:`ProtocolError` if they make no sense."""
    icrs = column_from_wire("Q", words)
    cpus = column_from_wire("I", places)
    if len(cpus) == 1:
        cpus *= len(icrs)
    seqs: Sequence[int] = range(first_seq, first_seq + len(icrs))
    last_seq = first_seq + len(icrs) - 1
    if offsets:
        above = column_from_wire("I", offsets)
        last_seq = first_seq + max(above)
        if any(map(gt, above, above[1:])):
            raise ProtocolError("write numbers of dense legs that fall")
    if last_seq > _LAST_SEQ:
        raise ProtocolError(f"write numbers from {first_seq} on that go beyond 64 bits")
    if offsets:
        seqs = array("Q", [first_seq + offset for offset in above])
    if not icrs or not len(seqs) == len(icrs) == len(cpus):
        raise ProtocolError("legs whose columns differ in length")
    return Legs(source, seqs, icrs, cpus)


def columns_of(legs: Legs) -> tuple[bytes, bytes, bytes]:
    """Words, offsets and places, as legs that are dense have them on the wire."""
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
    """The message of dense legs that have not been sent before."""
    assert len(legs.source) == IDENTITY_BYTES
    words, offsets, places = columns_of(legs)
    return b"".join(
        (
            *(_SOURCE, legs.source),
            *(_WORDS, number_to_bytes(len(words)), words),
            *(_FIRST_SEQ, number_to_bytes(legs.seqs[0])),
            _OFFSETS + sized(offsets) if offsets else b"",
            *(_PLACES, number_to_bytes(len(places)), places),
        )
    )
