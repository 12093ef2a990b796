"""What a CPU takes at an instruction boundary: R55 to R62; SDM vol. 3, 6.7.1, 6.8, table 6-2."""

import pytest

from mkrpc.errors import ClusterStateError
from mkrpc.instance.accounting import assert_books
from mkrpc.instance.cpu import MAX_TAKES_PER_BOUNDARY
from mkrpc.instance.instructions import (
    Cli,
    Eoi,
    Hlt,
    Nop,
    SelfIpi,
    Sti,
    WriteIcr,
    WriteTpr,
)
from mkrpc.link.frames import Writes
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import (
    DeliveryMode,
    Shorthand,
    decode,
    fixed,
    shorthand_word,
)
from mkrpc.x86.lapic import ApicMode
from mkrpc.x86.registers import Register

from .to_cpu_one import INIT, NMI, SMI, hold


@pytest.mark.rule("R55")
def test_smi_then_nmi_then_maskable_are_taken_in_this_order(kernel, cpu, order):
    seen_at_nmi = []
    kernel.idt.install(2, "nmi", lambda c: (order.append(2), seen_at_nmi.append(c.smi_count)))
    cpu.execute(Cli())
    cpu.execute(Sti())  # its shadow holds everything back for one instruction
    for word in (fixed(1, 0x41), NMI, SMI):
        assert kernel.accept(1, word) is Outcome.DELIVERED
    assert order == []
    cpu.execute(Nop())
    assert order == [2, 0x41]
    assert seen_at_nmi == [1]


@pytest.mark.rule("R55", "R36")
def test_init_comes_before_nmi_and_throws_it_away(kernel, cpu, order):
    for word in (NMI, INIT):
        assert cpu.accept(decode(word)) is Outcome.DELIVERED
    cpu.boundary()
    assert order == []
    assert cpu.activity == "wait-for-sipi"


@pytest.mark.rule("R56")
@pytest.mark.parametrize(
    ("release", "taken"),
    [
        pytest.param([], [], id="IF=0"),
        pytest.param([Sti()], [], id="in the shadow"),
        pytest.param([Sti(), Nop()], [0x41], id="after the shadow"),
        pytest.param([Sti(), Cli(), Nop()], [], id="sti-cli opens no window (R57)"),
        pytest.param([Sti(), Sti()], [0x41], id="the second STI casts no shadow (R57)"),
        pytest.param([WriteTpr(0x40), Sti(), Nop()], [], id="class rule (R44)"),
        pytest.param([WriteTpr(0x3F), Sti(), Nop()], [0x41], id="sub-class of TPR ignored (R44)"),
    ],
)
def test_a_maskable_interrupt_needs_if_and_no_shadow_and_a_higher_class(
    kernel, cpu, order, release, taken
):
    hold(cpu)
    assert kernel.accept(1, fixed(1, 0x41)) is Outcome.DELIVERED
    for instruction in release:
        cpu.execute(instruction)
    assert order == taken
    assert_books(kernel)


@pytest.mark.rule("R57")
def test_sti_while_if_is_set_casts_no_shadow(kernel, cpu, order):
    cpu.execute(Sti())
    assert not cpu.interrupt_shadow
    kernel.accept(1, fixed(1, 0x41))
    assert order == [0x41]


@pytest.mark.rule("R57", "R59")
def test_sti_hlt_cannot_lose_a_wake_up(kernel, cpu, order):
    """The interrupt that was pending at STI is taken after HLT has begun, and ends it."""
    hold(cpu)
    kernel.accept(1, fixed(1, 0x41))
    cpu.execute(Sti())
    assert order == []
    cpu.execute(Hlt())
    assert order == [0x41]
    assert cpu.activity == "idle"


@pytest.mark.rule("R57")
def test_an_instruction_from_outside_leaves_the_shadow_of_a_program_alone(kernel, order):
    states = []

    def program(cpu):
        yield Cli()
        yield SelfIpi(0x41)
        yield Sti()
        states.append(list(order))
        yield Hlt()
        states.append(list(order))

    kernel.start_program(1, program)
    kernel.advance(3)
    kernel.cpus[1].execute(Nop())
    assert order == []
    kernel.advance(10)
    assert states == [[], [0x41]]


@pytest.mark.rule("R59")
@pytest.mark.usefixtures("order")
@pytest.mark.parametrize(
    ("before", "word", "wakes"),
    [
        pytest.param([Sti()], fixed(1, 0x41), True, id="deliverable, IF=1"),
        pytest.param([Cli()], fixed(1, 0x41), False, id="pending, IF=0"),
        pytest.param([Sti(), WriteTpr(0x40)], fixed(1, 0x41), False, id="gated by TPR"),
        pytest.param([Cli()], NMI, True, id="NMI, IF=0"),
        pytest.param([Cli()], SMI, True, id="SMI, IF=0"),
        pytest.param([Cli()], INIT, True, id="INIT, IF=0"),
    ],
)
def test_what_ends_hlt(kernel, cpu, before, word, wakes):
    for instruction in (*before, Hlt()):
        cpu.execute(instruction)
    assert cpu.activity == "halted"
    assert kernel.accept(1, word) is Outcome.DELIVERED
    assert (cpu.activity != "halted") is wakes


