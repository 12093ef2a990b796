"""Where a leg is to go: what the router and the routing of what is sent again have in common."""

from dataclasses import dataclass

from mkrpc.interconnect.ledger import Party
from mkrpc.interconnect.legs import Resolved
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.tally import Tally
from mkrpc.link.frames import NOBODY
from mkrpc.link.recovery import Resent
from mkrpc.outcome import Outcome

__all__ = ["Target", "Write", "no_room", "software_enabled", "to_nobody"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """``count`` equal ICR writes of one CPU, or of a client (``apic_id`` None).

    ``tally`` is that of the request which they belong to, if any; ``on_resolved`` is told as they
    get all their outcomes. ``stamp``: 0, or the roster number that was known when they were first
    made, of writes that may have reached an earlier interconnect.
    """

    source: Party
    apic_id: int | None
    first_seq: int
    count: int
    word: int
    tally: Tally | None
    on_resolved: Resolved
    stamp: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """One destination CPU, and what becomes of the leg if it may not even be queued.

    ``resent`` as in :class:`mkrpc.link.frames.Legs`.
    """

    session: Session | None
    cpu: int
    apic_id: int
    refusal: Outcome | None
    resent: Resent = Resent.NO


def to_nobody(outcome: Outcome) -> Target:
    """The leg of a write that has no destination."""
    return Target(None, 0, NOBODY, outcome)


def software_enabled(target: Target) -> bool:
    """Whether the APIC takes part in arbitration (R37)."""
    assert target.session is not None
    return target.session.addresses[target.cpu].software_enabled


def no_room(write: Write) -> Outcome:
    """What becomes of a leg without a row in the books, or room in a queue."""
    if write.stamp:
        return Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED
    return Outcome.REJECTED_BACKPRESSURE
