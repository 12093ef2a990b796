"""The entries behind the gates: order of EOI and counter, and texts.

Source: the multikernel patch and Linux 6.17, arch/x86/kernel/{smp,irq}.c, apic/apic.c.
"""

import pytest

from mkrpc.instance.accounting import assert_books
from mkrpc.instance.instructions import Cli, Nop, Sti, WriteTpr
from mkrpc.instance.printk import format_record
from mkrpc.instance.procfs import proc_interrupts
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import fixed, nmi
from mkrpc.x86.irq_stat import FIELDS
from mkrpc.x86.lapic import ApicMode


def counters(cpu):
    """The irq_stat fields that are not 0."""
    return {name: getattr(cpu.irq_stat, name) for name in FIELDS if getattr(cpu.irq_stat, name)}


SYSTEM = [
    (0xFD, "sysvec_reschedule_ipi", "irq_resched_count"),
    (0xFC, "sysvec_call_function", "irq_call_count"),
    (0xFB, "sysvec_call_function_single", "irq_call_count"),
    (0xFA, "sysvec_thermal", "irq_thermal_count"),
    (0xF9, "sysvec_threshold", "irq_threshold_count"),
    (0xF7, "sysvec_x86_platform_ipi", "x86_platform_ipis"),
    (0xF6, "sysvec_irq_work", "apic_irq_work_irqs"),
    (0xF4, "sysvec_deferred_error", "irq_deferred_error_count"),
    (0xF2, "sysvec_kvm_posted_intr_ipi", "kvm_posted_intr_ipis"),
    (0xF1, "sysvec_kvm_posted_intr_wakeup_ipi", "kvm_posted_intr_wakeup_ipis"),
    (0xF0, "sysvec_kvm_posted_intr_nested_ipi", "kvm_posted_intr_nested_ipis"),
    (0xEC, "sysvec_apic_timer_interrupt", "apic_timer_irqs"),
    (0xEB, "sysvec_posted_msi_notification", "posted_msi_notification_count"),
    (0xEA, "sysvec_multikernel", "irq_call_count"),
]


@pytest.mark.parametrize(("vector", "name", "field"), SYSTEM)
def test_each_system_vector_moves_its_counter_by_one_and_ends_with_eoi(kernel, vector, name, field):
    cpu = kernel.cpus[1]
    assert kernel.idt[vector].name == name
    assert kernel.accept(1, fixed(1, vector)) is Outcome.DELIVERED
    assert counters(cpu) == {field: 1}
    assert cpu.apic.isr == 0
    assert cpu.multikernel_count == (vector == 0xEA)
    assert_books(kernel)


def test_sysvec_multikernel_is_eoi_then_counter_then_line_then_handlers_in_order(kernel):
    seen = []

    def look(name):
        def handler(cpu):
            seen.append(
                (name, cpu.apic.isr, cpu.irq_stat.irq_call_count, len(kernel.log), cpu.vector)
            )

        return handler

    kernel.register_handler(look("first"))
    kernel.register_handler(look("second"))
    kernel.accept(1, fixed(1, 0xEA))
    assert seen == [("first", 0, 1, 1, 0xEA), ("second", 0, 1, 1, 0xEA)]
    assert format_record(kernel.log.since(1)[0]) == "<6>[    1.374792] Multikernel interrupt"


@pytest.mark.rule("R47")
def test_the_spurious_vector_sent_as_fixed_stays_in_service(kernel):
    cpu = kernel.cpus[1]
    kernel.accept(1, fixed(1, 0xFF))
    assert counters(cpu) == {"irq_spurious_count": 1}
    assert cpu.apic.isr == 1 << 0xFF
    record = kernel.log.since(1)[0]
    text = "Spurious APIC interrupt (vector 0xFF) on CPU#1, should never happen."
    assert (record.level, record.text) == (6, text)
    assert kernel.accept(1, fixed(1, 0xEA)) is Outcome.DELIVERED
    assert cpu.multikernel_count == 0  # its class is blocked
    assert_books(kernel)


def test_an_unassigned_system_vector_is_acked_if_in_service(kernel):
    cpu = kernel.cpus[1]
    kernel.accept(1, fixed(1, 0xF5))
    assert cpu.apic.isr == 0
    assert counters(cpu) == {"irq_spurious_count": 1}
    record = kernel.log.since(1)[0]
    assert (record.level, record.text) == (6, "Spurious interrupt (vector 0xf5) on CPU#1. Acked")


def test_an_unassigned_system_vector_that_is_not_in_service_is_not_acked(kernel):
    cpu = kernel.cpus[1]
    cpu.vector = 0xF5
    kernel.idt[0xF5].handler(cpu)
    assert kernel.log.since(1)[0].text == (
        "Spurious interrupt (vector 0xf5) on CPU#1. Not pending!"
    )


def test_a_device_vector_without_a_handler_prints_and_counts_nowhere(kernel):
    """As recorded: 0xe9 on CPU 1 prints ``No irq handler for 1.233`` at level 0."""
    cpu = kernel.cpus[1]
    kernel.accept(1, fixed(1, 0xE9))
    record = kernel.log.since(1)[0]
    assert (record.level, record.text) == (0, "No irq handler for 1.233")
    assert counters(cpu) == {}
    assert cpu.apic.isr == 0


