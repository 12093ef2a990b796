"""The source's side of exactly-once: its sequence numbers and which of them are resolved."""

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from mkrpc.errors import ProtocolError
from mkrpc.limits import MAX_CPUS
from mkrpc.link.frames import ResolvedRun
from mkrpc.link.runs import RunSet
from mkrpc.outcome import Outcome

__all__ = [
    "HARD_WRITE_WINDOW",
    "MAX_PUBLISHED_RUNS",
    "MAX_STAMPS",
    "PUBLISH_EVERY",
    "RESERVED_WRITES",
    "WRITE_WINDOW",
    "SourceWindow",
    "Unresolved",
]

WRITE_WINDOW: Final = 4096
"""Outstanding ICR writes at which a CPU that can wait waits (ICR delivery status busy, R20), as
long as it is the only one of its instance that has many; see :class:`SourceWindow`."""

HARD_WRITE_WINDOW: Final = 8 * WRITE_WINDOW
"""Outstanding ICR writes that travel, of all CPUs of an instance together: never more."""

RESERVED_WRITES = 16
"""Places in the window that each CPU has for itself, whatever the others hold."""

_WAITING_SHARE: Final = 6
_SHARED_WRITES = _WAITING_SHARE * (WRITE_WINDOW - RESERVED_WRITES)
assert _SHARED_WRITES + MAX_CPUS * RESERVED_WRITES <= HARD_WRITE_WINDOW

PUBLISH_EVERY = 1024
"""Newly resolved writes after which the source publishes, so that destinations may forget."""

MAX_PUBLISHED_RUNS = 1024
"""Runs in one publication at most: the longest ones, so that what is stuck costs memory only for
the few numbers between stuck ones. Keeps a frame far below the limit of its size."""

MAX_STAMPS = 1024
"""Changes of the roster number that a source tells its unresolved writes apart by; beyond, older
ones are taken for still older, which an interconnect that takes over may have to call lost."""


class Unresolved(NamedTuple):
    """A write that is not known to be resolved.

    ``outcome``: of one that was settled inside its APIC, else None. ``stamp``: the roster number
    that was known when it was made.
    """

    seq: int
    cpu: int
    word: int
    outcome: Outcome | None
    stamp: int


