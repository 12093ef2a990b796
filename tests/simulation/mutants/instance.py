"""Mistakes in kernels, CPUs and local APICs: each is shown by a seed."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from mkrpc.instance.accounting import AccountReporter
from mkrpc.instance.arrivals import Arrivals
from mkrpc.instance.attachment import Attachment
from mkrpc.instance.commands import CommandQueue
from mkrpc.instance.cpu import Cpu
from mkrpc.instance.kernel import Kernel
from mkrpc.link.frames import Writes
from mkrpc.link.source import SourceWindow
from mkrpc.outcome import Outcome
from mkrpc.x86.apic_state import VECTOR_BIT
from mkrpc.x86.icr import decode
from mkrpc.x86.lapic import LocalApic

_cpu_accept = Cpu.accept
_take_outcomes = Arrivals.take
_reporter_take = AccountReporter._changed_account
_take_events = Kernel.take_events


def coalesced_counts_as_delivered(self: Any, icr: Any) -> Outcome:
    outcome = _cpu_accept(self, icr)
    return Outcome.DELIVERED if outcome is Outcome.COALESCED else outcome


def the_last_leg_is_never_answered(self: Any, frame: Any) -> None:
    _take_outcomes(self, frame)
    if frame.applied and not frame.outcomes:
        frame.applied -= 1


def a_vector_is_left_out_of_the_account(self: Any, cpu: Any) -> Any:
    account = _reporter_take(self, cpu)
    return account and replace(account, vectors=account.vectors[1:])


def registers_that_changed_alone_are_not_reported(self: Any, cpu: Any) -> Any:
    account = _reporter_take(self, cpu)
    return account if account and (account.vectors or account.stats) else None


def events_leave_in_the_wrong_order(self: Any, limit: int) -> Any:
    events = _take_events(self, limit)
    return sorted(events, key=lambda event: not isinstance(event, Writes))


def addresses_are_not_published(self: Any, cpu: int) -> None:
    return None


def an_idle_cpu_is_not_woken(self: Any, cpu: int, word: int) -> Outcome:
    return self.cpus[cpu].accept(decode(word))


def interrupts_are_not_taken_at_the_end_of_a_frame(self: Any) -> None:
    self._unsettled = {}


def a_reply_is_sent_with_every_frame(self: Any) -> list[Any]:
    return list(self._replies)


def the_write_window_is_never_released(self: Any, seqs: Iterable[int]) -> None:
    return None


def what_init_discards_is_not_counted(self: Any, before: tuple[int, int]) -> None:
    _observe(self, (self.apic.irr & before[0], before[1]))


_observe = Cpu.observe


def commands_that_wait_for_the_window_are_not_resumed(self: Any) -> None:
    return None


def eoi_ends_the_lowest_interrupt(self: Any) -> int | None:
    if not self.isr:
        return None
    vector = (self.isr & -self.isr).bit_length() - 1
    self.isr ^= VECTOR_BIT[vector]
    self.update_ppr()
    return vector


_acknowledge = LocalApic.acknowledge


def irr_is_not_cleared(self: Any) -> int:
    vector = _acknowledge(self)
    self.irr |= VECTOR_BIT[vector]
    return vector


def an_init_does_not_cancel_a_sipi(self: Any) -> Outcome:
    if self.init_latched:
        return Outcome.COALESCED
    self.init_latched = True
    return Outcome.DELIVERED


def an_interrupt_in_service_swallows_the_next(self: Any, vector: int) -> Outcome:
    if self.isr & VECTOR_BIT[vector] and self._accepts_fixed:
        return Outcome.DELIVERED
    return _accept_fixed(self, vector)


_accept_fixed = LocalApic.accept_fixed
_book_write = Cpu._book_write


def a_write_that_its_apic_refuses_has_no_number(self: Any, write: Any) -> int:
    if write.settled is not None and write.settled >= Outcome.REJECTED_NO_SUCH_APIC:
        self.kernel.source.next_seq(self.number, 0)
        return 0
    return _book_write(self, write)


MUTANTS = [
    (Cpu, "accept", coalesced_counts_as_delivered, 1),
    (Arrivals, "take", the_last_leg_is_never_answered, 1),
    (AccountReporter, "_changed_account", a_vector_is_left_out_of_the_account, 1),
    (AccountReporter, "_changed_account", registers_that_changed_alone_are_not_reported, 1),
    (Kernel, "take_events", events_leave_in_the_wrong_order, 3),
    (Kernel, "publish_address", addresses_are_not_published, 3),
    (Kernel, "accept", an_idle_cpu_is_not_woken, 1),
    (Kernel, "settle_frame", interrupts_are_not_taken_at_the_end_of_a_frame, 9),
    (Attachment, "_take_replies", a_reply_is_sent_with_every_frame, 1),
    (SourceWindow, "_release", the_write_window_is_never_released, 17),
    (Cpu, "observe", what_init_discards_is_not_counted, 11),
    (CommandQueue, "resume", commands_that_wait_for_the_window_are_not_resumed, 28),
    (LocalApic, "eoi", eoi_ends_the_lowest_interrupt, 13),
    (LocalApic, "acknowledge", irr_is_not_cleared, 1),
    (LocalApic, "_accept_init", an_init_does_not_cancel_a_sipi, 489),
    (LocalApic, "accept_fixed", an_interrupt_in_service_swallows_the_next, 28),
    (Cpu, "_book_write", a_write_that_its_apic_refuses_has_no_number, 3),
]