def test_that_line_is_rate_limited_to_ten_in_five_seconds(kernel, clock):
    for _ in range(14):
        kernel.accept(1, fixed(1, 0x41))
    assert len(kernel.log) == 10
    clock.now_us += 5_000_000
    kernel.accept(1, fixed(1, 0x41))
    texts = [record.text for record in kernel.log.since(11)]
    assert texts == ["reevaluate_vector: 4 callbacks suppressed", "No irq handler for 1.65"]


def test_an_nmi_is_counted_and_needs_no_eoi(kernel):
    cpu = kernel.cpus[1]
    kernel.accept(1, nmi(1))
    assert counters(cpu) == {"nmi_count": 1}
    assert (cpu.apic.isr, cpu.apic.nmi_in_service) == (0, False)


def test_the_reboot_vector_stops_a_cpu_for_good(kernel):
    cpu = kernel.cpus[1]
    kernel.accept(1, fixed(1, 0xF8))
    assert counters(cpu) == {}
    assert (cpu.activity, cpu.interrupts_enabled, cpu.apic.isr) == ("halted", False, 0)
    assert kernel.accept(1, fixed(1, 0xEA)) is Outcome.REJECTED_SOFTWARE_DISABLED
    kernel.accept(1, nmi(1))
    assert cpu.irq_stat.nmi_count == 0
    assert kernel.failed is None
    assert "CPU1" not in proc_interrupts(kernel), "stop_this_cpu marks it offline first"
    kernel.hotplug.bring_online(1)
    assert_books(kernel)


@pytest.mark.rule("R50", "R53")
def test_the_error_interrupt_latches_esr_and_counts_machine_wide(make_kernel):
    kernel = make_kernel(lvt_error=True)
    cpu = kernel.cpus[1]
    cpu.self_ipi(5)
    cpu.boundary()
    assert kernel.irq_err_count == 1
    assert (cpu.apic.esr, cpu.apic.esr_pending) == (0x20, 0)
    assert cpu.apic.isr == 0
    assert_books(kernel)


@pytest.mark.rule("R52", "R53")
def test_an_error_interrupt_at_the_receiver_is_in_the_books(make_kernel):
    """It is booked as a self IPI, so that every IRR bit has a row."""
    kernel = make_kernel(lvt_error=True)
    assert kernel.accept(1, fixed(1, 5)) is Outcome.REJECTED_ILLEGAL_VECTOR
    assert kernel.irq_err_count == 1
    (event,) = kernel.events
    assert (event.cpu, event.outcome, event.word & 0xFF) == (1, Outcome.DELIVERED, 0xFE)
    assert kernel.cpus[1].books.row(0xFE).delivered == 1
    assert_books(kernel)


def test_by_default_the_error_interrupt_is_masked(kernel):
    kernel.accept(1, fixed(1, 5))
    assert kernel.irq_err_count == 0
    assert kernel.events == []


def test_the_timer_wins_over_the_multikernel_vector_inside_their_class(kernel):
    """0xec and 0xea are both of class 0xe."""
    cpu = kernel.cpus[1]
    order = []
    timer = kernel.idt[0xEC].handler
    kernel.idt.install(0xEC, "timer", lambda c: (order.append("timer"), timer(c))[1])
    kernel.register_handler(lambda c: order.append("multikernel"))
    cpu.execute(Cli())
    for vector in (0xEA, 0xEC):
        kernel.accept(1, fixed(1, vector))
    cpu.execute(Sti())
    cpu.execute(Nop())
    assert order == ["timer", "multikernel"]


@pytest.mark.parametrize(
    ("settings", "ldr"),
    [
        ({"mode": ApicMode.XAPIC, "apic_ids": (0, 3)}, [1 << 24, 8 << 24]),
        ({"mode": ApicMode.XAPIC, "apic_ids": (7, 8)}, [0x80 << 24, 0]),
        ({"mode": ApicMode.XAPIC, "apic_ids": (0, 3), "xapic_ldr": "zero"}, [0, 0]),
        ({"apic_ids": (0, 0x11)}, [1, 0x10002]),
    ],
)
def test_boot_leaves_the_apics_as_linux_does(make_kernel, settings, ldr):
    kernel = make_kernel(**settings)
    for cpu, expected in zip(kernel.cpus, ldr, strict=True):
        assert cpu.apic.ldr == expected
        assert (cpu.apic.svr, cpu.apic.tpr, cpu.apic.ppr) == (0x1FF, 0x10, 0x10)
        assert (cpu.activity, cpu.interrupts_enabled) == ("idle", True)


def test_lowering_tpr_lets_a_gated_interrupt_in(kernel):
    cpu = kernel.cpus[1]
    cpu.execute(WriteTpr(0xF0))
    kernel.accept(1, fixed(1, 0xEA))
    assert cpu.multikernel_count == 0
    cpu.execute(WriteTpr(0x10))
    assert cpu.multikernel_count == 1
