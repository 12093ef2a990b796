"""Gates: interrupt and trap gates, and gates that are not present (R56, R61).

SDM vol. 3, 6.8.1, 6.11, 6.12.1.2, 6.13.
"""

import pytest

from mkrpc.instance.accounting import assert_books
from mkrpc.instance.instructions import (
    Eoi,
    Int,
    Nop,
    Popf,
    Pushf,
)
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import fixed, nmi


@pytest.fixture
def cpu(kernel):
    return kernel.cpus[1]


def texts(kernel):
    return [record.text for record in kernel.log.since(1)]


# Trap gates.


@pytest.mark.rule("R56")
@pytest.mark.parametrize("gate", ["install", "install_trap_gate"])
@pytest.mark.parametrize("generator", [False, True], ids=["function", "generator"])
@pytest.mark.parametrize(
    ("arrival", "saved"),
    [
        pytest.param(fixed(1, 0x41), True, id="interrupt"),
        pytest.param(nmi(1), True, id="NMI with IF=1"),
        pytest.param(nmi(1), False, id="NMI with IF=0"),
        pytest.param(Int(0x41), True, id="INT with IF=1"),
        pytest.param(Int(0x41), False, id="INT with IF=0"),
    ],
)
def test_an_interrupt_gate_clears_if_and_a_trap_gate_leaves_it(
    kernel, gate, generator, arrival, saved
):
    """IRET gives back what was saved in either case."""
    cpu = kernel.cpus[1]
    seen = []

    def function(c):
        seen.append(c.interrupts_enabled)

    def body(c):
        seen.append((yield Pushf()))

    for vector in (2, 0x41):
        getattr(kernel.idt, gate)(vector, "look", body if generator else function)
    cpu.execute(Popf(saved))
    if isinstance(arrival, Int):
        cpu.execute(arrival)
    else:
        kernel.accept(1, arrival)
    kernel.advance(10)
    assert seen == [saved and gate == "install_trap_gate"]
    assert cpu.interrupts_enabled is saved


@pytest.mark.rule("R56", "R44")
@pytest.mark.parametrize(
    ("gate", "order"),
    [
        ("install", ["41 in", "41 out", "91"]),
        ("install_trap_gate", ["91", "41 in", "41 out"]),
    ],
)
def test_a_handler_behind_a_trap_gate_is_interrupted_from_its_first_instruction_on(
    kernel, gate, order
):
    ran = []

    def handler(c):
        ran.append("41 in")
        yield Nop()
        ran.append("41 out")
        yield Eoi()

    getattr(kernel.idt, gate)(0x41, "handler", handler)
    kernel.idt.install(0x91, "higher", lambda c: (ran.append("91"), c.apic_eoi()))
    kernel.accept(1, fixed(1, 0x41))
    kernel.accept(1, fixed(1, 0x91))
    kernel.advance(10)
    assert ran == order
    assert_books(kernel)


@pytest.mark.rule("R58")
def test_a_trap_gate_lets_no_second_nmi_in(kernel):
    ran = []

    def handler(c):
        ran.append("in")
        yield Nop()
        ran.append("out")

    kernel.idt.install_trap_gate(2, "nmi", handler)
    kernel.accept(1, nmi(1))
    kernel.accept(1, nmi(1))
    kernel.advance(10)
    assert ran == ["in", "out", "in", "out"]


def test_what_raises_behind_a_trap_gate_is_an_oops_too(kernel, cpu):
    def raises(c):
        raise RuntimeError("behind a trap gate")

    kernel.idt.install_trap_gate(0x41, "raises", raises)
    kernel.accept(1, fixed(1, 0x41))
    assert texts(kernel)[0] == "Oops: RuntimeError: behind a trap gate [#1]"
    assert cpu.apic.isr == 1 << 0x41


# Gates that are not present.


@pytest.mark.rule("R61", "R45")
@pytest.mark.parametrize("vector", [0x10, 0x41, 0xEA, 0xFF])
def test_a_gate_that_is_not_present_faults_behind_the_acknowledgement(kernel, cpu, vector):
    """#NP with the vector, IDT and EXT as its error code; the ISR bit stays until an EOI."""
    cpu.write_tpr(0)
    kernel.idt.remove(vector)
    assert kernel.accept(1, fixed(1, vector)) is Outcome.DELIVERED
    assert (cpu.apic.irr, cpu.apic.isr) == (0, 1 << vector)
    assert kernel.oops_count == 1
    assert cpu.multikernel_count == 0
    oops, where = texts(kernel)[:2]
    code = vector << 3 | 3
    assert oops == (
        f"Oops: SegmentNotPresent: segment not present: {code:04x}, vector {vector:#04x} [#1]"
    )
    assert where.endswith(f"(interrupt {vector:#04x})")
    assert cpu.interrupts_enabled
    assert_books(kernel)
    cpu.execute(Eoi())
    assert cpu.apic.isr == 0
    assert_books(kernel)


@pytest.mark.rule("R61", "R44")
def test_the_bit_that_stays_holds_its_class_and_those_below_off(kernel, cpu):
    """Nobody has sent the EOI; what is above comes through, the rest waits for it."""
    ran = []
    for vector in (0x3F, 0x4F, 0x51):
        kernel.idt.install(vector, "note", lambda c: (ran.append(c.vector), c.apic_eoi()))
    kernel.idt.remove(0x41)
    for vector in (0x41, 0x4F, 0x3F, 0x51, 0x41):
        assert kernel.accept(1, fixed(1, vector)) is Outcome.DELIVERED
    assert (ran, kernel.oops_count) == ([0x51], 1)
    cpu.execute(Eoi())
    assert ran == [0x51, 0x4F]  # then the second 0x41 has its own fault, and holds 0x3F off
    assert kernel.oops_count == 2
    cpu.execute(Eoi())
    assert ran == [0x51, 0x4F, 0x3F]


@pytest.mark.rule("R61", "R58")
def test_an_nmi_without_a_gate_is_an_oops_whose_iret_unblocks_nmis(kernel, cpu):
    kernel.idt.remove(2)
    kernel.accept(1, nmi(1))
    assert kernel.oops_count == 1
    assert not cpu.apic.nmi_in_service


@pytest.mark.rule("R61")
def test_panic_on_oops_covers_it(make_kernel):
    kernel = make_kernel(panic_on_oops=True)
    kernel.idt.remove(0x41)
    kernel.accept(1, fixed(1, 0x41))
    assert kernel.failed == "Kernel panic - not syncing: Fatal exception in interrupt"


@pytest.mark.rule("R61")
def test_a_gate_can_be_removed_again_and_put_back(kernel):
    ran = []
    kernel.idt.remove(0x41)
    kernel.idt.remove(0x41)
    assert not kernel.idt[0x41].present
    kernel.idt.install(0x41, "back", lambda c: (ran.append(c.vector), c.apic_eoi()))
    kernel.accept(1, fixed(1, 0x41))
    assert (ran, kernel.oops_count) == ([0x41], 0)


@pytest.mark.parametrize("vector", [-1, 256])
def test_a_vector_beyond_the_table_is_a_bug(kernel, vector):
    with pytest.raises(AssertionError):
        kernel.idt.remove(vector)
    with pytest.raises(AssertionError):
        kernel.idt.install_trap_gate(vector, "nobody", print)
