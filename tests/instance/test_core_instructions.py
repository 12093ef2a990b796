"""The instructions of the core: shadows, flags, CR8, CPUID (R4, R49, R56, R57)."""

from enum import IntEnum

import pytest

from mkrpc.errors import InvalidArgumentError
from mkrpc.instance import instructions as ins
from mkrpc.instance.accounting import assert_books
from mkrpc.instance.instructions import Cli, Hlt, MovSs, Nop, Popf, Sti
from mkrpc.x86.apic_base import GeneralProtection
from mkrpc.x86.apic_policy import ApicPolicy
from mkrpc.x86.cpuid import cpuid
from mkrpc.x86.icr import fixed, init_assert, nmi, startup
from mkrpc.x86.lapic import ApicMode
from mkrpc.x86.registers import IA32_APIC_BASE

from .to_cpu_one import SMI


class Operand(IntEnum):
    CLASS = 4
    VECTOR = 0xEA


# Shadows: behind the how manyth instruction the pending interrupt is taken.


def in_a_program(kernel, instructions):
    """0x41 is pending with IF = 0 from the start; None if it was never taken."""
    done, taken = [], []
    kernel.idt.install(0x41, "note", lambda c: (taken.append(len(done)), c.apic_eoi()))

    def program(cpu):
        yield Cli()
        yield ins.SelfIpi(0x41)
        for instruction in instructions:
            done.append(instruction)
            yield instruction
        cpu.interrupts_enabled = False
        while True:
            yield

    kernel.start_program(1, program)
    kernel.advance(len(instructions) + 3)
    return taken[0] if taken else None


def from_outside(kernel, instructions):
    """The same, each instruction executed on an idle CPU."""
    done, taken = [], []
    cpu = kernel.cpus[1]
    kernel.idt.install(0x41, "note", lambda c: (taken.append(len(done)), c.apic_eoi()))
    cpu.execute(Cli())
    cpu.execute(ins.SelfIpi(0x41))
    for instruction in instructions:
        done.append(instruction)
        cpu.execute(instruction)
    return taken[0] if taken else None


@pytest.mark.rule("R56", "R57")
@pytest.mark.parametrize("execute", [in_a_program, from_outside])
@pytest.mark.parametrize(
    ("instructions", "behind"),
    [
        pytest.param([Popf(True), Nop()], 1, id="POPF casts none"),
        pytest.param([Sti(), Nop(), Nop()], 2, id="STI"),
        pytest.param([Sti(), Sti(), Sti(), Nop()], 2, id="of a run of STIs the first"),
        pytest.param([Sti(), Cli(), Nop()], None, id="sti; cli opens no window"),
        pytest.param([Sti(), Cli(), Sti(), Nop()], 4, id="IF was 0 again: a new shadow"),
        pytest.param([Sti(), Popf(False), Nop()], None, id="sti; popf with IF = 0"),
        pytest.param([Sti(), Popf(True), Nop()], 2, id="sti; popf with IF = 1"),
        pytest.param([MovSs(), Popf(True), Nop()], 2, id="POPF in the shadow of MOV SS"),
        pytest.param([MovSs(), Sti(), Nop(), Nop()], 3, id="STI in it casts its own"),
        pytest.param([Sti(), MovSs(), Nop(), Nop()], 3, id="MOV SS in the shadow of STI too"),
        pytest.param([Sti(), MovSs(), MovSs(), Nop()], 3, id="but of two MOV SS the first"),
        pytest.param([Sti(), MovSs(), Sti(), Nop()], 3, id="STI with IF = 1 casts none"),
        pytest.param([MovSs(), MovSs(), Nop()], None, id="MOV SS leaves IF alone"),
    ],
)
def test_when_the_window_opens(kernel, execute, instructions, behind):
    assert execute(kernel, instructions) == behind


@pytest.mark.rule("R56", "R55")
@pytest.mark.parametrize(
    ("word", "taken"),
    [
        pytest.param(fixed(1, 0x41), lambda cpu: cpu.books.handled[0x41], id="maskable"),
        pytest.param(nmi(1), lambda cpu: cpu.irq_stat.nmi_count, id="NMI"),
        pytest.param(SMI, lambda cpu: cpu.smi_count, id="SMI"),
    ],
)
@pytest.mark.parametrize("behind", [Nop(), MovSs()], ids=["nop", "another"])
def test_nothing_is_taken_between_mov_ss_and_the_next_instruction(kernel, cpu, word, taken, behind):
    """IF is 1 all the time. Behind the second of two something is taken: only the first holds."""
    cpu.execute(MovSs())
    kernel.accept(1, word)
    assert not taken(cpu)
    cpu.execute(behind)
    assert taken(cpu)


@pytest.mark.rule("R56", "R59")
def test_mov_ss_then_hlt_loses_no_wake_up(kernel, cpu):
    cpu.execute(MovSs())
    kernel.accept(1, fixed(1, 0xEA))
    cpu.execute(Hlt())
    assert (cpu.multikernel_count, cpu.activity) == (1, "idle")


@pytest.mark.rule("R56")
def test_pushf_and_popf_are_local_irq_save_and_restore(kernel):
    seen = []

    def program(cpu):
        for enabled in (True, False):
            yield Popf(enabled)
            flags = yield ins.Pushf()
            yield Cli()
            seen.append((flags, (yield ins.Pushf())))
            yield Popf(flags)
            seen.append((yield ins.Pushf()))

    kernel.start_program(0, program)
    kernel.advance(100)
    assert seen == [(True, False), True, (False, False), False]


# CR8.


