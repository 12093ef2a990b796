"""Parts of frames as ``mkrpc.v1`` messages and back: hellos, runs, outcomes, a source's books."""

from collections.abc import Iterable

from mkrpc.codec import cpu_address_from_pb, cpu_address_to_pb
from mkrpc.errors import ProtocolError
from mkrpc.limits import IDENTITY_BYTES
from mkrpc.link.frames import Hello, ResolvedRun
from mkrpc.link.moved import Moved
from mkrpc.link.recovery import Arbitrated, BookKey, EndedLegs, Resent, SourceBook
from mkrpc.outcome import Outcome
from mkrpc.v1 import interconnect_pb2 as data

__all__ = [
    "arbitrated_from_pb",
    "arbitrated_to_pb",
    "hello_from_pb",
    "hello_to_pb",
    "identity_from_pb",
    "outcome_from_pb",
    "resent_from_pb",
    "runs_from_pb",
    "runs_to_pb",
    "source_book_from_pb",
    "source_book_to_pb",
]

_OUTCOMES = {int(outcome): outcome for outcome in Outcome}
_RESENT = {int(resent): resent for resent in Resent}


def outcome_from_pb(number: int) -> Outcome:
    """The outcome of this number; :class:`ProtocolError` if there is none."""
    outcome = _OUTCOMES.get(number)
    if outcome is None:
        raise ProtocolError(f"unknown outcome {number} in a frame")
    return outcome


def identity_from_pb(identity: bytes, whose: str) -> bytes:
    """An incarnation or client id; :class:`ProtocolError` for another length."""
    if len(identity) != IDENTITY_BYTES:
        raise ProtocolError(f"{whose} has {len(identity)} bytes, not {IDENTITY_BYTES}")
    return identity


def resent_from_pb(number: int) -> Resent:
    """Whether legs were sent before; :class:`ProtocolError` for a kind that is unknown here."""
    resent = _RESENT.get(number)
    if resent is None:
        raise ProtocolError(f"legs that are sent again in an unknown way, {number}")
    return resent


def source_book_to_pb(book: SourceBook) -> data.SourceBook:
    """One row of a source's books."""
    key = book.key
    pb = data.SourceBook(
        destination=key.destination,
        instance_id=key.instance_id,
        apic_id=key.apic_id,
        delivery_mode=key.delivery_mode,
        vector=key.vector,
    )
    for legs in book.outcomes:
        pb.outcomes.add(outcome=int(legs.outcome), count=legs.count)
    return pb


def source_book_from_pb(pb: data.SourceBook) -> SourceBook:
    """The same read; :class:`ProtocolError` if it makes no sense."""
    destination = identity_from_pb(pb.destination, "a destination") if pb.destination else b""
    key = BookKey(destination, pb.instance_id, pb.apic_id, pb.delivery_mode, pb.vector)
    return SourceBook(
        key, tuple(EndedLegs(outcome_from_pb(o.outcome), o.count) for o in pb.outcomes)
    )


def arbitrated_to_pb(write: Arbitrated) -> data.Arbitrated:
    """A lowest-priority write and where it was applied."""
    return data.Arbitrated(source=write.source, seq=write.seq, cpu=write.cpu)


def arbitrated_from_pb(pb: data.Arbitrated) -> Arbitrated:
    """The same read; :class:`ProtocolError` if it makes no sense."""
    return Arbitrated(identity_from_pb(pb.source, "a source"), pb.seq, pb.cpu)


def runs_to_pb(runs: Iterable[ResolvedRun]) -> list[data.ResolvedRun]:
    """Sequence numbers, run by run."""
    return [data.ResolvedRun(first=run.first, last=run.last) for run in runs]


def runs_from_pb(runs: Iterable[data.ResolvedRun]) -> list[ResolvedRun]:
    """The same read; :class:`ProtocolError` if it makes no sense."""
    found = [ResolvedRun(run.first, run.last) for run in runs]
    for run in found:
        if not 0 < run.first <= run.last:
            raise ProtocolError(f"a run of sequence numbers from {run.first} to {run.last}")
    return found


def hello_to_pb(hello: Hello) -> data.Hello:
    """The first message of an instance."""
    return data.Hello(
        wire_version=hello.wire_version,
        instance_id=hello.instance_id,
        name=hello.name,
        incarnation=hello.incarnation,
        pid=hello.pid,
        cpus=[cpu_address_to_pb(address) for address in hello.cpus],
        tell_resolved=hello.tell_resolved,
        epoch=hello.epoch,
        generation=hello.generation,
        received=hello.received,
        born=hello.born,
        roster=hello.roster,
        resolved_below=hello.resolved_below,
        sent=hello.sent,
        moved=[data.Moved(**each._asdict()) for each in hello.moved],
        listens=hello.listens,
        deaf=hello.deaf,
        waits_for_sipi=hello.waits_for_sipi,
    )


def hello_from_pb(pb: data.Hello) -> Hello:
    """The same read; :class:`ProtocolError` if it makes no sense."""
    return Hello(
        wire_version=pb.wire_version,
        instance_id=pb.instance_id,
        name=pb.name,
        incarnation=identity_from_pb(pb.incarnation, "the incarnation"),
        pid=pb.pid,
        cpus=tuple(cpu_address_from_pb(address) for address in pb.cpus),
        tell_resolved=pb.tell_resolved,
        epoch=pb.epoch,
        generation=pb.generation,
        received=pb.received,
        born=pb.born,
        roster=pb.roster,
        resolved_below=pb.resolved_below,
        sent=pb.sent,
        moved=tuple(Moved(each.physically, each.logically, each.hotplugged) for each in pb.moved),
        listens=pb.listens,
        deaf=pb.deaf,
        waits_for_sipi=pb.waits_for_sipi,
    )
