"""A set of sequence numbers as sorted disjoint runs."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from mkrpc.errors import LimitReachedError
from mkrpc.link.frames import ResolvedRun

__all__ = ["MAX_RUNS", "RunSet"]

MAX_RUNS = 65_536
"""Runs in one set at most; one more is a :class:`LimitReachedError`, and the set is unchanged."""


class RunSet:
    """A set of integers from 1, kept as runs ``first..last`` that neither touch nor overlap.

    Adding numbers in order costs O(1), any other change a binary search and a shift of the runs
    behind it. What a sender has written and what has been resolved are sets of this shape: one long
    run from 1 and a few islands above it.
    """

    __slots__ = ("_count", "_firsts", "_lasts")

    def __init__(self, runs: Iterable[ResolvedRun] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._count = 0
        for run in runs:
            self.add_run(run.first, run.last)

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._firsts, number) - 1
        return index >= 0 and number <= self._lasts[index]

    def __len__(self) -> int:
        """How many numbers, not how many runs."""
        return self._count

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __iter__(self) -> Iterator[ResolvedRun]:
        for first, last in zip(self._firsts, self._lasts, strict=True):
            yield ResolvedRun(first, last)

    def __repr__(self) -> str:
        inside = ", ".join(f"{run.first}-{run.last}" for run in self)
        return f"RunSet({inside})"

    @property
    def floor(self) -> int:
        """The highest number such that it and every number below it are in the set; 0 for none."""
        return self._lasts[0] if self._firsts and self._firsts[0] == 1 else 0

    @property
    def highest(self) -> int:
        """The highest number in the set; 0 if it is empty."""
        return self._lasts[-1] if self._lasts else 0

    def runs(self) -> tuple[ResolvedRun, ...]:
        """All runs in ascending order."""
        # Not tuple(self), which would ask __len__, and make room for every number.
        return tuple(map(ResolvedRun, self._firsts, self._lasts))

    def covers(self, first: int, last: int) -> bool:
        """Whether every number from ``first`` to ``last`` is in the set."""
        index = bisect_right(self._firsts, first) - 1
        return index >= 0 and last <= self._lasts[index]

    def overlaps(self, first: int, last: int) -> bool:
        """Whether any number from ``first`` to ``last`` is in the set."""
        index = bisect_left(self._lasts, first)
        return index < len(self._firsts) and self._firsts[index] <= last

    def add(self, number: int) -> int:
        """Add one number. Returns 1 if it is new, 0 if not."""
        return self.add_run(number, number)

    def add_run(self, first: int, last: int) -> int:
        """Add ``first`` to ``last``, both included. Returns how many of them are new.

        :raises LimitReachedError: it would need more than :data:`MAX_RUNS` runs.
        """
        assert 1 <= first <= last, (first, last)
        firsts, lasts = self._firsts, self._lasts
        if lasts and first == lasts[-1] + 1:
            lasts[-1] = last
            self._count += last - first + 1
            return last - first + 1
        # Every run with index in low..high-1 touches or overlaps the new one and melts into it.
        low = bisect_left(lasts, first - 1)
        high = bisect_right(firsts, last + 1)
        if low == high and len(firsts) >= MAX_RUNS:
            raise LimitReachedError(
                f"a set of sequence numbers has {MAX_RUNS} runs already",
                advice="resolve the oldest numbers first",
            )
        known = sum(lasts[i] - firsts[i] + 1 for i in range(low, high))
        if low < high:
            first, last = min(first, firsts[low]), max(last, lasts[high - 1])
        firsts[low:high] = [first]
        lasts[low:high] = [last]
        new = last - first + 1 - known
        self._count += new
        return new

    def missing(self, first: int, last: int) -> list[ResolvedRun]:
        """The runs of ``first..last`` that are not in the set, in ascending order."""
        gaps: list[ResolvedRun] = []
        at = first
        index = bisect_left(self._lasts, first)
        while at <= last and index < len(self._firsts) and self._firsts[index] <= last:
            if at < self._firsts[index]:
                gaps.append(ResolvedRun(at, self._firsts[index] - 1))
            at = self._lasts[index] + 1
            index += 1
        if at <= last:
            gaps.append(ResolvedRun(at, last))
        return gaps

    def take(self, limit: int = MAX_RUNS) -> tuple[ResolvedRun, ...]:
        """Remove and return the lowest ``limit`` runs, all of them by default."""
        taken = [
            ResolvedRun(first, last)
            for first, last in zip(self._firsts[:limit], self._lasts[:limit], strict=True)
        ]
        del self._firsts[:limit]
        del self._lasts[:limit]
        self._count -= sum(run.last - run.first + 1 for run in taken)
        return tuple(taken)
