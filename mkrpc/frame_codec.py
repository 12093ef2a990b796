"""Frames on the wire: what one link carries, as ``mkrpc.v1`` messages and back.

A message that parses may still be nonsense: what cannot be is a :class:`ProtocolError`, and the
caller closes the stream.
"""

from collections.abc import Iterable

from google.protobuf.message import DecodeError

from mkrpc.codec import (
    cpu_account_from_pb,
    cpu_account_to_pb,
    cpu_address_from_pb,
    cpu_address_to_pb,
    cpu_view_from_pb,
    cpu_view_to_pb,
    log_record_from_pb,
    log_record_to_pb,
)
from mkrpc.errors import ProtocolError
from mkrpc.link.frames import (
    Command,
    CommandKind,
    CpuAddress,
    DownFrame,
    Goodbye,
    Hello,
    Legs,
    OutcomeRun,
    Reply,
    ResolvedRun,
    SettledWrite,
    SourceFloor,
    UpFrame,
    Welcome,
    Writes,
)
from mkrpc.outcome import Outcome
from mkrpc.v1 import interconnect_pb2 as data

__all__ = [
    "ATTACH",
    "ATTACH_HOST",
    "BEAT",
    "IDENTITY_BYTES",
    "decode_down",
    "decode_up",
    "encode_down",
    "encode_up",
]

ATTACH = "/mkrpc.v1.Interconnect/Attach"
"""The full method name of the data plane's stream."""

BEAT = "/mkrpc.v1.Interconnect/Beat"
"""The full method name of a beat by a way of its own."""

ATTACH_HOST = "/mkrpc.v1.Interconnect/AttachHost"
"""The full method name of a host agent's stream."""

IDENTITY_BYTES = 16
"""Incarnations and client ids: 128 random bits."""

_OUTCOMES = {int(outcome): outcome for outcome in Outcome}
_COMMANDS = {int(kind): kind for kind in CommandKind}


def _outcome(number: int) -> Outcome:
    outcome = _OUTCOMES.get(number)
    if outcome is None:
        raise ProtocolError(f"unknown outcome {number} in a frame")
    return outcome


def _identity(identity: bytes, whose: str) -> bytes:
    if len(identity) != IDENTITY_BYTES:
        raise ProtocolError(f"{whose} has {len(identity)} bytes, not {IDENTITY_BYTES}")
    return identity


def _runs_to_pb(runs: Iterable[ResolvedRun]) -> list[data.ResolvedRun]:
    return [data.ResolvedRun(first=run.first, last=run.last) for run in runs]


def _runs_from_pb(runs: Iterable[data.ResolvedRun]) -> list[ResolvedRun]:
    found = [ResolvedRun(run.first, run.last) for run in runs]
    for run in found:
        if not 0 < run.first <= run.last:
            raise ProtocolError(f"a run of sequence numbers from {run.first} to {run.last}")
    return found


# --- instance to interconnect ---


def encode_up(message: Hello | UpFrame | Goodbye) -> bytes:
    """What an instance says, as bytes for the stream."""
    pb = data.AttachRequest()
    if isinstance(message, UpFrame):
        _up_frame_to_pb(message, pb.frame)
    elif isinstance(message, Hello):
        pb.hello.CopyFrom(
            data.Hello(
                wire_version=message.wire_version,
                instance_id=message.instance_id,
                name=message.name,
                incarnation=message.incarnation,
                pid=message.pid,
                cpus=[cpu_address_to_pb(address) for address in message.cpus],
                tell_resolved=message.tell_resolved,
                epoch=message.epoch,
                generation=message.generation,
                received=message.received,
            )
        )
    else:
        pb.goodbye.reason = message.reason
        pb.goodbye.failed = message.failed
    return pb.SerializeToString()


def _up_frame_to_pb(frame: UpFrame, pb: data.UpFrame) -> None:
    pb.frame = frame.frame
    pb.ack = frame.ack
    pb.more = frame.more
    pb.beat = frame.beat
    pb.applied = frame.applied
    for event in frame.events:
        slot = pb.events.add()
        if isinstance(event, Writes):
            slot.writes.cpu = event.cpu
            slot.writes.first_seq = event.first_seq
            slot.writes.words.extend(event.words)
            slot.writes.command = event.command
        elif isinstance(event, SettledWrite):
            slot.settled.cpu = event.cpu
            slot.settled.seq = event.seq
            slot.settled.word = event.word
            slot.settled.outcome = event.outcome  # type: ignore[assignment]
            slot.settled.command = event.command
        else:
            slot.address.CopyFrom(cpu_address_to_pb(event))
    for run in frame.outcomes:
        pb.outcomes.add(first=run.first, count=run.count, outcome=int(run.outcome))
    pb.accounts.extend(cpu_account_to_pb(account) for account in frame.accounts)
    pb.resolved.extend(_runs_to_pb(frame.resolved))
    for reply in frame.replies:
        pb.replies.add(
            command=reply.command,
            error=reply.error,
            reason=reply.reason,
            advice=reply.advice,
            text=reply.text,
            written=reply.written,
            cpus=[cpu_view_to_pb(view) for view in reply.cpus],
            records=[log_record_to_pb(record) for record in reply.records],
            records_dropped=reply.records_dropped,
        )


