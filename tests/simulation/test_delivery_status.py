"""Delivery status, bit 12 of an xAPIC's ICR: R20 with each ``ApicPolicy.icr_busy``."""

import pytest

from mkrpc.instance.accounting import assert_books, view_of
from mkrpc.instance.instructions import MmioRead, Nop, ReadRegister, WriteIcr, WriteRegister
from mkrpc.instance.kernel import KernelConfig
from mkrpc.outcome import Outcome
from mkrpc.simulation.machine import Machine
from mkrpc.x86.apic_policy import ApicPolicy
from mkrpc.x86.icr import DeliveryMode, Shorthand, fixed, shorthand_word
from mkrpc.x86.lapic import ApicMode
from mkrpc.x86.registers import Register

pytestmark = [
    pytest.mark.rule("R20"),
    pytest.mark.timeout(30),  # a bit that stays busy is a program that never ends
]

BUSY = 1 << 12
MULTIKERNEL = 0xEA
RING_2, RING_3 = fixed(2, MULTIKERNEL), fixed(3, MULTIKERNEL)
POLICIES = {
    "never": ApicPolicy(icr_busy="never"),
    "queue": ApicPolicy(icr_busy="queue"),
    "drop": ApicPolicy(icr_busy="drop"),
}


def machine_with(icr_busy: str, mode: ApicMode = ApicMode.XAPIC) -> Machine:
    """Two kernels of two CPUs each: 0 and 1, 2 and 3."""
    return Machine(
        [
            KernelConfig(
                instance_id=number,
                name=f"mk{number}",
                apic_ids=(2 * number, 2 * number + 1),
                mode=mode,
                apic_policy=POLICIES[icr_busy],
            )
            for number in (0, 1)
        ]
    )


def rung(machine: Machine) -> list[int]:
    return [machine.cpu(apic_id).multikernel_count for apic_id in (2, 3)]


def refused(machine: Machine) -> int:
    """Legs in the books that were lost at a busy ICR."""
    return sum(row.outcomes.get(Outcome.REJECTED_ICR_BUSY, 0) for row in machine.bus.ledger)


def assert_balanced(machine: Machine) -> None:
    assert machine.bus.balance() == []
    assert machine.bus.in_flight() == 0
    for kernel in machine.kernels.values():
        assert_books(kernel)


def two_doorbells(cpu):
    """Without waiting for idle in between."""
    yield WriteIcr(RING_2)
    yield WriteIcr(RING_3)


def two_polite_doorbells(cpu):
    """As Linux does it: __xapic_wait_icr_idle before each."""
    for word in (RING_2, RING_3):
        while (yield ReadRegister(Register.ICR)) & BUSY:
            yield Nop()
        yield WriteIcr(word)


@pytest.mark.parametrize(
    ("icr_busy", "program", "calls", "lost"),
    [
        ("never", two_doorbells, [1, 1], 0),
        ("queue", two_doorbells, [1, 1], 0),
        ("drop", two_doorbells, [1, 0], 1),
        ("never", two_polite_doorbells, [1, 1], 0),
        ("queue", two_polite_doorbells, [1, 1], 0),
        ("drop", two_polite_doorbells, [1, 1], 0),
    ],
)
def test_a_doorbell_that_does_not_wait_for_idle_is_lost_where_busy_drops(
    icr_busy, program, calls, lost
):
    machine = machine_with(icr_busy)
    machine.kernels[0].start_program(0, program)
    machine.settle()
    assert rung(machine) == calls
    assert refused(machine) == lost
    assert machine.kernels[0].source.written == 2
    assert_balanced(machine)


@pytest.mark.parametrize("icr_busy", POLICIES)
def test_a_dropped_write_in_x2apic_mode_does_not_exist(icr_busy):
    machine = machine_with(icr_busy, ApicMode.X2APIC)
    machine.kernels[0].start_program(0, two_doorbells)
    machine.settle()
    assert rung(machine) == [1, 1]
    assert refused(machine) == 0
    assert_balanced(machine)


@pytest.mark.parametrize(
    ("icr_busy", "mode", "sees_busy"),
    [
        ("never", ApicMode.XAPIC, False),
        ("queue", ApicMode.XAPIC, True),
        ("drop", ApicMode.XAPIC, True),
        ("queue", ApicMode.X2APIC, False),
    ],
)
def test_the_bit_is_set_until_the_write_is_resolved(icr_busy, mode, sees_busy):
    """A program that spins on it ends."""
    seen = []

    def program(cpu):
        yield WriteIcr(RING_2)
        while (value := (yield ReadRegister(Register.ICR))) & BUSY:
            seen.append(value)
        seen.append(value)

    machine = machine_with(icr_busy, mode)
    machine.kernels[0].start_program(0, program)
    machine.settle()
    assert (len(seen) > 1) is sees_busy
    low = 0xFFFFFFFF
    assert {value & low for value in seen[:-1]} <= {MULTIKERNEL | BUSY}
    assert seen[-1] & low == MULTIKERNEL
    assert machine.cpu(0).activity == "idle"
    assert_balanced(machine)


