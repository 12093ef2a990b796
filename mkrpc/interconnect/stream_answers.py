"""What a client's stream is answered: gathered, and put into as few rows as say it."""

from collections import Counter, deque
from collections.abc import Mapping

from mkrpc.interconnect.answers import leg_to_pb
from mkrpc.interconnect.singles import SinglesAnswer
from mkrpc.interconnect.tally import EachOutcome, LegKind, Tally
from mkrpc.v1 import control_pb2 as pb

__all__ = ["MAX_RESPONSE_LEGS", "StreamAnswers"]

MAX_RESPONSE_LEGS = 16_384
"""Kinds of legs in one response at most, give or take those of one request; what is over waits for
the next. Keeps it well below the largest frame."""


class _Row:
    """Answered words from number ``first`` to ``last``, and how their legs ended.

    ``outcomes``: of every word, if that was asked for; ``several`` and ``counts_only`` as in
    :class:`~mkrpc.interconnect.tally.EachOutcome`. ``singles``: each word is a request; ``runs``:
    several of these may be answered as one.
    """

    __slots__ = (
        "counts_only",
        "first",
        "last",
        "legs",
        "outcomes",
        "repeated",
        "runs",
        "several",
        "singles",
    )

    def __init__(self, first: int, last: int, legs: dict[LegKind, int]) -> None:
        self.first = first
        self.last = last
        self.legs = legs
        self.outcomes: bytearray | None = None
        self.several: Mapping[int, Mapping[LegKind, int]] = {}
        self.counts_only = self.repeated = self.singles = self.runs = False

    def tell_each(self, each: EachOutcome | None) -> None:
        """The outcome of every word is wanted; None: it is not known."""
        if each is None:
            self.outcomes, self.counts_only = bytearray(), True
            return
        self.outcomes, self.several = each.outcomes, each.several
        self.counts_only = each.too_many

    def join(self, following: "_Row") -> bool:
        """Take in words of other requests; whether they can be told in the same row."""
        if (
            not (self.singles and following.singles and self.last + 1 == following.first)
            or self.runs is not following.runs
            or self.several
            or following.several
            or self.counts_only
            or following.counts_only
            or (self.outcomes is None) is not (following.outcomes is None)
        ):
            return False
        if self.outcomes is not None and following.outcomes is not None:
            self.outcomes += following.outcomes
        self.last = following.last
        for kind, count in following.legs.items():
            self.legs[kind] = self.legs.get(kind, 0) + count
        return True

    def write(self, response: pb.InjectStreamResponse) -> int:
        """Add it to a response; the kinds of legs that it has there besides."""
        if self.singles and not self.runs:
            for seq in range(self.first, self.last + 1):
                response.answered.add(first=seq, last=seq)
                if self.outcomes is not None:
                    at = seq - self.first
                    told = self.outcomes[at : at + 1]
                    self._outcomes(response, seq, told)
        else:
            response.answered.add(first=self.first, last=self.last, repeated_call=self.repeated)
            if self.outcomes is not None:
                self._outcomes(response, self.first, self.outcomes)
        return sum(len(legs) for legs in self.several.values())

    def _outcomes(self, response: pb.InjectStreamResponse, first: int, told: bytearray) -> None:
        row = response.outcomes.add(
            first_seq=first, outcomes=bytes(told), counts_only=self.counts_only
        )
        for seq, legs in self.several.items():
            row.several.add(seq=seq, legs=[leg_to_pb(kind, count) for kind, count in legs.items()])


class StreamAnswers:
    """The answers of one stream that are not told yet: to so many ``requests``, of so many
    ``words`` together."""

    def __init__(self) -> None:
        self.requests = self.words = 0
        self._rows: deque[_Row] = deque()
        self._legs: Counter[LegKind] = Counter()

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, first: int, count: int, tally: Tally, *, each: bool) -> None:
        """A request of ``count`` words has its answer."""
        row = _Row(first, first + count - 1, tally.legs)
        row.repeated = tally.repeated
        if each:
            row.tell_each(tally.each)
        self._rows.append(row)
        self.requests += 1
        self.words += count

    def add_singles(self, answer: SinglesAnswer, *, runs: bool) -> None:
        """Requests of one word each have theirs; ``runs``: they may be told as one run."""
        row = _Row(answer.first, answer.last, answer.legs)
        row.singles, row.runs = True, runs
        if answer.each is not None:
            row.tell_each(answer.each)
        count = answer.last - answer.first + 1
        self.requests += count
        self.words += count
        if not (self._rows and self._rows[-1].join(row)):
            self._rows.append(row)

    def write(self, response: pb.InjectStreamResponse) -> None:
        """Tell what there is, as far as it fits: with it, how all of the words that are told to be
        answered have ended, and nothing of others."""
        room = MAX_RESPONSE_LEGS
        changed: dict[LegKind, None] = {}
        while self._rows and len(changed) < room:
            row = self._rows.popleft()
            words = row.last - row.first + 1
            self.words -= words
            self.requests -= words if row.singles else 1
            room -= row.write(response)
            self._legs.update(row.legs)
            changed.update(dict.fromkeys(row.legs))
        response.legs.extend(leg_to_pb(kind, self._legs[kind]) for kind in changed)
