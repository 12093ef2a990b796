"""The rules of the core, R55, R57, R60 and R62, at every place in a program where they could fail.

SDM vol. 3, 6.8, table 6-2; vol. 2, STI. Row numbers are those of the portable tests
out of kvm-unit-tests (apic, eventinj, vmexit) and the KVM selftests that these re-express.
"""

from itertools import permutations

import pytest

from mkrpc.instance.accounting import assert_books
from mkrpc.instance.instructions import (
    Cli,
    Eoi,
    Hlt,
    Load,
    Nop,
    SelfIpi,
    Sti,
    WriteCr8,
    WriteIcr,
    WriteTpr,
)
from mkrpc.instance.memory import SharedMemory
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import decode, fixed
from mkrpc.x86.lapic import ApicMode

from .to_cpu_one import HIGH, INIT, LOW, NMI, SMI

# R55: the order at one boundary.


@pytest.mark.rule("R55")
@pytest.mark.parametrize("arrival", list(permutations([SMI, NMI, LOW, HIGH])))
def test_the_order_at_a_boundary_is_not_that_of_arrival(kernel, cpu, arrival):
    """SMI, NMI, then by priority."""
    seen = []

    def note(c):
        seen.append((c.vector, c.smi_count))
        if c.vector != 2:
            c.apic_eoi()

    for vector in (2, 0x41, 0x91):
        kernel.idt.install(vector, "note", note)
    cpu.execute(Cli())
    cpu.execute(Sti())
    for word in arrival:
        assert kernel.accept(1, word) is Outcome.DELIVERED
    assert seen == []
    cpu.execute(Nop())
    assert seen == [(2, 1), (0x91, 1), (0x41, 1)]


@pytest.mark.rule("R55", "R36")
@pytest.mark.parametrize("arrival", list(permutations([SMI, NMI, LOW, INIT])))
def test_init_comes_behind_smi_and_throws_the_rest_away(kernel, cpu, order, arrival):
    for word in arrival:
        cpu.accept(decode(word))
    cpu.boundary()
    assert order == []
    assert (cpu.wait_for_sipi, cpu.smi_count) == (True, 1)
    assert_books(kernel)


# R57: the shadow of STI.


@pytest.mark.rule("R57", "R58")
@pytest.mark.parametrize("at", range(12))
@pytest.mark.parametrize(
    ("word", "may_land_behind"),
    [
        pytest.param(NMI, {"load", "nop", "cli"}, id="NMI"),
        pytest.param(SMI, {"load", "nop", "cli"}, id="SMI"),
        pytest.param(LOW, {"load", "nop"}, id="maskable"),
    ],
)
def test_nothing_lands_between_sti_and_the_next_instruction(make_kernel, word, may_land_behind, at):
    """Row 10: a loop of ``sti; load; nop; cli``, struck behind its n-th instruction."""
    kernel = make_kernel(memory=SharedMemory(bytearray(8)))
    last, landed = [], []
    loop = {"sti": Sti(), "load": Load(0), "nop": Nop(), "cli": Cli()}

    def note(c):
        landed.append(last[-1])
        if c.vector == 0x41:
            c.apic_eoi()

    def program(c):
        yield Cli()
        while True:
            for name, instruction in loop.items():
                last.append(name)
                yield instruction
                if c.smi_count and not landed:
                    landed.append(last[-1])

    for vector in (2, 0x41):
        kernel.idt.install(vector, "note", note)
    kernel.start_program(1, program)
    kernel.advance(at + 2)
    assert kernel.accept(1, word) is Outcome.DELIVERED
    kernel.advance(6)
    assert len(landed) == 1
    assert set(landed) <= may_land_behind
    assert kernel.cpus[1].smi_count == int(word == SMI)


@pytest.mark.rule("R57", "R59")
@pytest.mark.parametrize("at", range(10))
def test_no_wake_up_is_lost_wherever_the_interrupt_strikes(kernel, at):
    """Row 39: a loop of ``cli; check; sti; hlt`` ends, wherever the doorbell arrives."""
    rung = []

    def consumer(c):
        while True:
            yield Cli()
            if rung:
                return
            yield Sti()
            yield Hlt()

    kernel.idt.install(0x41, "ring", lambda c: (rung.append(1), c.apic_eoi()))
    kernel.start_program(1, consumer)
    for _ in range(at):
        kernel.advance(1)
    kernel.accept(1, LOW)
    kernel.advance(20)
    assert rung == [1]
    assert not kernel.cpus[1].execution.busy
    assert kernel.cpus[1].activity == "idle"


