"""What bypasses IRR: NMI, INIT and SIPI at a CPU; and what INIT does to the books."""

import pytest

from mkrpc.instance.accounting import assert_books
from mkrpc.instance.instructions import (
    Cli,
    Nop,
    SelfIpi,
    Sti,
    Wrmsr,
)
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import (
    fixed,
    init_assert,
)
from mkrpc.x86.registers import IA32_APIC_BASE

from .to_cpu_one import INIT, NMI, SIPI, hold


@pytest.mark.rule("R58")
def test_an_nmi_is_blocked_until_iret_and_one_more_stays_latched(kernel, cpu):
    ran = []

    def handler(c):
        ran.append("entry")
        yield Nop()
        ran.append("exit")

    kernel.idt.install(2, "nmi", handler)
    assert kernel.accept(1, NMI) is Outcome.DELIVERED
    assert ran == []  # a generator handler has been entered, its first instruction comes next
    assert cpu.apic.nmi_in_service
    assert kernel.accept(1, NMI) is Outcome.DELIVERED
    assert kernel.accept(1, NMI) is Outcome.COALESCED
    while kernel.advance(1):
        pass
    assert ran == ["entry", "exit", "entry", "exit"]
    assert not cpu.apic.nmi_in_service


@pytest.mark.rule("R58")
def test_two_nmis_with_none_in_progress_both_count(kernel, cpu):
    cpu.execute(Cli())
    cpu.execute(Sti())
    outcomes = [kernel.accept(1, NMI) for _ in range(3)]
    assert outcomes == [Outcome.DELIVERED, Outcome.DELIVERED, Outcome.COALESCED]
    cpu.execute(Nop())
    assert cpu.irq_stat.nmi_count == 2


@pytest.mark.rule("R58")
def test_any_iret_unblocks_nmis_even_that_of_a_nested_handler(kernel, cpu):
    """The block ends with the next IRET, not with the IRET of the NMI's own handler."""
    blocked = []

    def nmi_handler(c):
        yield Sti()
        yield SelfIpi(0x41)
        yield Nop()
        blocked.append(c.apic.nmi_in_service)

    kernel.idt.install(2, "nmi", nmi_handler)
    kernel.idt.install(0x41, "nested", lambda c: c.apic_eoi())
    kernel.accept(1, NMI)
    kernel.advance(10)
    assert blocked == [False]


@pytest.mark.rule("R56", "R58")
@pytest.mark.parametrize("enabled", [False, True])
def test_iret_of_an_nmi_restores_if_as_it_was(kernel, cpu, enabled):
    cpu.interrupts_enabled = enabled
    during = []
    kernel.idt.install(2, "nmi", lambda c: during.append(c.interrupts_enabled))
    kernel.accept(1, NMI)
    assert during == [False]
    assert cpu.interrupts_enabled is enabled


@pytest.mark.rule("R10", "R36", "R9")
def test_init_then_sipi_brings_an_ap_back_with_if_0_and_its_apic_disabled(kernel, cpu):
    started = []
    kernel.on_startup = lambda c, vector: started.append((c.number, vector))
    assert kernel.accept(1, SIPI) is Outcome.REJECTED_NOT_WAITING_FOR_SIPI
    assert kernel.accept(1, INIT) is Outcome.DELIVERED
    assert cpu.activity == "wait-for-sipi"
    assert kernel.accept(1, NMI) is Outcome.REJECTED_BLOCKED
    assert kernel.accept(1, SIPI) is Outcome.DELIVERED
    assert (started, cpu.boots) == ([(1, 8)], 1)
    assert (cpu.activity, cpu.interrupts_enabled, cpu.apic.svr) == ("halted", False, 0xFF)
    assert kernel.accept(1, SIPI) is Outcome.REJECTED_NOT_WAITING_FOR_SIPI
    assert kernel.accept(1, fixed(1, 0xEA)) is Outcome.REJECTED_SOFTWARE_DISABLED


@pytest.mark.rule("R36")
def test_sipi_starts_what_on_startup_names(kernel, cpu):
    log = []

    def trampoline(c):
        log.append(c.interrupts_enabled)
        yield Nop()
        log.append("ran")

    kernel.on_startup = lambda c, vector: trampoline
    kernel.accept(1, INIT)
    kernel.accept(1, SIPI)
    assert cpu.activity == "running"
    kernel.advance(10)
    assert log == [False, "ran"]


@pytest.mark.rule("R10")
def test_the_boot_processor_starts_its_program_over_and_waits_for_no_sipi(make_kernel):
    host = make_kernel(instance_id=0)
    runs = []

    def program(cpu):
        runs.append(cpu.interrupts_enabled)
        while True:
            yield Nop()

    host.start_program(0, program)
    host.advance(3)
    assert host.accept(0, init_assert(0)) is Outcome.DELIVERED
    host.advance(3)
    assert runs == [True, False]
    assert host.cpus[0].activity == "running"
    host.accept(1, init_assert(1))
    assert host.cpus[1].activity == "wait-for-sipi"


@pytest.mark.rule("R9")
def test_init_discards_what_was_pending_and_ends_what_was_in_service(kernel, cpu):
    """No EOI can come for it any more, so the books end it with the ISR."""
    kernel.idt.install(0x91, "no_eoi", lambda c: None)
    kernel.accept(1, fixed(1, 0x91))
    hold(cpu)
    kernel.accept(1, fixed(1, 0x41))
    kernel.accept(1, INIT)
    assert cpu.books.discarded[0x41] == 1
    assert (cpu.books.handled[0x91], cpu.books.eoi[0x91]) == (1, 1)
    assert_books(kernel)


@pytest.mark.rule("R6")
def test_a_global_disable_discards_too(kernel, cpu):
    hold(cpu)
    kernel.accept(1, fixed(1, 0x41))
    cpu.execute(Wrmsr(IA32_APIC_BASE, 0xFEE00000))
    assert cpu.books.discarded[0x41] == 1
    assert_books(kernel)
