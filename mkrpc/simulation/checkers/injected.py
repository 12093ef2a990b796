"""Injected faults (design 3.5): legs are swallowed by a fault that is there, and counted."""

from typing import ClassVar

from mkrpc.fault import FaultKind
from mkrpc.outcome import Outcome
from mkrpc.simulation.checkers.violation import Checker
from mkrpc.simulation.events import HubBegan, Standing
from mkrpc.trace import FaultBegan, FaultEnded, LegEnded

__all__ = ["Injected"]


class Injected(Checker):
    """Counts the faults that drop, what they say that they have struck, and the legs."""

    name: ClassVar[str] = "injected"
    listens: ClassVar[tuple[type, ...]] = (FaultBegan, FaultEnded, LegEnded, HubBegan)

    def __init__(self) -> None:
        self._active: set[int] = set()
        self._legs = 0
        self._struck = 0

    def on_event(self, event: object) -> None:
        """As :class:`Checker`."""
        if type(event) is LegEnded:
            if event.outcome is Outcome.REJECTED_INJECTED_FAULT:
                self._legs += event.count
                if not self._active and self._legs > self._struck:
                    self.fail(f"leg {event.seq} was swallowed, and no fault is injected")
        elif type(event) is HubBegan:
            # Faults end with their interconnect, and nobody tells what they had struck.
            self._active.clear()
            self._struck = self._legs
        elif type(event) is FaultBegan and event.fault == FaultKind.DROP:
            self._active.add(event.number)
        elif type(event) is FaultEnded and event.fault == FaultKind.DROP:
            self._active.discard(event.number)
            self._struck += event.struck

    def at_end(self, standing: Standing) -> None:
        """As :class:`Checker`."""
        left = [active.number for active in standing.bus.faults]
        if left:
            self.fail(f"faults {left} have not ended")
        if not self._active and self._legs != self._struck:
            self.fail(f"{self._legs} legs were swallowed, faults have struck {self._struck}")
