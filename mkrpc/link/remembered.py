"""What a destination remembers of one source: the outcomes of its writes, and which it forgot."""

import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import lt
from typing import Final

from mkrpc.limits import MAX_CPUS
from mkrpc.link.frames import ResolvedRun
from mkrpc.link.runs import RunSet
from mkrpc.outcome import Outcome

__all__ = ["CPU_BIT", "MIN_ROW", "ROW_CPUS", "Remembered", "in_bytes"]

MIN_ROW: Final = 16
"""Legs from which on a row is kept as one: of fewer, each is cheaper by itself."""

ROW_CPUS: Final = 256
"""CPU numbers in a row that is kept as one are below this: it has one byte a leg."""

_SPARSE: Final = 4
"""A row of which less than this part is left is kept write by write."""

_OUTCOME_BITS: Final = 8
_OUTCOME_MASK: Final = (1 << _OUTCOME_BITS) - 1
CPU_BIT: Final = tuple(1 << _OUTCOME_BITS + cpu for cpu in range(MAX_CPUS))
_DELIVERED: Final = Outcome.DELIVERED
_ALL_CPUS: Final = bytes(range(ROW_CPUS))


def in_bytes(cpus: Sequence[int]) -> bytes:
    """A column of CPU numbers with a byte for each; empty if one of them is no byte."""
    if isinstance(cpus, array):
        # Plane by plane, which makes no object for each number.
        content, size, none = cpus.tobytes(), cpus.itemsize, bytes(len(cpus))
        planes = [content[at::size] for at in range(size)]
        low = planes.pop(0 if sys.byteorder == "little" else -1)
        return low if all(plane == none for plane in planes) else b""
    try:
        return bytes(cpus)
    except ValueError:
        return b""


def _distinct(cpus: bytes) -> bytes:
    """The numbers that occur, each once, ascending."""
    return _ALL_CPUS.translate(None, _ALL_CPUS.translate(None, cpus))


class _Row:
    """Writes that came together, each to one CPU: ``seqs`` ascend; ``outcomes`` is empty if all
    were delivered. ``left``: how many are not forgotten."""

    __slots__ = ("cpus", "last", "left", "outcomes", "seqs")

    def __init__(self, seqs: Sequence[int], cpus: bytes, outcomes: bytes) -> None:
        self.seqs = seqs
        self.last = seqs[-1]
        self.cpus = cpus
        self.outcomes = outcomes
        self.left = len(seqs)

    def outcome(self, index: int) -> Outcome:
        return Outcome(self.outcomes[index]) if self.outcomes else _DELIVERED


def _last_of(row: _Row) -> int:
    return row.last


