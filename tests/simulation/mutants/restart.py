"""Mistakes in how one interconnect takes over from another: each is shown by a seed."""

from dataclasses import replace
from typing import Any

from mkrpc.instance import attachment as attachment_module
from mkrpc.instance.arrivals import Arrivals
from mkrpc.instance.attachment import Attachment
from mkrpc.instance.moves import Moves
from mkrpc.interconnect.changes import ChangeLog
from mkrpc.interconnect.clients import Call
from mkrpc.interconnect.injection import Injections
from mkrpc.interconnect.legs import LegQueue
from mkrpc.interconnect.mirror import Mirror
from mkrpc.interconnect.recovery import Recovery
from mkrpc.interconnect.resent import ResentWrites
from mkrpc.interconnect.restored_books import RestoredBooks
from mkrpc.interconnect.roster_count import RosterCount
from mkrpc.interconnect.source_side import SourceSide
from mkrpc.interconnect.telling import Telling
from mkrpc.link.recovery import Resent
from mkrpc.link.source import SourceWindow
from mkrpc.link.source_books import SourceBooks
from mkrpc.outcome import Outcome

_begin_again = Arrivals.begin_again
_mark = ResentWrites._mark
_refusal = Arrivals._refusal
_unresolved = SourceWindow.unresolved
_take = Telling.take
_take_seqs = SourceSide.take_seqs


def outcomes_are_forgotten_with_the_interconnect(self: Any) -> None:
    _begin_again(self)
    self._kernel.outcomes._sources.clear()
    self._kernel.outcomes._latest_id = b""


def stamps_are_ignored(write: Any, target: Any) -> Any:
    marked = _mark(write, target)
    if marked.resent is Resent.BORN_LATER:
        object.__setattr__(marked, "resent", Resent.IN_ORDER)
    return marked


def who_was_born_later_applies_what_comes_again(self: Any, legs: Any, seq: int, cpu: int) -> Any:
    outcome = _refusal(self, legs, seq, cpu)
    return None if outcome is Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED else outcome


def what_comes_again_may_overtake(self: Any, legs: Any, seq: int, cpu: int) -> Any:
    outcome = _refusal(self, legs, seq, cpu)
    return None if outcome is Outcome.LOST_INTERCONNECT_RESTART else outcome


def the_barrier_opens_at_once(self: Any) -> bool:
    return bool(self.closed)


def the_barrier_opens_before_all_has_been_said(self: Any) -> bool:
    return self.closed and not self._missing


