"""Frames on the wire: what one link carries, as ``mkrpc.v1`` messages and back.

A message that parses may still be nonsense: what cannot be is a :class:`ProtocolError`, and the
caller closes the stream. Common frames go past protobuf, as the same bytes
(:mod:`mkrpc.frame_writer`, :mod:`mkrpc.frame_reader`).
"""

from google.protobuf.message import DecodeError

from mkrpc.codec import (
    cpu_account_from_pb,
    cpu_account_to_pb,
    cpu_address_from_pb,
    cpu_address_to_pb,
)
from mkrpc.errors import ProtocolError
from mkrpc.frame_reader import down_frame_from_bytes, up_frame_from_bytes
from mkrpc.frame_writer import down_frame_to_bytes, up_frame_to_bytes
from mkrpc.legs_codec import legs_from_pb, legs_to_pb
from mkrpc.link.frames import (
    Command,
    CommandKind,
    CpuAddress,
    DownFrame,
    Goodbye,
    Hello,
    OutcomeRun,
    SettledWrite,
    SourceFloor,
    UpFrame,
    Welcome,
    Writes,
)
from mkrpc.link.messages import Message
from mkrpc.message_codec import (
    arrival_from_pb,
    arrival_to_pb,
    doorbells_from_pb,
    doorbells_to_pb,
    message_from_pb,
    message_to_pb,
    settled_messages_from_pb,
    settled_messages_to_pb,
    taken_from_pb,
    taken_to_pb,
)
from mkrpc.part_codec import (
    arbitrated_from_pb,
    arbitrated_to_pb,
    hello_from_pb,
    hello_to_pb,
    identity_from_pb,
    outcome_from_pb,
    runs_from_pb,
    runs_to_pb,
    source_book_from_pb,
    source_book_to_pb,
)
from mkrpc.reply_codec import reply_from_pb, reply_to_pb
from mkrpc.v1 import interconnect_pb2 as data

__all__ = [
    "ATTACH",
    "ATTACH_HOST",
    "BEAT",
    "decode_down",
    "decode_down_by_protobuf",
    "decode_up",
    "decode_up_by_protobuf",
    "encode_down",
    "encode_down_by_protobuf",
    "encode_up",
    "encode_up_by_protobuf",
]

ATTACH = "/mkrpc.v1.Interconnect/Attach"
"""The full method name of the data plane's stream."""

BEAT = "/mkrpc.v1.Interconnect/Beat"
"""The full method name of a beat by a way of its own."""

ATTACH_HOST = "/mkrpc.v1.Interconnect/AttachHost"
"""The full method name of a host agent's stream."""

_COMMANDS = {int(kind): kind for kind in CommandKind}


# --- instance to interconnect ---


def encode_up(message: Hello | UpFrame | Goodbye) -> bytes:
    """What an instance says, as bytes for the stream."""
    common = up_frame_to_bytes(message) if isinstance(message, UpFrame) else None
    return encode_up_by_protobuf(message) if common is None else common


def encode_up_by_protobuf(message: Hello | UpFrame | Goodbye) -> bytes:
    """The same, whatever it is."""
    pb = data.AttachRequest()
    if isinstance(message, UpFrame):
        _up_frame_to_pb(message, pb.frame)
    elif isinstance(message, Hello):
        pb.hello.CopyFrom(hello_to_pb(message))
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
            slot.writes.stamp = event.stamp
        elif isinstance(event, SettledWrite):
            slot.settled.cpu = event.cpu
            slot.settled.seq = event.seq
            slot.settled.word = event.word
            slot.settled.outcome = event.outcome  # type: ignore[assignment]
            slot.settled.command = event.command
            slot.settled.stamp = event.stamp
        elif isinstance(event, Message):
            slot.message.CopyFrom(message_to_pb(event))
        else:
            slot.address.CopyFrom(cpu_address_to_pb(event))
    pb.recovered = frame.recovered
    # Most frames have few of these, and even an empty extension has its price.
    if frame.books:
        pb.books.extend(source_book_to_pb(book) for book in frame.books)
    if frame.arbitrated:
        pb.arbitrated.extend(arbitrated_to_pb(write) for write in frame.arbitrated)
    if frame.listens:
        pb.listens = True
    if frame.taken:
        pb.taken.extend(taken_to_pb(each) for each in frame.taken)
    for run in frame.outcomes:
        pb.outcomes.add(first=run.first, count=run.count, outcome=int(run.outcome))
    if frame.accounts:
        pb.accounts.extend(cpu_account_to_pb(account) for account in frame.accounts)
    if frame.resolved:
        pb.resolved.extend(runs_to_pb(frame.resolved))
    for reply in frame.replies:
        reply_to_pb(reply, pb.replies.add())


def decode_up(message: bytes) -> Hello | UpFrame | Goodbye:
    """What an instance said; :class:`ProtocolError` if it makes no sense."""
    common = up_frame_from_bytes(message)
    return decode_up_by_protobuf(message) if common is None else common


