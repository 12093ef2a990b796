"""How events enter a kernel: by an IDT, by FRED, and without the multikernel patch.

Source: the multikernel patch; arch/x86/entry/entry_fred.c, arch/x86/kernel/{idt,irq}.c (6.17).
"""

import pytest

from mkrpc.errors import ClusterStateError, InvalidArgumentError
from mkrpc.instance.accounting import assert_books
from mkrpc.instance.config import KernelConfig
from mkrpc.instance.instructions import WriteTpr
from mkrpc.instance.procfs import proc_interrupts, proc_stat
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import fixed, nmi
from mkrpc.x86.irq_stat import FIELDS

WITHOUT_A_GATE = [
    pytest.param({"entry": "fred"}, id="fred"),
    pytest.param({"multikernel": False}, id="unpatched"),
    pytest.param({"entry": "fred", "multikernel": False}, id="fred-unpatched"),
]


def counters(cpu):
    return {name: getattr(cpu.irq_stat, name) for name in FIELDS if getattr(cpu.irq_stat, name)}


def lines(kernel):
    return [(record.level, record.text) for record in kernel.log.since(1)]


def test_an_idt_finds_sysvec_multikernel_for_0xea(kernel):
    kernel.accept(1, fixed(1, 0xEA))
    assert kernel.cpus[1].multikernel_count == 1
    assert lines(kernel) == [(6, "Multikernel interrupt")]


@pytest.mark.parametrize("settings", WITHOUT_A_GATE)
def test_elsewhere_0xea_ends_as_an_unhandled_device_vector(make_kernel, settings):
    """The text and EOI of common_interrupt; no row counts it, CAL, SPU and the total included."""
    kernel = make_kernel(**settings)
    cpu = kernel.cpus[1]
    untouched = proc_interrupts(kernel), proc_stat(kernel)
    assert kernel.accept(1, fixed(1, 0xEA)) is Outcome.DELIVERED
    assert lines(kernel) == [(0, "No irq handler for 1.234")]
    assert (cpu.apic.irr, cpu.apic.isr, cpu.interrupts_enabled) == (0, 0, True)
    assert (cpu.multikernel_count, counters(cpu), kernel.irq_err_count) == (0, {}, 0)
    assert (proc_interrupts(kernel), proc_stat(kernel)) == untouched
    assert cpu.books.row(0xEA).handled == cpu.books.row(0xEA).eoi == 1
    assert_books(kernel)


@pytest.mark.parametrize("settings", WITHOUT_A_GATE)
def test_and_that_line_is_rate_limited_as_that_of_any_device_vector(make_kernel, clock, settings):
    kernel = make_kernel(**settings)
    for vector in (*[0xEA] * 9, 0x41, 0xEA, 0x41):
        kernel.accept(1, fixed(1, vector))
    assert len(kernel.log) == 10
    clock.now_us += 5_000_000
    kernel.accept(0, fixed(0, 0xEA))
    assert lines(kernel)[9:] == [
        (0, "No irq handler for 1.65"),
        (4, "reevaluate_vector: 2 callbacks suppressed"),
        (0, "No irq handler for 0.234"),
    ]


@pytest.mark.parametrize("settings", [{}, *WITHOUT_A_GATE])
def test_a_booted_kernel_has_said_nothing_about_it(make_kernel, settings):
    """The patch never calls fred_install_sysvec, which would have warned."""
    assert lines(make_kernel(**settings)) == []


def test_with_fred_handlers_are_registered_and_never_called(make_kernel):
    kernel = make_kernel(entry="fred")
    called = []
    kernel.register_handler(called.append)
    kernel.accept(1, fixed(1, 0xEA))
    assert (len(kernel.handlers), called) == (1, [])


def test_without_the_patch_there_is_nothing_to_register_with(make_kernel):
    kernel = make_kernel(multikernel=False)
    with pytest.raises(ClusterStateError, match="without the multikernel patch") as caught:
        kernel.register_handler(print)
    assert caught.value.advice == "give it multikernel = true, or no handlers"
    assert kernel.handlers == ()


@pytest.mark.parametrize("settings", [{}, *WITHOUT_A_GATE])
@pytest.mark.parametrize(
    ("vector", "field"),
    [
        (0xEB, "posted_msi_notification_count"),
        (0xEC, "apic_timer_irqs"),
        (0xF5, "irq_spurious_count"),
        (0xFB, "irq_call_count"),
        (0xFD, "irq_resched_count"),
        (0xFF, "irq_spurious_count"),
    ],
)
def test_system_vectors_are_handled_alike_whatever_the_entry(make_kernel, settings, vector, field):
    kernel, plain = make_kernel(**settings), make_kernel()
    for each in (kernel, plain):
        each.accept(1, fixed(1, vector))
    assert counters(kernel.cpus[1]) == counters(plain.cpus[1]) == {field: 1}
    assert lines(kernel) == lines(plain)
    assert kernel.cpus[1].apic.isr == plain.cpus[1].apic.isr


