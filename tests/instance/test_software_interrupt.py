"""INT n: a gate is entered past the local APIC (R46, R56 to R58, R61).

SDM vol. 3, 6.4.4, 6.8.1, 6.13; INT n in vol. 2.
"""

import pytest

from mkrpc.instance.accounting import assert_books
from mkrpc.instance.instructions import Cli, Eoi, Hlt, Int, Nop, Popf, SelfIpi, Sti
from mkrpc.x86.icr import fixed, nmi
from mkrpc.x86.idt import SegmentNotPresent


@pytest.fixture
def cpu(kernel):
    return kernel.cpus[1]


def texts(kernel):
    return [record.text for record in kernel.log.since(1)]


@pytest.fixture
def order(kernel):
    """The vectors in the order in which handlers ran; each sends an EOI."""
    ran = []

    def note(cpu):
        ran.append(cpu.vector)
        cpu.apic_eoi()

    for vector in range(0x20, 0x100):
        kernel.idt.install(vector, "note", note)
    return ran


def run(kernel, *instructions):
    """A program of CPU 1, to its end."""

    def program(cpu):
        for instruction in instructions:  # noqa: UP028 - a tuple cannot be sent results
            yield instruction

    kernel.start_program(1, program)
    kernel.advance(1000)
    assert not kernel.cpus[1].execution.busy


@pytest.mark.rule("R57", "R46", "R56")
def test_int_runs_inside_the_shadow_of_sti(kernel, cpu, order):
    """IF = 0, 32 to itself; ``sti; int $33``: 33 first, then 32 (kvm-unit-tests eventinj).

    The EOI that 33's handler sends finds nothing in service and does nothing.
    """
    run(kernel, Cli(), SelfIpi(32), Sti(), Int(33))
    assert order == [33, 32]
    assert cpu.books.row(33).handled == 0
    row = cpu.books.row(32)
    assert (row.delivered, row.handled, row.eoi) == (1, 1, 1)
    assert_books(kernel)


@pytest.mark.parametrize("enabled", [False, True])
def test_int_asks_neither_if_nor_tpr_nor_the_apic(kernel, cpu, enabled):
    cpu.write_tpr(0xFF)
    seen = []
    kernel.idt.install(0x41, "look", lambda c: seen.append((c.apic.irr, c.apic.isr, c.vector)))
    run(kernel, Popf(enabled), Int(0x41))
    assert seen == [(0, 0, 0x41)]
    assert cpu.books.row(0x41).delivered == 0


@pytest.mark.rule("R46")
def test_the_eoi_of_an_int_handler_ends_the_interrupt_that_is_in_service(kernel, order):
    """The APIC knows nothing of INT n, so the EOI is somebody else's."""
    ended = []

    def interrupted(c):
        yield Int(0x99)
        ended.append((yield Eoi()))

    kernel.idt.install(0x41, "interrupted", interrupted)
    kernel.accept(1, fixed(1, 0x41))
    kernel.advance(10)
    assert order == [0x99]
    assert ended == [None]
    assert_books(kernel)


@pytest.mark.rule("R58")
def test_int_2_blocks_no_nmi_and_its_iret_unblocks_them(kernel):
    blocked = []

    def nmi_handler(c):
        blocked.append(c.apic.nmi_in_service)
        if len(blocked) == 1:
            yield Int(2)
            blocked.append(c.apic.nmi_in_service)

    kernel.idt.install(2, "nmi", nmi_handler)
    kernel.accept(1, nmi(1))
    kernel.advance(10)
    assert blocked == [True, True, False]
    run(kernel, Int(2))
    assert blocked[3:] == [False]


def test_int_into_a_generator_goes_on_behind_the_int(kernel):
    log = []

    def handler(c):
        log.append("in")
        yield Nop()
        log.append("out")

    def program(c):
        log.append((yield Int(0x80)))
        log.append("behind")

    kernel.idt.install(0x80, "handler", handler)
    kernel.start_program(1, program)
    kernel.advance(10)
    assert log == ["in", "out", None, "behind"]


def test_int_from_outside_ends_hlt_on_an_idle_cpu(kernel, cpu):
    log = []

    def handler(c):
        yield Nop()
        log.append("ran")

    kernel.idt.install(0x80, "handler", handler)
    cpu.execute(Hlt())
    cpu.execute(Int(0x80))
    kernel.advance(10)
    assert (log, cpu.activity) == (["ran"], "idle")


@pytest.mark.rule("R61")
def test_int_through_a_gate_that_is_not_present_is_a_fault_of_the_program(kernel, cpu):
    """EXT is clear: the program asked for it. Nothing was acknowledged."""
    kernel.idt.remove(0x41)
    caught = []

    def program(c):
        try:
            yield Int(0x41)
        except SegmentNotPresent as fault:
            caught.append((fault.vector, fault.error_code, c.interrupts_enabled))
        yield Int(0x41)

    kernel.start_program(1, program)
    kernel.advance(10)
    assert caught == [(0x41, 0x20A, True)]
    assert texts(kernel)[0].startswith("Oops: SegmentNotPresent: segment not present: 020a")
    assert texts(kernel)[1].endswith("(program)")
    assert cpu.apic.isr == 0


def test_an_int_that_panics_ends_everything(make_kernel):
    kernel = make_kernel(panic_on_oops=True)
    log = []

    def raises(c):
        raise RuntimeError("in the handler")

    def program(c):
        yield Int(0x41)
        log.append("behind")

    kernel.idt.install(0x41, "raises", raises)
    kernel.start_program(1, program)
    kernel.advance(10)
    assert kernel.failed is not None
    assert kernel.cpus[1].stopped
    assert log == []


def test_in_a_kernel_with_fred_int_is_an_oops(make_kernel):
    """Linux has no entry for a software interrupt in ring 0 there."""
    kernel = make_kernel(entry="fred")
    kernel.start_program(1, lambda cpu: (yield Int(0x80)))
    kernel.advance(10)
    assert texts(kernel)[0] == "Oops: FatalFredEvent: software interrupt 0x80 in ring 0 [#1]"
