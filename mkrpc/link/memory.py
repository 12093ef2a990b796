"""The destination's side of exactly-once: it remembers outcomes (design 3.3, rule 2)."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from mkrpc.limits import MAX_CPUS
from mkrpc.link.frames import ResolvedRun
from mkrpc.link.recovery import Arbitrated
from mkrpc.link.runs import RunSet
from mkrpc.outcome import Outcome

__all__ = ["MAX_REMEMBERED", "MAX_REMEMBERED_PER_SOURCE", "MAX_SOURCES", "OutcomeMemory"]

MAX_REMEMBERED_PER_SOURCE = 65_536
"""Writes of one source whose outcomes are kept; beyond, its next ones are
``rejected(backpressure)``. A write counts once, however many CPUs of the instance it went to.

Reached only by a source that never publishes: one that does has at most a window's writes
(:data:`mkrpc.link.source.HARD_WRITE_WINDOW`) unresolved, and a publication's worth resolved but
unpublished. That is counted in writes, so this is too: a broadcast to 512 CPUs is one of them.
"""

MAX_REMEMBERED = 16 * MAX_REMEMBERED_PER_SOURCE
"""Writes of all sources whose outcomes are kept, about 100 MB; beyond, the source that has been
silent for longest is forgotten whole, as with :data:`MAX_SOURCES`."""

MAX_SOURCES = 1024
"""Sources remembered; beyond, the one that has been silent for longest is forgotten whole.

