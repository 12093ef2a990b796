"""True spurious interrupts: R47, SDM vol. 3, 10.9, with ``ApicPolicy.intr = "latched"``."""

import pytest

from mkrpc.instance.accounting import assert_books, view_of
from mkrpc.instance.instructions import Cli, Hlt, Nop, Sti, WriteRegister, WriteTpr, Wrmsr
from mkrpc.x86.apic_policy import ApicPolicy
from mkrpc.x86.icr import fixed, init_assert, nmi
from mkrpc.x86.lapic import ApicMode
from mkrpc.x86.registers import IA32_APIC_BASE, Register

LATCHED = ApicPolicy(intr="latched")
VECTOR = 0x41


@pytest.fixture
def kernel(make_kernel):
    return make_kernel(apic_policy=LATCHED)


@pytest.fixture
def cpu(kernel):
    return kernel.cpus[1]


@pytest.fixture
def ran(kernel):
    """Vectors in the order in which handlers of CPU 1 were entered; 0x41 ends with EOI."""
    entered = []

    def note(cpu):
        entered.append(cpu.vector)
        if cpu.vector == VECTOR:
            cpu.apic_eoi()

    for vector in (2, VECTOR, 0x91, 0xEF):
        kernel.idt.install(vector, "note", note)
    return entered


def signal(kernel, cpu):
    """0x41 waits at the CPU, which has IF = 0: INTR is up."""
    cpu.execute(Cli())
    kernel.accept(1, fixed(1, VECTOR))
    assert cpu.apic.highest_deliverable() == VECTOR


def open_window(cpu):
    cpu.execute(Sti())
    cpu.execute(Nop())


MASKS = [
    pytest.param(WriteTpr(0xF0), WriteTpr(0), id="TPR"),
    pytest.param(
        WriteRegister(Register.TPR, 0x40), WriteRegister(Register.TPR, 0x10), id="TPR register"
    ),
    pytest.param(WriteRegister(Register.SVR, 0xFF), WriteRegister(Register.SVR, 0x1FF), id="SVR"),
]


@pytest.mark.rule("R47")
@pytest.mark.parametrize("mode", [ApicMode.XAPIC, ApicMode.X2APIC])
@pytest.mark.parametrize(("mask", "unmask"), MASKS)
def test_an_interrupt_masked_behind_its_intr_gives_the_spurious_vector(
    make_kernel, mode, mask, unmask
):
    """Through the kernel's own gate, 0xFF; no ISR bit, no EOI, and the interrupt itself waits."""
    kernel = make_kernel(apic_policy=LATCHED, mode=mode)
    cpu = kernel.cpus[1]
    signal(kernel, cpu)
    cpu.execute(mask)
    assert cpu.irq_stat.irq_spurious_count == 0, "the CPU has not acknowledged yet"
    open_window(cpu)
    assert cpu.irq_stat.irq_spurious_count == 1
    assert (cpu.apic.irr, cpu.apic.isr) == (1 << VECTOR, 0)
    assert cpu.interrupts_enabled
    assert_books(kernel)
    open_window(cpu)
    assert cpu.irq_stat.irq_spurious_count == 1, "once"
    cpu.execute(unmask)
    assert (cpu.apic.irr, cpu.books.handled[VECTOR], cpu.books.eoi[VECTOR]) == (0, 1, 1)
    assert_books(kernel)


@pytest.mark.rule("R47")
@pytest.mark.parametrize(("mask", "unmask"), MASKS)
def test_by_default_intr_is_withdrawn(make_kernel, mask, unmask):
    kernel = make_kernel()
    cpu = kernel.cpus[1]
    signal(kernel, cpu)
    cpu.execute(mask)
    open_window(cpu)
    assert (cpu.irq_stat.irq_spurious_count, cpu.apic.spurious_count) == (0, 0)
    assert cpu.apic.irr == 1 << VECTOR
    cpu.execute(unmask)
    assert cpu.books.handled[VECTOR] == 1