@pytest.mark.rule("R57", "R44", "R49")
@pytest.mark.parametrize("mode", [ApicMode.XAPIC, ApicMode.X2APIC])
@pytest.mark.parametrize(
    ("close", "opens"),
    [
        pytest.param([Cli()], [Sti(), Nop()], id="sti_nop"),
        pytest.param([Cli()], [Sti(), Hlt()], id="sti_hlt"),
        pytest.param([WriteCr8(15)], [WriteCr8(0)], id="tpr"),
        pytest.param([Cli(), WriteCr8(15)], [WriteCr8(0), Sti(), Nop()], id="tpr_sti_nop"),
        pytest.param([Cli(), WriteCr8(15)], [WriteCr8(0), Sti(), Hlt()], id="tpr_sti_hlt"),
        pytest.param([Cli(), WriteTpr(0xC0)], [WriteTpr(0), Sti(), Nop()], id="row 33"),
    ],
)
def test_a_self_ipi_runs_once_behind_the_instruction_that_opens_the_window(
    make_kernel, mode, close, opens
):
    """Row 24: 0xB0 to itself behind a closed window; nothing runs before the last instruction."""
    kernel = make_kernel(mode=mode)
    runs, before = [], []
    kernel.idt.install(0xB0, "note", lambda c: (runs.append(1), c.apic_eoi()))

    def program(c):
        for instruction in (*close, SelfIpi(0xB0), *opens):
            before.append(len(runs))
            yield instruction
        before.append(len(runs))

    kernel.start_program(1, program)
    kernel.advance(100)
    assert before == [0] * (len(close) + 1 + len(opens)) + [1]


# R60: vectors 16 to 31, and the one that is the NMI's.


@pytest.mark.rule("R60", "R52")
@pytest.mark.parametrize("vector", range(32))
def test_vectors_below_16_are_illegal_and_those_from_16_on_enter_a_gate(kernel, cpu, vector):
    """So vector 2 cannot be sent as Fixed. A handler is given its CPU alone: no error code."""
    entered = []
    for each in range(32):
        kernel.idt.install(each, "entered", lambda *given: entered.append(given))
    cpu.write_tpr(0)
    cpu.execute(WriteIcr(fixed(1, vector)))
    sent = [event.outcome for event in kernel.events if hasattr(event, "outcome")]
    assert sent == ([Outcome.REJECTED_ILLEGAL_VECTOR] if vector < 16 else [])
    received = kernel.accept(1, fixed(1, vector))
    assert received is (Outcome.DELIVERED if vector >= 16 else Outcome.REJECTED_ILLEGAL_VECTOR)
    assert entered == ([(cpu,)] if vector >= 16 else [])
    assert cpu.irq_stat.nmi_count == 0


# R62: one after the other, at the same instruction.


@pytest.mark.rule("R62", "R44")
@pytest.mark.parametrize("generators", [False, True], ids=["functions", "generators"])
@pytest.mark.parametrize(
    "vectors",
    [
        pytest.param([0x66, 0x78], id="row 34"),
        pytest.param([0x20, 0x21], id="row 20: 33 before 32"),
        pytest.param([0x41, 0x4F, 0x42], id="within a class"),
        pytest.param([0xFD, 0x31, 0xEA, 0xEB, 0x9F], id="any order of arrival"),
        pytest.param([0x50, 0x50, 0x40], id="the same one merges"),
    ],
)
def test_all_are_taken_at_the_same_interrupted_instruction_highest_first(
    kernel, generators, vectors
):
    """Each returns by IRET, to where the next one then strikes too."""
    position, taken = [], []

    def function(c):
        taken.append((c.vector, len(position)))
        c.apic_eoi()

    def generator(c):
        vector = c.vector
        yield Nop()
        taken.append((vector, len(position)))
        yield Eoi()

    def program(c):
        for instruction in (Cli(), *map(SelfIpi, vectors), Sti(), Nop(), Nop(), Nop()):
            position.append(instruction)
            yield instruction

    for vector in vectors:
        kernel.idt.install(vector, "note", generator if generators else function)
    kernel.start_program(1, program)
    kernel.advance(1000)
    behind_the_nop = len(vectors) + 3
    expected = sorted(set(vectors), reverse=True)
    assert taken == [(vector, behind_the_nop) for vector in expected]
    assert len(position) == len(vectors) + 5
    assert_books(kernel)