@pytest.mark.rule("R59")
def test_the_program_goes_on_after_the_hlt_that_was_interrupted(kernel, order):
    log = []

    def program(cpu):
        log.append("before")
        yield Hlt()
        log.append(list(order))

    kernel.start_program(1, program)
    assert kernel.advance(10) == 1
    assert not kernel.runnable
    kernel.accept(1, fixed(1, 0x41))
    kernel.advance(10)
    assert log == ["before", [0x41]]


@pytest.mark.rule("R60")
@pytest.mark.parametrize("vector", [16, 17, 18, 31])
def test_vectors_16_to_31_enter_the_gate_of_the_exception(kernel, cpu, vector):
    """No cause is there to be found, so the handler is an oops; nobody sends an EOI."""
    cpu.write_tpr(0)
    assert kernel.accept(1, fixed(1, vector)) is Outcome.DELIVERED
    assert cpu.apic.isr == 1 << vector
    assert kernel.oops_count == 1
    assert "by an interrupt" in kernel.log.since(1)[0].text
    assert_books(kernel)


@pytest.mark.rule("R60")
def test_linux_keeps_exception_vectors_out_by_its_tpr(kernel, cpu):
    assert kernel.accept(1, fixed(1, 17)) is Outcome.DELIVERED
    assert cpu.apic.irr == 1 << 17
    assert kernel.oops_count == 0


@pytest.mark.rule("R61")
def test_a_handler_that_faults_leaves_its_isr_bit_set(kernel, cpu):
    def faults(c):
        raise RuntimeError("on entry")

    kernel.idt.install(0x41, "faults", faults)
    kernel.accept(1, fixed(1, 0x41))
    assert cpu.apic.isr == 1 << 0x41
    cpu.execute(Eoi())
    assert cpu.apic.isr == 0
    assert_books(kernel)


@pytest.mark.rule("R62")
def test_simultaneous_interrupts_are_taken_highest_first_at_the_same_boundary(kernel, order):
    progress = []

    def program(cpu):
        yield Cli()
        for vector in (0x41, 0x91, 0x4F, 0xEA):
            yield SelfIpi(vector)
        yield Sti()
        progress.append(list(order))
        yield Nop()
        progress.append(list(order))
        yield Nop()

    kernel.start_program(1, program)
    kernel.advance(20)
    assert progress == [[], [0xEA, 0x91, 0x4F, 0x41]]


@pytest.mark.parametrize(
    ("state", "instruction", "executes"),
    [
        pytest.param([], Nop(), True, id="idle"),
        pytest.param([Cli()], Sti(), True, id="held with IF=0"),
        pytest.param([Hlt()], Nop(), True, id="halted, IF=1"),
        pytest.param([Cli(), Hlt()], Nop(), False, id="halted, IF=0"),
        pytest.param([WriteIcr(shorthand_word(Shorthand.SELF, 0, delivery_mode=DeliveryMode.INIT))],
                     Nop(), False, id="wait-for-SIPI"),
    ],
)  # fmt: skip
def test_which_cpu_executes_an_instruction_from_outside(cpu, state, instruction, executes):
    for each in state:
        cpu.execute(each)
    if executes:
        cpu.execute(instruction)
    else:
        with pytest.raises(ClusterStateError):
            cpu.execute(instruction)


def test_a_halted_cpu_stays_halted_after_an_instruction_from_outside(cpu):
    cpu.execute(Hlt())
    cpu.execute(Nop())
    assert cpu.activity == "halted"


def test_an_interrupt_storm_leaves_the_other_cpus_their_turn(kernel):
    """A handler that rings itself for ever: one boundary takes a bounded number."""
    count = []

    def rings_itself(c):
        c.apic_eoi()
        count.append(1)
        c.self_ipi(0x41)

    kernel.idt.install(0x41, "storm", rings_itself)
    kernel.accept(1, fixed(1, 0x41))
    assert len(count) == MAX_TAKES_PER_BOUNDARY
    turns = []

    def other(c):
        turns.append(1)
        yield Nop()
        turns.append(1)

    kernel.start_program(0, other)
    assert kernel.runnable
    for _ in range(4):
        kernel.advance(1)
    assert turns == [1, 1]
    assert len(count) == 3 * MAX_TAKES_PER_BOUNDARY
    assert_books(kernel)


@pytest.mark.rule("R19", "R22")
def test_a_self_ipi_leaves_the_destination_that_was_written_before_it(make_kernel):
    """A handler between a program's two writes of an xAPIC command must not misroute it."""
    kernel = make_kernel(mode=ApicMode.XAPIC)
    cpu = kernel.cpus[1]
    cpu.mmio_write(Register.ICR2, 3 << 24)
    cpu.self_ipi(0x42)
    cpu.mmio_write(Register.ICR, 0xEA)
    words = [
        word for event in kernel.take_events(9) if isinstance(event, Writes) for word in event.words
    ]
    assert words == [3 << 32 | 0xEA]
