"""Legs on their way as columns: many writes of one source to CPUs of one instance.

Each of the writes has this one leg, so that a leg that has ended is a write that is resolved. What
a :class:`mkrpc.interconnect.legs.LegRun` is to equal words, a block is to words that differ.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from mkrpc.interconnect.equal_legs import Place, as_run
from mkrpc.interconnect.ledger import Party, Row
from mkrpc.interconnect.legs import LegRun, Resolved
from mkrpc.interconnect.tally import Tally
from mkrpc.interconnect.word_kinds import kinds_of
from mkrpc.link.frames import Legs
from mkrpc.link.recovery import Resent
from mkrpc.outcome import Outcome

__all__ = ["LegBlock", "OnBlock", "Spread"]


class Spread:
    """What the blocks of one burst have in common. ``places``: by word.

    ``on_block``: None, or who is told of blocks that have ended, in place of ``tally`` and
    ``on_resolved``.
    """

    __slots__ = ("apic_id", "on_block", "on_resolved", "places", "routed_us", "source", "tally")

    def __init__(
        self,
        *,
        source: Party,
        apic_id: int | None,
        places: Mapping[int, Place],
        tally: Tally | None,
        on_resolved: Resolved,
        routed_us: int,
        on_block: "OnBlock | None" = None,
    ) -> None:
        self.source = source
        self.apic_id = apic_id
        self.places = places
        self.tally = tally
        self.on_resolved = on_resolved
        self.on_block = on_block
        self.routed_us = routed_us


class LegBlock:
    """Legs from index ``begin`` on and before ``end``; ``words[i]`` was write ``seqs[i]``."""

    __slots__ = ("_counts", "_cpus", "batch", "begin", "end", "seqs", "words")

    resent = Resent.NO
    arbitrated = False

    def __init__(
        self,
        batch: Spread,
        seqs: Sequence[int],
        words: "array[int]",
        counts: Mapping[int, int],
        cpus: "array[int] | None" = None,
    ) -> None:
        self.batch = batch
        self.seqs = seqs
        self.words = words
        self.begin = 0
        self.end = len(words)
        self._cpus = cpus
        """The CPU of each leg; None: to be looked up."""
        self._counts: Mapping[int, int] | None = counts
        """How often each word is in it; None: to be counted."""

    @property
    def count(self) -> int:
        """How many legs."""
        return self.end - self.begin

    def split(self, count: int) -> "LegBlock":
        """Take the first ``count`` legs off; this block keeps the rest."""
        assert 0 < count < self.count
        taken = LegBlock(self.batch, self.seqs, self.words, {}, self._cpus)
        taken.begin, taken.end = self.begin, self.begin + count
        self.begin += count
        taken._counts = self._counts = None
        return taken

    def counted(self) -> Iterator[tuple[Place, int]]:
        """How many legs go where; a place may come several times."""
        if self._counts is None:
            self._counts = kinds_of(self.words[self.begin : self.end]).counts
        places = self.batch.places
        for word, count in self._counts.items():
            yield places[word], count

    def count_by_row(self, counts: Counter[Row]) -> None:
        """Add its legs to those of the rows that they are in."""
        for place, count in self.counted():
            counts[place.row] += count

    def columns(self) -> Legs:
        """As a frame carries them."""
        begin, end = self.begin, self.end
        seqs, words = self.writes()
        if self._cpus is not None:
            return Legs(self.batch.source.identity, seqs, words, self._cpus[begin:end])
        places = self.batch.places
        cpu_of = {word: places[word].cpu for word in self._words()}
        cpus = array("I", map(cpu_of.__getitem__, words))
        return Legs(self.batch.source.identity, seqs, words, cpus)

    def _words(self) -> Mapping[int, object]:
        """The different words, and perhaps others that have a place."""
        return self._counts if self._counts is not None else self.batch.places

    def writes(self) -> "tuple[Sequence[int], array[int]]":
        """The number of each write, and its word."""
        if self.count == len(self.words):
            return self.seqs, self.words
        return self.seqs[self.begin : self.end], self.words[self.begin : self.end]

    def resolved(self) -> Iterator[tuple[int, int]]:
        """Runs of consecutive write numbers, first and last."""
        seqs = self.seqs
        if isinstance(seqs, range):
            yield seqs[self.begin], seqs[self.end - 1]
            return
        part = seqs[self.begin : self.end]
        first = part[0]
        for seq, following in pairwise(part):
            if following != seq + 1:
                yield first, seq
                first = following
        yield first, part[-1]

    def parts(self) -> Iterator[LegRun]:
        """The same legs as runs of equal ones, for whoever must look at them one by one."""
        begin = self.begin
        while begin < self.end:
            word, first_seq = self.words[begin], self.seqs[begin]
            end = begin + 1
            while (
                end < self.end
                and self.words[end] == word
                and self.seqs[end] == first_seq + end - begin
            ):
                end += 1
            yield self._run(word, first_seq, end - begin)
            begin = end

    def _run(self, word: int, first_seq: int, count: int) -> LegRun:
        batch = self.batch
        return as_run(
            batch.places[word],
            apic_id=batch.apic_id,
            first_seq=first_seq,
            count=count,
            tally=batch.tally,
            routed_us=batch.routed_us,
        )


OnBlock = Callable[[LegBlock, Outcome], None]
