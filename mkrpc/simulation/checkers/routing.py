"""Routing (rules R22 to R32): every write has a leg to each CPU that its destination names.

By the specification's predicate over the addresses that the instances have published, at the
moment at which the bus takes the write; a write of lowest priority to one of those who win the
arbitration by what the mirror shows at that moment. At rest these addresses are those that the
APICs have: :class:`Liveness` sees to that.

An interconnect that takes over routes nothing while somebody may still come back to it. To what it
has been sent again it may add a leg to nobody, for those whom nobody can ask.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.link.frames import NOBODY, CpuAddress
from mkrpc.outcome import Outcome
from mkrpc.simulation.checkers.exactly_once import ExactlyOnce
from mkrpc.simulation.checkers.violation import Checker
from mkrpc.simulation.events import BusTurn, HubBegan, Limited, Reported, Standing
from mkrpc.trace import BarrierOpened, IcrWritten, InstanceAttached, InstanceDetached, LegEnded
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.destination import ApicAddress, matches
from mkrpc.x86.icr import DeliveryMode, Shorthand, decode

__all__ = ["Routing"]

_BY_ITS_SENDER = frozenset(
    {
        Outcome.REJECTED_ILLEGAL_VECTOR,
        Outcome.REJECTED_RESERVED_MODE,
        Outcome.REJECTED_REDIRECTABLE_IPI,
        Outcome.REJECTED_BACKPRESSURE,
        Outcome.REJECTED_INIT_DEASSERT,
        Outcome.REJECTED_INVALID_COMBINATION,
        Outcome.REJECTED_ICR_BUSY,
    }
)
"""What a sender's own APIC may say; such a write has one leg, to nobody."""

_UNASKED = Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED
"""What becomes of the leg to nobody that stands for those whom nobody can ask."""


