"""Fixed IPIs from a write to the handler's run: portable tests 4, 19 to 21, 24, 25, 39, 54."""

import pytest

from mkrpc.instance.instructions import (
    Cli,
    Eoi,
    Hlt,
    Instruction,
    Int,
    Nop,
    SelfIpi,
    Sti,
    WriteCr8,
    WriteIcr,
    WriteRegister,
    Wrmsr,
)
from mkrpc.instance.kernel import KernelConfig
from mkrpc.simulation.machine import Machine
from mkrpc.x86.icr import Shorthand, fixed, shorthand_word
from mkrpc.x86.lapic import ApicMode
from mkrpc.x86.registers import Register, msr_of

XAPIC, X2APIC = ApicMode.XAPIC, ApicMode.X2APIC
BOTH_MODES = pytest.mark.parametrize("mode", [XAPIC, X2APIC])
ASSERT = 1 << 14


def to_itself(vector: int) -> WriteIcr:
    return WriteIcr(shorthand_word(Shorthand.SELF, vector))


def each_of(*instructions: Instruction):
    """A part of a program that looks at no result."""
    for instruction in instructions:  # noqa: UP028 - a tuple would refuse the results
        yield instruction


@pytest.mark.portable(4)
@pytest.mark.rule("R21", "R23", "R31", "R40")
@BOTH_MODES
@pytest.mark.parametrize("destination", [0, 1, 0xFF], ids=["own id", "another id", "0xFF"])
def test_a_self_ipi_runs_once(make_bench, mode, destination):
    """self shorthand, level bit 0; the destination field means nothing"""
    bench = make_bench(mode=mode)
    word = shorthand_word(Shorthand.SELF, 0xF1) | destination << 32
    bench.execute(0, WriteRegister(Register.SVR, 0x1FF), WriteIcr(word))
    assert bench.run() == [(0, 0xF1)]


@pytest.mark.portable(19)
@pytest.mark.rule("R31", "R45")
@BOTH_MODES
def test_vector_33_to_itself_runs_once(make_bench, mode):
    """IF = 1, level = assert, vector 33"""
    bench = make_bench(1, mode=mode)
    bench.execute(0, WriteIcr(shorthand_word(Shorthand.SELF, 33) | ASSERT))
    assert bench.run() == [(0, 33)]


@pytest.mark.portable(20)
@pytest.mark.rule("R44", "R56", "R57", "R62")
@BOTH_MODES
def test_33_runs_before_32_in_one_window(make_bench, mode):
    """IF = 0, 32 and then 33 pending; sti, nop, cli: both run, the higher one first"""
    bench = make_bench(1, mode=mode)

    def program(cpu):
        yield from each_of(Cli(), to_itself(32), to_itself(33), Sti(), Nop(), Cli())

    bench.start(0, program)
    assert bench.run() == [(0, 33), (0, 32)]


@pytest.mark.portable(21)
@pytest.mark.rule("R46", "R57")
@BOTH_MODES
@pytest.mark.parametrize("ends_with_eoi", [True, False])
def test_int_in_the_shadow_runs_before_what_is_pending(make_bench, mode, ends_with_eoi):
    """IF = 0, 32 pending; sti, int 33: 33 first, whose EOI ends nothing, then 32"""
    bench = make_bench(1, mode=mode)
    ended = []

    def by_int(cpu):
        bench.ran.append((0, cpu.vector))
        if ends_with_eoi:
            ended.append((yield Eoi()))
        yield Nop()

    bench.install(33, by_int)

    def program(cpu):
        yield from each_of(Cli(), to_itself(32), Sti(), Int(33), Nop())

    bench.start(0, program)
    assert bench.run() == [(0, 33), (0, 32)]
    assert ended == ([None] if ends_with_eoi else [])
    assert (bench.cpus[0].apic.irr, bench.cpus[0].apic.isr) == (0, 0)


# What closes the gate before the send, and what opens it: the last instruction is the window.
WINDOWS = {
    "sti_nop": ([Cli()], [Sti()], Nop()),
    "sti_hlt": ([Cli()], [Sti()], Hlt()),
    "tpr": ([WriteCr8(0xF)], [], WriteCr8(0)),
    "tpr_sti_nop": ([Cli(), WriteCr8(0xF)], [WriteCr8(0), Sti()], Nop()),
    "tpr_sti_hlt": ([Cli(), WriteCr8(0xF)], [WriteCr8(0), Sti()], Hlt()),
}
SENDS = {
    "xapic ICR": (XAPIC, to_itself(0xB0)),
    "x2apic ICR": (X2APIC, to_itself(0xB0)),
    "x2apic SELF_IPI": (X2APIC, Wrmsr(msr_of(Register.SELF_IPI), 0xB0)),
}


@pytest.mark.portable(24)
@pytest.mark.rule("R44", "R49", "R54", "R56", "R57", "R59")
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("send", SENDS)
def test_a_pending_self_ipi_runs_at_the_first_open_boundary(make_bench, window, send):
    """behind cli, CR8 = 0xF or both; then sti; nop, sti; hlt, or CR8 = 0"""
    before, opening, last = WINDOWS[window]
    mode, instruction = SENDS[send]
    bench = make_bench(1, mode=mode)
    counts = []

    def program(cpu):
        yield from each_of(*before, instruction, Nop(), *opening)
        counts.append(len(bench.ran))
        yield last
        counts.append(len(bench.ran))
        yield Nop()

    bench.start(0, program)
    assert bench.run() == [(0, 0xB0)]
    assert counts == [0, 1]


