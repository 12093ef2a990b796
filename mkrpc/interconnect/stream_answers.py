"""What a client's stream is answered: gathered, and put into as few rows as say it."""

from collections import deque
from collections.abc import Mapping

from mkrpc.interconnect.singles import SinglesAnswer
from mkrpc.interconnect.stream_codec import answered_to_bytes, legs_to_bytes, outcomes_to_bytes
from mkrpc.interconnect.tally import EachOutcome, LegKind, Tally

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

    def write(self, answered: list[bytes], outcomes: list[bytes]) -> int:
        """Add it to these; the kinds of legs that it has there besides."""
        if self.singles and not self.runs:
            for seq in range(self.first, self.last + 1):
                answered.append(answered_to_bytes(seq, seq, repeated=False))
                if self.outcomes is not None:
                    at = seq - self.first
                    outcomes.append(self._told(seq, self.outcomes[at : at + 1]))
        else:
            answered.append(answered_to_bytes(self.first, self.last, repeated=self.repeated))
            if self.outcomes is not None:
                outcomes.append(self._told(self.first, self.outcomes))
        return sum([len(legs) for legs in self.several.values()]) if self.several else 0

    def _told(self, first: int, told: bytearray) -> bytes:
        return outcomes_to_bytes(first, bytes(told), self.several, counts_only=self.counts_only)


class StreamAnswers:
    """The answers of one stream that are not told yet: to so many ``requests``, of so many
    ``words`` together."""

    def __init__(self) -> None:
        self.requests = self.words = 0
        self._rows: deque[_Row] = deque()
        self._legs: dict[LegKind, int] = {}

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

    def take(self) -> bytes:
        """What there is, as far as it fits, as fields of a response: with it, how all of the words
        that are told to be answered have ended, and nothing of others."""
        room = MAX_RESPONSE_LEGS
        changed: dict[LegKind, None] = {}
        answered: list[bytes] = []
        outcomes: list[bytes] = []
        while self._rows and len(changed) < room:
            row = self._rows.popleft()
            words = row.last - row.first + 1
            self.words -= words
            self.requests -= words if row.singles else 1
            room -= row.write(answered, outcomes)
            for kind, count in row.legs.items():
                self._legs[kind] = self._legs.get(kind, 0) + count
                changed[kind] = None
        legs = [legs_to_bytes(kind, self._legs[kind]) for kind in changed]
        return b"".join(answered + legs + outcomes)