def test_it_is_busy_until_the_last_of_several_writes_is_resolved():
    machine = machine_with("queue")
    cpu = machine.cpu(0)
    cpu.write_icr(RING_2)
    machine.exchange()
    cpu.write_icr(RING_3)
    assert cpu.mmio_read(0x300) & BUSY
    machine.settle()
    assert not cpu.mmio_read(0x300) & BUSY
    assert rung(machine) == [1, 1]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_read_of_the_byte_that_holds_the_bit_has_it(size):
    machine = machine_with("queue")
    cpu = machine.cpu(0)
    cpu.write_icr(RING_2)
    offset = 0x301 if size == 1 else 0x300
    bit = BUSY >> 8 * (offset - 0x300)
    assert cpu.execute(MmioRead(offset, size)) & bit
    machine.settle()
    assert not cpu.execute(MmioRead(offset, size)) & bit


@pytest.mark.parametrize(
    "word",
    [
        shorthand_word(Shorthand.SELF, 0x41),
        fixed(2, 5),  # illegal
        fixed(2, MULTIKERNEL) | DeliveryMode.RESERVED_3 << 8,
    ],
)
def test_what_does_not_leave_its_apic_does_not_make_it_busy(word):
    machine = machine_with("drop")
    cpu = machine.cpu(0)
    cpu.write_icr(word)
    assert not cpu.mmio_read(0x300) & BUSY
    cpu.write_icr(RING_2)
    cpu.write_icr(word)
    assert cpu.mmio_read(0x300) & BUSY
    machine.settle()
    assert rung(machine) == [1, 0]
    assert refused(machine) == 1
    assert_balanced(machine)


def test_a_cpu_is_not_busy_with_what_another_cpu_sent():
    machine = machine_with("drop")
    machine.cpu(1).write_icr(RING_2)
    assert not machine.cpu(0).mmio_read(0x300) & BUSY
    machine.cpu(0).write_icr(RING_3)
    machine.cpu(1).self_ipi(5)  # refused, and not reported yet
    assert machine.cpu(0).mmio_read(0x300) & BUSY
    machine.settle()
    assert rung(machine) == [1, 1]


def test_icr2_can_be_written_while_busy():
    machine = machine_with("drop")
    cpu = machine.cpu(0)
    cpu.write_icr(RING_2)
    cpu.execute(WriteRegister(Register.ICR2, 3 << 24))
    assert cpu.mmio_read(0x310) == 3 << 24
    assert cpu.mmio_read(0x300) == MULTIKERNEL | BUSY
    machine.settle()
    cpu.execute(WriteRegister(Register.ICR, MULTIKERNEL))
    machine.settle()
    assert rung(machine) == [1, 1]


def test_a_flood_under_drop_is_one_ipi_at_a_time_and_every_write_is_in_the_books():
    machine = machine_with("drop")

    def flood(cpu):
        for _ in range(1000):
            yield WriteIcr(RING_2)

    machine.kernels[0].start_program(0, flood)
    machine.settle()
    assert machine.kernels[0].source.written == 1000
    assert 0 < rung(machine)[0] < 1000
    assert rung(machine)[0] + refused(machine) == 1000
    assert_balanced(machine)


class Unread(list):
    """The kernel's queue; who looks through all of it costs more with each write."""

    def __iter__(self):
        raise AssertionError("an access of the ICR looks at the whole queue")


@pytest.mark.parametrize("icr_busy", ["queue", "drop"])
def test_what_an_access_of_the_icr_costs_does_not_grow_with_the_queue(icr_busy):
    kernel = machine_with(icr_busy).kernels[0]
    kernel.events = Unread()
    cpu = kernel.cpus[0]
    for word in (shorthand_word(Shorthand.SELF, 0x41), RING_2, fixed(2, 5)):
        cpu.write_icr(word)
        assert bool(cpu.mmio_read(0x300) & BUSY) is (word != shorthand_word(Shorthand.SELF, 0x41))
    assert len(kernel.events) == kernel.source.written == 3


@pytest.mark.parametrize("mode", [ApicMode.XAPIC, ApicMode.X2APIC])
@pytest.mark.parametrize("icr_busy", POLICIES)
@pytest.mark.parametrize("beside", [None, two_polite_doorbells])
def test_a_command_waits_for_idle_and_loses_nothing(icr_busy, mode, beside):
    """``mkrpc ipi --from 0 --count 5``, twice at the same time."""
    machine = machine_with(icr_busy, mode)
    if beside is not None:
        machine.kernels[0].start_program(0, beside)
    done = []
    for _ in range(2):
        machine.bus.write_icr(apic_id=0, word=RING_2, count=5, on_done=done.append)
    machine.settle()
    assert [(tally.written, tally.error) for tally in done] == [(5, None)] * 2
    assert rung(machine) == ([10, 0] if beside is None else [11, 1])
    assert refused(machine) == 0
    assert_balanced(machine)


def test_the_view_of_a_cpu_shows_the_register_without_the_bit():
    """Reading all registers from outside is no access of the CPU's."""
    machine = machine_with("queue")
    cpu = machine.cpu(0)
    cpu.write_icr(RING_2)
    assert view_of(cpu).registers["ICR"] == 2 << 56 | MULTIKERNEL
