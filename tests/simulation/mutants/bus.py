"""Mistakes in the interconnect: queues, books, mirror: each is shown by a seed."""

from dataclasses import replace
from typing import Any

from mkrpc.interconnect import routing
from mkrpc.interconnect.commands import Commands
from mkrpc.interconnect.fan_legs import FanLegs
from mkrpc.interconnect.injection import Injections
from mkrpc.interconnect.ledger import Ledger
from mkrpc.interconnect.legs import Batch, LegQueue
from mkrpc.interconnect.mirror import Mirror, MirrorRow
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.registry import Registry
from mkrpc.interconnect.session import Session
from mkrpc.outcome import Outcome
from mkrpc.x86.destination import DestinationMap
from mkrpc.x86.icr import DeliveryMode, decode

_answer = Session.answer
_enqueue = LegQueue.enqueue


def a_run_of_outcomes_is_dropped(self: Any, frame: Any, settled: Any) -> None:
    _answer(self, replace(frame, outcomes=frame.outcomes[:-1]), settled)


def the_queue_of_legs_is_a_stack(self: Any, run: Any) -> None:
    _enqueue(self, run)
    self._waiting.rotate(1)


def a_sipi_overtakes_its_init(self: Any, run: Any) -> None:
    _enqueue(self, run)
    if len(self._waiting) > 1 and decode(run.batch.word).delivery_mode is DeliveryMode.STARTUP:
        before = self._waiting[-2]
        if decode(before.batch.word).delivery_mode is DeliveryMode.INIT:
            self._waiting[-1], self._waiting[-2] = before, run


_abandon = LegQueue.abandon


def lost_legs_are_booked_twice(self: Any, settled: Any) -> None:
    waiting = list(self._waiting)
    _abandon(self, settled)
    for run in waiting:
        settled(run, Outcome.LOST_TARGET_DEAD)


def legs_that_wait_are_forgotten_with_their_target(self: Any, settled: Any) -> None:
    self.answer(self.unanswered, Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED, settled)
    self._waiting.clear()
    self.waiting = 0


def what_a_dead_target_held_counts_as_not_delivered(self: Any, settled: Any) -> None:
    self.answer(self.unanswered, Outcome.LOST_TARGET_DEAD, settled)
    _abandon(self, settled)


def a_dead_instance_stays_in_the_map(self: Any, initial_id: int) -> None:
    return None


def a_change_of_address_does_not_reach_the_map(self: Any, session: Any, address: Any) -> Any:
    session.addresses[address.cpu] = address
    return False, False


def a_source_is_not_told_what_is_resolved(self: Any) -> bool:
    return False


def legs_that_are_handed_over_stay_in_the_queue(self: Any) -> Any:
    before = list(self.legs._waiting)[:1]
    frame = _next_frame(self)
    if frame is not None and frame.legs and before and not self.legs._waiting:
        self.legs._waiting.extend(before)
        self.legs.waiting += before[0].count
    return frame


_next_frame = Session.next_frame


def the_policy_permits_everything(self: Any, **question: Any) -> None:
    return None


_settle = Ledger.settle


def a_run_of_legs_is_settled_as_one(self: Any, row: Any, outcome: Outcome, count: int) -> None:
    _settle(self, row, outcome, 1)


def a_broadcast_is_resolved_with_its_first_leg(
    self: Any, lane: int, count: int, row: Any, outcome: Any
) -> None:
    self._progress[lane] += count
    passed = max(self._progress)
    if passed > self.resolved:
        first, self.resolved = self.first_seq + self.resolved, passed
        self._on_resolved(first, self.first_seq + passed - 1, ((row, outcome, count),))


def a_repeated_call_is_made_again(self: Any, call: Any, words: Any, *, on_done: Any) -> Any:
    tally = call.tally.__class__(repeated=True)
    self._wait(call, tally, on_done)
    call.tally.done = False
    call.tally.written = call.tally.resolved = 0
    self._refill(call)
    return tally


