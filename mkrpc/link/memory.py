"""The destination's side of exactly-once: it remembers outcomes (design 3.3, rule 2)."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from mkrpc.compiled.marks import mypyc_attr
from mkrpc.link.frames import ResolvedRun
from mkrpc.link.recovery import Arbitrated
from mkrpc.link.remembered import CPU_BIT, MIN_ROW, ROW_CPUS, Remembered, in_bytes
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


@mypyc_attr(allow_interpreted_subclasses=True)
class OutcomeMemory:
    """Outcomes by (source, sequence number, CPU), for answering a repeated write.

    It forgets exactly the writes that their source has published as resolved. That is better than a
    floor below which all is forgotten: memory stays bounded even while one old write is stuck
    elsewhere. ``source`` is 16 bytes: an instance's incarnation or a client's id; ``cpu`` is below
    :data:`mkrpc.limits.MAX_CPUS`.
    """

    __slots__ = ("_latest", "_latest_id", "_size", "_sources")

    def __init__(self) -> None:
        self._sources: OrderedDict[bytes, Remembered] = OrderedDict()
        self._latest_id = b""
        self._latest = Remembered()
        self._size = 0

    def __len__(self) -> int:
        """How many writes are remembered, of all sources."""
        return self._size

    def remembered(self, source: bytes) -> int:
        """How many outcomes of one source are remembered, leg by leg."""
        known = self._sources.get(source)
        return known.legs() if known is not None else 0

    def recall(self, source: bytes, seq: int, cpu: int) -> Outcome | None:
        """The recorded outcome of a leg; None for one not seen before.

        REJECTED_MALFORMED for a write that its source has published as resolved: whoever repeats
        such a one has lost count, and it must not be applied again.
        """
        known = self._latest if source == self._latest_id else self._sources.get(source)
        if known is None or (seq not in known.outcomes and seq > known.unknown_above):
            return None
        return known.recall(seq, cpu)

    def may_record(self, source: bytes, seq: int = 0) -> bool:
        """Whether an outcome of this write fits (:data:`MAX_REMEMBERED_PER_SOURCE`).

        ``seq`` 0 stands for a write not seen before; a further leg of one that was always fits.
        """
        known = self._latest if source == self._latest_id else self._sources.get(source)
        if known is None or len(known) < MAX_REMEMBERED_PER_SOURCE:
            return True
        return known.has(seq)

    def record(self, source: bytes, seq: int, cpu: int, outcome: Outcome) -> None:
        """Remember the outcome of a leg that has just been applied."""
        known = self._latest if source == self._latest_id else self._turn_to(source)
        if seq > known.highest.get(cpu, 0):
            known.highest[cpu] = seq
        if seq <= known.unknown_above:
            assert seq not in known.forgotten, "ask recall first"
            known.dissolve_row_of(seq)
        if seq in known.outcomes:
            known.record_further(seq, cpu, outcome)
            return
        assert len(known) < MAX_REMEMBERED_PER_SOURCE, "ask may_record first"
        known.outcomes[seq] = CPU_BIT[cpu] | outcome
        self._size += 1
        if self._size > MAX_REMEMBERED:
            self._forget_a_silent_source()

    def row_cpus(
        self, source: bytes, seqs: Sequence[int], cpus: Sequence[int], *, cpus_below: int
    ) -> bytes:
        """``cpus`` as bytes, if these legs can be applied without a look at each, and recorded by
        :meth:`record_row`: they fit, ascend, one to a write, and come after all that was recorded
        of their source. ``seqs[i]`` goes to ``cpus[i]``, which is to be from 0 to below
        ``cpus_below``. Empty if not, which says nothing about any one of them.
        """
        if len(seqs) < MIN_ROW:
            return b""
        row = in_bytes(cpus)
        if not row:
            return b""
        known = self._latest if source == self._latest_id else self._sources.get(source)
        if known is None:
            known = Remembered()
        fits = len(known) + len(seqs) <= MAX_REMEMBERED_PER_SOURCE
        astray = row.translate(None, bytes(range(min(cpus_below, ROW_CPUS))))
        return row if fits and not astray and known.is_new_row(seqs) else b""

    def record_row(
        self, source: bytes, seqs: Sequence[int], cpus: bytes, outcomes: Sequence[Outcome]
    ) -> None:
        """Remember the outcomes of legs, none if all were delivered; ``cpus`` is what
        :meth:`row_cpus` has said of them."""
        known = self._latest if source == self._latest_id else self._turn_to(source)
        known.record_row(seqs, cpus, outcomes)
        self._size += len(seqs)
        while self._size > MAX_REMEMBERED:
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
        return known.highest.get(cpu, 0) if known is not None else 0

    def forget(self, source: bytes, runs: Iterable[ResolvedRun]) -> None:
        """Forget the writes of ``runs``, which their source has published as resolved.

        Publications hold everything that was ever resolved; only what is new in them costs time.
        """
        known = self._sources.get(source)
        if known is not None:
            self._size -= sum(known.forget(run) for run in runs)

    def _turn_to(self, source: bytes) -> Remembered:
        """Make ``source`` the one most recently active, and drop one that is long silent."""
        known = self._sources.get(source)
        if known is None:
            known = self._sources[source] = Remembered()
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
        self._size -= len(known)
