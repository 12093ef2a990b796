"""Every reason for which a CPU does not take what is pending, brought about on the CPU itself."""

from collections.abc import Callable
from typing import Any

import pytest

from mkrpc.instance.diagnosis import busy_cores, core_state, pending_view
from mkrpc.instance.instructions import Cli, Hlt, MovSs, Nop, Sti, WriteIcr
from mkrpc.instance.kernel import MAX_QUEUED_EVENTS, Kernel
from mkrpc.link.frames import Command, CommandKind
from mkrpc.link.lease import MAX_BEAT_CORES
from mkrpc.link.source import WRITE_WINDOW
from mkrpc.x86.apic_policy import ApicPolicy
from mkrpc.x86.icr import DeliveryMode, icr_word
from mkrpc.x86.pending import HoldKind, holds, why_in_service

VECTOR = 0x41
RING = icr_word(vector=VECTOR, destination=1)
NMI = icr_word(vector=0, destination=1, delivery_mode=DeliveryMode.NMI)


def endless(cpu: Any) -> Any:
    while True:
        yield Nop()


def masked(cpu: Any) -> Any:
    yield Cli()
    yield from endless(cpu)


def by_a_program(kernel: Kernel) -> None:
    kernel.start_program(1, masked)
    kernel.advance(3)


def by_a_command(kernel: Kernel) -> None:
    kernel.execute(Command(1, CommandKind.SET_CPU, cpu=1, action="if=0"))


def by_a_handler(kernel: Kernel) -> None:
    """As sysvec_multikernel: its EOI is written, and the handler goes on and on."""
    kernel.register_handler(endless)
    kernel.accept(1, icr_word(vector=0xEA, destination=1))
    kernel.advance(3)


def by_a_handler_without_eoi(kernel: Kernel) -> None:
    kernel.idt.install(0x52, "endless", endless)
    kernel.accept(1, icr_word(vector=0x52, destination=1))
    kernel.advance(3)


def by_an_eoi_that_never_came(kernel: Kernel) -> None:
    kernel.idt.install(0x52, "forgets", lambda cpu: None)
    kernel.accept(1, icr_word(vector=0x52, destination=1))


def by_tpr(kernel: Kernel) -> None:
    kernel.cpus[1].write_tpr(0x40)


def by_sti(kernel: Kernel) -> None:
    kernel.cpus[1].execute(Cli())
    kernel.cpus[1].execute(Sti())


def by_mov_ss(kernel: Kernel) -> None:
    kernel.cpus[1].execute(MovSs())


def by_hlt(kernel: Kernel) -> None:
    kernel.cpus[1].execute(Cli())
    kernel.cpus[1].execute(Hlt())


def by_a_panic(kernel: Kernel) -> None:
    kernel.panic(kernel.cpus[0], "tried")


def by_full_events(kernel: Kernel) -> None:
    by_a_command(kernel)
    kernel.events.extend([kernel.address_of(0)] * MAX_QUEUED_EVENTS)


def writes_without_pause(cpu: Any) -> Any:
    yield Cli()
    while True:
        yield WriteIcr(RING & 0xFFFFFFFF)


def by_the_window(kernel: Kernel) -> None:
    kernel.start_program(1, writes_without_pause)
    kernel.advance(WRITE_WINDOW + 10)


HELD = {
    by_a_program: [(HoldKind.IF_CLEAR, -1)],
    by_a_command: [(HoldKind.IF_CLEAR, -1)],
    by_a_handler: [(HoldKind.IF_CLEAR, 0xEA)],
    by_a_handler_without_eoi: [(HoldKind.IF_CLEAR, 0x52), (HoldKind.ISR, 0x52)],
    by_an_eoi_that_never_came: [(HoldKind.ISR, 0x52)],
    by_tpr: [(HoldKind.TPR, -1)],
    by_sti: [(HoldKind.SHADOW_STI, -1)],
    by_mov_ss: [(HoldKind.SHADOW_MOV_SS, -1)],
    by_hlt: [(HoldKind.HALTED, -1)],
    by_a_panic: [(HoldKind.PANIC, -1)],
    by_full_events: [(HoldKind.IF_CLEAR, -1), (HoldKind.CONGESTED, -1)],
    by_the_window: [(HoldKind.IF_CLEAR, -1), (HoldKind.WRITE_WINDOW, -1)],
}


@pytest.mark.parametrize("hold_up", HELD, ids=lambda how: how.__name__)
def test_what_holds_a_pending_interrupt_is_said(
    kernel: Kernel, hold_up: Callable[[Kernel], None]
) -> None:
    hold_up(kernel)
    kernel.accept(1, RING)
    view = pending_view(kernel.cpus[1], VECTOR)
    assert view.core.is_pending(VECTOR)
    assert (view.counts.delivered, view.counts.handled) == (1, 0)
    found = [(hold.kind, hold.vector) for hold in holds(view.core, VECTOR)]
    assert found == HELD[hold_up]