@pytest.mark.rule("R49", "R4")
@pytest.mark.parametrize("mode", ["x2apic", "xapic", "disabled"])
def test_cr8_is_the_class_of_tpr_in_every_mode(make_kernel, mode):
    kernel = make_kernel(mode=ApicMode.X2APIC if mode == "x2apic" else ApicMode.XAPIC)
    seen = []

    def program(cpu):
        if mode == "disabled":
            yield ins.Wrmsr(IA32_APIC_BASE, 0xFEE00000)
        for value in (0, 5, 15):
            yield ins.WriteCr8(value)
            seen.append(((yield ins.ReadCr8()), (yield ins.ReadTpr())))
        yield ins.WriteTpr(0x37)
        seen.append(((yield ins.ReadCr8()), (yield ins.ReadTpr())))

    kernel.start_program(0, program)
    kernel.advance(100)
    assert seen == [(0, 0), (5, 0x50), (15, 0xF0), (3, 0x37)]


@pytest.mark.rule("R49")
@pytest.mark.parametrize("value", [16, 0xF0, 1 << 63])
def test_a_fifth_bit_of_cr8_faults_and_changes_nothing(cpu, value):
    with pytest.raises(GeneralProtection):
        cpu.execute(ins.WriteCr8(value))
    assert cpu.apic.tpr == 0x10


@pytest.mark.rule("R49", "R44")
def test_lowering_cr8_lets_in_what_is_pending_at_the_next_boundary(kernel, cpu):
    cpu.execute(ins.WriteCr8(0xE))
    kernel.accept(1, fixed(1, 0xEA))
    assert cpu.multikernel_count == 0
    cpu.execute(ins.WriteCr8(0xD))
    assert cpu.multikernel_count == 1
    assert_books(kernel)


@pytest.mark.rule("R47", "R49")
def test_raising_cr8_behind_an_intr_gives_the_spurious_vector(make_kernel):
    """With a latched INTR, as any other write of TPR."""
    kernel = make_kernel(apic_policy=ApicPolicy(intr="latched"))
    cpu = kernel.cpus[1]
    cpu.execute(Cli())
    kernel.accept(1, fixed(1, 0x41))
    cpu.execute(ins.WriteCr8(15))
    cpu.execute(Popf(True))
    assert (cpu.irq_stat.irq_spurious_count, cpu.apic.isr) == (1, 0)
    assert cpu.apic.irr == 1 << 0x41


# CPUID, and operands.


@pytest.mark.parametrize(("leaf", "subleaf"), [(1, 0), (0xB, 1), (0x80000000, 0)])
def test_cpuid_is_that_of_the_apic(kernel, leaf, subleaf):
    result = []

    def program(cpu):
        result.append((yield ins.Cpuid(leaf, subleaf)))

    kernel.start_program(1, program)
    kernel.advance(10)
    assert result == [cpuid(kernel.cpus[1].apic, leaf, subleaf)]


@pytest.mark.parametrize(
    "instruction",
    [
        ins.Int(Operand.VECTOR),
        ins.SelfIpi(Operand.VECTOR),
        ins.WriteIcr(Operand.VECTOR),
        ins.WriteCr8(Operand.CLASS),
        ins.WriteTpr(Operand.VECTOR),
        ins.Cpuid(Operand.CLASS, Operand.CLASS),
    ],
    ids=repr,
)
def test_an_operand_can_have_a_name(kernel, instruction):
    def program(cpu):
        yield instruction

    kernel.start_program(1, program)
    kernel.advance(10)
    assert kernel.oops_count == 0
    assert kernel.cpus[1].program is program


@pytest.mark.parametrize(
    ("instruction", "error"),
    [
        (ins.Int(256), InvalidArgumentError),
        (ins.Int(-1), InvalidArgumentError),
        (ins.Int("3"), TypeError),
        (ins.Int(True), TypeError),
        (Popf(1), TypeError),
        (Popf(None), TypeError),
        (ins.WriteCr8(1 << 64), InvalidArgumentError),
        (ins.WriteCr8(-1), InvalidArgumentError),
        (ins.WriteCr8("x"), TypeError),
        (ins.Cpuid(1 << 32), InvalidArgumentError),
        (ins.Cpuid(1, -1), InvalidArgumentError),
        (ins.Cpuid(None), TypeError),
        (ins.Cpuid(1, 0.0), TypeError),
        (ins.Cpuid(True), TypeError),
    ],
    ids=repr,
)
def test_a_wrong_operand_is_an_error_at_the_yield_and_changes_nothing(kernel, instruction, error):
    caught = []

    def program(cpu):
        before = cpu.interrupts_enabled, cpu.apic.tpr
        try:
            yield instruction
        except error:
            caught.append((cpu.interrupts_enabled, cpu.apic.tpr) == before)

    kernel.start_program(0, program)
    kernel.advance(10)
    assert caught == [True]
    assert kernel.oops_count == 0


@pytest.mark.rule("R36", "R57")
@pytest.mark.parametrize("casts", [Sti(), MovSs()], ids=["STI", "MOV SS"])
def test_a_shadow_does_not_keep_init_out(kernel, casts):
    """Where the instruction after it never comes, INIT must still bring the CPU back."""
    cpu = kernel.cpus[1]
    cpu.execute(Cli())
    cpu.execute(casts)
    for arrival in (fixed(1, 0x41), nmi(1)):
        kernel.accept(1, arrival)
    assert cpu.irq_stat.nmi_count == 0, "NMI waits for the instruction"
    kernel.accept(1, init_assert(1))
    assert (cpu.wait_for_sipi, cpu.interrupt_shadow) == (True, 0)
    kernel.accept(1, startup(1, 8))
    assert cpu.boots == 1
    assert_books(kernel)