class Remembered:
    """What is known of one source; its length is the number of writes.

    Legs that came in a long row, as those of a burst do, are kept as the row that they came in.
    """

    __slots__ = (
        "_in_rows",
        "_rows",
        "arbitrated",
        "forgotten",
        "highest",
        "others",
        "outcomes",
        "unknown_above",
    )

    def __init__(self) -> None:
        # Nearly all legs of a write end alike, so they are one integer under its number: a bit for
        # each CPU, and their outcome in the low byte. Legs that ended otherwise are in `others`, an
        # integer of the same kind for each of their outcomes.
        self.outcomes: dict[int, int] = {}
        self.others: dict[int, list[int]] = {}
        self.arbitrated: dict[int, int] = {}
        """The CPUs that were chosen for lowest-priority writes."""
        self.highest: dict[int, int] = {}
        """By CPU the highest number recorded, whether forgotten or not."""
        self.forgotten = RunSet()
        self.unknown_above = 0
        """What is neither forgotten nor in a row is above, or in ``outcomes``."""
        self._rows: list[_Row] = []
        """In ascending order; none of their writes is in ``outcomes``."""
        self._in_rows = 0

    def __len__(self) -> int:
        return len(self.outcomes) + self._in_rows

    def has(self, seq: int) -> bool:
        """Is anything remembered of this write?"""
        return seq in self.outcomes or (seq not in self.forgotten and self._row_of(seq) is not None)

    def recall(self, seq: int, cpu: int) -> Outcome | None:
        """As :meth:`mkrpc.link.memory.OutcomeMemory.recall`."""
        entry = self.outcomes.get(seq)
        if entry is None:
            if seq in self.forgotten:
                return Outcome.REJECTED_MALFORMED
            row = self._row_of(seq)
            if row is None:
                return None
            index = bisect_left(row.seqs, seq)
            return row.outcome(index) if row.cpus[index] == cpu else None
        bit = CPU_BIT[cpu]
        if entry & bit:
            return Outcome(entry & _OUTCOME_MASK)
        for other in self.others.get(seq, ()):
            if other & bit:
                return Outcome(other & _OUTCOME_MASK)
        return None

    def record_further(self, seq: int, cpu: int, outcome: Outcome) -> None:
        """A leg of a write that has other legs here."""
        assert self.recall(seq, cpu) is None, "a leg has one outcome"
        bit = CPU_BIT[cpu]
        if self.outcomes[seq] & _OUTCOME_MASK == outcome:
            self.outcomes[seq] |= bit
            return
        others = self.others.setdefault(seq, [])
        for index, other in enumerate(others):
            if other & _OUTCOME_MASK == outcome:
                others[index] |= bit
                return
        others.append(bit | outcome)

    # Rows.

    def is_new_row(self, seqs: Sequence[int]) -> bool:
        """Do these ascend, and come after all that was recorded, and was none of them forgotten?"""
        first, last = seqs[0], seqs[-1]
        if first <= max(self.highest.values(), default=0):
            return False
        if last - first >= len(seqs):
            ascend = all(map(lt, seqs, seqs[1:]))
        else:
            ascend = isinstance(seqs, range) or list(seqs) == list(range(first, last + 1))
        return ascend and not self.forgotten.overlaps(first, last)

    def record_row(self, seqs: Sequence[int], cpus: bytes, outcomes: Sequence[Outcome]) -> None:
        """Record legs of which :meth:`is_new_row` is true; no ``outcomes``: all delivered."""
        first, last = seqs[0], seqs[-1]
        seqs = range(first, last + 1) if last - first < len(seqs) else array("Q", seqs)
        delivered = outcomes.count(_DELIVERED) == len(outcomes)
        row = _Row(seqs, cpus, b"" if delivered else bytes(outcomes))
        self._rows.append(row)
        self._in_rows += row.left
        for cpu in _distinct(cpus):
            self.highest[cpu] = seqs[cpus.rindex(cpu)]
        self.unknown_above = max(self.unknown_above, last)

    def dissolve_row_of(self, seq: int) -> None:
        """If this write came in a row, keep the writes of that one by one from here on."""
        row = self._row_of(seq) if self._rows else None
        if row is not None:
            self._rows.remove(row)
            self._dissolve(row)

    def _dissolve(self, row: _Row) -> None:
        self._in_rows -= row.left
        for index, seq in enumerate(row.seqs):
            if seq not in self.forgotten:
                self.outcomes[seq] = CPU_BIT[row.cpus[index]] | row.outcome(index)

    def _row_of(self, seq: int) -> _Row | None:
        """The row that this write came in, if there is one."""
        at = bisect_left(self._rows, seq, key=_last_of)
        if at == len(self._rows):
            return None
        row = self._rows[at]
        index = bisect_left(row.seqs, seq)
        return row if row.seqs[index] == seq else None

    # Forgetting.

    def forget(self, run: ResolvedRun) -> int:
        """Forget the writes of a run; returns how many were known."""
        before = len(self)
        gone = self.forgotten.missing(run.first, run.last)
        self.forgotten.add_run(run.first, run.last)
        self.unknown_above = max(self.unknown_above, run.last)
        for new in gone:
            self._forget_single(new)
            if self._rows:
                self._forget_in_rows(new)
        return before - len(self)

    def _forget_single(self, new: ResolvedRun) -> None:
        if new.last - new.first < len(self.outcomes):
            gone = [seq for seq in range(new.first, new.last + 1) if seq in self.outcomes]
        else:
            gone = [seq for seq in self.outcomes if new.first <= seq <= new.last]
        for seq in gone:
            del self.outcomes[seq]
            self.others.pop(seq, None)
            self.arbitrated.pop(seq, None)

    def _forget_in_rows(self, new: ResolvedRun) -> None:
        begin = bisect_left(self._rows, new.first, key=_last_of)
        end = begin
        kept = []
        sparse = []
        while end < len(self._rows) and self._rows[end].seqs[0] <= new.last:
            row = self._rows[end]
            gone = bisect_right(row.seqs, new.last) - bisect_left(row.seqs, new.first)
            row.left -= gone
            self._in_rows -= gone
            if row.left * _SPARSE >= len(row.seqs):
                kept.append(row)
            elif row.left:
                sparse.append(row)
            end += 1
        self._rows[begin:end] = kept
        for row in sparse:
            self._dissolve(row)

    def legs(self) -> int:
        """How many legs are remembered."""
        entries = [*self.outcomes.values(), *(one for more in self.others.values() for one in more)]
        return self._in_rows + sum((entry >> _OUTCOME_BITS).bit_count() for entry in entries)
