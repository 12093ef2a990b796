"""Conservation (design 3.1): each leg is delivered, coalesced, rejected, lost or on its way.

The books are compared with a second set of them, kept from the trace events alone.
"""

from collections import Counter
from typing import ClassVar

from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.ledger import Ledger
from mkrpc.outcome import Outcome
from mkrpc.simulation.checkers.violation import Checker
from mkrpc.simulation.events import BusTurn, Standing
from mkrpc.trace import LegEnded
from mkrpc.x86.icr import DeliveryMode

__all__ = ["SAMPLE_EVERY", "Conservation"]

SAMPLE_EVERY = 50
"""Turns of the bus after which its books are added up again."""

_Line = tuple[bytes, int, DeliveryMode, int, Outcome]


class Conservation(Checker):
    """Keeps its own books by source, destination CPU, mode, vector and outcome."""

    name: ClassVar[str] = "conservation"
    listens: ClassVar[tuple[type, ...]] = (LegEnded, BusTurn)

    def __init__(self) -> None:
        self._ended: Counter[_Line] = Counter()
        self._turns = 0

    def on_event(self, event: object) -> None:
        """As :class:`Checker`."""
        if type(event) is LegEnded:
            mode = DeliveryMode(event.delivery_mode)
            vector = Ledger.vector_of(mode, event.vector)
            line = event.source, event.apic_id, mode, vector, event.outcome
            self._ended[line] += event.count
        elif type(event) is BusTurn:
            self._turns += 1
            if self._turns % SAMPLE_EVERY == 0:
                self._balance(event.bus)

    def at_end(self, standing: Standing) -> None:
        """As :class:`Checker`."""
        self._balance(standing.bus)
        if standing.bus.in_flight():
            self.fail(f"{standing.bus.in_flight()} legs are in flight at rest")
        booked: Counter[_Line] = Counter()
        for row in standing.bus.ledger:
            key = row.key
            if row.written != row.ended:
                self.fail(f"{row.written} legs of a row were written, {row.ended} ended: {key}")
            for outcome, count in row.outcomes.items():
                booked[key.source.identity, key.apic_id, key.mode, key.vector, outcome] += count
        if booked != self._ended:
            line = next(iter((booked - self._ended) or (self._ended - booked)))
            self.fail(f"the books have {booked[line]} legs, {self._ended[line]} ended: {line}")

    def _balance(self, bus: ApicBus) -> None:
        lines = bus.balance()
        if lines:
            self.fail(lines[0])
