"""Replies to commands as ``mkrpc.v1`` messages and back."""

from mkrpc.codec import (
    cpu_view_from_pb,
    cpu_view_to_pb,
    log_record_from_pb,
    log_record_to_pb,
    pending_view_from_pb,
    pending_view_to_pb,
)
from mkrpc.link.frames import Reply
from mkrpc.v1 import interconnect_pb2 as data

__all__ = ["reply_from_pb", "reply_to_pb"]


def reply_to_pb(reply: Reply, slot: data.Reply) -> None:
    """A reply into an empty message."""
    slot.command = reply.command
    slot.error = reply.error
    slot.reason = reply.reason
    slot.advice = reply.advice
    slot.text = reply.text
    slot.written = reply.written
    slot.cpus.extend(cpu_view_to_pb(view) for view in reply.cpus)
    slot.records.extend(log_record_to_pb(record) for record in reply.records)
    slot.records_dropped = reply.records_dropped
    if reply.pending is not None:
        slot.pending.CopyFrom(pending_view_to_pb(reply.pending))


def reply_from_pb(pb: data.Reply) -> Reply:
    """The same read."""
    return Reply(
        command=pb.command,
        error=pb.error,
        reason=pb.reason,
        advice=pb.advice,
        text=pb.text,
        written=pb.written,
        cpus=[cpu_view_from_pb(view) for view in pb.cpus],
        records=[log_record_from_pb(record) for record in pb.records],
        records_dropped=pb.records_dropped,
        pending=pending_view_from_pb(pb.pending) if pb.HasField("pending") else None,
    )