@pytest.mark.portable(25)
@pytest.mark.rule("R25", "R59")
@BOTH_MODES
@pytest.mark.parametrize("one_kernel", [True, False], ids=["one kernel", "a kernel per CPU"])
def test_each_cpu_can_be_called_by_its_id(make_bench, mode, one_kernel):
    """vector 0x20, level = assert, to CPUs that loop around hlt with IF = 1"""
    cpus = 8
    bench = make_bench(cpus, mode=mode, one_kernel=one_kernel)

    def loop(cpu):
        while True:
            yield Hlt()

    for each in range(1, cpus):
        bench.start(each, loop)
    bench.run()
    for each in range(cpus):
        bench.execute(0, WriteIcr(fixed(each, 0x20) | ASSERT))
        assert bench.run() == [(each, 0x20)]


@pytest.mark.portable(39)
@pytest.mark.rule("R21", "R25", "R46", "R59")
@pytest.mark.rows(10_000, every=11)
def test_each_ipi_to_a_halted_cpu_wakes_it_once(rows, make_bench):
    """a CPU loops sti, hlt, cli and ends interrupts by writing 77 to EOI; another rings it"""
    bench = make_bench(one_kernel=False, mode=XAPIC)
    counts = {"halts": 0, "wakes": 0, "runs": 0}
    target = bench.cpus[1]

    def handler(cpu):
        counts["runs"] += 1
        cpu.mmio_write(Register.EOI, 77)

    def loop(cpu):
        yield Cli()
        while True:
            yield Sti()
            counts["halts"] += 1
            yield Hlt()
            counts["wakes"] += 1
            yield Cli()

    bench.install(0xA5, handler)
    bench.start(1, loop)
    bench.run()

    def judge(_round):
        before = dict(counts)
        bench.execute(0, WriteRegister(Register.ICR2, 1 << 24), WriteRegister(Register.ICR, 0xA5))
        bench.run()
        moved = {name: counts[name] - before[name] for name in counts}
        return (moved, target.halted), ({"halts": 1, "wakes": 1, "runs": 1}, True)

    rows.assert_each(range(10_000), judge)
    assert counts["halts"] == counts["wakes"] + 1


@pytest.mark.portable(39)
@pytest.mark.rule("R57", "R59")
@pytest.mark.rows(5000, every=11)
def test_no_wake_up_is_lost_wherever_in_the_loop_the_ipi_comes(rows, make_bench):
    """the same, rung at every place of the loop: it ends halted, with nothing pending"""
    bench = make_bench(one_kernel=False, mode=XAPIC)
    target = bench.cpus[1]
    place = [""]
    rung_at = set()

    def loop(cpu):
        yield Cli()
        while True:
            for name, instruction in (
                ("sti", Sti()),
                ("hlt", Hlt()),
                ("cli", Cli()),
                ("nop", Nop()),
            ):
                place[0] = name
                yield instruction

    bench.start(1, loop)
    bench.run()

    def judge(number):
        bench.execute(0, WriteIcr(fixed(1, 0xA5)))
        target.kernel.advance(1 + number % 5)
        rung_at.add(place[0])
        bench.execute(0, WriteIcr(fixed(1, 0xA6)))
        ran = bench.run()
        return (ran, target.halted, target.apic.irr), ([(1, 0xA5), (1, 0xA6)], True, 0)

    rows.assert_each(range(5000), judge)
    assert rung_at == {"sti", "hlt", "cli", "nop"}


@pytest.mark.portable(54)
@pytest.mark.rule("R21", "R25", "R31")
@BOTH_MODES
def test_the_multikernel_word_reaches_a_cpu_of_another_kernel(mode):
    """ICR low exactly 0x000000EA: fixed, physical, level bit 0"""
    machine = Machine(
        [
            KernelConfig(instance_id=0, name="host", apic_ids=(0, 1), mode=mode),
            KernelConfig(instance_id=1, name="mk1", apic_ids=(2, 3), mode=mode),
        ]
    )
    if mode is XAPIC:
        machine.cpu(0).execute(WriteRegister(Register.ICR2, 3 << 24))
        machine.cpu(0).execute(WriteRegister(Register.ICR, 0x000000EA))
    else:
        machine.cpu(0).execute(Wrmsr(msr_of(Register.ICR), 3 << 32 | 0x000000EA))
    machine.settle()
    counts = [cpu.multikernel_count for k in machine.kernels.values() for cpu in k.cpus]
    assert counts == [0, 0, 0, 1]
    assert machine.kernels[1].log.since(1)[-1].text == "Multikernel interrupt"
    assert machine.bus.balance() == []


@pytest.mark.portable(21)
@pytest.mark.rule("R57")
def test_the_shadow_ends_with_the_int_that_it_covers(make_bench):
    """the handler that INT enters has IF = 0; after its IRET the window is open"""
    bench = make_bench(1)
    seen = []

    def by_int(cpu):
        seen.append((cpu.interrupts_enabled, cpu.interrupt_shadow))
        yield Nop()

    bench.install(33, by_int)

    def program(cpu):
        yield from each_of(Cli(), SelfIpi(32), Sti(), Int(33))
        seen.append(bench.ran.copy())
        yield Nop()

    bench.start(0, program)
    bench.run()
    assert seen == [(False, False), [(0, 32)]]
