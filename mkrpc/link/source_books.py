"""A source's own books: how the legs of those of its writes ended that it knows to be resolved."""

from collections.abc import Iterable, Iterator

from mkrpc.link.frames import NOBODY
from mkrpc.link.recovery import TO_NOBODY, TO_OVERFLOW, BookKey, EndedLegs, SourceBook
from mkrpc.outcome import Outcome

__all__ = ["MAX_SOURCE_BOOK_ROWS", "SourceBooks"]

MAX_SOURCE_BOOK_ROWS = 32_768
"""Rows that a source keeps: twice what the ledger has of one source to others. At the limit the
rows of earlier incarnations are folded into one party per instance id; if that frees none, legs
that need a new row are in one row for all of them."""

_OVERFLOW = BookKey(b"", TO_OVERFLOW, NOBODY, 0, 0)


class SourceBooks:
    """Counts of legs by row and outcome; it is published to an interconnect that takes over.

    Told together with what is resolved, so it covers exactly the writes that the source knows to be
    resolved: what is not resolved is sent again, and is booked then (design 3.4). ``over_rate``:
    of what was told last, some was refused for being beyond the source's rate (design 3.5).
    """

    __slots__ = ("_foldable", "_newest", "_rows", "over_rate")

    def __init__(self) -> None:
        self._rows: dict[BookKey, dict[Outcome, int]] = {}
        self._newest: dict[int, bytes] = {}
        """The incarnation of each instance id that was met last."""
        self._foldable = False
        """Whether one has taken another's place since rows were last folded."""
        self.over_rate = False

    def __len__(self) -> int:
        """How many rows."""
        return len(self._rows)

    def __iter__(self) -> Iterator[SourceBook]:
        for key, outcomes in self._rows.items():
            ended = (EndedLegs(outcome, count) for outcome, count in outcomes.items())
            yield SourceBook(key, tuple(ended))

    def add(self, books: Iterable[SourceBook]) -> None:
        """More legs have ended."""
        over_rate = False
        for book in books:
            row = self._row(book.key)
            for legs in book.outcomes:
                row[legs.outcome] = row.get(legs.outcome, 0) + legs.count
                over_rate = over_rate or legs.outcome is Outcome.REJECTED_RATE_LIMITED
        self.over_rate = over_rate

    def _row(self, key: BookKey) -> dict[Outcome, int]:
        row = self._rows.get(key)
        if row is not None:
            return row
        if key.destination:
            newest = self._newest.setdefault(key.instance_id, key.destination)
            if newest != key.destination:
                self._newest[key.instance_id] = key.destination
                self._foldable = True
        if len(self._rows) >= MAX_SOURCE_BOOK_ROWS:
            if self._foldable:
                self._fold()
            if len(self._rows) >= MAX_SOURCE_BOOK_ROWS:
                key = _OVERFLOW
        return self._rows.setdefault(key, {})

    def _fold(self) -> None:
        """Only the incarnation of an instance id that was met last can still live."""
        self._foldable = False
        for key in list(self._rows):
            if not key.destination or self._newest.get(key.instance_id) == key.destination:
                continue
            assert key.instance_id not in (TO_NOBODY, TO_OVERFLOW)
            folded = self._rows.setdefault(key._replace(destination=b""), {})
            for outcome, count in self._rows.pop(key).items():
                folded[outcome] = folded.get(outcome, 0) + count
