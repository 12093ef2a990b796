"""The legs that come to an instance: applied once, and answered by their number on the link."""

from array import array
from itertools import groupby
from typing import Final

from mkrpc.compiled.marks import mypyc_attr
from mkrpc.instance.kernel import Kernel
from mkrpc.link.frames import MAX_FRAME_WORDS, DownFrame, Legs, OutcomeRun, UpFrame
from mkrpc.link.recovery import Resent
from mkrpc.outcome import Outcome

__all__ = ["Arrivals"]

_DELIVERED: Final = Outcome.DELIVERED


class _Run:
    """An OutcomeRun that still grows."""

    __slots__ = ("count", "first", "outcome")

    def __init__(self, first: int, count: int, outcome: Outcome) -> None:
        self.first = first
        self.count = count
        self.outcome = outcome


@mypyc_attr(allow_interpreted_subclasses=True)
class Arrivals:
    """Applies legs, unless their outcome is known already, and says what became of them.

    ``applied``: legs of this link that have an outcome.
    """

    __slots__ = ("_kernel", "_outcomes", "applied")

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.applied = 0
        self._outcomes: list[_Run] = []

    @property
    def pending(self) -> bool:
        """Whether outcomes are left that the last frame had no room for."""
        return bool(self._outcomes)

    def begin_again(self) -> None:
        """A link to another interconnect: legs are numbered anew, and those of before are not owed
        an answer. Their outcomes are remembered."""
        self.applied = 0
        self._outcomes = []

    def take_messages(self, frame: DownFrame) -> None:
        """What came beside the legs, before the doorbells among them."""
        if frame.doorbells:
            self._kernel.post.told_of(frame.doorbells)
        if frame.settled:
            self._kernel.post.settle(frame.settled)
        if frame.messages:
            self._kernel.post.arrived(frame.messages)

    def apply(self, legs: Legs) -> None:
        """Legs have come, each for a CPU of this kernel."""
        kernel = self._kernel
        if legs.resent or legs.arbitrated:
            self._apply_marked(legs)
            return
        row = kernel.outcomes.row_cpus(
            legs.source, legs.seqs, legs.cpus, cpus_below=len(kernel.cpus)
        )
        if row:
            self._apply_row(legs, row)
        else:
            self._apply_each(legs)

    def _apply_row(self, legs: Legs, cpus: bytes) -> None:
        """Legs of a burst, all of them new: nothing is done for each but to accept it."""
        kernel = self._kernel
        column = legs.words
        # An array makes an object anew each time it is asked.
        words = column.tolist() if isinstance(column, array) else list(column)
        outcomes: list[Outcome] = []  # none as long as all were delivered
        for index, cpu in enumerate(cpus):
            outcome = kernel.accept(cpu, words[index])
            if outcome is not _DELIVERED or outcomes:
                outcomes = outcomes or [_DELIVERED] * index
                outcomes.append(outcome)
        kernel.outcomes.record_row(legs.source, legs.seqs, cpus, outcomes)
        if not outcomes:
            self.applied += len(words)
            return
        for outcome, alike in groupby(outcomes):
            count = len(list(alike))
            if outcome is not Outcome.DELIVERED:
                self._note(outcome, count)
            self.applied += count

    def _apply_each(self, legs: Legs) -> None:
        """The same of any legs."""
        kernel = self._kernel
        cpus = len(kernel.cpus)
        memory = kernel.outcomes
        source = legs.source
        malformed = Outcome.REJECTED_MALFORMED
        words, places = legs.words, legs.cpus
        assert len(legs.seqs) == len(words) == len(places), "columns that differ in length"
        for index, seq in enumerate(legs.seqs):
            word, cpu = words[index], places[index]
            outcome = memory.recall(source, seq, cpu) if 0 <= cpu < cpus else malformed
            if outcome is None:
                if memory.may_record(source, seq):
                    outcome = kernel.accept(cpu, word)
                    memory.record(source, seq, cpu, outcome)
                else:
                    outcome = Outcome.REJECTED_BACKPRESSURE
            if outcome is not Outcome.DELIVERED:
                self._note(outcome)
            self.applied += 1

    def _apply_marked(self, legs: Legs) -> None:
        """The same of legs that may have been here before, or that are for one CPU of several."""
        cpus = len(self._kernel.cpus)
        memory = self._kernel.outcomes
        for seq, word, cpu in zip(legs.seqs, legs.words, legs.cpus, strict=True):
            outcome: Outcome | None = Outcome.REJECTED_MALFORMED
            if 0 <= cpu < cpus:
                outcome = memory.recall(legs.source, seq, cpu) or self._refusal(legs, seq, cpu)
                if legs.resent and outcome is Outcome.REJECTED_MALFORMED:
                    # Forgotten: it has been here, and nobody knows any more what became of it.
                    outcome = Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED
            if outcome is None:
                outcome = self._kernel.accept(cpu, word)
                memory.record(legs.source, seq, cpu, outcome)
                if legs.arbitrated:
                    memory.note_arbitrated(legs.source, seq, cpu)
            if outcome is not Outcome.DELIVERED:
                self._note(outcome)
            self.applied += 1

    def _refusal(self, legs: Legs, seq: int, cpu: int) -> Outcome | None:
        """Why a leg without a recorded outcome is not applied; None if it is.

        A leg that an earlier interconnect had accepted has come before every later one of its
        source to the same CPU. If a later one has come, that interconnect had refused this one, for
        a reason that ended with it: it is certainly not applied, and would now overtake (3.2).
        """
        memory = self._kernel.outcomes
        if legs.resent is Resent.BORN_LATER:
            return Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED
        if legs.resent is Resent.ASKED_ONLY:
            return Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED
        if legs.resent is Resent.IN_ORDER and memory.highest(legs.source, cpu) > seq:
            return Outcome.LOST_INTERCONNECT_RESTART
        if not memory.may_record(legs.source, seq):
            return Outcome.REJECTED_BACKPRESSURE
        return None

    def _note(self, outcome: Outcome, count: int = 1) -> None:
        """The next legs ended other than delivered: extend the last run of such, or begin one."""
        number = self.applied + 1
        if self._outcomes:
            last = self._outcomes[-1]
            if last.outcome is outcome and last.first + last.count == number:
                last.count += count
                return
        self._outcomes.append(_Run(number, count, outcome))

    def take(self, frame: UpFrame) -> None:
        """At most MAX_FRAME_WORDS runs; ``applied`` stops short of the first that is left."""
        frame.applied = self.applied
        if self._outcomes:
            taken = self._outcomes[:MAX_FRAME_WORDS]
            frame.outcomes = [OutcomeRun(run.first, run.count, run.outcome) for run in taken]
            self._outcomes = self._outcomes[MAX_FRAME_WORDS:]
            if self._outcomes:
                frame.applied = self._outcomes[0].first - 1
        post = self._kernel.post
        frame.taken = post.report()
        frame.listens = post.take_listening()
