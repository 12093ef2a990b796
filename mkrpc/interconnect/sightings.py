"""Since when a CPU is as it was last reported: what turns a mirror into ages.

Counts are cumulative, so equal ones in two reports say that nothing happened in between. An IRR bit
that is set has been set since its vector's ``delivered`` last grew, an ISR bit since ``handled``
did. All of it costs per report, never per interrupt, and is late by what a report takes.
"""

from collections.abc import Iterable, Mapping

from mkrpc.link.frames import VectorCount

__all__ = ["Sighting"]


class Sighting:
    """When the parts of one CPU's account last moved, on the bus's clock.

    ``reported_us``: the last report; None before the first. ``if_us``: since when every report has
    had the IF of the last one, and no interrupt was handled in between.
    """

    __slots__ = ("_delivered_us", "_handled_us", "if_us", "reported_us")

    def __init__(self) -> None:
        self.reported_us: int | None = None
        self.if_us = 0
        self._delivered_us: dict[int, int] = {}
        self._handled_us: dict[int, int] = {}

    def note(
        self,
        known: Mapping[int, VectorCount],
        counts: Iterable[VectorCount],
        now_us: int,
        *,
        moved: bool,
    ) -> None:
        """A report has come, with these counts; ``known`` are those before it. ``moved``: IF has
        changed."""
        for count in counts:
            vector = count.vector
            last = known.get(vector)
            if count.delivered != (last.delivered if last is not None else 0):
                self._delivered_us[vector] = now_us
            if count.handled != (last.handled if last is not None else 0):
                self._handled_us[vector] = now_us
                moved = True
        if moved or self.reported_us is None:
            self.if_us = now_us
        self.reported_us = now_us

    def pending_us(self, vector: int) -> int:
        """Since when an IRR bit that is set has been set."""
        return self._delivered_us.get(vector, 0)

    def handled_us(self, vector: int) -> int | None:
        """When the vector last went from IRR to ISR; None for never. If its ISR bit is set, it has
        been since then."""
        return self._handled_us.get(vector)
