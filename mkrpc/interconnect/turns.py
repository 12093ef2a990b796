"""Whose turn it is, when many have work that waits: by what it has cost, not by how often.

A frame of 512 words to one CPU each and one of 512 broadcasts to 512 CPUs differ in cost by a
factor of hundreds; one of words that are all refused costs next to nothing. So each source has an
account of what its work has cost, and whose account is lowest comes next (start-time fair queueing;
Goyal, Vin and Cheng, 1996). The cost is measured by the driver, as it is spent.
"""

import heapq
from typing import Generic, TypeVar

from mkrpc.compiled.marks import mypyc_attr

__all__ = ["Source", "Turns"]


@mypyc_attr(allow_interpreted_subclasses=True)
class Source:
    """``spent``: its account. Begins at 0; nobody but :class:`Turns` changes it."""

    spent: float = 0.0


SourceT = TypeVar("SourceT", bound=Source)


class Turns(Generic[SourceT]):
    """Sources with work that waits.

    Who comes back after it has been idle has saved nothing: its account is lifted to that of
    whoever is being served. Nor is anything forgiven, if its account is higher.
    """

    __slots__ = ("_count", "_now", "waiting")

    def __init__(self) -> None:
        self.waiting: list[tuple[float, int, SourceT]] = []
        """A heap, for whoever looks whether it is empty."""
        self._count = 0
        self._now = 0.0

    def put(self, source: SourceT) -> None:
        """It has work that waits, and had none that this knew of; among equals the last."""
        source.spent = max(source.spent, self._now)
        self._push(source)

    def begin(self, source: SourceT) -> None:
        """It has work, and nobody's waits: as :meth:`put`, and taken at once."""
        assert not self.waiting
        self._now = source.spent = max(source.spent, self._now)

    def take(self) -> SourceT:
        """Whose turn it is; its work is then known of no more."""
        self._now, _, source = heapq.heappop(self.waiting)
        return source

    def done(self, source: SourceT, cost: float, *, more: bool) -> None:
        """What was taken has been served, at this cost; ``more`` of its work waits."""
        source.spent += cost
        if more:
            self._push(source)

    def _push(self, source: SourceT) -> None:
        self._count += 1
        heapq.heappush(self.waiting, (source.spent, self._count, source))
