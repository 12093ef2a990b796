"""Writes that get no further than the interconnect, as those beyond a source's rate.

Who makes too many makes very many: a frame of them costs a look-up and a count, not one for each.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from mkrpc.interconnect.ledger import Ledger, Party, Row, RowKey
from mkrpc.interconnect.legs import Ended
from mkrpc.link.frames import NOBODY
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import decode

__all__ = ["MAX_KNOWN_ROWS", "RefusedWrites"]

MAX_KNOWN_ROWS = 4096
"""Rows of refused writes that are known at a time; at so many all are looked up again."""

_MODE_AND_VECTOR = 0x7FF
"""The bits of a word that the books tell refused writes apart by."""


class RefusedWrites:
    """Books them: each is one leg to nobody."""

    __slots__ = ("_folds", "_ledger", "_rows")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._rows: dict[tuple[bytes, int], Row] = {}
        self._folds = -1

    def book(self, source: Party, words: Sequence[int], outcome: Outcome) -> list[Ended]:
        """Book writes of a source, and how they ended; returns what has ended."""
        ended = []
        for kind, count in _kinds(words):
            row = self._row(source, kind)
            self._ledger.book(row, count)
            self._ledger.settle(row, outcome, count)
            ended.append((row, outcome, count))
        return ended

    def _row(self, source: Party, kind: int) -> Row:
        if self._ledger.folds != self._folds or len(self._rows) >= MAX_KNOWN_ROWS:
            self._folds = self._ledger.folds
            self._rows.clear()
        row = self._rows.get((source.identity, kind))
        if row is None:
            icr = decode(kind)
            vector = self._ledger.vector_of(icr.delivery_mode, icr.vector)
            key = RowKey(source, None, NOBODY, icr.delivery_mode, vector)
            row = self._ledger.row(key) or self._ledger.overflow_row(source)
            self._rows[source.identity, kind] = row
        return row


def _kinds(words: Sequence[int]) -> Iterable[tuple[int, int]]:
    """The modes and vectors of these words, and how many have each."""
    kinds = {word & _MODE_AND_VECTOR for word in set(words)}
    if len(kinds) == 1:
        return ((kinds.pop(), len(words)),)
    return Counter([word & _MODE_AND_VECTOR for word in words]).items()
