"""Legs as ``mkrpc.v1`` messages and back, in both of their forms."""

from array import array
from collections.abc import Sequence
from operator import gt

from mkrpc.columns import column_from_wire, column_to_wire, twins_of
from mkrpc.errors import ProtocolError
from mkrpc.link.frames import Legs
from mkrpc.part_codec import identity_from_pb, resent_from_pb
from mkrpc.v1 import interconnect_pb2 as data

__all__ = ["legs_from_pb", "legs_to_pb"]

(_DenseLegs,) = twins_of(data.DESCRIPTOR, {"Legs": ("words", "offsets", "places")})

_LAST_SEQ = (1 << 64) - 1


def legs_to_pb(legs: Legs, slot: data.Legs) -> None:
    """Legs into an empty message."""
    if legs.dense:
        slot.MergeFromString(_dense_to_pb(legs))
        return
    slot.source = legs.source
    slot.seqs.extend(legs.seqs)
    slot.words.extend(legs.words)
    slot.cpus.extend(legs.cpus)
    if legs.resent or legs.arbitrated:
        slot.resent = int(legs.resent)  # type: ignore[assignment]
        slot.arbitrated = legs.arbitrated


def _dense_to_pb(legs: Legs) -> bytes:
    """Legs in arrays, as a message."""
    words, cpus, seqs = legs.words, legs.cpus, legs.seqs
    assert isinstance(words, array)
    assert isinstance(cpus, array)
    twin = _DenseLegs(
        source=legs.source,
        first_seq=seqs[0],
        words=column_to_wire(words),
        resent=int(legs.resent),
        arbitrated=legs.arbitrated,
    )
    if isinstance(seqs, array):
        first = seqs[0]
        twin.offsets = column_to_wire(array("I", [seq - first for seq in seqs]))
    places, size = column_to_wire(cpus), cpus.itemsize
    alike = places == places[:size] * len(cpus)
    twin.places = places[:size] if alike else places
    return bytes(twin.SerializeToString())


def legs_from_pb(pb: data.Legs) -> Legs:
    """The same read; :class:`ProtocolError` if it makes no sense."""
    source = identity_from_pb(pb.source, "a source")
    if pb.first_seq:
        legs = _dense_from_pb(source, pb)
    else:
        legs = Legs(source, list(pb.seqs), list(pb.words), list(pb.cpus))
    if pb.resent or pb.arbitrated:
        legs.resent, legs.arbitrated = resent_from_pb(pb.resent), pb.arbitrated
    if not len(legs.seqs) == len(legs.words) == len(legs.cpus):
        raise ProtocolError("legs whose columns differ in length")
    return legs


def _dense_from_pb(source: bytes, pb: data.Legs) -> Legs:
    twin = _DenseLegs.FromString(pb.SerializeToString())
    words = column_from_wire("Q", twin.words)
    offsets = column_from_wire("I", twin.offsets)
    places = column_from_wire("I", twin.places)
    if pb.seqs or pb.cpus or not words:
        raise ProtocolError("legs that are of both forms, or of none")
    if len(places) == 1:
        places *= len(words)
    first = pb.first_seq
    seqs: Sequence[int] = range(first, first + len(words))
    if first + (max(offsets) if offsets else len(words) - 1) > _LAST_SEQ:
        raise ProtocolError(f"write numbers from {first} on that go beyond 64 bits")
    if offsets:
        if any(map(gt, offsets, offsets[1:])):
            raise ProtocolError("write numbers of dense legs that fall")
        seqs = array("Q", [first + offset for offset in offsets])
    return Legs(source, seqs, words, places)
