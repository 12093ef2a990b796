"""Liveness: when faults have stopped, everything comes to rest within a bounded virtual time."""

from typing import ClassVar

from mkrpc.simulation.checkers.violation import Checker
from mkrpc.simulation.events import Standing

__all__ = ["Liveness"]


class Liveness(Checker):
    """The world says what has not come to rest."""

    name: ClassVar[str] = "liveness"

    def at_end(self, standing: Standing) -> None:
        """As :class:`Checker`."""
        if standing.unsettled:
            more = len(standing.unsettled) - 1
            self.fail(standing.unsettled[0] + (f" (and {more} more)" if more else ""))
