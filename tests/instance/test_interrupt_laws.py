"""Merging and counting at one CPU: R42, R44 to R46, and the delivery law of the design (3.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.instance.accounting import assert_books
from mkrpc.instance.instructions import Cli, Eoi, Hlt, Nop, SelfIpi, Sti, WriteRegister, WriteTpr
from mkrpc.instance.kernel import Kernel, KernelConfig
from mkrpc.outcome import Outcome
from mkrpc.x86.apic_policy import ApicPolicy
from mkrpc.x86.icr import (
    DeliveryMode,
    Shorthand,
    fixed,
    icr_word,
    init_assert,
    nmi,
    shorthand_word,
    startup,
)
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR
from mkrpc.x86.registers import Register

RING = fixed(1, MULTIKERNEL_VECTOR)


@pytest.mark.rule("R42")
@pytest.mark.parametrize("sends", [1, 2, 3, 10, 1000])
def test_sends_to_a_cpu_with_interrupts_disabled_merge_into_one(kernel, sends):
    """As the patched Linux was recorded: IRR=1, ISR=0, then CAL +1 and one line."""
    cpu = kernel.cpus[1]
    cpu.execute(Cli())
    outcomes = [kernel.accept(1, RING) for _ in range(sends)]
    assert outcomes == [Outcome.DELIVERED] + [Outcome.COALESCED] * (sends - 1)
    assert (cpu.apic.irr, cpu.apic.isr) == (1 << MULTIKERNEL_VECTOR, 0)
    assert cpu.irq_stat.irq_call_count == 0
    cpu.execute(Sti())
    cpu.execute(Nop())
    assert cpu.irq_stat.irq_call_count == 1
    assert cpu.multikernel_count == 1
    assert [record.text for record in kernel.log.since(1)] == ["Multikernel interrupt"]
    assert cpu.books.row(MULTIKERNEL_VECTOR).coalesced == sends - 1
    assert_books(kernel)


@pytest.mark.parametrize("sends", [1, 10, 1000])
def test_an_idle_cpu_with_interrupts_enabled_takes_every_one(kernel, sends):
    cpu = kernel.cpus[1]
    assert {kernel.accept(1, RING) for _ in range(sends)} == {Outcome.DELIVERED}
    assert cpu.irq_stat.irq_call_count == sends
    assert cpu.books.row(MULTIKERNEL_VECTOR).eoi == sends
    assert_books(kernel)


def test_with_boundary_frame_a_whole_frame_merges(make_kernel):
    kernel = make_kernel(boundary="frame")
    outcomes = [kernel.accept(1, RING) for _ in range(5)]
    assert outcomes == [Outcome.DELIVERED] + [Outcome.COALESCED] * 4
    assert kernel.cpus[1].multikernel_count == 0
    kernel.settle_frame()
    assert kernel.cpus[1].multikernel_count == 1


@pytest.mark.rule("R42", "R46")
def test_while_a_handler_runs_any_number_of_sends_is_one_more_delivery(kernel):
    """EOI comes first, so the ISR bit is clear, IF is 0, and one can wait in IRR."""
    runs = []

    def handler(cpu):
        runs.append("entry")
        yield Nop()
        yield Nop()

    kernel.register_handler(handler)
    assert kernel.accept(1, RING) is Outcome.DELIVERED
    kernel.advance(1)
    outcomes = [kernel.accept(1, RING) for _ in range(4)]
    assert outcomes == [Outcome.DELIVERED] + [Outcome.COALESCED] * 3
    kernel.advance(100)
    assert runs == ["entry", "entry"]
    assert kernel.cpus[1].irq_stat.irq_call_count == 2
    assert_books(kernel)


@pytest.mark.rule("R44")
def test_a_handler_that_enables_interrupts_is_interrupted_by_a_higher_class_only(kernel):
    order = []

    def low(cpu):
        order.append("low")
        yield Sti()
        yield SelfIpi(0x4F)  # same class: waits for EOI
        yield SelfIpi(0x51)
        yield Nop()
        order.append("low again")
        yield Eoi()
        yield Nop()
        order.append("low at its end")

    def other(cpu):
        order.append(f"{cpu.vector:#x}")
        cpu.apic_eoi()

    kernel.idt.install(0x41, "low", low)
    kernel.idt.install(0x4F, "other", other)
    kernel.idt.install(0x51, "other", other)
    kernel.accept(1, fixed(1, 0x41))
    kernel.advance(20)
    assert order == ["low", "0x51", "low again", "0x4f", "low at its end"]
    assert_books(kernel)


def test_a_leg_to_a_cpu_that_does_not_exist_is_malformed(kernel):
    assert kernel.accept(2, RING) is Outcome.REJECTED_MALFORMED
    assert kernel.accept(-1, RING) is Outcome.REJECTED_MALFORMED


def test_other_delivery_modes_are_in_no_vector_s_books(kernel):
    kernel.accept(1, nmi(1))
    kernel.accept(1, icr_word(delivery_mode=DeliveryMode.SMI))
    assert kernel.cpus[1].books.counted() == []


_WORDS = st.sampled_from(
    [
        *(fixed(1, vector) for vector in (5, 16, 0x41, 0x4F, 0x91, 0xEA, 0xFE, 0xFF)),
        icr_word(vector=0x41, delivery_mode=DeliveryMode.LOWEST_PRIORITY),
        nmi(1),
        init_assert(1),
        startup(1, 8),
        icr_word(delivery_mode=DeliveryMode.SMI),
    ]
)
_INSTRUCTIONS = st.sampled_from(
    [Cli(), Sti(), Nop(), Hlt(), Eoi(), SelfIpi(0x41), SelfIpi(5), SelfIpi(0xEA)]
    + [WriteTpr(value) for value in (0, 0x40, 0xF0)]
    + [WriteRegister(Register.SVR, value) for value in (0xFF, 0x1FF, 0x14F)]
)


@given(
    steps=st.lists(st.one_of(_WORDS, _INSTRUCTIONS, st.just("sends")), max_size=60),
    lvt_error=st.booleans(),
    policy=st.sampled_from(
        [
            ApicPolicy(),
            ApicPolicy(intr="latched", self_ipi_illegal_vector="both", global_disable="keep"),
            ApicPolicy(intr="latched", pending_while_software_disabled="deliver"),
        ]
    ),
)
def test_the_books_hold_after_whatever_happens(steps, lvt_error, policy):
    """delivered = handled + pending + discarded and handled = EOI'd + in service, at every step.

    A coming alive by SIPI enables the APIC again, so that the run does not end at the first INIT.
    """
    config = KernelConfig(
        instance_id=1, name="one", apic_ids=(0, 1), lvt_error=lvt_error, apic_policy=policy
    )
    kernel = Kernel(config, incarnation=bytes(16), now_us=lambda: 0)
    cpu = kernel.cpus[1]

    def revive(cpu, vector):
        cpu.apic.write_svr(0x1FF)
        cpu.halted = False

    def no_eoi_generator(cpu):
        yield Sti()
        yield Nop()

    kernel.on_startup = revive
    kernel.idt.install(0x4F, "no_eoi", no_eoi_generator)
    arrivals = dict.fromkeys(range(256), 0)
    for step in steps:
        if isinstance(step, int):
            outcome = kernel.accept(1, step)
            counted = outcome in (Outcome.DELIVERED, Outcome.COALESCED) and step >> 8 & 7 < 2
            arrivals[step & 0xFF] += counted
        elif step == "sends":
            cpu.write_icr(shorthand_word(Shorthand.SELF, 0x91)) if cpu.apic.software_enabled else 0
        elif not cpu.wait_for_sipi and not (cpu.halted and not cpu.interrupts_enabled):
            cpu.execute(step)
        kernel.advance(3)
        assert_books(kernel)
    for vector, count in arrivals.items():
        row = cpu.books.row(vector)
        assert row.delivered + row.coalesced >= count
