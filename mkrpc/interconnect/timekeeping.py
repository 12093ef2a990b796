"""Tells the bus what time it is: when something comes, once in a tick, and when somebody asks."""

import time

import structlog

from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.beats import BeatServer
from mkrpc.interconnect.lease import CLOCK_DRIFT_SHARE
from mkrpc.trace import event_fields, kind

__all__ = ["Timekeeper"]

_TICK_US = 500
"""Microseconds after which the bus is told the time: after what has come has been sent on, or, if
that was longer ago than another tick, before."""

_TICKS_IN_DRIFT = 4
"""Of a short lease a tick is a part of what it has to spare for clocks that drift."""

_log = structlog.get_logger("mkrpc.interconnect")


class Timekeeper:
    """The clock of one bus; ``beats`` are what comes past the streams."""

    def __init__(self, bus: ApicBus, beats: BeatServer) -> None:
        self._bus = bus
        self._beats = beats
        self._ended = bus.ended
        self._tick_ns = 1000 * min(_TICK_US, bus.lease_us // (_TICKS_IN_DRIFT * CLOCK_DRIFT_SHARE))
        self._told_ns = 0

    @property
    def due(self) -> bool:
        """Whether the bus was told more than a tick ago."""
        return time.monotonic_ns() - self._told_ns >= self._tick_ns

    def tick(self) -> None:
        """Call before anything that comes in is handed to the bus: tell it the time, if that is
        two ticks old. So the lease of whoever speaks begins that much too early at most, which is
        less than what an instance takes it to be shorter by.
        """
        if time.monotonic_ns() - self._told_ns >= 2 * self._tick_ns:
            self.tell()

    def tell(self) -> None:
        """Tell the bus what time it is; leases may end with that.

        Nobody's beat is answered between the end of its lease and here: it would hold a lease that
        its legs have been booked as lost with.
        """
        bus, beats = self._bus, self._beats
        # Next to nothing is done here where there is nothing to do: all that comes waits for this.
        if beats.told:
            for incarnation, (cores, where) in beats.take_told().items():
                bus.late.hear(incarnation, cores, where)
        with beats.lock:
            self._told_ns = time.monotonic_ns()
            bus.advance(self._told_ns // 1000, beats.take_heard() if beats.heard else ())
            if self._ended != bus.ended:
                self._ended = bus.ended
                beats.open = bus.may_beat()
        reports = bus.stalls.reports
        while reports:
            report = reports.popleft()
            _log.warning(kind(report), **event_fields(report))