def the_barrier_opens_early(self: Any, looked_us: int, lease_us: int) -> int:
    return _begin(self, looked_us, lease_us // 4)


_begin = Recovery.begin


def who_waits_and_dies_has_certainly_not_had_it(self: Any, settled: Any) -> None:
    self.answer(self.unanswered, Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED, settled)
    _abandon(
        self,
        lambda run, outcome: settled(run, Outcome.LOST_TARGET_DEAD),
    )


_abandon = LegQueue.abandon


def arbitration_is_asked_of_nobody(self: Any, session: Any, writes: Any) -> None:
    return None


def who_has_ended_could_not_have_had_it(self: Any, write: Any, icr: Any, found: Any) -> Any:
    marked = [self._mark(write, target) for target in found]
    return marked or _targets(self, write, icr, found)


_targets = ResentWrites.targets


def the_roster_begins_anew(self: Any, *_numbers: int) -> None:
    self.number = self.last_end = self.last_end_elsewhere = 0


def books_are_told_without_what_is_resolved(self: Any, frame: Any) -> None:
    _take(self, frame)
    if len(frame.resolved) > 1:
        frame.resolved = frame.resolved[:-1]


def gaps_are_no_resolved_writes(self: Any, first: int, count: int, *, stamp: int) -> None:
    before = self.last_seq
    resolved = self.resolved
    _take_seqs(self, first, count, stamp=stamp)
    if first > before + 1:
        self.resolved = type(resolved)()
        for run in resolved.runs():
            if run.first <= before:
                self.resolved.add_run(run.first, min(run.last, before))


def what_was_resolved_is_sent_again(self: Any, last: int) -> Any:
    writes = _unresolved(self, last)
    return writes and [writes[0]._replace(seq=max(1, writes[0].seq - 1)), *writes]


def the_last_unresolved_write_is_not_sent_again(self: Any, last: int) -> Any:
    return _unresolved(self, last)[:-1]


def the_books_of_a_source_are_not_kept(self: Any, books: Any) -> None:
    return None


def books_are_published_without_their_last_row(kernel: Any, books: Any) -> Any:
    frames = _publication(kernel, books)
    for frame in frames:
        frame.books = frame.books[:-1]
    return frames


_publication = attachment_module.publication


def what_was_kept_of_a_source_is_restored_too(self: Any, incarnation: bytes) -> None:
    self.restore_kept(incarnation)


def what_was_in_flight_on_the_disk_is_forgotten(self: Any, kept: Any) -> None:
    ended = sum(count for _, count in kept.outcomes)
    if ended:
        object.__setattr__(kept, "written", ended)
        _restore(self, kept)


_restore = RestoredBooks._restore


def what_was_kept_of_the_dead_is_forgotten(self: Any, incarnation: bytes) -> None:
    self._kept.pop(incarnation, None)


def the_mirror_of_the_dead_dies_with_the_interconnect(
    self: Any, incarnation: bytes, *, instance_id: int, accounts: Any
) -> None:
    return None


def the_account_is_not_reported_again(self: Any) -> None:
    reporter = self._reporter
    _attachment_begins_again(self)
    self._reporter = reporter


_attachment_begins_again = Attachment._begin_again


def what_was_answered_is_asked_again(self: Any, calls: Any) -> None:
    return None


def an_answer_is_kept_without_some_legs(self: Any) -> Any:
    kept = _to_keep(self)
    return replace(kept, legs=kept.legs[:-1])


def an_answer_is_kept_without_some_rows(self: Any) -> Any:
    kept = _to_keep(self)
    return replace(kept, rows=kept.rows[:-1])


_to_keep = Call.to_keep


def the_rows_of_a_call_are_added_while_it_is_kept(self: Any, call: Any) -> None:
    self._answered[call.key] = call
    _forgotten(self, call)


_forgotten = ChangeLog.forgotten


def the_rows_of_what_was_answered_are_not_restored(
    self: Any, *, ledger: Any, registry: Any, takeover: Any
) -> None:
    without = takeover and replace(takeover, calls=())
    _restored(self, ledger=ledger, registry=registry, takeover=without)


_restored = RestoredBooks.__init__


def who_has_another_address_is_not_asked(self: Any, write: Any, icr: Any) -> Any:
    return iter(())


def only_acknowledged_changes_are_told(self: Any) -> Any:
    return tuple(self._told) if any(each.ever for each in self._told) else ()


MUTANTS = [
    (Arrivals, "begin_again", outcomes_are_forgotten_with_the_interconnect, 13),
    (ResentWrites, "_mark", stamps_are_ignored, 34),
    (Arrivals, "_refusal", who_was_born_later_applies_what_comes_again, 34),
    (Arrivals, "_refusal", what_comes_again_may_overtake, 260),
    (Recovery, "complete", the_barrier_opens_at_once, 3),
    (Recovery, "complete", the_barrier_opens_before_all_has_been_said, 3),
    (Recovery, "begin", the_barrier_opens_early, 5),
    (LegQueue, "abandon", who_waits_and_dies_has_certainly_not_had_it, 356),
    (ResentWrites, "note_arbitrated", arbitration_is_asked_of_nobody, 356),
    (ResentWrites, "targets", who_has_ended_could_not_have_had_it, 157),
    (RosterCount, "__init__", the_roster_begins_anew, 34),
    (Telling, "take", books_are_told_without_what_is_resolved, 3),
    (SourceSide, "take_seqs", gaps_are_no_resolved_writes, 98),
    (SourceWindow, "unresolved", what_was_resolved_is_sent_again, 5),
    (SourceWindow, "unresolved", the_last_unresolved_write_is_not_sent_again, 1),
    (SourceBooks, "add", the_books_of_a_source_are_not_kept, 3),
    (attachment_module, "publication", books_are_published_without_their_last_row, 3),
    (RestoredBooks, "forget_kept", what_was_kept_of_a_source_is_restored_too, 3),
    (RestoredBooks, "_restore", what_was_in_flight_on_the_disk_is_forgotten, 13),
    (RestoredBooks, "restore_kept", what_was_kept_of_the_dead_is_forgotten, 6),
    (Mirror, "restore", the_mirror_of_the_dead_dies_with_the_interconnect, 3),
    (Attachment, "_begin_again", the_account_is_not_reported_again, 3),
    (Injections, "restore", what_was_answered_is_asked_again, 3),
    (Call, "to_keep", an_answer_is_kept_without_some_legs, 3),
    (Call, "to_keep", an_answer_is_kept_without_some_rows, 3),
    (ChangeLog, "forgotten", the_rows_of_a_call_are_added_while_it_is_kept, 39),
    (RestoredBooks, "__init__", the_rows_of_what_was_answered_are_not_restored, 3),
    (ResentWrites, "_moved_since", who_has_another_address_is_not_asked, 271),
    (Moves, "told", only_acknowledged_changes_are_told, 271),
]
