"""Events of a cluster as a client gets to see them."""

from dataclasses import dataclass

from mkrpc.v1 import control_pb2 as pb

__all__ = ["Event", "EventBatch"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; kinds and fields (by name) are those of :mod:`mkrpc.trace`."""

    kind: str
    number: int
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events in order. ``missed``: how many this watcher was too slow for since it began.

    ``gap``: why the stream broke off before this batch, empty if it did not; what happened in
    between is not told, and ``missed`` counts from here.
    """

    missed: int
    events: tuple[Event, ...]
    gap: str = ""

    @classmethod
    def of(cls, message: pb.WatchResponse) -> "EventBatch":
        """Translate."""
        events = tuple(
            Event(e.kind, e.number, dict(sorted(e.fields.items()))) for e in message.events
        )
        return cls(missed=message.missed, events=events)
