"""Routing (rules R22 to R32): every write has a leg to each CPU that its destination names.

By the specification's predicate over the addresses that the instances have published, at the
moment at which the bus takes the write; a write of lowest priority to one of those who win the
arbitration by what the mirror shows at that moment. At rest these
addresses are those that the APICs have.
"""

from typing import ClassVar

from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.link.frames import NOBODY, CpuAddress
from mkrpc.outcome import Outcome
from mkrpc.simulation.checkers.exactly_once import ExactlyOnce
from mkrpc.simulation.checkers.violation import Checker
from mkrpc.simulation.events import Standing
from mkrpc.trace import IcrWritten, LegEnded
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.destination import ApicAddress, matches
from mkrpc.x86.icr import DeliveryMode, decode

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


class Routing(Checker):
    """Keeps the set of named CPUs of each run of writes, until the end."""

    name: ClassVar[str] = "routing"
    listens: ClassVar[tuple[type, ...]] = (IcrWritten, LegEnded)

    def __init__(self, bus: ApicBus, journal: ExactlyOnce) -> None:
        self._bus = bus
        self._journal = journal
        self._named: dict[tuple[bytes, int], frozenset[int]] = {}
        self._legs: dict[tuple[bytes, int], int] = {}

    def on_event(self, event: object) -> None:
        """As :class:`Checker`."""
        if type(event) is IcrWritten:
            named = self._targets(event)
            if len(named) > 1 and _is_arbitrated(event.word):
                named = self._winners(event, named)
            for seq in range(event.seq, event.seq + event.count):
                self._named[event.source, seq] = named
        elif type(event) is LegEnded:
            self._leg_ended(event)

    def at_end(self, standing: Standing) -> None:
        """As :class:`Checker`."""
        for instance_id, kernel in standing.kernels.items():
            published = standing.bus.session(instance_id).addresses
            if published != [kernel.address_of(cpu.number) for cpu in kernel.cpus]:
                self.fail(f"instance {instance_id} is routed to by addresses that it no longer has")
        for write, named in self._named.items():
            legs = self._legs.get(write, 0)
            _, word = self._journal.writes[write]
            wanted = 1 if _is_arbitrated(word) or not named else len(named)
            if legs not in (wanted, -1):
                self.fail(f"{word:#x} names {len(named)} CPUs and had {legs} legs")

    def _leg_ended(self, event: LegEnded) -> None:
        for seq in range(event.seq, event.seq + event.count):
            write = event.source, seq
            named = self._named.get(write)
            if named is None:
                return  # the journal's own complaint
            if event.apic_id != NOBODY and event.apic_id not in named:
                self.fail(f"a leg to APIC id {event.apic_id:#x}, which the write does not name")
            if event.apic_id == NOBODY and named:
                if event.outcome not in _BY_ITS_SENDER:
                    self.fail(f"{event.outcome.text}, though the write names {sorted(named)}")
                self._legs[write] = -1
            else:
                self._legs[write] = self._legs.get(write, 0) + 1

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
        source = None if event.apic_id == NOBODY else bus.cpu_owner(event.apic_id)[0].instance_id
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
