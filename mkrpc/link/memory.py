"""The destination's side of exactly-once: it remembers outcomes (design 3.3, rule 2)."""

from collections import OrderedDict
from collections.abc import Iterable

from mkrpc.link.frames import ResolvedRun
from mkrpc.link.runs import RunSet
from mkrpc.outcome import Outcome

__all__ = ["MAX_REMEMBERED_PER_SOURCE", "MAX_SOURCES", "OutcomeMemory"]

MAX_REMEMBERED_PER_SOURCE = 65_536
"""Outcomes kept for one source; beyond, its next legs are ``rejected(backpressure)``.

Reached only by a source that never publishes: one that does has at most a window's writes
unresolved and a publication's worth resolved but unpublished.
"""

MAX_SOURCES = 1024
"""Sources remembered; beyond, the one that has been silent for longest is forgotten whole.

A named departure from exactly-once: a client that falls silent while this many others ring the same
instance, and then repeats an old write to a new interconnect, may have it applied twice.
"""

_CPU_SHIFT = 8
_OUTCOME_MASK = 0xFF


class _Remembered:
    """What is known of one source."""

    __slots__ = ("first_cpu", "forgotten", "further", "size")

    def __init__(self) -> None:
        # Nearly every write has one leg here, so its outcome is one integer under its number:
        # cpu << 8 | outcome. Further legs of the same write are in a table of their own.
        self.first_cpu: dict[int, int] = {}
        self.further: dict[int, dict[int, Outcome]] = {}
        self.forgotten = RunSet()
        self.size = 0

    def forget(self, seq: int) -> None:
        if self.first_cpu.pop(seq, None) is not None:
            self.size -= 1 + len(self.further.pop(seq, ()))


class OutcomeMemory:
    """Outcomes by (source, sequence number, CPU), for answering a repeated write.

    It forgets exactly the writes that their source has published as resolved. That is better than a
    floor below which all is forgotten: memory stays bounded even while one old write is stuck
    elsewhere. ``source`` is 16 bytes: an instance's incarnation or a client's id.
    """

    __slots__ = ("_latest", "_latest_id", "_sources")

    def __init__(self) -> None:
        self._sources: OrderedDict[bytes, _Remembered] = OrderedDict()
        self._latest_id = b""
        self._latest = _Remembered()

    def __len__(self) -> int:
        """How many outcomes are remembered, of all sources."""
        return sum(known.size for known in self._sources.values())

    def remembered(self, source: bytes) -> int:
        """How many outcomes of one source are remembered."""
        known = self._sources.get(source)
        return known.size if known else 0

    def recall(self, source: bytes, seq: int, cpu: int) -> Outcome | None:
        """The recorded outcome of a leg; None for one not seen before."""
        known = self._sources.get(source)
        if known is None:
            return None
        entry = known.first_cpu.get(seq)
        if entry is None:
            return None
        if entry >> _CPU_SHIFT == cpu:
            return Outcome(entry & _OUTCOME_MASK)
        further = known.further.get(seq)
        return further.get(cpu) if further else None

    def may_record(self, source: bytes) -> bool:
        """Whether another outcome of this source fits (:data:`MAX_REMEMBERED_PER_SOURCE`)."""
        known = self._sources.get(source)
        return known is None or known.size < MAX_REMEMBERED_PER_SOURCE

    def record(self, source: bytes, seq: int, cpu: int, outcome: Outcome) -> None:
        """Remember the outcome of a leg that has just been applied."""
        known = self._latest if source == self._latest_id else self._turn_to(source)
        assert known.size < MAX_REMEMBERED_PER_SOURCE, "ask may_record first"
        first_cpu = known.first_cpu
        if seq not in first_cpu:
            first_cpu[seq] = cpu << _CPU_SHIFT | outcome
        else:
            further = known.further.setdefault(seq, {})
            assert first_cpu[seq] >> _CPU_SHIFT != cpu, "a leg has one outcome"
            assert cpu not in further, "a leg has one outcome"
            further[cpu] = outcome
        known.size += 1

    def forget(self, source: bytes, runs: Iterable[ResolvedRun]) -> None:
        """Forget the writes of ``runs``, which their source has published as resolved.

        Publications hold everything that was ever resolved; only what is new in them costs time.
        """
        known = self._sources.get(source)
        if known is None:
            return
        for run in runs:
            for new in known.forgotten.missing(run.first, run.last):
                if new.last - new.first < len(known.first_cpu):
                    for seq in range(new.first, new.last + 1):
                        known.forget(seq)
                else:
                    for seq in [s for s in known.first_cpu if new.first <= s <= new.last]:
                        known.forget(seq)
            known.forgotten.add_run(run.first, run.last)

    def _turn_to(self, source: bytes) -> _Remembered:
        """Make ``source`` the one most recently active, and drop one that is long silent."""
        known = self._sources.get(source)
        if known is None:
            if len(self._sources) >= MAX_SOURCES:
                self._sources.popitem(last=False)
            known = self._sources[source] = _Remembered()
        else:
            self._sources.move_to_end(source)
        self._latest_id, self._latest = source, known
        return known
