"""What became of one request: its legs, counted by where they went and how they ended."""

from collections import Counter
from collections.abc import Mapping

from mkrpc.errors import MkrpcError
from mkrpc.outcome import Outcome

__all__ = ["MAX_EACH_LEGS", "EachOutcome", "LegKind", "Tally"]

MAX_EACH_LEGS = 16_384
"""Legs of the words of one request that have several, which are kept one by one; of a request with
more, only counts are."""

LegKind = tuple[int, int | None, Outcome]
"""APIC id (or :data:`~mkrpc.link.frames.NOBODY`), instance id (None for nobody), outcome."""


class EachOutcome:
    """The outcome of every word of a request that asks for it.

    ``outcomes``: a byte for each word, from number ``first_seq`` on: the outcome of its leg, or 0
    for a word that has several legs: these are in ``several``, by its number, unless there are
    ``too_many``.
    """

    __slots__ = ("_count", "_kinds", "_outcomes", "first_seq", "several", "too_many")

    def __init__(self, first_seq: int, count: int) -> None:
        self.first_seq = first_seq
        self._count = count
        self._outcomes: bytearray | None = None
        self.several: dict[int, Counter[LegKind]] = {}
        self.too_many = False
        self._kinds = 0

    @property
    def outcomes(self) -> bytearray:
        """Made when it is first asked for: by then an interrupt has been delivered."""
        if self._outcomes is None:
            self._outcomes = bytearray(self._count)
        return self._outcomes

    def note(self, first_seq: int, count: int, kind: LegKind, *, several: bool) -> None:
        """A leg of each of ``count`` words from number ``first_seq`` on has ended like this."""
        if several:
            self._kinds += count
            if self._kinds > MAX_EACH_LEGS:
                self.too_many, self.several = True, {}
                return
            for seq in range(first_seq, first_seq + count):
                self.several.setdefault(seq, Counter())[kind] += 1
            return
        begin = first_seq - self.first_seq
        self.outcomes[begin : begin + count] = bytes((kind[2],)) * count

    def note_legs(self, seq: int, legs: Mapping[LegKind, int]) -> None:
        """All legs of one word have ended, of which there are several."""
        self._kinds += sum(legs.values())
        if self._kinds > MAX_EACH_LEGS:
            self.too_many, self.several = True, {}
        else:
            self.several[seq] = Counter(legs)


class Tally:
    """The answer to an injection or to a request for ICR writes, as it grows.

    ``written`` is how many ICR writes were made, ``resolved`` how many of them have all their
    outcomes. ``done`` turns true once, and nothing changes after that. ``error`` says why fewer
    writes were made than asked for. ``repeated``: the call had been made before, this is its answer
    again. ``each``: None, or the outcomes word by word.
    """

    __slots__ = ("done", "each", "error", "legs", "repeated", "resolved", "written")

    def __init__(self, *, each: EachOutcome | None = None, repeated: bool = False) -> None:
        self.written = self.resolved = 0
        self.legs: dict[LegKind, int] = {}
        self.done = False
        self.repeated = repeated
        self.error: MkrpcError | None = None
        self.each = each

    def end(self, first_seq: int, count: int, kind: LegKind, *, several: bool = False) -> None:
        """A leg of each of ``count`` writes from number ``first_seq`` on has ended like this;
        ``several``: these writes have more than one."""
        assert not self.done
        self.book(kind, count)
        if self.each is not None:
            self.each.note(first_seq, count, kind, several=several)

    def book(self, kind: LegKind, count: int) -> None:
        """So many legs have ended like this."""
        self.legs[kind] = self.legs.get(kind, 0) + count

    def take_over(self, original: "Tally") -> None:
        """Become the answer to a repetition of the call that ``original`` answers."""
        self.written, self.resolved = original.written, original.resolved
        self.legs = dict(original.legs)
        self.error = original.error
        self.each = original.each
        self.done = True