class SourceWindow:
    """Sequence numbers of one source incarnation, from 1 without a gap (design 3.3).

    A write is resolved when every one of its legs has an outcome. It is outstanding until then, or,
    if it was settled inside its APIC, until that has been reported.

    A destination that hangs must not stop those CPUs of an instance that ring others. So each CPU
    has :data:`RESERVED_WRITES` places for itself. The rest is shared, and how much of it a CPU may
    hold depends on what is free then: a fifth of that if the CPU can wait, as much as that if it
    cannot. So a CPU alone waits at :data:`WRITE_WINDOW`, and is refused at about three times as
    many.
    """

    __slots__ = (
        "_held",
        "_resolved",
        "_settled",
        "_shared",
        "_stamps",
        "_unpublished",
        "_unreported",
        "_writers",
        "_written",
    )

    def __init__(self) -> None:
        self._written = 0
        self._resolved = RunSet()
        self._unpublished = 0
        """Newly resolved since the last publication."""
        self._writers: dict[int, tuple[int, int]] = {}
        """Who made which outstanding write, and its word."""
        self._settled: dict[int, tuple[int, int, Outcome]] = {}
        """CPU, word and outcome of what was settled inside its APIC and is not resolved."""
        self._stamps = [(1, 0)]
        """The first write that was made after a roster number was told, and the number."""
        self._held = [0] * MAX_CPUS
        """How many of them each CPU made."""
        self._unreported = [0] * MAX_CPUS
        """How many of these were settled inside their APIC."""
        self._shared = 0
        """How many outstanding writes are beyond the places that their CPUs have for themselves."""

    @property
    def written(self) -> int:
        """The highest sequence number given out; 0 before the first."""
        return self._written

    @property
    def outstanding(self) -> int:
        """How many writes hold a place in the window."""
        return len(self._writers)

    def held(self, cpu: int) -> int:
        """How many of them are this CPU's."""
        return self._held[cpu]

    def travelling(self, cpu: int) -> int:
        """How many of these were not settled inside its APIC."""
        return self._held[cpu] - self._unreported[cpu]

    def may_write(self, cpu: int) -> bool:
        """Whether a CPU that can wait may write now."""
        beyond = self._held[cpu] - RESERVED_WRITES
        return beyond < 0 or (_WAITING_SHARE - 1) * beyond + self._shared < _SHARED_WRITES

    def may_write_without_waiting(self, cpu: int) -> bool:
        """Whether a CPU that cannot wait may write now: a handler that is a plain function is one
        instruction and cannot stall in the middle. If not, ``rejected(backpressure)``."""
        beyond = self._held[cpu] - RESERVED_WRITES
        return beyond < 0 or beyond + self._shared < _SHARED_WRITES

    @property
    def roster(self) -> int:
        """The highest roster number that has been told; 0 before the first."""
        return self._stamps[-1][1]

    @property
    def resolved_below(self) -> int:
        """All writes below this number are resolved."""
        return self._resolved.floor + 1

    def next_seq(self, cpu: int, word: int) -> int:
        """The number of the next write, which this CPU makes.

        It does not look at the window: a refused write has a number too, and a leg in the books.
        """
        self._written = seq = self._written + 1
        self._writers[seq] = cpu, word
        held = self._held[cpu]
        self._held[cpu] = held + 1
        if held >= RESERVED_WRITES:
            self._shared += 1
        return seq

    def next_settled_seq(self, cpu: int, word: int, outcome: Outcome) -> int:
        """As :meth:`next_seq`, of a write that is settled inside its APIC."""
        self._unreported[cpu] += 1
        seq = self.next_seq(cpu, word)
        self._settled[seq] = cpu, word, outcome
        return seq

    def reported(self, seq: int) -> None:
        """A write that was settled inside its APIC is on its way to the books: nothing can come
        back of it that its CPU would have to wait for."""
        writer = self._writers.get(seq)
        if writer is not None:
            self._unreported[writer[0]] -= 1
            self._release((seq,))

    def told(self, roster: int) -> None:
        """A roster number has been told; one that is not the highest changes nothing."""
        stamps = self._stamps
        if roster <= stamps[-1][1]:
            return
        while len(stamps) > 1 and stamps[1][0] <= self.resolved_below:
            del stamps[0]
        if stamps[-1][0] > self._written:
            stamps.pop()
        elif len(stamps) >= MAX_STAMPS:
            del stamps[1]
        stamps.append((self._written + 1, roster))

    def unresolved(self, last: int) -> list[Unresolved]:
        """The writes up to number ``last`` that are not known to be resolved, in order."""
        found: dict[int, tuple[int, int, Outcome | None]] = dict(self._settled)
        for seq, (cpu, word) in self._writers.items():
            found.setdefault(seq, (cpu, word, None))
        return [
            Unresolved(seq, *found[seq], self._stamp_of(seq))
            for seq in sorted(found)
            if seq <= last
        ]

    def _stamp_of(self, seq: int) -> int:
        index = bisect_right(self._stamps, seq, key=lambda stamp: stamp[0]) - 1
        return self._stamps[max(index, 0)][1]

    def check(self, runs: Iterable[ResolvedRun]) -> None:
        """Whether these can be resolved.

        :raises ProtocolError: the peer resolves what was never written.
        """
        for run in runs:
            if not 1 <= run.first <= run.last <= self._written:
                raise ProtocolError(
                    f"writes {run.first} to {run.last} are called resolved, "
                    f"{self._written} were made"
                )

    def resolve(self, runs: Sequence[ResolvedRun]) -> int:
        """Take note of resolved writes; repeated ones change nothing. Returns how many are new.

        :raises ProtocolError: as :meth:`check`; nothing has changed then.
        """
        self.check(runs)
        resolved = 0
        for run in runs:
            for new in self._resolved.missing(run.first, run.last):
                self._release(range(new.first, new.last + 1))
            resolved += self._resolved.add_run(run.first, run.last)
        self._unpublished += resolved
        return resolved

    def _release(self, seqs: Iterable[int]) -> None:
        writers, held = self._writers, self._held
        for seq in seqs:
            writer = writers.pop(seq, None)
            if writer is None:
                self._settled.pop(seq, None)
                continue
            cpu = writer[0]
            left = held[cpu] = held[cpu] - 1
            if left >= RESERVED_WRITES:
                self._shared -= 1

    def take_publication(self) -> tuple[ResolvedRun, ...]:
        """What to publish now: everything resolved, if enough of it is new; else nothing.

        Always the whole set (up to :data:`MAX_PUBLISHED_RUNS`), so that a repeated or lost
        publication does no harm.
        """
        if self._unpublished < PUBLISH_EVERY:
            return ()
        self._unpublished = 0
        runs = self._resolved.runs()
        if len(runs) <= MAX_PUBLISHED_RUNS:
            return runs
        longest = heapq.nlargest(MAX_PUBLISHED_RUNS, runs, key=lambda run: run.last - run.first)
        return tuple(sorted(longest, key=lambda run: run.first))
