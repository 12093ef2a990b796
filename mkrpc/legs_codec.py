"""Legs as ``mkrpc.v1`` messages and back, in both of their forms."""

from mkrpc.columns import twins_of
from mkrpc.dense_legs import dense_to_bytes, legs_of_columns
from mkrpc.errors import ProtocolError
from mkrpc.link.frames import Legs
from mkrpc.part_codec import identity_from_pb, resent_from_pb
from mkrpc.v1 import interconnect_pb2 as data

__all__ = ["legs_from_pb", "legs_to_pb"]

(_DenseLegs,) = twins_of(data.DESCRIPTOR, {"Legs": ("words", "offsets", "places")})


def legs_to_pb(legs: Legs, slot: data.Legs) -> None:
    """Legs into an empty message."""
    if legs.dense:
        slot.MergeFromString(dense_to_bytes(legs))
    else:
        slot.source = legs.source
        slot.seqs.extend(legs.seqs)
        slot.words.extend(legs.words)
        slot.cpus.extend(legs.cpus)
    if legs.resent or legs.arbitrated:
        slot.resent = int(legs.resent)  # type: ignore[assignment]
        slot.arbitrated = legs.arbitrated


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
    if pb.seqs or pb.cpus or not twin.words:
        raise ProtocolError("legs that are of both forms, or of none")
    return legs_of_columns(
        source, pb.first_seq, words=twin.words, offsets=twin.offsets, places=twin.places
    )
