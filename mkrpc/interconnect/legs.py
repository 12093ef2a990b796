"""Legs on their way, run-length: equal consecutive writes of one source are one batch.

A batch of n writes to k CPUs has k lanes of n legs. A session hands the legs of a lane over, and
has them answered, in order, so one number per lane says how far it is, and a write is resolved once
every lane has passed it.
"""

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from mkrpc.interconnect.ledger import Party, Row
from mkrpc.interconnect.tally import Tally
from mkrpc.link.recovery import Resent
from mkrpc.link.source import WRITE_WINDOW
from mkrpc.outcome import Outcome

if TYPE_CHECKING:
    from mkrpc.interconnect.equal_legs import EqualLegs
    from mkrpc.interconnect.fan_legs import FanLegs
    from mkrpc.interconnect.leg_block import LegBlock

__all__ = [
    "QUEUE_PER_SOURCE",
    "Batch",
    "Ended",
    "LegQueue",
    "LegRun",
    "Resolved",
    "Settled",
]

QUEUE_PER_SOURCE = WRITE_WINDOW
"""Legs of one source that may wait for an instance whose queue is full: whoever floods one that
hangs takes no room from those who wait for their window."""

Ended = tuple[Row, Outcome, int]
"""How many legs of a row ended how."""

Resolved = Callable[[int, int, Sequence[Ended]], None]
"""Called with the first and last sequence number of writes that are resolved now, and with how
their legs ended."""


class Batch:
    """``count`` equal ICR writes of one source, with sequence numbers from ``first_seq``.

    ``apic_id``: of the CPU that wrote, None for a client. ``routed_us``: when that reached the bus.
    """

    __slots__ = (
        "_ended",
        "_lanes",
        "_on_resolved",
        "_progress",
        "_slowest",
        "apic_id",
        "count",
        "first_seq",
        "resolved",
        "routed_us",
        "source",
        "tally",
        "word",
    )

    def __init__(
        self,
        *,
        source: Party,
        first_seq: int,
        count: int,
        word: int,
        lanes: int,
        tally: Tally | None,
        on_resolved: Resolved,
        apic_id: int | None = None,
        routed_us: int = 0,
    ) -> None:
        assert count > 0
        assert lanes > 0
        self.source = source
        self.first_seq = first_seq
        self.count = count
        self.word = word
        self.tally = tally
        self.apic_id = apic_id
        self.routed_us = routed_us
        self.resolved = 0
        self._lanes = lanes
        # Empty until the first leg has ended: broadcasts that wait for a hung instance are many.
        self._progress: list[int] = []
        # How the legs of unresolved writes ended, of each lane in order; with one lane there is
        # nothing to keep.
        self._ended: list[list[Ended]] = []
        # A heap of (progress, lane), one entry a lane, that may lag behind: the least progress is
        # found without looking at every lane, of which a broadcast has thousands.
        self._slowest: list[tuple[int, int]] = []
        self._on_resolved = on_resolved

    @property
    def has_lanes(self) -> bool:
        """Whether each of its writes has more than one leg."""
        return self._lanes > 1

    def _begin(self) -> None:
        lanes = self._lanes
        self._progress = [0] * lanes
        if lanes > 1:
            self._ended = [[] for _ in range(lanes)]
            self._slowest = [(0, lane) for lane in range(lanes)]

    def advance(self, lane: int, count: int, row: Row, outcome: Outcome) -> None:
        """The next ``count`` legs of a lane, in the books at ``row``, have ended like this."""
        if not self._progress:
            self._begin()
        before = self._progress[lane]
        self._progress[lane] = before + count
        assert before + count <= self.count
        if not self._slowest:
            self.resolved = before + count
            first = self.first_seq + before
            self._on_resolved(first, first + count - 1, ((row, outcome, count),))
            return
        _note(self._ended[lane], row, outcome, count)
        if before != self.resolved:
            return
        passed = before + count
        slowest = self._slowest
        while slowest and (passed := self._progress[slowest[0][1]]) != slowest[0][0]:
            heapq.heapreplace(slowest, (passed, slowest[0][1]))
        if passed > before:
            first = self.first_seq + before
            self.resolved = passed
            ended = [each for lane in self._ended for each in _take(lane, passed - before)]
            self._on_resolved(first, self.first_seq + passed - 1, ended)


def _note(lane: list[Ended], row: Row, outcome: Outcome, count: int) -> None:
    """Legs have ended: one entry for those alike, so that a lane does not grow with every answer
    while another one is stuck."""
    if lane and lane[-1][:2] == (row, outcome):
        count += lane.pop()[2]
    lane.append((row, outcome, count))


def _take(lane: list[Ended], count: int) -> Iterator[Ended]:
    """The first ``count`` legs of a lane that have ended."""
    while count:
        row, outcome, number = lane[0]
        taken = min(number, count)
        count -= taken
        if taken == number:
            del lane[0]
        else:
            lane[0] = row, outcome, number - taken
        yield row, outcome, taken


