"""INIT and SIPI (rules R9, R10, R36): at rest an AP waits for a SIPI if an INIT was the last word.

An INIT cancels a SIPI that came before it, and what comes after it starts the CPU.
"""

from typing import ClassVar

from mkrpc.outcome import Outcome
from mkrpc.simulation.checkers.exactly_once import ExactlyOnce
from mkrpc.simulation.checkers.violation import Checker
from mkrpc.simulation.events import Applied, Standing
from mkrpc.x86.icr import DeliveryMode, Shorthand, decode
from mkrpc.x86.lapic import LocalApic

__all__ = ["Startup"]

_LIFECYCLE = (DeliveryMode.INIT, DeliveryMode.STARTUP)
_ARRIVED = (Outcome.DELIVERED, Outcome.COALESCED)


class Startup(Checker):
    """Remembers the last INIT or SIPI that each CPU took in, and by which APIC: one that leaves a
    kernel and comes back has another."""

    name: ClassVar[str] = "startup"
    listens: ClassVar[tuple[type, ...]] = (Applied,)

    def __init__(self, journal: ExactlyOnce) -> None:
        self._journal = journal
        self._last: dict[tuple[bytes, int], tuple[DeliveryMode, LocalApic]] = {}

    def on_event(self, event: object) -> None:
        """As :class:`Checker`."""
        assert isinstance(event, Applied)
        mode = decode(event.word).delivery_mode
        if mode in _LIFECYCLE and event.outcome in _ARRIVED:
            apic = event.kernel.cpus[event.cpu].apic
            self._last[event.kernel.incarnation, event.cpu] = mode, apic

    def at_end(self, standing: Standing) -> None:
        """As :class:`Checker`."""
        # What a CPU sends to itself is settled within its APIC: in no place of this order.
        to_itself = {
            (source, apic_id)
            for (source, _), (apic_id, word) in self._journal.writes.items()
            if decode(word).shorthand is Shorthand.SELF and decode(word).delivery_mode in _LIFECYCLE
        }
        for kernel in standing.kernels.values():
            for cpu in kernel.cpus:
                last, apic = self._last.get((kernel.incarnation, cpu.number), (None, None))
                if last is None or apic is not cpu.apic:
                    continue
                if cpu.apic.bsp or (kernel.incarnation, cpu.apic_id) in to_itself:
                    continue
                if cpu.wait_for_sipi is not (last is DeliveryMode.INIT):
                    waits = "waits" if cpu.wait_for_sipi else "does not wait"
                    self.fail(f"{cpu} {waits} for a SIPI, and the last was {last.name}")