def decode_up(message: bytes) -> Hello | UpFrame | Goodbye:
    """What an instance said; :class:`ProtocolError` if it makes no sense."""
    try:
        pb = data.AttachRequest.FromString(message)
    except DecodeError:
        raise ProtocolError("a message that is no AttachRequest") from None
    match pb.WhichOneof("message"):
        case "frame":
            return _up_frame_from_pb(pb.frame)
        case "hello":
            hello = pb.hello
            return Hello(
                wire_version=hello.wire_version,
                instance_id=hello.instance_id,
                name=hello.name,
                incarnation=_identity(hello.incarnation, "the incarnation"),
                pid=hello.pid,
                cpus=tuple(cpu_address_from_pb(address) for address in hello.cpus),
                tell_resolved=hello.tell_resolved,
                epoch=hello.epoch,
                generation=hello.generation,
                received=hello.received,
            )
        case "goodbye":
            return Goodbye(pb.goodbye.reason, pb.goodbye.failed)
        case _:
            raise ProtocolError("an empty message on the stream of an instance")


def _event_from_pb(pb: data.SourceEvent) -> Writes | SettledWrite | CpuAddress:
    match pb.WhichOneof("event"):
        case "writes":
            writes = pb.writes
            return Writes(writes.cpu, writes.first_seq, list(writes.words), writes.command)
        case "settled":
            settled = pb.settled
            outcome = _outcome(settled.outcome)
            return SettledWrite(settled.cpu, settled.seq, settled.word, outcome, settled.command)
        case "address":
            return cpu_address_from_pb(pb.address)
        case _:
            raise ProtocolError("an empty event in a frame")


def _up_frame_from_pb(pb: data.UpFrame) -> UpFrame:
    return UpFrame(
        frame=pb.frame,
        ack=pb.ack,
        more=pb.more,
        events=[_event_from_pb(event) for event in pb.events],
        applied=pb.applied,
        outcomes=[OutcomeRun(run.first, run.count, _outcome(run.outcome)) for run in pb.outcomes],
        accounts=[cpu_account_from_pb(account) for account in pb.accounts],
        resolved=_runs_from_pb(pb.resolved),
        replies=[
            Reply(
                command=reply.command,
                error=reply.error,
                reason=reply.reason,
                advice=reply.advice,
                text=reply.text,
                written=reply.written,
                cpus=[cpu_view_from_pb(view) for view in reply.cpus],
                records=[log_record_from_pb(record) for record in reply.records],
                records_dropped=reply.records_dropped,
            )
            for reply in pb.replies
        ],
        beat=pb.beat,
    )


# --- interconnect to instance ---


def encode_down(message: Welcome | DownFrame | Goodbye) -> bytes:
    """What the interconnect says, as bytes for the stream."""
    pb = data.AttachResponse()
    if isinstance(message, DownFrame):
        _down_frame_to_pb(message, pb.frame)
    elif isinstance(message, Welcome):
        pb.welcome.wire_version = message.wire_version
        pb.welcome.epoch = message.epoch
        pb.welcome.generation = message.generation
        pb.welcome.received = message.received
        pb.welcome.resumed = message.resumed
        pb.welcome.lease_us = message.lease_us
        pb.welcome.beat_address = message.beat_address
    else:
        pb.goodbye.reason = message.reason
        pb.goodbye.failed = message.failed
    return pb.SerializeToString()


def _down_frame_to_pb(frame: DownFrame, pb: data.DownFrame) -> None:
    pb.frame = frame.frame
    pb.ack = frame.ack
    pb.beat = frame.beat
    for floor in frame.floors:
        pb.floors.add(source=floor.source, runs=_runs_to_pb(floor.runs))
    for legs in frame.legs:
        pb.legs.add(source=legs.source, seqs=legs.seqs, words=legs.words, cpus=legs.cpus)
    pb.resolved.extend(_runs_to_pb(frame.resolved))
    for command in frame.commands:
        pb.commands.add(
            number=command.number,
            kind=int(command.kind),
            cpu=command.cpu,
            word=command.word,
            count=command.count,
            action=command.action,
        )


def decode_down(message: bytes) -> Welcome | DownFrame | Goodbye:
    """What the interconnect said; :class:`ProtocolError` if it makes no sense."""
    try:
        pb = data.AttachResponse.FromString(message)
    except DecodeError:
        raise ProtocolError("a message that is no AttachResponse") from None
    match pb.WhichOneof("message"):
        case "frame":
            return _down_frame_from_pb(pb.frame)
        case "welcome":
            welcome = pb.welcome
            return Welcome(
                wire_version=welcome.wire_version,
                epoch=welcome.epoch,
                generation=welcome.generation,
                received=welcome.received,
                resumed=welcome.resumed,
                lease_us=welcome.lease_us,
                beat_address=welcome.beat_address,
            )
        case "goodbye":
            return Goodbye(pb.goodbye.reason, pb.goodbye.failed)
        case _:
            raise ProtocolError("an empty message from the interconnect")


def _legs_from_pb(pb: data.Legs) -> Legs:
    legs = Legs(_identity(pb.source, "a source"), list(pb.seqs), list(pb.words), list(pb.cpus))
    if not len(legs.seqs) == len(legs.words) == len(legs.cpus):
        raise ProtocolError("legs whose columns differ in length")
    return legs


def _command_from_pb(pb: data.Command) -> Command:
    kind = _COMMANDS.get(pb.kind)
    if kind is None:
        raise ProtocolError(f"unknown command {pb.kind}")
    return Command(pb.number, kind, pb.cpu, pb.word, pb.count, pb.action)


def _down_frame_from_pb(pb: data.DownFrame) -> DownFrame:
    return DownFrame(
        frame=pb.frame,
        ack=pb.ack,
        floors=[
            SourceFloor(_identity(floor.source, "a source"), tuple(_runs_from_pb(floor.runs)))
            for floor in pb.floors
        ],
        legs=[_legs_from_pb(legs) for legs in pb.legs],
        resolved=_runs_from_pb(pb.resolved),
        commands=[_command_from_pb(command) for command in pb.commands],
        beat=pb.beat,
    )
