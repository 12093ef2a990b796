"""Makes calls of one word each, many of them at a time (:mod:`mkrpc.interconnect.singles`)."""

from collections.abc import Callable, Sequence
from functools import partial

from mkrpc.interconnect.bucket import CLIENTS, Buckets
from mkrpc.interconnect.clients import Call
from mkrpc.interconnect.leg_block import LegBlock
from mkrpc.interconnect.legs import Ended
from mkrpc.interconnect.singles import Singles
from mkrpc.interconnect.word_routing import WordRouter, Words
from mkrpc.outcome import Outcome

__all__ = ["SingleCalls"]


class SingleCalls:
    """Makes them.

    ``on_resolved`` is told at once of numbers that have their answers, ``on_told`` of calls that
    were repeated, once theirs can be told; ``later`` calls back when the bus is consistent.
    """

    def __init__(
        self,
        *,
        words: WordRouter,
        buckets: Buckets,
        on_resolved: Callable[[Singles, int, int], None],
        on_told: Callable[[Call], None],
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        self._words = words
        self._buckets = buckets
        self._on_resolved = on_resolved
        self._on_told = on_told
        self._later = later

    def make(self, singles: Singles) -> None:
        """Make all the writes; those for which the clients' bucket holds no token end here."""
        content = singles.words
        words = Words(
            source=singles.client.party,
            apic_id=None,
            first_seq=singles.first_seq,
            words=content.words,
            tally=None,
            on_resolved=partial(self._resolved, singles),
            on_block=partial(self._settled, singles),
            kinds=content.kinds,
        )
        passing = self._buckets.take(CLIENTS, content.count)
        if passing:
            self._words.route(words.part(0, passing))
        if passing < content.count:
            # Run by run: of equal words it is known which leg was whose.
            for run in words.part(passing, content.count).runs():
                begin = run.first_seq - singles.first_seq
                equal = words.part(begin, begin + run.count)
                self._words.refuse(equal, Outcome.REJECTED_RATE_LIMITED)

    def _resolved(self, singles: Singles, first: int, last: int, ended: Sequence[Ended]) -> None:
        self._begin(singles)
        singles.note(first, last, ended)
        self._on_resolved(singles, first, last)

    def _settled(self, singles: Singles, block: LegBlock, outcome: Outcome) -> None:
        self._begin(singles)
        singles.note_block(block, outcome)
        for first, last in block.resolved():
            self._on_resolved(singles, first, last)

    def _begin(self, singles: Singles) -> None:
        """Some are about to have their answers: they are told with all that have them by then."""
        if not singles.has_fresh:
            self._later(partial(self._tell, singles))

    def _tell(self, singles: Singles) -> None:
        for first, last in singles.take_fresh():
            for seq, call in singles.repeated.items():
                if first <= seq <= last:
                    singles.answer(call)
                    self._on_told(call)
            for answer in singles.answers(first, last) if singles.on_answer is not None else ():
                if singles.on_answer is not None:  # an answer may have made somebody go away
                    singles.on_answer(answer)
