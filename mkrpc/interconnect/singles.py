"""Calls of one word each, many of them made at a time.

A client that says one word a message makes a call with every one: each happens once under its own
number, has its own answer, and can be repeated by itself. What has come together is made together
all the same, as one burst whose words are told apart only where somebody asks for one of them.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

from mkrpc.interconnect.clients import Call, Client
from mkrpc.interconnect.injected_words import EqualWords, SeveralWords
from mkrpc.interconnect.ledger import Row
from mkrpc.interconnect.leg_block import LegBlock
from mkrpc.interconnect.legs import Ended
from mkrpc.interconnect.takeover import CallKey, KeptCall
from mkrpc.interconnect.tally import EachOutcome, LegKind, Tally
from mkrpc.outcome import Outcome

__all__ = ["OnAnswer", "Singles", "SinglesAnswer", "counted"]


class Ends:
    """How the legs of a word ended; of nearly all words there is one. Words that ended alike share
    one object where that is at hand."""

    __slots__ = ("legs",)

    def __init__(self, *legs: Ended) -> None:
        self.legs = legs

    @property
    def several(self) -> bool:
        """Whether it had more than one."""
        return len(self.legs) > 1


class SinglesAnswer:
    """The answers to consecutive calls, from number ``first`` to ``last``.

    ``legs``: how many ended how, of all of them. ``each``: the outcome of every word, if they were
    made with that. ``of``: what they were made as.
    """

    __slots__ = ("each", "first", "last", "legs", "of")

    def __init__(
        self,
        of: "Singles",
        first: int,
        legs: Counter[LegKind],
        each: EachOutcome | None,
        count: int,
    ) -> None:
        self.of = of
        self.first = first
        self.last = first + count - 1
        self.legs = legs
        self.each = each


OnAnswer = Callable[[SinglesAnswer], None]


class Singles:
    """Calls of one word each, with consecutive numbers of one client.

    ``on_answer``: who is told; None once nobody is.
    """

    __slots__ = (
        "_ended",
        "_fresh",
        "_has_several",
        "client",
        "each",
        "first_seq",
        "last_seq",
        "on_answer",
        "repeated",
        "told",
        "unanswered",
        "untold",
        "words",
    )

    def __init__(
        self,
        client: Client,
        *,
        first_seq: int,
        words: SeveralWords,
        each: bool,
        on_answer: OnAnswer | None,
    ) -> None:
        self.client = client
        self.first_seq = first_seq
        self.last_seq = first_seq + words.count - 1
        self.words = words
        self.each = each
        self.on_answer = on_answer
        self.unanswered = words.count
        self.repeated: dict[int, Call] = {}
        """Those that have been repeated, as calls by themselves."""
        self.untold: list[tuple[int, int]] = []
        """Runs of those that are answered, and not kept for a successor yet."""
        self.told: list[tuple[int, int]] = []
        """Runs of those that are kept."""
        self._ended: list[Ends | None] = [None] * words.count
        self._fresh: list[tuple[int, int]] = []
        self._has_several = False

    @property
    def count(self) -> int:
        """How many calls."""
        return self.words.count

    @property
    def key(self) -> CallKey:
        """What names them all."""
        return self.client.party.identity, self.first_seq

    @property
    def first_open(self) -> int:
        """The number of the first one without an answer, of which there are some."""
        return self.first_seq + self._ended.index(None)

    # --- what becomes of them -------------------------------------------------------------------

    def note(self, first: int, last: int, ended: Sequence[Ended]) -> None:
        """Words have all their outcomes; ``ended`` has the legs of one destination after another,
        of each in order."""
        begin, count = first - self.first_seq, last - first + 1
        if len(ended) == 1:
            row, outcome, _ = ended[0]
            self._ended[begin : begin + count] = [Ends((row, outcome, 1))] * count
        else:
            each: list[list[Ended]] = [[] for _ in range(count)]
            at = 0
            for row, outcome, number in ended:
                for index in range(at, at + number):
                    each[index].append((row, outcome, 1))
                at = (at + number) % count
            assert not at, "every word has a leg to each destination"
            self._ended[begin : begin + count] = [Ends(*ends) for ends in each]
            self._has_several = True
        self._noted(first, last)

    def note_block(self, block: LegBlock, outcome: Outcome) -> None:
        """The words of a block have all their outcomes."""
        seqs, words = block.writes()
        places = block.batch.places
        ends = {word: Ends((place.row, outcome, 1)) for word, place in places.items()}
        if isinstance(seqs, range):
            begin = seqs[0] - self.first_seq
            self._ended[begin : begin + len(seqs)] = map(ends.__getitem__, words)
        else:
            for seq, word in zip(seqs, words, strict=True):
                self._ended[seq - self.first_seq] = ends[word]
        for first, last in block.resolved():
            self._noted(first, last)

    def _noted(self, first: int, last: int) -> None:
        self.unanswered -= last - first + 1
        if self._fresh and self._fresh[-1][1] + 1 == first:
            first = self._fresh.pop()[0]
        self._fresh.append((first, last))

    @property
    def has_fresh(self) -> bool:
        """Whether some have been answered since the last :meth:`take_fresh`."""
        return bool(self._fresh)

    def take_fresh(self) -> list[tuple[int, int]]:
        """Runs of numbers that have been answered since the last time."""
        taken, self._fresh = self._fresh, []
        return taken

    # --- answers --------------------------------------------------------------------------------

    def answers(self, first: int, last: int) -> Iterator[SinglesAnswer]:
        """The answers to calls that have them: a word with several legs has one of its own."""
        ended = self._of(first, last)
        begin = 0
        for index, ends in enumerate(ended if self._has_several else ()):
            if ends.several:
                if begin < index:
                    yield self._answer(first + begin, ended[begin:index])
                yield self._answer(first + index, [ends])
                begin = index + 1
        if begin < len(ended):
            yield self._answer(first + begin, ended[begin:])

    def _of(self, first: int, last: int) -> list[Ends]:
        ended = self._ended[first - self.first_seq : last + 1 - self.first_seq]
        assert None not in ended, "an answer to what has none"
        return cast(list[Ends], ended)

    def _answer(self, first: int, ended: list[Ends]) -> SinglesAnswer:
        legs: Counter[LegKind] = Counter()
        for row, outcome, count in counted(ended):
            kind = kind_of(row, outcome)
            legs[kind] = legs.get(kind, 0) + count
        each = self._each(first, ended, legs) if self.each else None
        return SinglesAnswer(self, first, legs, each, len(ended))

    @staticmethod
    def _each(first: int, ended: list[Ends], legs: Mapping[LegKind, int]) -> EachOutcome:
        each = EachOutcome(first, len(ended))
        if ended[0].several:
            each.note_legs(first, legs)
        elif len(legs) == 1:
            each.note(first, len(ended), next(iter(legs)), several=False)
        else:
            each.outcomes[:] = bytes([ends.legs[0][1] for ends in ended])
        return each

    # --- one by one -----------------------------------------------------------------------------

    def call(self, seq: int) -> Call:
        """One of them as a call by itself, with its answer if it has one."""
        call = self.repeated.get(seq)
        if call is None:
            index = seq - self.first_seq
            words = EqualWords(self.words.words[index], 1)
            call = Call(self.client, first_seq=seq, words=words, tally=Tally())
            call.tally.written = 1
            if self._ended[index] is not None:
                self.answer(call)
        return call

    def repeat(self, seq: int) -> Call:
        """One of them, which is asked for again: it is told its answer once there is one."""
        call = self.call(seq)
        if not call.tally.done:
            self.repeated[seq] = call
        return call

    def answer(self, call: Call) -> None:
        """One of them that has its answer, as a call by itself: it has it too."""
        ended = self._of(call.first_seq, call.first_seq)
        call.book(ended[0].legs)
        tally = call.tally
        for row, outcome, count in ended[0].legs:
            tally.book(kind_of(row, outcome), count)
        if self.each:
            tally.each = self._each(call.first_seq, ended, tally.legs)
        tally.resolved = 1
        tally.done = True

    def take_kept(self) -> list[KeptCall]:
        """What is answered and not kept for a successor yet."""
        runs, self.untold = self.untold, []
        self.told += runs
        return [self.call(seq).to_keep() for first, last in runs for seq in range(first, last + 1)]

    def untold_books(self) -> Iterator[Ended]:
        """How the legs ended of what is answered and was never kept."""
        for first, last in self.untold:
            yield from counted(self._of(first, last))


def counted(ended: Sequence[Ends]) -> Iterator[Ended]:
    """How many legs of which row ended how; a row may come several times."""
    for ends, words in Counter(ended).items():
        for row, outcome, count in ends.legs:
            yield row, outcome, count * words


def kind_of(row: Row, outcome: Outcome) -> LegKind:
    """What an answer says of a leg in this row. One beyond the row limits went to nobody."""
    to = row.key.destination
    return row.key.apic_id, to.instance_id if to is not None else None, outcome
