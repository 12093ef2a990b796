"""Routing what may have reached an earlier interconnect (design 3.3, rules 3 and 4).

Everything here errs towards ``lost``: a leg goes out again only to who can tell whether it has come
before, and what nobody can tell is booked as such.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from mkrpc.errors import ProtocolError
from mkrpc.interconnect.policy import Policy, SourceKind
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

    ``unheard``: whether somebody lives that has not said yet what was applied there. ``policy``:
    that of the bus.
    """

    def __init__(
        self, *, registry: Registry, count: RosterCount, unheard: Callable[[], bool]
    ) -> None:
        self.policy: Policy | None = None
        self._registry = registry
        self._count = count
        self._unheard = unheard
        self._arbitrated: dict[bytes, dict[int, list[tuple[Session, int]]]] = {}
        self._noted: Counter[Session] = Counter()

    def note_arbitrated(self, session: Session, writes: Iterable[Arbitrated]) -> None:
        """An instance says which lowest-priority writes have been applied to its CPUs.

        :raises ProtocolError: more than it can remember.
        """
        for write in writes:
            if self._noted[session] >= MAX_REMEMBERED:
                raise ProtocolError(f"more than {MAX_REMEMBERED} writes that were arbitrated")
            self._noted[session] += 1
            of_source = self._arbitrated.setdefault(write.source, {})
            of_source.setdefault(write.seq, []).append((session, write.cpu))

    def all_noted(self, session: Session) -> None:
        """It has said all that it knows, or will say no more."""
        self._noted.pop(session, None)

    def forget(self, source: bytes) -> None:
        """The source has sent again all that it will. Clients may always repeat a call."""
        self._arbitrated.pop(source, None)

    def forget_the_dead(self) -> None:
        """Instances that have ended send nothing again."""
        for source in list(self._arbitrated):
            if self._registry.knows_incarnation(source) and self._registry.alive(source) is None:
                self.forget(source)

    def targets(self, write: Write, icr: Icr, found: list[Target]) -> list[Target]:
        """The destinations of a write: ``found`` are those of today that match.

        A CPU whose address has changed since the write was made is asked whether it has had it, and
        is not given it. An instance that has ended since may have had it, and cannot be asked: that
        is one more leg, to nobody. It is left out for a write to a single CPU where one is found
        that lives and is at its initial APIC id. No other CPU had that id then but that of an
        incarnation before it, for which it answers; unless a CPU that was at another id than its
        initial one has ended since, which could be any.
        """
        marked = [self._mark(write, target) for target in found]
        asked = self._asked(write, icr)
        stayed = any(target.apic_id not in asked and _is_at_home(target) for target in found)
        for index, target in enumerate(marked):
            other = asked.pop(target.apic_id, None)
            if other is None:
                continue
            if other.session is not target.session:
                lets = self._lets(write, icr, other)
                marked[index] = other if lets else replace(other, refusal=target.refusal)
            elif target.resent is not Resent.BORN_LATER:
                marked[index] = replace(other, refusal=target.refusal)
        marked += [target for target in asked.values() if self._lets(write, icr, target)]
        elsewhere = self._count.last_end_elsewhere > write.stamp
        if self._count.last_end > write.stamp and (elsewhere or _is_for_several(icr) or not stayed):
            marked.append(_NOBODY_KNOWS)
        return marked or [_NOBODY_KNOWS]

    def _asked(self, write: Write, icr: Icr) -> dict[int, Target]:
        """Of the CPUs whose address has changed since the write was made, one for each APIC id.

        Several instances may have had an APIC id since. The one that was the first to give it up
        had it when the write was made, and most likely got the write; one that the policy lets the
        write come to goes before.
        """
        asked: dict[int, tuple[int, Target]] = {}
        for since, target in self._moved_since(write, icr):
            before = asked.get(target.apic_id)
            if before is None or self._rank(write, icr, since, target) < self._rank(
                write, icr, *before
            ):
                asked[target.apic_id] = since, target
        return {apic_id: target for apic_id, (_, target) in asked.items()}

    def _rank(self, write: Write, icr: Icr, since: int, target: Target) -> tuple[bool, int]:
        return not self._lets(write, icr, target), since

    def _moved_since(self, write: Write, icr: Icr) -> Iterator[tuple[int, Target]]:
        """CPUs that the write may have named or not: nobody knows their addresses of then."""
        logical = icr.shorthand is Shorthand.NONE and icr.destination_mode
        for session in self._registry.sessions():
            # Even one that was born later: a write may have waited for a route until it was there.
            for address, moved in zip(session.addresses, session.moved, strict=True):
                since = moved.logically if logical else moved.physically
                if _is_for_several(icr) or _may_name(icr, address.apic_id):
                    since = max(since, moved.hotplugged)
                itself = address.apic_id == write.apic_id
                if since > write.stamp and not (
                    itself and icr.shorthand is Shorthand.ALL_EXCLUDING_SELF
                ):
                    cpu, apic_id = address.cpu, address.apic_id
                    yield since, Target(session, cpu, apic_id, None, Resent.ASKED_ONLY)

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
        had = self._arbitrated.get(write.source.identity, {}).pop(seq, [])
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

    def _lets(self, write: Write, icr: Icr, target: Target) -> bool:
        """Whether the policy, which never changes, lets the write come to it."""
        assert self.policy is not None
        assert target.session is not None
        refusal = self.policy.decide(
            source_id=write.source.instance_id,
            destination_id=target.session.instance_id,
            icr=icr,
        )
        return refusal is None

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


def _is_at_home(target: Target) -> bool:
    assert target.session is not None
    return not target.session.addresses[target.cpu].is_elsewhere


def _may_name(icr: Icr, apic_id: int) -> bool:
    """Whether a physical destination is that of a CPU at its initial APIC id, in either mode."""
    return apic_id in (icr.destination, icr.destination & 0xFF)


def _is_for_several(icr: Icr) -> bool:
    """Whether more than one CPU can match."""
    return (
        icr.shorthand is not Shorthand.NONE
        or icr.destination_mode is DestinationMode.LOGICAL
        or icr.delivery_mode is DeliveryMode.LOWEST_PRIORITY
        or icr.destination in _BROADCAST
    )
