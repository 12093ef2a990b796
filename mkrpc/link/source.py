"""The source's side of exactly-once: its sequence numbers and which of them are resolved."""

import heapq
from collections.abc import Iterable

from mkrpc.errors import ProtocolError
from mkrpc.link.frames import ResolvedRun
from mkrpc.link.runs import RunSet

__all__ = [
    "HARD_WRITE_WINDOW",
    "MAX_PUBLISHED_RUNS",
    "PUBLISH_EVERY",
    "WRITE_WINDOW",
    "SourceWindow",
]

WRITE_WINDOW = 4096
"""Unresolved ICR writes at which a CPU that can wait waits (ICR delivery status busy, R20)."""

HARD_WRITE_WINDOW = 4 * WRITE_WINDOW
"""Unresolved ICR writes at which one that cannot wait is ``rejected(backpressure)``.

A handler that is a plain function is one instruction and cannot stall in the middle.
"""

PUBLISH_EVERY = 1024
"""Newly resolved writes after which the source publishes, so that destinations may forget."""

MAX_PUBLISHED_RUNS = 1024
"""Runs in one publication at most: the longest ones, so that what is stuck costs memory only for
the few numbers between stuck ones. Keeps a frame far below the limit of its size."""


class SourceWindow:
    """Sequence numbers of one source incarnation, from 1 without a gap (design 3.3).

    A write is resolved when every one of its legs has an outcome.
    """

    __slots__ = ("_published", "_resolved", "_written")

    def __init__(self) -> None:
        self._written = 0
        self._resolved = RunSet()
        self._published = 0

    @property
    def written(self) -> int:
        """The highest sequence number given out; 0 before the first."""
        return self._written

    @property
    def unresolved(self) -> int:
        """How many writes have no final outcome yet."""
        return self._written - len(self._resolved)

    @property
    def may_write(self) -> bool:
        """Whether one that can wait may write now."""
        return self.unresolved < WRITE_WINDOW

    @property
    def room(self) -> int:
        """How many writes are left until :attr:`may_write` turns false; 0 if it is."""
        return max(0, WRITE_WINDOW - self.unresolved)

    @property
    def may_write_without_waiting(self) -> bool:
        """Whether one that cannot wait may write now."""
        return self.unresolved < HARD_WRITE_WINDOW

    def next_seq(self) -> int:
        """The number of the next write.

        It does not look at the window: a refused write has a number too, and a leg in the books.
        """
        self._written += 1
        return self._written

    def resolve(self, runs: Iterable[ResolvedRun]) -> int:
        """Take note of resolved writes; repeated ones change nothing. Returns how many are new.

        :raises ProtocolError: the peer resolves what was never written.
        """
        new = 0
        for run in runs:
            if not 1 <= run.first <= run.last <= self._written:
                raise ProtocolError(
                    f"writes {run.first} to {run.last} are called resolved, "
                    f"{self._written} were made"
                )
            new += self._resolved.add_run(run.first, run.last)
        return new

    def take_publication(self) -> tuple[ResolvedRun, ...]:
        """What to publish now: everything resolved, if enough of it is new; else nothing.

        Always the whole set (up to :data:`MAX_PUBLISHED_RUNS`), so that a repeated or lost
        publication does no harm.
        """
        if len(self._resolved) - self._published < PUBLISH_EVERY:
            return ()
        self._published = len(self._resolved)
        runs = self._resolved.runs()
        if len(runs) <= MAX_PUBLISHED_RUNS:
            return runs
        longest = heapq.nlargest(MAX_PUBLISHED_RUNS, runs, key=lambda run: run.last - run.first)
        return tuple(sorted(longest, key=lambda run: run.first))