@dataclass(slots=True, eq=False)
class LegRun:
    """``count`` consecutive legs of one lane, from sequence number ``first_seq``.

    ``cpu`` is the number within the instance; a leg to nobody has ``instance_id`` None. ``resent``
    and ``arbitrated`` as in :class:`mkrpc.link.frames.Legs`.
    """

    batch: Batch
    lane: int
    row: Row
    instance_id: int | None
    cpu: int
    apic_id: int
    first_seq: int
    count: int
    resent: Resent = Resent.NO
    arbitrated: bool = False

    def split(self, count: int) -> "LegRun":
        """Take the first ``count`` legs off; this run keeps the rest."""
        assert 0 < count < self.count
        taken = replace(self, count=count)
        self.first_seq += count
        self.count -= count
        return taken

    def parts(self) -> Iterator["LegRun"]:
        """Itself: its legs are equal."""
        yield self

    def count_by_row(self, counts: Counter[Row]) -> None:
        """Add its legs to those of its row."""
        counts[self.row] += self.count


Piece: TypeAlias = "EqualLegs | LegRun | LegBlock | FanLegs"
"""An entry of a queue: legs of one source."""

Settled = Callable[[Piece, Outcome], None]
"""Called with legs that have ended; the piece is nobody else's any more."""


class LegQueue:
    """One session's legs: those that wait, and those handed over and not yet answered.

    Legs are numbered on the link from 1 as they are handed over.
    """

    __slots__ = ("_handed", "_held", "_waiting", "answered", "handed", "waiting")

    def __init__(self) -> None:
        self._waiting: deque[Piece] = deque()
        self._handed: deque[Piece] = deque()
        self._held: dict[bytes, int] | None = None
        """How many legs of each source wait; None: nobody has had to ask, and that is most."""
        self.waiting = 0
        self.handed = 0
        """Legs handed over since the link began."""
        self.answered = 0
        """How many of those have an outcome."""

    @property
    def unanswered(self) -> int:
        """Legs handed over that have no outcome yet."""
        return self.handed - self.answered

    def oldest(self) -> LegRun | None:
        """The first of the legs that have no outcome, which was here first."""
        for pieces in (self._handed, self._waiting):
            if pieces:
                return next(pieces[0].parts())
        return None

    def runs(self) -> Iterator[tuple[LegRun, bool]]:
        """All legs that have no outcome, oldest first, and whether they were handed over."""
        for piece in self._handed:
            for run in piece.parts():
                yield run, True
        for piece in self._waiting:
            for run in piece.parts():
                yield run, False

    def enqueue(self, run: Piece) -> None:
        """Legs for this session; the caller has looked at the limit."""
        self._waiting.append(run)
        self.waiting += run.count
        if self._held is not None:
            _hold(self._held, run)

    def room_for(self, source: Party, limit: int) -> int:
        """How many more legs of a source may wait, where ``limit`` of all sources may.

        Each has :data:`QUEUE_PER_SOURCE` places for itself, however many wait; all clients together
        have those of one source, since anybody can draw another client id.
        """
        if limit - self.waiting >= QUEUE_PER_SOURCE:
            return limit - self.waiting
        held = self._held
        if held is None:
            held = self._held = {}
            for run in self._waiting:
                _hold(held, run)
        own = QUEUE_PER_SOURCE - held.get(_holder(source), 0)
        return max(0, limit - self.waiting, own)

    def _left(self, run: Piece) -> None:
        """It waits no longer."""
        self.waiting -= run.count
        held = self._held
        if held is None:
            return
        if not self.waiting:
            self._held = None
            return
        holder = _holder(run.batch.source)
        held[holder] -= run.count
        if not held[holder]:
            del held[holder]

    def hand_over(self, limit: int) -> list[Piece]:
        """Hand over up to ``limit`` legs in order."""
        handed: list[Piece] = []
        waiting = self._waiting
        while limit and waiting:
            run = waiting[0]
            if run.count > limit:
                run = run.split(limit)
            else:
                waiting.popleft()
            handed.append(run)
            self._left(run)
            limit -= run.count
            self.handed += run.count
        if len(handed) == 1:
            self._handed.append(handed[0])
        else:
            self._handed.extend(handed)
        return handed

    def answer(self, count: int, outcome: Outcome, settled: Settled) -> None:
        """The next ``count`` legs that were handed over have ended like this."""
        assert count <= self.unanswered
        self.answered += count
        while count:
            run = self._handed[0]
            if run.count > count:
                run = run.split(count)
            else:
                self._handed.popleft()
            count -= run.count
            settled(run, outcome)

    def all_resent(self, count: int) -> bool:
        """Whether the next ``count`` legs that were handed over may have come before."""
        for run in self._handed:
            if count <= 0:
                break
            if not run.resent:
                return False
            count -= run.count
        return True

    def abandon(self, settled: Settled) -> None:
        """The destination is dead: every leg ends, in order, as lost."""
        self.answer(self.unanswered, Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED, settled)
        while self._waiting:
            run = self._waiting.popleft()
            self._left(run)
            # What an earlier interconnect had, it may have handed over.
            maybe = Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED
            settled(run, maybe if run.resent else Outcome.LOST_TARGET_DEAD)

    def count_by_row(self, counts: Counter[Row]) -> None:
        """Add what is really here, counted afresh: the independent side of the first law."""
        for run in self._handed:
            run.count_by_row(counts)
        for run in self._waiting:
            run.count_by_row(counts)


def _hold(held: dict[bytes, int], run: Piece) -> None:
    holder = _holder(run.batch.source)
    held[holder] = held.get(holder, 0) + run.count


def _holder(source: Party) -> bytes:
    return b"" if source.instance_id is None else source.identity
