"""The source's side of exactly-once: its sequence numbers and which of them are resolved."""

import heapq
from collections.abc import Iterable

from mkrpc.errors import ProtocolError
from mkrpc.limits import MAX_CPUS
from mkrpc.link.frames import ResolvedRun
from mkrpc.link.runs import RunSet

__all__ = [
    "HARD_WRITE_WINDOW",
    "MAX_PUBLISHED_RUNS",
    "PUBLISH_EVERY",
    "RESERVED_WRITES",
    "WRITE_WINDOW",
    "SourceWindow",
]

WRITE_WINDOW = 4096
"""Outstanding ICR writes at which a CPU that can wait waits (ICR delivery status busy, R20), as
long as it is the only one of its instance that has many; see :class:`SourceWindow`."""

HARD_WRITE_WINDOW = 8 * WRITE_WINDOW
"""Outstanding ICR writes that travel, of all CPUs of an instance together: never more."""

RESERVED_WRITES = 16
"""Places in the window that each CPU has for itself, whatever the others hold."""

_WAITING_SHARE = 6
_SHARED_WRITES = _WAITING_SHARE * (WRITE_WINDOW - RESERVED_WRITES)
assert _SHARED_WRITES + MAX_CPUS * RESERVED_WRITES <= HARD_WRITE_WINDOW

PUBLISH_EVERY = 1024
"""Newly resolved writes after which the source publishes, so that destinations may forget."""

MAX_PUBLISHED_RUNS = 1024
"""Runs in one publication at most: the longest ones, so that what is stuck costs memory only for
the few numbers between stuck ones. Keeps a frame far below the limit of its size."""


class SourceWindow:
    """Sequence numbers of one source incarnation, from 1 without a gap (design 3.3).

    A write is resolved when every one of its legs has an outcome. It is outstanding until then, or,
    if it was settled inside its APIC, until that has been reported.

    A destination that hangs must not stop those CPUs of an instance that ring others. So each CPU
    has :data:`RESERVED_WRITES` places for itself, and of the rest, which all share, its part
    depends on what is free: a CPU that can wait may hold a fifth of what it leaves free, one that
    cannot as much as it leaves. A CPU alone then waits at :data:`WRITE_WINDOW`, and is refused at
    about three times as many.
    """

    __slots__ = (
        "_held",
        "_published",
        "_resolved",
        "_shared",
        "_unreported",
        "_writers",
        "_written",
    )

    def __init__(self) -> None:
        self._written = 0
        self._resolved = RunSet()
        self._published = 0
        self._writers: dict[int, int] = {}
        """Who made which outstanding write."""
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

    def next_seq(self, cpu: int) -> int:
        """The number of the next write, which this CPU makes.

        It does not look at the window: a refused write has a number too, and a leg in the books.
        """
        self._written = seq = self._written + 1
        self._writers[seq] = cpu
        held = self._held[cpu]
        self._held[cpu] = held + 1
        if held >= RESERVED_WRITES:
            self._shared += 1
        return seq

    def next_settled_seq(self, cpu: int) -> int:
        """As :meth:`next_seq`, of a write that is settled inside its APIC."""
        self._unreported[cpu] += 1
        return self.next_seq(cpu)

    def reported(self, seq: int) -> None:
        """A write that was settled inside its APIC is on its way to the books: nothing can come
        back of it that its CPU would have to wait for."""
        cpu = self._writers.get(seq)
        if cpu is not None:
            self._unreported[cpu] -= 1
            self._release((seq,))

    def resolve(self, runs: Iterable[ResolvedRun]) -> int:
        """Take note of resolved writes; repeated ones change nothing. Returns how many are new.

        :raises ProtocolError: the peer resolves what was never written.
        """
        resolved = 0
        for run in runs:
            if not 1 <= run.first <= run.last <= self._written:
                raise ProtocolError(
                    f"writes {run.first} to {run.last} are called resolved, "
                    f"{self._written} were made"
                )
            for new in self._resolved.missing(run.first, run.last):
                self._release(range(new.first, new.last + 1))
            resolved += self._resolved.add_run(run.first, run.last)
        return resolved

    def _release(self, seqs: Iterable[int]) -> None:
        writers, held = self._writers, self._held
        for seq in seqs:
            cpu = writers.pop(seq, None)
            if cpu is None:
                continue
            left = held[cpu] = held[cpu] - 1
            if left >= RESERVED_WRITES:
                self._shared -= 1

    def take_publication(self) -> tuple[ResolvedRun, ...]:
        """What to publish now: everything resolved, if enough of it is new; else nothing.

        Always the whole set (up to :data:`MAX_PUBLISHED_RUNS`), so that a repeated or lost
        publication does no harm.
        """
        if len(self._resolved) - self._published < PUBLISH_EVERY:
            return ()
        self._published = len(self._resolved)
        runs = self._resolved.runs()
        if len(runs) <= MAX_PUBLISHED_RUNS:
            return runs
        longest = heapq.nlargest(MAX_PUBLISHED_RUNS, runs, key=lambda run: run.last - run.first)
        return tuple(sorted(longest, key=lambda run: run.first))