def test_a_cpu_that_waits_for_sipi_says_so(kernel: Kernel) -> None:
    kernel.accept(1, icr_word(vector=0, destination=1, delivery_mode=DeliveryMode.INIT))
    found = holds(core_state(kernel.cpus[1]), VECTOR)
    assert [hold.kind for hold in found] == [HoldKind.WAIT_FOR_SIPI, HoldKind.SOFTWARE_DISABLED]


def test_a_software_disabled_apic_holds_what_was_pending(make_kernel: Any) -> None:
    policy = ApicPolicy(pending_while_software_disabled="hold")
    kernel = make_kernel(apic_policy=policy)
    by_sti(kernel)
    kernel.accept(1, RING)
    kernel.cpus[1].write_svr(0xFF)
    kernel.cpus[1].execute(Nop())
    found = holds(core_state(kernel.cpus[1]), VECTOR)
    assert [hold.kind for hold in found] == [HoldKind.SOFTWARE_DISABLED]


def test_an_nmi_behind_an_nmi_handler_is_blocked(kernel: Kernel) -> None:
    kernel.idt.install(2, "endless", endless)
    kernel.accept(1, NMI)
    kernel.accept(1, NMI)
    state = core_state(kernel.cpus[1])
    assert (state.is_pending(2), state.is_in_service(2)) == (True, True)
    assert [hold.kind for hold in holds(state, 2)] == [HoldKind.NMI_BLOCKED]
    (first, *_) = holds(state, VECTOR)
    assert (first.kind, first.vector) == (HoldKind.IF_CLEAR, 2)


def test_a_nested_handler_is_told_from_the_one_below_it(kernel: Kernel) -> None:
    def lets_others_in(cpu: Any) -> Any:
        yield Sti()
        yield from endless(cpu)

    kernel.idt.install(0x31, "outer", lets_others_in)
    kernel.idt.install(0x52, "inner", endless)
    kernel.accept(1, icr_word(vector=0x31, destination=1))
    kernel.advance(5)
    kernel.accept(1, icr_word(vector=0x52, destination=1))
    state = core_state(kernel.cpus[1])
    assert state.handlers == (0x31, 0x52)
    assert "0x52 has interrupted it" in why_in_service(state, 0x31).text
    assert "runs and has not written EOI" in why_in_service(state, 0x52).text


def test_a_storm_is_told_from_a_cpu_that_is_masked(kernel: Kernel) -> None:
    def again(cpu: Any) -> None:
        cpu.apic_eoi()
        cpu.self_ipi(VECTOR)

    kernel.idt.install(VECTOR, "again", again)
    kernel.accept(1, RING)
    found = holds(core_state(kernel.cpus[1]), VECTOR)
    assert [hold.kind for hold in found] == [HoldKind.STORM]


def test_read_pending_answers_with_the_state_and_the_counts(kernel: Kernel) -> None:
    by_tpr(kernel)
    kernel.accept(1, RING)
    reply = kernel.execute(Command(7, CommandKind.READ_PENDING, cpu=1, word=VECTOR))
    assert reply is not None
    assert reply.pending == pending_view(kernel.cpus[1], VECTOR)


@pytest.mark.parametrize(("cpu", "word"), [(0, 256), (2, 0x41)])
def test_read_pending_refuses_what_is_not_there(kernel: Kernel, cpu: int, word: int) -> None:
    reply = kernel.execute(Command(7, CommandKind.READ_PENDING, cpu=cpu, word=word))
    assert reply is not None
    assert reply.error
    assert reply.pending is None


def test_a_kernel_that_has_panicked_still_says_why(kernel: Kernel) -> None:
    by_a_panic(kernel)
    reply = kernel.execute(Command(7, CommandKind.READ_PENDING, cpu=1, word=VECTOR))
    assert reply is not None
    assert reply.pending is not None
    assert "tried" in reply.pending.core.panic


def test_a_beat_tells_of_the_cpus_that_owe_something_and_of_no_more_than_it_may(
    make_kernel: Any,
) -> None:
    kernel = make_kernel(cpus=MAX_BEAT_CORES + 2)
    assert busy_cores(kernel, None) == []
    (entered,) = busy_cores(kernel, (3, 0xEA))
    assert (entered.cpu, entered.handlers, entered.entered) == (3, (0xEA,), True)
    for cpu in kernel.cpus:
        cpu.write_tpr(0xF0)
        kernel.accept(cpu.number, RING)
    assert [core.cpu for core in busy_cores(kernel, None)] == list(range(MAX_BEAT_CORES))
