"""The different words of a burst: how often each comes, and where.

Long bursts are counted with numpy where it is installed, short ones and all others in plain Python.
Both give the same, in the same order; nothing but the time that it takes can tell.
"""

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

__all__ = ["NUMPY_FROM", "Kinds", "kinds_of"]

NUMPY_FROM = 256
"""Words from which on numpy is quicker: measured, the two are equal at about 200."""

_loaded: list[Any] = []
"""numpy, or None where it is not installed; empty before the first long burst. Its import takes a
tenth of a second, which an interconnect without long bursts is spared."""


def _numpy() -> Any:
    if not _loaded:
        try:
            _loaded.append(import_module("numpy"))
        except ImportError:
            _loaded.append(None)
    return _loaded[0]


class Kinds:
    """The words that a burst is made of. ``counts``: how often each comes, by rising word."""

    __slots__ = ("_inverse", "_words", "counts")

    def __init__(self, words: Sequence[int], counts: Mapping[int, int], inverse: Any) -> None:
        self.counts = counts
        self._words = words
        self._inverse = inverse
        """By place in the burst the index of its word in ``counts``; None: not made by numpy."""

    def column(self, values: Mapping[int, int]) -> "array[int] | None":
        """The value of each word of the burst, 0 to 2^32 - 1; None where that is worth no array."""
        if self._inverse is None:
            return None
        numpy = _numpy()
        table = numpy.fromiter((values[word] for word in self.counts), numpy.uint32)
        column = array("I")
        column.frombytes(table[self._inverse].tobytes())
        return column

    def sort(self, groups: Mapping[int, int], first_seq: int) -> dict[int, "Group"]:
        """The burst by the group of its words, 0 to 65,535, in its order within each.

        ``first_seq``: the number of its first word.
        """
        order = dict.fromkeys(groups[word] for word in self.counts)
        if len(order) == 1:
            words = self._words if isinstance(self._words, array) else array("Q", self._words)
            return {next(iter(order)): (range(first_seq, first_seq + len(words)), words)}
        if self._inverse is None:
            return self._sort_plainly(groups, order, first_seq)
        numpy = _numpy()
        table = numpy.fromiter((groups[word] for word in self.counts), numpy.uint16)
        group_of = table[self._inverse]
        by_group = numpy.argsort(group_of, kind="stable")
        sizes = numpy.bincount(group_of)
        words = numpy.frombuffer(self._words, numpy.uint64)[by_group].tobytes()
        seqs = (by_group.astype(numpy.uint64) + numpy.uint64(first_seq)).tobytes()
        found: dict[int, Group] = {}
        begin = 0
        for group, size in enumerate(sizes.tolist()):
            end = begin + 8 * size
            if size:
                found[group] = (_column(seqs[begin:end]), _column(words[begin:end]))
            begin = end
        return {group: found[group] for group in order}

    def _sort_plainly(
        self, groups: Mapping[int, int], order: Mapping[int, None], first_seq: int
    ) -> dict[int, "Group"]:
        columns = {group: (array("Q"), array("Q")) for group in order}
        adders = {
            word: (columns[groups[word]][0].append, columns[groups[word]][1].append)
            for word in self.counts
        }
        for seq, word in enumerate(self._words, first_seq):
            add_seq, add_word = adders[word]
            add_seq(seq)
            add_word(word)
        return {**columns}


Group = tuple[Sequence[int], "array[int]"]
"""The numbers of some words of a burst, and the words."""


def _column(content: bytes) -> "array[int]":
    column = array("Q")
    column.frombytes(content)
    return column


def kinds_of(words: Sequence[int]) -> Kinds:
    """Count the words of a burst."""
    if len(words) >= NUMPY_FROM and isinstance(words, array):
        numpy = _numpy()
        if numpy is not None:
            found, inverse, counts = numpy.unique(
                numpy.frombuffer(words, numpy.uint64), return_inverse=True, return_counts=True
            )
            return Kinds(words, dict(zip(found.tolist(), counts.tolist(), strict=True)), inverse)
    counted = Counter(words)
    return Kinds(words, {word: counted[word] for word in sorted(counted)}, None)
