"""NMI latching and HLT, R58 and R59, at every place in a program where they could fail.

SDM vol. 3, 6.7.1; vol. 2, HLT. Row numbers are those of the portable tests out of kvm-unit-tests
(apic, eventinj) that these re-express.
"""

import pytest

from mkrpc.instance.accounting import assert_books
from mkrpc.instance.instructions import Cli, Eoi, Hlt, Nop, SelfIpi, Sti, WriteCr8, WriteTpr
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import fixed

from .to_cpu_one import HIGH, INIT, LOW, NMI, SMI


@pytest.fixture
def handlers(kernel):
    """Handlers on CPU 1 that send an EOI; nothing else would let a program go on."""
    for vector in range(0x10, 0x100):
        kernel.idt.install(vector, "ends", lambda c: c.apic_eoi())


# R58: the latch of the NMI.


@pytest.mark.rule("R58")
@pytest.mark.parametrize(
    ("before", "during", "runs"),
    [
        (0, 0, 0),
        (1, 0, 1),
        (2, 0, 2),
        (3, 0, 2),
        (1, 1, 2),
        (1, 10, 2),
        (2, 1, 2),
        (3, 5, 2),
    ],
)
def test_two_nmis_are_kept_while_none_is_in_progress_and_one_while_one_is(
    kernel, before, during, runs
):
    """Rows 11 and 12: further ones merge, and every one of them is told which it was."""
    cpu = kernel.cpus[1]
    ran, outcomes = [], []

    def handler(c):
        ran.append("in")
        if len(ran) == 1:
            outcomes.extend(kernel.accept(1, NMI) for _ in range(during))
        yield Nop()
        ran.append("out")

    kernel.idt.install(2, "nmi", handler)
    cpu.execute(Cli())
    cpu.execute(Sti())
    outcomes.extend(kernel.accept(1, NMI) for _ in range(before))
    cpu.execute(Nop())
    kernel.advance(100)
    assert ran == ["in", "out"] * runs
    assert outcomes.count(Outcome.DELIVERED) == runs
    assert outcomes.count(Outcome.COALESCED) == before + during - runs


@pytest.mark.rule("R58", "R62")
def test_the_nmi_that_was_kept_comes_right_behind_the_iret(kernel):
    """Row 23: at the same interrupted instruction, before the program goes on."""
    log = []

    def handler(c):
        log.append("in")
        if log.count("in") == 1:
            kernel.accept(1, NMI)
        yield Nop()
        log.append("out")

    def program(c):
        for number in range(3):
            log.append(number)
            yield Nop()

    kernel.idt.install(2, "nmi", handler)
    kernel.start_program(1, program)
    kernel.advance(1)
    kernel.accept(1, NMI)
    kernel.advance(100)
    assert log == [0, "in", "out", "in", "out", 1, 2]


# R59: HLT.


def halted_by(kernel, before, then=()):
    """CPU 1 in the HLT of a program; what it executes behind it is noted."""
    log = []

    def program(c):
        for instruction in (*before, Hlt()):
            yield instruction
        log.append(c.interrupts_enabled)
        for instruction in then:
            yield instruction
        log.append("end")

    kernel.start_program(1, program)
    kernel.advance(100)
    assert kernel.cpus[1].halted
    assert log == []
    return log


@pytest.mark.rule("R59", "R43", "R44")
@pytest.mark.parametrize(
    ("before", "word", "goes_on"),
    [
        pytest.param([], LOW, [True, "end"], id="maskable"),
        pytest.param([], NMI, [True, "end"], id="NMI, IF=1"),
        pytest.param([Cli()], NMI, [False, "end"], id="NMI, IF=0"),
        pytest.param([], SMI, [True, "end"], id="SMI, IF=1"),
        pytest.param([Cli()], SMI, [False, "end"], id="SMI, IF=0"),
        pytest.param([Cli()], LOW, [], id="IF=0"),
        pytest.param([WriteTpr(0x40)], LOW, [], id="class of TPR"),
        pytest.param([WriteTpr(0x3F)], LOW, [True, "end"], id="a class below"),
        pytest.param([WriteCr8(15)], HIGH, [], id="CR8 = 15"),
        pytest.param([Cli(), SelfIpi(0x91)], LOW, [], id="IF=0, two pending"),
    ],
)
@pytest.mark.usefixtures("handlers")
def test_what_ends_hlt_and_that_it_goes_on_behind_it(kernel, before, word, goes_on):
    """The saved IP is that of the next instruction; what does not wake stays pending."""
    log = halted_by(kernel, before)
    assert kernel.accept(1, word) is Outcome.DELIVERED
    kernel.advance(100)
    assert log == goes_on
    assert kernel.cpus[1].halted is not bool(goes_on)
    if not goes_on:
        assert kernel.cpus[1].apic.irr
    assert_books(kernel)


@pytest.mark.rule("R59", "R36")
def test_init_ends_hlt_and_the_program_with_it(kernel, cpu):
    log = halted_by(kernel, [Cli()])
    kernel.accept(1, INIT)
    assert (cpu.activity, log) == ("wait-for-sipi", [])


@pytest.mark.rule("R59", "R43")
def test_an_interrupt_of_the_class_in_service_does_not_end_hlt(kernel, cpu):
    log = []

    def handler(c):
        yield Sti()
        yield Hlt()
        log.append("awake")
        yield Eoi()

    kernel.idt.install(0x41, "handler", handler)
    kernel.idt.install(0x51, "higher", lambda c: c.apic_eoi())
    kernel.idt.install(0x4F, "same class", lambda c: (log.append("4f"), c.apic_eoi()))
    kernel.accept(1, LOW)
    kernel.advance(10)
    kernel.accept(1, fixed(1, 0x4F))
    kernel.advance(10)
    assert cpu.halted
    kernel.accept(1, fixed(1, 0x51))
    kernel.advance(10)
    assert log == ["awake", "4f"]


@pytest.mark.rule("R59", "R58")
def test_a_blocked_nmi_does_not_end_hlt(kernel, cpu):
    log = []

    def handler(c):
        if not log:
            log.append("in")
            yield Hlt()
        log.append("out")

    kernel.idt.install(2, "nmi", handler)
    kernel.accept(1, NMI)
    kernel.advance(10)
    kernel.accept(1, NMI)
    kernel.advance(10)
    assert (log, cpu.halted) == (["in"], True)
    kernel.accept(1, SMI)
    kernel.advance(10)
    assert log == ["in", "out", "out"]


@pytest.mark.rule("R59")
@pytest.mark.usefixtures("handlers")
def test_each_hlt_waits_for_an_interrupt_of_its_own(kernel):
    log = halted_by(kernel, [], then=[Hlt()])
    kernel.accept(1, LOW)
    kernel.advance(10)
    assert (log, kernel.cpus[1].halted) == ([True], True)
    kernel.accept(1, LOW)
    kernel.advance(10)
    assert log == [True, "end"]