def open_commands_are_forgotten_with_their_instance(self: Any, session: Any, reason: str) -> None:
    session.asked.clear()


def a_request_is_done_with_its_reply(self: Any, asked: Any, on_done: Any) -> None:
    if asked.replied and not asked.tally.done:
        asked.tally.done = True
        self._later(lambda: self._tell(asked.tally, on_done))


_resolve = DestinationMap.resolve


def a_broadcast_forgets_its_last_target(self: Any, *asked: Any) -> Any:
    found = _resolve(self, *asked)
    return found[:-1] if len(found) > 1 else found


_by_cpu = FanLegs.by_cpu


def the_legs_of_a_fan_begin_with_its_first_write(self: Any) -> Any:
    return [(place, self.batch.first_seq, count) for place, _, count in _by_cpu(self)]


_apply = MirrorRow.apply


def the_mirror_adds_up_what_is_cumulative(self: Any, account: Any) -> None:
    known = {count.vector: count for count in self._cpus[account.cpu].vectors.values()}
    vectors = [
        replace(count, delivered=count.delivered + known[count.vector].delivered)
        if count.vector in known
        else count
        for count in account.vectors
    ]
    _apply(self, replace(account, vectors=vectors))


def the_mirror_forgets_what_was_not_reported_again(self: Any, account: Any) -> None:
    self._cpus[account.cpu].stats.clear()
    _apply(self, account)


def a_dead_row_is_forgotten(self: Any, incarnation: bytes) -> None:
    del self._live[incarnation]


def lowest_priority_goes_to_the_busiest(targets: Any, vector: int, arbitration: Any) -> Any:
    winners = _lowest_priority(targets, vector, arbitration)
    return [target for target in targets if target not in winners] or winners


_lowest_priority = routing.lowest_priority


def lowest_priority_goes_to_the_first(targets: Any, vector: int, arbitration: Any) -> Any:
    return targets[:1]


MUTANTS = [
    (routing, "lowest_priority", lowest_priority_goes_to_the_busiest, 1),
    (routing, "lowest_priority", lowest_priority_goes_to_the_first, 1),
    (Session, "answer", a_run_of_outcomes_is_dropped, 1),
    (LegQueue, "enqueue", the_queue_of_legs_is_a_stack, 3),
    (LegQueue, "enqueue", a_sipi_overtakes_its_init, 42),
    (LegQueue, "abandon", lost_legs_are_booked_twice, 1),
    (LegQueue, "abandon", legs_that_wait_are_forgotten_with_their_target, 1),
    (LegQueue, "abandon", what_a_dead_target_held_counts_as_not_delivered, 5),
    (DestinationMap, "discard", a_dead_instance_stays_in_the_map, 1),
    (Registry, "change_address", a_change_of_address_does_not_reach_the_map, 28),
    (Session, "_must_tell", a_source_is_not_told_what_is_resolved, 28),
    (Session, "next_frame", legs_that_are_handed_over_stay_in_the_queue, 1),
    (Policy, "decide", the_policy_permits_everything, 3),
    (Ledger, "settle", a_run_of_legs_is_settled_as_one, 1),
    (Batch, "advance", a_broadcast_is_resolved_with_its_first_leg, 1),
    (Injections, "_repeat", a_repeated_call_is_made_again, 3),
    (Commands, "fail_all", open_commands_are_forgotten_with_their_instance, 1),
    (Commands, "_finish_if_complete", a_request_is_done_with_its_reply, 1),
    (DestinationMap, "resolve", a_broadcast_forgets_its_last_target, 1),
    (FanLegs, "by_cpu", the_legs_of_a_fan_begin_with_its_first_write, 4),
    (MirrorRow, "apply", the_mirror_adds_up_what_is_cumulative, 1),
    (MirrorRow, "apply", the_mirror_forgets_what_was_not_reported_again, 3),
    (Mirror, "close", a_dead_row_is_forgotten, 1),
]
