"""Messages between instances, in frames, as ``mkrpc.v1`` messages and back."""

from collections.abc import Iterable

from mkrpc.errors import ProtocolError
from mkrpc.link.messages import Arrival, Doorbell, Message, SettledMessages, Taken
from mkrpc.part_codec import identity_from_pb, outcome_from_pb
from mkrpc.v1 import interconnect_pb2 as data

__all__ = [
    "arrival_from_pb",
    "arrival_to_pb",
    "doorbells_from_pb",
    "doorbells_to_pb",
    "message_from_pb",
    "message_to_pb",
    "settled_messages_from_pb",
    "settled_messages_to_pb",
    "taken_from_pb",
    "taken_to_pb",
]


def message_to_pb(message: Message) -> data.Message:
    """One that an instance sends."""
    return data.Message(
        target=message.target,
        seq=message.seq,
        ipi_type=message.ipi_type,
        data=message.data,
        stamp=message.stamp,
    )


def message_from_pb(pb: data.Message) -> Message:
    """The same read."""
    return Message(pb.target, pb.seq, pb.ipi_type, pb.data, pb.stamp)


def arrival_to_pb(arrival: Arrival) -> data.Arrival:
    """One that an instance is handed."""
    return data.Arrival(
        sender=arrival.sender,
        source=arrival.source,
        seq=arrival.seq,
        ipi_type=arrival.ipi_type,
        data=arrival.data,
        doorbell=arrival.doorbell,
    )


def arrival_from_pb(pb: data.Arrival) -> Arrival:
    """The same read; :class:`ProtocolError` if it makes no sense."""
    source = identity_from_pb(pb.source, "the sender of a message")
    return Arrival(pb.sender, source, pb.seq, pb.ipi_type, pb.data, pb.doorbell)


def doorbells_to_pb(doorbells: Iterable[Doorbell], pb: data.Doorbells) -> None:
    """Where instances are rung."""
    for instance, apic_id in doorbells:
        pb.instances.append(instance)
        pb.apic_ids.append(apic_id)


def doorbells_from_pb(pb: data.Doorbells) -> list[Doorbell]:
    """The same read; :class:`ProtocolError` if it makes no sense."""
    if len(pb.instances) != len(pb.apic_ids):
        raise ProtocolError("the columns of the doorbells differ in length")
    return list(map(Doorbell, pb.instances, pb.apic_ids))


def taken_to_pb(taken: Taken) -> data.Taken:
    """What has been taken out."""
    return data.Taken(source=taken.source, seq=taken.seq)


def taken_from_pb(pb: data.Taken) -> Taken:
    """The same read; :class:`ProtocolError` if it makes no sense."""
    return Taken(identity_from_pb(pb.source, "the sender of a message"), pb.seq)


def settled_messages_to_pb(settled: SettledMessages) -> data.SettledMessages:
    """What became of some."""
    return data.SettledMessages(
        target=settled.target,
        first=settled.first,
        last=settled.last,
        outcome=int(settled.outcome),  # type: ignore[arg-type]
    )


def settled_messages_from_pb(pb: data.SettledMessages) -> SettledMessages:
    """The same read; :class:`ProtocolError` if it makes no sense."""
    if not 0 < pb.first <= pb.last:
        raise ProtocolError(f"messages from {pb.first} to {pb.last}")
    return SettledMessages(pb.target, pb.first, pb.last, outcome_from_pb(pb.outcome))
