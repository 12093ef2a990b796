"""Instances whose event loop is late, as beats past their streams tell of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mkrpc.interconnect.clock import Clock
from mkrpc.interconnect.session import Session
from mkrpc.x86.pending import CoreState

__all__ = ["Late", "LateLoops"]


@dataclass(frozen=True, slots=True)
class Late:
    """What such a beat has told.

    ``cores``: CPUs that have something pending, in service or unfinished. ``where``: file, line and
    function that hold the loop, or empty. ``heard_us``: when it came.
    """

    cores: tuple[CoreState, ...]
    where: str
    heard_us: int

    def core(self, cpu: int) -> CoreState | None:
        """One CPU; None if it owed nobody anything, or there were too many."""
        return next((core for core in self.cores if core.cpu == cpu), None)

    @property
    def holder(self) -> tuple[int, int] | None:
        """The CPU, by its number, and the vector of the handler that keeps the loop."""
        for core in self.cores:
            if core.entered and core.handlers:
                return core.cpu, core.handlers[-1]
        return None


class LateLoops:
    """The last such beat of each instance, until its loop beats by itself.

    ``alive``: the session of an incarnation, while it lives.
    """

    def __init__(self, clock: Clock, alive: Callable[[bytes], Session | None]) -> None:
        self._clock = clock
        self._alive = alive
        self._late: dict[bytes, tuple[int, Late]] = {}
        """With the last beat over the stream before it."""

    def hear(self, incarnation: bytes, cores: Iterable[CoreState], where: str) -> None:
        """A beat past its stream has come; nothing happens if its instance has ended."""
        session = self._alive(incarnation)
        if session is not None:
            late = Late(tuple(cores), where, self._clock.now_us)
            self._late[incarnation] = session.beat, late

    def of(self, incarnation: bytes) -> Late | None:
        """What the last such beat has told; None if the loop has beaten since."""
        session, known = self._alive(incarnation), self._late.get(incarnation)
        if session is None or known is None:
            return None
        beat, late = known
        return late if session.beat == beat else None

    def forget(self) -> None:
        """Those that have ended, and those whose loops have beaten since."""
        for incarnation in [each for each in self._late if self.of(each) is None]:
            del self._late[incarnation]
