"""What a source has still to be told of its own writes: which are resolved, and how they ended."""

from collections import deque
from collections.abc import Sequence

from mkrpc.interconnect.ledger import OVERFLOW, Row
from mkrpc.interconnect.legs import Ended
from mkrpc.link.frames import DownFrame, ResolvedRun
from mkrpc.link.recovery import (
    MAX_FRAME_BOOKS,
    TO_NOBODY,
    TO_OVERFLOW,
    BookKey,
    EndedLegs,
    SourceBook,
)
from mkrpc.link.runs import RunSet
from mkrpc.outcome import Outcome

__all__ = ["MAX_FRAME_RUNS", "Telling", "book_key"]

MAX_FRAME_RUNS = 4096
"""Runs of resolved numbers in one frame, the sources' publications included. At most about 100
KiB, so that a frame stays below the transport's limit of its size."""


def book_key(row: Row) -> BookKey:
    """A row of the ledger as its source has it in its own books."""
    destination = row.key.destination
    where = (row.key.apic_id, int(row.key.mode), row.key.vector)
    if destination is None:
        return BookKey(b"", TO_NOBODY, *where)
    if destination == OVERFLOW or destination.instance_id is None:
        return BookKey(b"", TO_OVERFLOW, *where)
    return BookKey(destination.identity, destination.instance_id, *where)


class Telling:
    """Runs and books gather here until they are worth a frame.

    The source must count both at once: if they do not fit into one frame, several are ``partial``
    until the last, and what gathers meanwhile waits for the next time.
    """

    __slots__ = ("_books", "_runs", "_series", "gathered")

    def __init__(self) -> None:
        self._runs = RunSet()
        self._books: dict[Row, dict[Outcome, int]] = {}
        self._series: deque[tuple[list[ResolvedRun], list[SourceBook]]] = deque()
        self.gathered = 0
        """How many resolved writes there are to tell of."""

    @property
    def begun(self) -> bool:
        """Whether the rest of what has been told in part is due."""
        return bool(self._series)

    def add(self, first: int, last: int, ended: Sequence[Ended]) -> None:
        """Writes are resolved; their legs ended like this."""
        self.gathered += self._runs.add_run(first, last)
        books = self._books
        for row, outcome, count in ended:
            outcomes = books.get(row)
            if outcomes is None:
                outcomes = books[row] = {}
            outcomes[outcome] = outcomes.get(outcome, 0) + count

    def take(self, frame: DownFrame) -> None:
        """Put as much of it into a frame as fits."""
        if not self._series:
            if not self.gathered:
                return
            self._begin()
        frame.resolved, frame.books = self._series.popleft()
        frame.partial = bool(self._series)

    def _begin(self) -> None:
        runs = self._runs.take()
        books = [
            SourceBook(book_key(row), tuple(EndedLegs(*legs) for legs in outcomes.items()))
            for row, outcomes in self._books.items()
        ]
        self._books, self.gathered = {}, 0
        size = max(-(-len(runs) // MAX_FRAME_RUNS), -(-len(books) // MAX_FRAME_BOOKS))
        for part in range(size):
            some = slice(part * MAX_FRAME_RUNS, (part + 1) * MAX_FRAME_RUNS)
            rows = slice(part * MAX_FRAME_BOOKS, (part + 1) * MAX_FRAME_BOOKS)
            self._series.append((list(runs[some]), books[rows]))
