"""Mistakes about calls over streams: a seed with ``calls`` shows each, and none without."""

from collections.abc import Iterator
from typing import Any

from mkrpc.interconnect.changes import ChangeLog
from mkrpc.interconnect.client_streams import ClientStreams
from mkrpc.interconnect.injection import Injections
from mkrpc.interconnect.instalments import Instalments
from mkrpc.interconnect.leg_block import LegBlock
from mkrpc.interconnect.single_calls import SingleCalls
from mkrpc.interconnect.singles import Ends, Singles
from mkrpc.interconnect.tally import EachOutcome, Tally
from mkrpc.interconnect.word_routing import WordRouter
from mkrpc.outcome import Outcome

_WORD_BYTES = 8

# --- calls of one word, made together ---------------------------------------------------------


def the_first_of_a_block_stands_for_all(self: Any, block: LegBlock, outcome: Outcome) -> None:
    place = next(iter(block.batch.places.values()))
    for first, last in block.resolved():
        begin, count = first - self.first_seq, last - first + 1
        self._ended[begin : begin + count] = [Ends((place.row, outcome, 1))] * count
        self._noted(first, last)


def who_asks_again_for_one_of_them_is_not_told(self: Any, singles: Singles) -> None:
    singles.repeated.clear()
    _tell(self, singles)


_tell = SingleCalls._tell


def only_the_first_run_is_told(self: Any) -> list[tuple[int, int]]:
    taken, self._fresh = self._fresh[:1], []
    return taken


def they_are_kept_from_the_second_on(self: Any, singles: Any, first: int, last: int) -> None:
    if first < last:
        _answered_each(self, singles, first + 1, last)


_answered_each = ChangeLog.answered_each


def those_that_nobody_has_kept_leave_no_books(self: Any) -> Iterator[Any]:
    return iter(())


# --- calls of one word by themselves ----------------------------------------------------------


def one_word_that_comes_again_is_taken_for_new(self: Any, **asked: Any) -> Any:
    if len(asked["words"]) == _WORD_BYTES:
        asked["stamp"] = 0
    return _inject_words(self, **asked)


_inject_words = Injections.inject_words


def one_word_has_no_outcome_of_its_own(
    self: Any, first_seq: int, count: int, kind: Any, *, several: bool
) -> None:
    if several or len(self.outcomes) > 1:
        _note(self, first_seq, count, kind, several=several)


_note = EachOutcome.note

# --- bursts -----------------------------------------------------------------------------------


def a_burst_that_comes_again_is_taken_for_new(self: Any, **asked: Any) -> Any:
    if len(asked["words"]) > _WORD_BYTES:
        asked["stamp"] = 0
    return _inject_words(self, **asked)


def a_repetition_is_told_counts_alone(self: Any, original: Tally) -> None:
    _take_over(self, original)
    self.each = None


_take_over = Tally.take_over


def what_is_simple_overtakes_the_rest_of_a_burst(self: Any, words: Any) -> None:
    if words.stamp or len(words.words) < 2 or words.source.instance_id is not None:
        _route(self, words)
        return
    found = self._places.find(words.source, dict.fromkeys(words.words, 1))
    runs = list(words.runs())
    for simple in (True, False):
        for each in runs:
            if (found[each.word] is not None) is simple:
                begin = each.first_seq - words.first_seq
                _route(self, words.part(begin, begin + each.count))


_route = WordRouter.route

# --- long calls -------------------------------------------------------------------------------


def an_instalment_is_the_last(self: Any) -> list[Any]:
    _take(self)
    return []


_take = Instalments.take

# --- streams ----------------------------------------------------------------------------------


def who_ends_a_stream_is_forgotten_though_an_older_one_stands(
    self: Any, stream: Any, *, well: bool
) -> None:
    client_id = self._names.pop(stream)
    if well and client_id:
        self._forget(client_id)


MUTANTS = [
    (Singles, "note_block", the_first_of_a_block_stands_for_all, 1),
    (SingleCalls, "_tell", who_asks_again_for_one_of_them_is_not_told, 1),
    (Singles, "take_fresh", only_the_first_run_is_told, 1),
    (ChangeLog, "answered_each", they_are_kept_from_the_second_on, 3),
    (Singles, "untold_books", those_that_nobody_has_kept_leave_no_books, 5),
    (Injections, "inject_words", one_word_that_comes_again_is_taken_for_new, 6),
    (EachOutcome, "note", one_word_has_no_outcome_of_its_own, 1),
    (Injections, "inject_words", a_burst_that_comes_again_is_taken_for_new, 9),
    (Tally, "take_over", a_repetition_is_told_counts_alone, 1),
    (WordRouter, "route", what_is_simple_overtakes_the_rest_of_a_burst, 3),
    (Instalments, "take", an_instalment_is_the_last, 4),
    (ClientStreams, "ended", who_ends_a_stream_is_forgotten_though_an_older_one_stands, 3),
]
"""Whose method, its name, what stands in its place, and the seed that shows it."""