A named departure from exactly-once: a source that falls silent while this many others ring the same
instance, or others leave :data:`MAX_REMEMBERED` writes there, and that then repeats an old write to
a new interconnect, may have it applied twice.
"""

_OUTCOME_BITS = 8
_OUTCOME_MASK = (1 << _OUTCOME_BITS) - 1
_CPU_BIT = tuple(1 << _OUTCOME_BITS + cpu for cpu in range(MAX_CPUS))


class _Remembered:
    """What is known of one source."""

    __slots__ = ("arbitrated", "forgotten", "highest", "highest_forgotten", "others", "outcomes")

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
        self.highest_forgotten = 0

    def recall(self, seq: int, cpu: int) -> Outcome | None:
        entry = self.outcomes.get(seq)
        if entry is None:
            return Outcome.REJECTED_MALFORMED if seq in self.forgotten else None
        bit = _CPU_BIT[cpu]
        if entry & bit:
            return Outcome(entry & _OUTCOME_MASK)
        for other in self.others.get(seq, ()):
            if other & bit:
                return Outcome(other & _OUTCOME_MASK)
        return None

    def record_further(self, seq: int, cpu: int, outcome: Outcome) -> None:
        """A leg of a write that has other legs here."""
        assert self.recall(seq, cpu) is None, "a leg has one outcome"
        bit = _CPU_BIT[cpu]
        if self.outcomes[seq] & _OUTCOME_MASK == outcome:
            self.outcomes[seq] |= bit
            return
        others = self.others.setdefault(seq, [])
        for index, other in enumerate(others):
            if other & _OUTCOME_MASK == outcome:
                others[index] |= bit
                return
        others.append(bit | outcome)

    def forget(self, run: ResolvedRun) -> int:
        """Forget the writes of a run; returns how many were known."""
        before = len(self.outcomes)
        for new in self.forgotten.missing(run.first, run.last):
            if new.last - new.first < len(self.outcomes):
                gone = [seq for seq in range(new.first, new.last + 1) if seq in self.outcomes]
            else:
                gone = [seq for seq in self.outcomes if new.first <= seq <= new.last]
            for seq in gone:
                del self.outcomes[seq]
                self.others.pop(seq, None)
                self.arbitrated.pop(seq, None)
        self.forgotten.add_run(run.first, run.last)
        self.highest_forgotten = self.forgotten.highest
        return before - len(self.outcomes)

    def legs(self) -> int:
        entries = [*self.outcomes.values(), *(one for more in self.others.values() for one in more)]
        return sum((entry >> _OUTCOME_BITS).bit_count() for entry in entries)


class OutcomeMemory:
    """Outcomes by (source, sequence number, CPU), for answering a repeated write.

    It forgets exactly the writes that their source has published as resolved. That is better than a
    floor below which all is forgotten: memory stays bounded even while one old write is stuck
    elsewhere. ``source`` is 16 bytes: an instance's incarnation or a client's id; ``cpu`` is below
    :data:`mkrpc.limits.MAX_CPUS`.
    """

    __slots__ = ("_latest", "_latest_id", "_size", "_sources")

    def __init__(self) -> None:
        self._sources: OrderedDict[bytes, _Remembered] = OrderedDict()
        self._latest_id = b""
        self._latest = _Remembered()
        self._size = 0

    def __len__(self) -> int:
        """How many writes are remembered, of all sources."""
        return self._size

    def remembered(self, source: bytes) -> int:
        """How many outcomes of one source are remembered, leg by leg."""
        known = self._sources.get(source)
        return known.legs() if known else 0

    def recall(self, source: bytes, seq: int, cpu: int) -> Outcome | None:
        """The recorded outcome of a leg; None for one not seen before.

        REJECTED_MALFORMED for a write that its source has published as resolved: whoever repeats
        such a one has lost count, and it must not be applied again.
        """
        known = self._latest if source == self._latest_id else self._sources.get(source)
        if known is None or (seq not in known.outcomes and seq > known.highest_forgotten):
            return None
        return known.recall(seq, cpu)

    def may_record(self, source: bytes, seq: int = 0) -> bool:
        """Whether an outcome of this write fits (:data:`MAX_REMEMBERED_PER_SOURCE`).

        ``seq`` 0 stands for a write not seen before; a further leg of one that was always fits.
        """
        known = self._latest if source == self._latest_id else self._sources.get(source)
        if known is None or len(known.outcomes) < MAX_REMEMBERED_PER_SOURCE:
            return True
        return seq in known.outcomes

    def record(self, source: bytes, seq: int, cpu: int, outcome: Outcome) -> None:
        """Remember the outcome of a leg that has just been applied."""
        known = self._latest if source == self._latest_id else self._turn_to(source)
        if seq > known.highest.get(cpu, 0):
            known.highest[cpu] = seq
        if seq in known.outcomes:
            known.record_further(seq, cpu, outcome)
            return
        assert len(known.outcomes) < MAX_REMEMBERED_PER_SOURCE, "ask may_record first"
        assert seq > known.highest_forgotten or seq not in known.forgotten, "ask recall first"
        known.outcomes[seq] = _CPU_BIT[cpu] | outcome
        self._size += 1
        if self._size > MAX_REMEMBERED:
            self._forget_a_silent_source()

    def note_arbitrated(self, source: bytes, seq: int, cpu: int) -> None:
        """The write whose outcome has just been recorded was for one of several destinations."""
        self._sources[source].arbitrated[seq] = cpu

    def arbitrated(self) -> Iterator[Arbitrated]:
        """The lowest-priority writes among those remembered: an interconnect that takes over must
        not choose again (3.3, rule 4)."""
        for source, known in self._sources.items():
            for seq, cpu in known.arbitrated.items():
                yield Arbitrated(source, seq, cpu)

    def highest(self, source: bytes, cpu: int) -> int:
        """The highest number of this source that was recorded of a CPU, remembered or not; or 0."""
        known = self._sources.get(source)
        return known.highest.get(cpu, 0) if known else 0

    def forget(self, source: bytes, runs: Iterable[ResolvedRun]) -> None:
        """Forget the writes of ``runs``, which their source has published as resolved.

        Publications hold everything that was ever resolved; only what is new in them costs time.
        """
        known = self._sources.get(source)
        if known is not None:
            self._size -= sum(known.forget(run) for run in runs)

    def _turn_to(self, source: bytes) -> _Remembered:
        """Make ``source`` the one most recently active, and drop one that is long silent."""
        known = self._sources.get(source)
        if known is None:
            known = self._sources[source] = _Remembered()
            if len(self._sources) > MAX_SOURCES:
                self._forget_a_silent_source()
        else:
            self._sources.move_to_end(source)
        self._latest_id, self._latest = source, known
        return known

    def _forget_a_silent_source(self) -> None:
        """The first in the order of :meth:`_turn_to`; the latest is never alone at a limit."""
        assert len(self._sources) > 1, "one source alone stays below its own limit"
        _, known = self._sources.popitem(last=False)
        self._size -= len(known.outcomes)