class Routing(Checker):
    """Keeps the set of named CPUs of each run of writes, until the end. ``bus``: the first.
    ``now_us`` is the clock of the one that lives; ``instances``: that of every incarnation."""

    name: ClassVar[str] = "routing"
    listens: ClassVar[tuple[type, ...]] = (
        *(IcrWritten, LegEnded, HubBegan, BusTurn),
        *(InstanceAttached, InstanceDetached, Reported, BarrierOpened, Limited),
    )

    def __init__(
        self,
        bus: ApicBus,
        journal: ExactlyOnce,
        *,
        instances: Mapping[bytes, int],
        now_us: Callable[[], int],
        lease_us: int,
    ) -> None:
        self._instances = instances
        self._now_us = now_us
        self._lease_us = lease_us
        self._began_us = 0
        self._opened_us: int | None = None
        self._bus = bus
        self._journal = journal
        self._named: dict[tuple[bytes, int], frozenset[int]] = {}
        self._legs: dict[tuple[bytes, int], int] = {}
        self._unasked: set[tuple[bytes, int]] = set()
        self._unlooked: set[tuple[bytes, int]] = set()
        """Of these those of clients beyond their limit: nobody looks where they go."""
        self._asked: set[tuple[bytes, int]] = set()
        self._missing: set[bytes] = set()
        self._limited = False

    def on_event(self, event: object) -> None:
        """As :class:`Checker`."""
        if type(event) is LegEnded:
            self._leg_ended(event)
        elif type(event) is BusTurn:
            if self._missing:
                self._behind_the_barrier(event.bus)
        elif type(event) is IcrWritten:
            self._written(event)
        elif type(event) is Reported:
            if event.frame.recovered:
                self._missing.discard(event.kernel.incarnation)
        elif isinstance(event, InstanceAttached | InstanceDetached):
            # Who has not been welcomed before has nothing to say.
            self._missing.discard(event.incarnation)
        elif type(event) is BarrierOpened:
            self._opened_us = self._now_us()
        elif type(event) is Limited:
            self._limited = event.writes_per_s > 0
        elif type(event) is HubBegan:
            self._limited = False
            self._bus = event.bus
            self._began_us = self._now_us()
            self._opened_us = None
            self._missing = {each.incarnation for each in event.takeover.expected}

    def at_end(self, standing: Standing) -> None:
        """As :class:`Checker`."""
        live = {kernel.incarnation for kernel in standing.kernels.values()}
        for write, named in self._named.items():
            if not self._journal.is_known(*write, live):
                continue
            legs = self._legs.get(write, 0)
            _, word = self._journal.writes[write]
            wanted = 1 if _is_arbitrated(word) or not named else len(named)
            if write in self._unasked | self._asked and (_is_arbitrated(word) or not named):
                wanted = 0
            if write in self._unlooked and not legs:
                continue
            if legs not in (wanted, -1):
                self.fail(f"{word:#x} names {len(named)} CPUs and had {legs} legs")

    def _behind_the_barrier(self, bus: ApicBus) -> None:
        """Not all are back, as far as is known at the end of a turn."""
        if self._opened_us is None:
            if bus.in_flight():
                self.fail(f"a write was routed, and {len(self._missing)} may still come back")
            return
        if self._opened_us - self._began_us < self._lease_us:
            self.fail(f"the barrier opened, and {len(self._missing)} may still come back")
        self._missing.clear()

    def _written(self, event: IcrWritten) -> None:
        named = self._targets(event)
        winners = named
        if len(named) > 1 and _is_arbitrated(event.word):
            winners = self._winners(event, named)
        for seq in range(event.seq, event.seq + event.count):
            write = event.source, seq
            # Where it has been arbitrated before, it stays, whoever would win now.
            again = self._journal.may_come_again(*write)
            self._named[write] = named if again else winners
            self._legs.pop(write, None)
            self._unasked.discard(write)
            self._unlooked.discard(write)
            self._asked.discard(write)

    def _leg_ended(self, event: LegEnded) -> None:
        for seq in range(event.seq, event.seq + event.count):
            write = event.source, seq
            named = self._named.get(write)
            if named is None:
                return  # the journal's own complaint
            astray = event.apic_id not in named and event.apic_id != NOBODY
            if astray and self._is_asked(event, seq):
                self._asked.add(write)
                continue
            if astray and not self._stays(event, seq):
                self.fail(f"a leg to APIC id {event.apic_id:#x}, which the write does not name")
            if event.outcome is _UNASKED and event.apic_id == NOBODY:
                if not self._journal.may_come_again(*write):
                    self.fail(f"{event.outcome.text} of a write that comes for the first time")
                self._unasked.add(write)
                if self._limited and event.source not in self._instances:
                    self._unlooked.add(write)
            elif event.apic_id == NOBODY and named:
                if event.outcome not in _BY_ITS_SENDER and not self._is_beyond(event):
                    self.fail(f"{event.outcome.text}, though the write names {sorted(named)}")
                self._legs[write] = -1
            else:
                self._legs[write] = self._legs.get(write, 0) + 1

    def _is_beyond(self, event: LegEnded) -> bool:
        """Whether clients are limited, and this write of one was refused before anybody looked
        where it goes."""
        beyond = event.outcome is Outcome.REJECTED_RATE_LIMITED
        return beyond and self._limited and event.source not in self._instances

    def _is_asked(self, event: LegEnded, seq: int) -> bool:
        """Whether a write that comes again is put to a CPU that has another address since: it says
        what became of it, and nobody gives it the write now."""
        if not self._journal.may_come_again(event.source, seq):
            return False
        had = [
            moved.ever
            for session in self._bus.sessions()
            for address, moved in zip(session.addresses, session.moved, strict=True)
            if address.apic_id == event.apic_id
        ]
        if had and not any(had):  # of one that has died since, nobody can say
            return False
        key = event.source, seq, event.apic_id
        unknown = event.outcome in (_UNASKED, Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED)
        return unknown or key in self._journal.applied

    def _stays(self, event: LegEnded, seq: int) -> bool:
        """Whether a write of lowest priority comes again to whoever has had it, though it names
        that one no longer, who has written its LDR since; or one that its CPU settled by itself,
        which has left its kernel since."""
        if not self._journal.may_come_again(event.source, seq):
            return False
        writer, word = self._journal.writes[event.source, seq]
        if decode(word).shorthand is Shorthand.SELF:
            return event.apic_id == writer
        applied = (event.source, seq, event.apic_id) in self._journal.applied
        return applied and _is_arbitrated(word)

    def _targets(self, event: IcrWritten) -> frozenset[int]:
        source = None if event.apic_id == NOBODY else event.apic_id
        icr = decode(event.word)
        return frozenset(
            address.apic_id
            for session in self._bus.sessions()
            for address in session.addresses
            if matches(icr, source=source, target=_address(address))
        )

    def _winners(self, event: IcrWritten, named: frozenset[int]) -> frozenset[int]:
        """Who is permitted if any is, of these software-enabled if any is, and least busy."""
        bus, icr = self._bus, decode(event.word)
        source = None if event.apic_id == NOBODY else self._instances[event.source]
        keys = {}
        for apic_id in named:
            session, cpu = bus.cpu_owner(apic_id)
            target = session.instance_id
            refused = bus.policy.decide(source_id=source, destination_id=target, icr=icr)
            disabled = not session.addresses[cpu].software_enabled
            keys[apic_id] = refused is not None, disabled, session.mirror.ppr(cpu)
        least = min(keys.values())
        return frozenset(apic_id for apic_id, key in keys.items() if key == least)


def _is_arbitrated(word: int) -> bool:
    return decode(word).delivery_mode is DeliveryMode.LOWEST_PRIORITY


def _address(published: CpuAddress) -> ApicAddress:
    return ApicAddress(
        initial_id=published.apic_id,
        mode=ApicMode(published.mode),
        xapic_id=published.xapic_id,
        ldr=published.ldr,
        dfr=published.dfr,
        software_enabled=published.software_enabled,
    )
