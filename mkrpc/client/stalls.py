"""What does not go on in a cluster, and what holds it, as a client gets to see it."""

from collections.abc import Iterable
from dataclasses import dataclass

from mkrpc.v1 import control_pb2 as pb

__all__ = ["HoldView", "StallView", "holds_of"]


@dataclass(frozen=True, slots=True)
class HoldView:
    """One thing that holds an interrupt. ``kind``: of :class:`mkrpc.x86.pending.HoldKind`, as text,
    so that one that is new does not matter. ``vector``: the bit or handler that it is about."""

    kind: str
    text: str
    vector: int | None = None

    @classmethod
    def of(cls, message: pb.Hold) -> "HoldView":
        """Translate."""
        vector = message.vector if message.HasField("vector") else None
        return cls(message.kind, message.text, vector)


def holds_of(messages: Iterable[pb.Hold]) -> tuple[HoldView, ...]:
    """Translate several, in order."""
    return tuple(HoldView.of(message) for message in messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class StallView:
    """Something that has not gone on for longer than the limit.

    ``kind``: ``pending``, ``in-service`` or ``unanswered``. ``source``: the identity of who wrote
    it, empty if it is not known who of ``sources``, which is for people; its instance and CPU are
    None where it has none, or they are not known.
    """

    kind: str
    instance_id: int
    name: str
    incarnation: bytes
    apic_id: int
    vector: int
    source: bytes
    source_instance_id: int | None
    source_apic_id: int | None
    sources: str
    count: int
    age_us: int
    holds: tuple[HoldView, ...]
    reports: int

    @classmethod
    def of(cls, message: pb.Stall) -> "StallView":
        """Translate."""
        source = message.source
        return cls(
            kind=message.kind,
            instance_id=message.instance_id,
            name=message.name,
            incarnation=message.incarnation,
            apic_id=message.apic_id,
            vector=message.vector,
            source=source.identity,
            source_instance_id=source.instance_id if source.HasField("instance_id") else None,
            source_apic_id=source.apic_id if source.HasField("apic_id") else None,
            sources=message.sources,
            count=message.count,
            age_us=message.age_us,
            holds=holds_of(message.holds),
            reports=message.reports,
        )