@pytest.mark.rule("R47")
def test_it_is_counted_apart_from_the_vectors(kernel, cpu):
    """SPU counts what came through the kernel's gate, the view of the CPU what the APIC gave."""
    signal(kernel, cpu)
    cpu.execute(WriteTpr(0xF0))
    open_window(cpu)
    assert cpu.books.row(0xFF).handled == cpu.books.row(0xFF).delivered == 0
    assert view_of(cpu).registers["DIAG_SPURIOUS"] == 1
    cpu.execute(WriteTpr(0))
    kernel.accept(1, fixed(1, 0xFF))
    assert cpu.irq_stat.irq_spurious_count == 2
    assert view_of(cpu).registers["DIAG_SPURIOUS"] == 1
    assert cpu.books.row(0xFF).handled == 1
    assert_books(kernel)


@pytest.mark.rule("R47")
def test_the_vector_is_that_of_svr(kernel, cpu, ran):
    cpu.execute(WriteRegister(Register.SVR, 0x1EF))
    signal(kernel, cpu)
    cpu.execute(WriteTpr(0xF0))
    open_window(cpu)
    assert ran == [0xEF]


@pytest.mark.rule("R47")
def test_unmasked_in_time_the_interrupt_itself_is_acknowledged(kernel, cpu, ran):
    signal(kernel, cpu)
    cpu.execute(WriteTpr(0xF0))
    cpu.execute(WriteTpr(0x10))
    open_window(cpu)
    open_window(cpu)
    assert ran == [VECTOR]
    assert (cpu.apic.spurious_count, cpu.apic.isr) == (0, 0)
    assert not cpu.core_pending


@pytest.mark.rule("R47", "R57")
def test_masked_in_the_shadow_of_sti_it_is_spurious_behind_it(kernel, cpu, ran):
    signal(kernel, cpu)
    cpu.execute(Sti())
    cpu.execute(WriteTpr(0xF0))
    assert (cpu.apic.spurious_count, ran) == (1, [])


@pytest.mark.rule("R47", "R59")
def test_it_ends_hlt(kernel, cpu):
    signal(kernel, cpu)
    cpu.execute(WriteTpr(0xF0))
    cpu.execute(Sti())
    cpu.execute(Hlt())
    assert (cpu.apic.spurious_count, cpu.halted) == (1, False)


@pytest.mark.rule("R47", "R55")
def test_an_nmi_comes_first(kernel, cpu, ran):
    cpu.execute(WriteRegister(Register.SVR, 0x1EF))
    signal(kernel, cpu)
    cpu.execute(WriteTpr(0xF0))
    cpu.execute(Sti())
    kernel.accept(1, nmi(1))
    cpu.execute(Nop())
    assert ran == [2, 0xEF]


@pytest.mark.rule("R47")
def test_a_program_meets_it_at_its_own_boundary(kernel, cpu):
    """A generator handler for it runs with IF = 0 to its IRET, like any other."""
    seen = []

    def handler(c):
        seen.append((c.vector, c.interrupts_enabled, c.apic.isr))
        yield Nop()

    def program(c):
        yield Cli()
        yield WriteRegister(Register.SELF_IPI, VECTOR)
        yield WriteTpr(0xF0)
        yield Sti()
        yield Nop()
        seen.append("after")

    kernel.idt.install(0xFF, "spurious", handler)
    kernel.start_program(1, program)
    while kernel.advance(10):
        pass
    assert seen == [(0xFF, False, 0), "after"]
    assert_books(kernel)


@pytest.mark.rule("R9", "R47")
@pytest.mark.parametrize("end", ["INIT", "EN = 0"])
def test_init_and_a_global_disable_withdraw_it(kernel, cpu, end):
    signal(kernel, cpu)
    cpu.execute(WriteTpr(0xF0))
    if end == "INIT":
        kernel.accept(1, init_assert(1))
        assert cpu.activity == "wait-for-sipi"
    else:
        cpu.execute(Wrmsr(IA32_APIC_BASE, 0xFEE00000))
        open_window(cpu)
    assert cpu.apic.spurious_count == 0
    assert not cpu.apic.core_event
    assert_books(kernel)