@pytest.mark.parametrize("settings", [{}, *WITHOUT_A_GATE])
def test_an_nmi_is_counted_whatever_the_entry(make_kernel, settings):
    """An event type of its own under FRED (fred_exc_nmi)."""
    kernel = make_kernel(**settings)
    kernel.accept(1, nmi(1))
    assert counters(kernel.cpus[1]) == {"nmi_count": 1}
    assert (kernel.cpus[1].apic.nmi_in_service, lines(kernel)) == (False, [])


@pytest.mark.rule("R49", "R60")
def test_fred_warns_once_of_an_exceptions_vector_and_sends_no_eoi(make_kernel):
    """What follows: the vector stays in service and blocks class 1 alone. No oops, as with an IDT,
    since fred_extint takes it for an interrupt. Linux's TPR holds it off from the start."""
    kernel = make_kernel(entry="fred")
    cpu = kernel.cpus[1]
    kernel.accept(1, fixed(1, 0x1F))
    assert (cpu.apic.irr, cpu.apic.isr) == (1 << 0x1F, 0)
    cpu.execute(WriteTpr(0))
    assert (cpu.apic.irr, cpu.apic.isr) == (0, 1 << 0x1F)
    warning = (4, "WARNING: CPU: 1 at arch/x86/entry/entry_fred.c fred_extint")
    assert lines(kernel) == [warning]
    kernel.accept(1, fixed(1, 0x15))
    assert (cpu.apic.irr, cpu.apic.isr) == (1 << 0x15, 1 << 0x1F)
    kernel.accept(1, fixed(1, 0xFD))
    assert counters(cpu) == {"irq_resched_count": 1}
    cpu.apic_eoi()
    cpu.boundary()
    assert cpu.apic.isr == 1 << 0x15
    assert lines(kernel) == [warning]  # once per kernel
    assert kernel.oops_count == 0
    assert_books(kernel)


def test_each_kernel_warns_for_itself(make_kernel):
    for _ in range(2):
        kernel = make_kernel(entry="fred", initial_tpr=0)
        kernel.accept(0, fixed(0, 0x10))
        assert len(kernel.log) == 1


@pytest.mark.parametrize(
    "settings", [{"entry": "int80"}, {"store_buffer": -1}, {"store_buffer": 65}]
)
def test_a_switch_out_of_its_range_is_refused(settings):
    with pytest.raises(InvalidArgumentError):
        KernelConfig(instance_id=1, name="one", apic_ids=(0,), **settings)


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        (0x00, "00"),
        (0x01, "01 : Send CS error"),
        (0x02, "02 : Receive CS error"),
        (0x04, "04 : Send accept error"),
        (0x08, "08 : Receive accept error"),
        (0x10, "10 : Redirectable IPI"),
        (0x20, "20 : Send illegal vector"),
        (0x40, "40 : Received illegal vector"),
        (0x80, "80 : Illegal register address"),
        (0x60, "60 : Send illegal vector : Received illegal vector"),
    ],
)
def test_with_apic_debug_an_error_is_printed_in_words(make_kernel, bits, text):
    """The 2.6 format with two numbers, ``40(40)``, is not that of 6.17."""
    kernel = make_kernel(apic_debug=True)
    kernel.cpus[1].apic.esr_pending = bits
    kernel.accept(1, fixed(1, 0xFE))
    assert lines(kernel) == [(7, f"APIC error on CPU1: {text}")]
    assert (kernel.irq_err_count, kernel.cpus[1].apic.isr) == (1, 0)


@pytest.mark.rule("R50")
def test_the_error_handler_writes_esr_before_it_reads(make_kernel):
    """So it reports what has happened since the last write, not what that one latched."""
    kernel = make_kernel(apic_debug=True, lvt_error=True)
    for _ in range(2):
        kernel.accept(1, fixed(1, 5))
    kernel.accept(1, fixed(1, 0xFE))
    assert [text for _, text in lines(kernel)] == [
        "APIC error on CPU1: 40 : Received illegal vector",
        "APIC error on CPU1: 40 : Received illegal vector",
        "APIC error on CPU1: 00",
    ]
    assert "ERR:          3\n" in proc_interrupts(kernel)


def test_without_apic_debug_an_error_is_only_counted(make_kernel):
    kernel = make_kernel(lvt_error=True)
    kernel.accept(1, fixed(1, 5))
    assert (lines(kernel), kernel.irq_err_count) == ([], 1)


def test_errors_are_not_rate_limited(make_kernel):
    kernel = make_kernel(apic_debug=True)
    for _ in range(30):
        kernel.accept(1, fixed(1, 0xFE))
    assert len(kernel.log) == 30
