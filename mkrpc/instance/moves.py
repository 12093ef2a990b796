"""Changes of the registers that routing goes by, for an interconnect that takes over (design 3.3).

What is sent again is routed by the addresses of then. Whoever has changed his meanwhile says since
when he has had them, in the roster numbers by which writes are stamped.
"""

from collections import deque
from collections.abc import Iterable

from mkrpc.instance.kernel import Kernel
from mkrpc.link.frames import CpuAddress, UpFrame
from mkrpc.link.moved import HAS_COME, NEVER_MOVED, NOT_TOLD_YET, Moved, Which, moved

__all__ = ["Moves"]


class Moves:
    """Of one instance. The interconnect raises the roster number as it takes a change in, so that
    the number that is known once it has acknowledged the change is above the stamp of every write
    that it had routed before."""

    __slots__ = ("_changed", "_kernel", "_known", "_told")

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._told = [NEVER_MOVED] * len(kernel.cpus)
        self._known = [kernel.address_of(cpu.number) for cpu in kernel.cpus]
        self._changed: deque[tuple[int, int, Which]] = deque()
        """What was sent and has not been acknowledged: in which frame, of which CPU, which."""

    def sent(self, frame: UpFrame) -> None:
        """A frame is on its way for the first time."""
        for event in frame.events:
            if isinstance(event, CpuAddress):
                which = _take(self._known, event)
                if event.cpu == len(self._told):
                    self._told.append(NEVER_MOVED)
                if any(which):
                    self._changed.append((frame.frame, event.cpu, which))

    def acknowledged(self, frame: int) -> None:
        """The interconnect has taken in all frames up to this one, and told its roster number."""
        while self._changed and self._changed[0][0] <= frame:
            _, cpu, which = self._changed.popleft()
            self._told[cpu] = self._told[cpu].at(self._kernel.source.roster, which)

    def taken_over(self) -> None:
        """Another interconnect has the addresses as they are now, from the hello, and has told its
        roster number."""
        if self._changed:
            self.acknowledged(self._changed[-1][0])

    def told(self) -> tuple[Moved, ...]:
        """Of every CPU, with what may not have come; empty if none ever had another address."""
        told = list(self._told)
        told += [NEVER_MOVED] * (len(self._kernel.cpus) - len(told))
        for cpu, which in self._not_acknowledged():
            told[cpu] = told[cpu].at(NOT_TOLD_YET, which)
        return tuple(told) if any(each.ever for each in told) else ()

    def _not_acknowledged(self) -> Iterable[tuple[int, Which]]:
        for _, cpu, which in self._changed:
            yield cpu, which
        known = list(self._known)
        for event in self._kernel.events:
            if isinstance(event, CpuAddress):
                yield event.cpu, _take(known, event)


def _take(known: list[CpuAddress], event: CpuAddress) -> Which:
    """What has changed by this, which is known from now on. A CPU that has come was nowhere."""
    if event.cpu == len(known):
        known.append(event)
        return HAS_COME
    which = moved(known[event.cpu], event)
    known[event.cpu] = event
    return which