def decode_up_by_protobuf(message: bytes) -> Hello | UpFrame | Goodbye:
    """The same, whatever it is."""
    try:
        pb = data.AttachRequest.FromString(message)
    except DecodeError:
        raise ProtocolError("a message that is no AttachRequest") from None
    match pb.WhichOneof("message"):
        case "frame":
            return _up_frame_from_pb(pb.frame)
        case "hello":
            return hello_from_pb(pb.hello)
        case "goodbye":
            return Goodbye(pb.goodbye.reason, pb.goodbye.failed)
        case _:
            raise ProtocolError("an empty message on the stream of an instance")


def _event_from_pb(pb: data.SourceEvent) -> Writes | SettledWrite | CpuAddress | Message:
    match pb.WhichOneof("event"):
        case "writes":
            writes = pb.writes
            return Writes(
                writes.cpu, writes.first_seq, list(writes.words), writes.command, writes.stamp
            )
        case "settled":
            settled = pb.settled
            return SettledWrite(
                cpu=settled.cpu,
                seq=settled.seq,
                word=settled.word,
                outcome=outcome_from_pb(settled.outcome),
                command=settled.command,
                stamp=settled.stamp,
            )
        case "message":
            return message_from_pb(pb.message)
        case "address":
            return cpu_address_from_pb(pb.address)
        case _:
            raise ProtocolError("an empty event in a frame")


def _up_frame_from_pb(pb: data.UpFrame) -> UpFrame:
    return UpFrame(
        frame=pb.frame,
        ack=pb.ack,
        more=pb.more,
        events=[_event_from_pb(event) for event in pb.events] or (),
        applied=pb.applied,
        outcomes=[
            OutcomeRun(run.first, run.count, outcome_from_pb(run.outcome)) for run in pb.outcomes
        ]
        or (),
        accounts=[cpu_account_from_pb(account) for account in pb.accounts] or (),
        resolved=runs_from_pb(pb.resolved) or (),
        replies=[reply_from_pb(reply) for reply in pb.replies] or (),
        beat=pb.beat,
        books=[source_book_from_pb(book) for book in pb.books] or (),
        arbitrated=[arbitrated_from_pb(write) for write in pb.arbitrated] or (),
        recovered=pb.recovered,
        taken=[taken_from_pb(each) for each in pb.taken] or (),
        listens=pb.listens,
    )


# --- interconnect to instance ---


def encode_down(message: Welcome | DownFrame | Goodbye) -> bytes:
    """What the interconnect says, as bytes for the stream."""
    common = down_frame_to_bytes(message) if isinstance(message, DownFrame) else None
    return encode_down_by_protobuf(message) if common is None else common


def encode_down_by_protobuf(message: Welcome | DownFrame | Goodbye) -> bytes:
    """The same, whatever it is."""
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
        pb.welcome.taken_over = message.taken_over
        pb.welcome.born = message.born
        pb.welcome.roster = message.roster
    else:
        pb.goodbye.reason = message.reason
        pb.goodbye.failed = message.failed
    return pb.SerializeToString()


def _down_frame_to_pb(frame: DownFrame, pb: data.DownFrame) -> None:
    pb.frame = frame.frame
    pb.ack = frame.ack
    pb.beat = frame.beat
    pb.roster = frame.roster
    pb.partial = frame.partial
    if frame.books:
        pb.books.extend(source_book_to_pb(book) for book in frame.books)
    for floor in frame.floors:
        pb.floors.add(source=floor.source, runs=runs_to_pb(floor.runs))
    for legs in frame.legs:
        legs_to_pb(legs, pb.legs.add())
    if frame.resolved:
        pb.resolved.extend(runs_to_pb(frame.resolved))
    if frame.doorbells:
        doorbells_to_pb(frame.doorbells, pb.doorbells)
    if frame.messages:
        pb.messages.extend(arrival_to_pb(each) for each in frame.messages)
    if frame.settled:
        pb.settled.extend(settled_messages_to_pb(each) for each in frame.settled)
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
    common = down_frame_from_bytes(message)
    return decode_down_by_protobuf(message) if common is None else common


def decode_down_by_protobuf(message: bytes) -> Welcome | DownFrame | Goodbye:
    """The same, whatever it is."""
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
                taken_over=welcome.taken_over,
                born=welcome.born,
                roster=welcome.roster,
            )
        case "goodbye":
            return Goodbye(pb.goodbye.reason, pb.goodbye.failed)
        case _:
            raise ProtocolError("an empty message from the interconnect")


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
            SourceFloor(identity_from_pb(floor.source, "a source"), tuple(runs_from_pb(floor.runs)))
            for floor in pb.floors
        ]
        or (),
        legs=[legs_from_pb(legs) for legs in pb.legs] or (),
        resolved=runs_from_pb(pb.resolved) or (),
        commands=[_command_from_pb(command) for command in pb.commands] or (),
        beat=pb.beat,
        roster=pb.roster,
        books=[source_book_from_pb(book) for book in pb.books] or (),
        partial=pb.partial,
        messages=[arrival_from_pb(each) for each in pb.messages] or (),
        settled=[settled_messages_from_pb(each) for each in pb.settled] or (),
        doorbells=doorbells_from_pb(pb.doorbells) or (),
    )
