"""The clock of a running instance."""

import time

__all__ = ["BootClock"]


class BootClock:
    """Microseconds of CLOCK_MONOTONIC since it was made; each line of the log reads it."""

    __slots__ = ("_now_ns", "_started_ns")

    def __init__(self) -> None:
        self._now_ns = time.monotonic_ns
        self._started_ns = self._now_ns()

    def __call__(self) -> int:
        return (self._now_ns() - self._started_ns) // 1000
