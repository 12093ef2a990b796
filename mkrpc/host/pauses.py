"""Processes that a host agent has stopped, and when each goes on."""

import asyncio
import signal
from collections.abc import Callable

from mkrpc.host.child import Child

__all__ = ["Pauses"]


class Pauses:
    """``report``: is told the instance, the order (0: none) and the child when one has stopped or
    goes on."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, report: Callable[[int, int, Child], None]
    ) -> None:
        self._loop = loop
        self._report = report
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def stop(self, instance_id: int, child: Child, *, for_s: float, order: int) -> None:
        """SIGSTOP; it goes on by itself after so many seconds, if that is not 0."""
        child.send(signal.SIGSTOP)
        child.paused = True
        if for_s:
            self._timers[instance_id] = self._loop.call_later(
                for_s, self.go_on, instance_id, child, 0
            )
        self._report(instance_id, order, child)

    def go_on(self, instance_id: int, child: Child, order: int) -> None:
        """SIGCONT, by an order or (0) because the time of its pause is over."""
        self.ended(instance_id)
        child.paused = False
        child.send(signal.SIGCONT)
        self._report(instance_id, order, child)

    def pending(self, instance_id: int) -> bool:
        """Whether it will go on by itself."""
        return instance_id in self._timers

    def ended(self, instance_id: int) -> None:
        """The process has ended: there is nothing to go on."""
        timer = self._timers.pop(instance_id, None)
        if timer is not None:
            timer.cancel()
