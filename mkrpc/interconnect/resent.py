"""Routing what may have reached an earlier interconnect (design 3.3, rules 3 and 4).

Everything here errs towards ``lost``: a leg goes out again only to who can tell whether it has come
before, and what nobody can tell is booked as such.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from mkrpc.errors import ProtocolError
from mkrpc.interconnect.policy import SourceKind
from mkrpc.interconnect.registry import Registry
from mkrpc.interconnect.roster_count import RosterCount
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.targets import Target, Write, to_nobody
from mkrpc.link.memory import MAX_REMEMBERED
from mkrpc.link.recovery import Arbitrated, Resent
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode, DestinationMode, Icr, Shorthand

__all__ = ["ResentWrites"]

_NOBODY_KNOWS = to_nobody(Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED)
"""The leg that stands for those whom nobody can ask any more."""

_MATCHES_NOBODY = to_nobody(Outcome.REJECTED_NO_SUCH_APIC)

_BROADCAST = (0xFF, 0xFFFF_FFFF)


class ResentWrites:
    """Says where writes go that are sent again.

    ``unheard``: whether somebody lives that has not said yet what was applied there.
    """

    def __init__(
        self, *, registry: Registry, count: RosterCount, unheard: Callable[[], bool]
    ) -> None:
        self._registry = registry
        self._count = count
        self._unheard = unheard
        self._arbitrated: dict[tuple[bytes, int], list[tuple[Session, int]]] = {}
        self._noted: Counter[Session] = Counter()

    def note_arbitrated(self, session: Session, writes: Iterable[Arbitrated]) -> None:
        """An instance says which lowest-priority writes have been applied to its CPUs.

        :raises ProtocolError: more than it can remember.
        """
        for write in writes:
            if self._noted[session] >= MAX_REMEMBERED:
                raise ProtocolError(f"more than {MAX_REMEMBERED} writes that were arbitrated")
            self._noted[session] += 1
            where = self._arbitrated.setdefault((write.source, write.seq), [])
            where.append((session, write.cpu))

    def targets(self, write: Write, icr: Icr, found: list[Target]) -> list[Target]:
        """The destinations of a write: ``found`` are those of today that match.

        Who has ended since it was made may have had it, and cannot be asked. Several destinations
        may have had others among them; one that still lives was the only one.
        """
        marked = [self._mark(write, target) for target in found]
        if self._count.last_end > write.stamp and _is_for_several(icr):
            return [*marked, _NOBODY_KNOWS]
        # Whoever it named then may have written its id, its LDR or its mode since.
        return marked or [_NOBODY_KNOWS]

    def arbitrate(
        self,
        write: Write,
        seq: int,
        found: list[Target],
        choose: Callable[[list[Target]], Target],
    ) -> Target:
        """The one destination of a lowest-priority write: whoever has had it, has it.

        If nobody has, and nobody is missing who could have, it was never handed over.
        """
        had = self._arbitrated.pop((write.source.identity, seq), [])
        for session, cpu in had:
            if session.alive:
                apic_id = session.addresses[cpu].apic_id
                return self._mark(write, Target(session, cpu, apic_id, None))
        if had or self._count.last_end > write.stamp or self._unheard():
            return _NOBODY_KNOWS
        if not found:
            return _MATCHES_NOBODY
        older = [t for t in found if t.session is not None and t.session.born <= write.stamp]
        return self._mark(write, choose(older or found))

    @staticmethod
    def _mark(write: Write, target: Target) -> Target:
        assert target.session is not None
        if target.session.born > write.stamp:
            resent = Resent.BORN_LATER
        elif write.source.kind is SourceKind.CLIENT:
            resent = Resent.ANY_ORDER
        else:
            resent = Resent.IN_ORDER
        return replace(target, resent=resent)


def _is_for_several(icr: Icr) -> bool:
    """Whether more than one CPU can match."""
    return (
        icr.shorthand is not Shorthand.NONE
        or icr.destination_mode is DestinationMode.LOGICAL
        or icr.delivery_mode is DeliveryMode.LOWEST_PRIORITY
        or icr.destination in _BROADCAST
    )
