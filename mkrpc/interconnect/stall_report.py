"""One stall as it is told: to who watches, to the log, to `mkrpc show`."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mkrpc.interconnect.ledger import Party, Row
from mkrpc.interconnect.legs import LegRun
from mkrpc.link.frames import NOBODY
from mkrpc.trace import InterruptStalled
from mkrpc.x86.pending import Hold

__all__ = ["Stall", "StallKind", "party_text", "source_of", "sources_of", "stall_event"]

_NAMED_SOURCES = 3


class StallKind(StrEnum):
    """What does not go on."""

    PENDING = "pending"
    """An IRR bit that stays set."""
    IN_SERVICE = "in-service"
    """An ISR bit that stays set: no EOI."""
    UNANSWERED = "unanswered"
    """Legs without an outcome; the oldest one is named, all of the instance are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """One stall as last looked at.

    ``source``: who wrote the leg, None where that is not known for sure; ``sources`` says it in
    words. ``source_apic_id``: None if unknown or of a client. ``count``: legs, or 1. ``reports``:
    how often it has been reported.
    """

    kind: StallKind
    instance_id: int
    name: str
    incarnation: bytes
    apic_id: int
    vector: int
    source: Party | None
    source_apic_id: int | None
    sources: str
    count: int
    age_us: int
    holds: tuple[Hold, ...]
    reports: int = 1

    @property
    def reason(self) -> str:
        """Why, in a line."""
        return "; ".join(hold.text for hold in self.holds)


def source_of(run: LegRun) -> str:
    """Who wrote a leg that is in flight."""
    batch = run.batch
    who = party_text(batch.source)
    return who if batch.apic_id is None else f"{who} APIC id {batch.apic_id}"


def sources_of(rows: Sequence[Row]) -> str:
    """Who can have set a bit, which does not say who it was."""
    if not rows:
        return "unknown"
    named = [party_text(row.key.source) for row in rows[:_NAMED_SOURCES]]
    if len(rows) > _NAMED_SOURCES:
        named.append(f"{len(rows) - _NAMED_SOURCES} others")
    return named[0] if len(named) == 1 else "one of " + ", ".join(named)


def party_text(party: Party) -> str:
    """A source or a destination for people."""
    if party.instance_id is None:
        return f"client {party.identity.hex()[:8]}" if party.identity else party.name
    return f"instance {party.instance_id} ({party.name})"


def stall_event(stall: Stall) -> InterruptStalled:
    """A stall as a trace event."""
    return InterruptStalled(
        stall=stall.kind.value,
        source=stall.source.identity if stall.source is not None else b"",
        sources=stall.sources,
        source_apic_id=NOBODY if stall.source_apic_id is None else stall.source_apic_id,
        instance_id=stall.instance_id,
        name=stall.name,
        incarnation=stall.incarnation,
        apic_id=stall.apic_id,
        vector=stall.vector,
        count=stall.count,
        age_us=stall.age_us,
        reason=stall.reason,
        reports=stall.reports,
    )
