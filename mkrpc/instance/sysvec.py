"""What the events of a kernel lead to: sysvec_multikernel and its neighbours.

Each does what the Linux 6.17 entry does to EOI and counters, in its order; what lies behind them in
Linux (call queues, timers, the scheduler) does not exist here. Source: the multikernel patch;
arch/x86/kernel/{smp,irq,irq_work}.c, arch/x86/kernel/apic/apic.c.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mkrpc.instance.config import KernelConfig
from mkrpc.instance.printk import KERN_DEBUG, KERN_EMERG, KERN_INFO, KERN_WARNING
from mkrpc.x86.apic_state import SVR_APIC_ENABLED, VECTOR_BIT
from mkrpc.x86.fred import FredDispatch
from mkrpc.x86.idt import EXCEPTIONS, Idt
from mkrpc.x86.irq_vectors import SPURIOUS_APIC_VECTOR

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu

__all__ = [
    "UnexpectedException",
    "install_event_dispatch",
    "stop_this_cpu",
    "sysvec_multikernel",
]

_MULTIKERNEL = "sysvec_multikernel"

_ESR_REASONS = (
    "Send CS error",
    "Receive CS error",
    "Send accept error",
    "Receive accept error",
    "Redirectable IPI",
    "Send illegal vector",
    "Received illegal vector",
    "Illegal register address",
)
"""The words for ESR bits 0 to 7."""


class UnexpectedException(Exception):  # noqa: N818 - an event of the machine
    """An exception's gate was entered by an interrupt, without an error code (R60)."""


def sysvec_multikernel(cpu: "Cpu") -> object:
    """Vector 0xEA, in the patch's order: EOI first, then the CAL counter, then the handlers.

    So the ISR bit is clear while handlers run, and one further 0xEA can wait in IRR. mkrpc counts
    0xEA by itself too, which Linux does not. A generator is returned when a handler is one: the
    rest of this interrupt then runs instruction by instruction.
    """
    cpu.apic_eoi()
    cpu.irq_stat.irq_call_count += 1
    cpu.multikernel_count += 1
    return cpu.kernel.generic_multikernel_interrupt(cpu)


def sysvec_reschedule_ipi(cpu: "Cpu") -> None:
    """EOI, RES. There is no scheduler to fold into."""
    cpu.apic_eoi()
    cpu.irq_stat.irq_resched_count += 1


def sysvec_call_function(cpu: "Cpu") -> None:
    """EOI, CAL; call_function_single alike. The queue of calls is always empty."""
    cpu.apic_eoi()
    cpu.irq_stat.irq_call_count += 1


def sysvec_reboot(cpu: "Cpu") -> None:
    """EOI, then stop_this_cpu: the APIC software-disabled, IF = 0, halted for good. No counter.

    Nobody in this kernel has sent it. The multikernel tree ignores it then, as does a kernel with
    ``foreign_stop="ignore"``.
    """
    cpu.apic_eoi()
    if cpu.kernel.config.foreign_stop == "ignore":
        ignore_stop(cpu, "REBOOT_VECTOR")
    else:
        stop_this_cpu(cpu)


def ignore_stop(cpu: "Cpu", what: str) -> None:
    """The line of the multikernel tree about a stop that did not begin in this kernel."""
    text = f"CPU {cpu.number}: Ignoring {what} from other kernel instance (stopping_cpu=-1)"
    cpu.printk(text, KERN_INFO)


def stop_this_cpu(cpu: "Cpu") -> None:
    """Offline, the APIC software-disabled, IF = 0, HLT; what is in IRR stays there. Only INIT ends
    it."""
    cpu.kernel.hotplug.offline.add(cpu.number)
    cpu.write_svr(cpu.apic.svr & ~SVR_APIC_ENABLED)
    cpu.stop()


def sysvec_irq_work(cpu: "Cpu") -> object:
    """EOI, IWI, then the work that waits for this CPU, if any does."""
    cpu.apic_eoi()
    cpu.irq_stat.apic_irq_work_irqs += 1
    return cpu.kernel.irq_work.run(cpu)


def sysvec_apic_timer_interrupt(cpu: "Cpu") -> None:
    """EOI, LOC. The timer itself never fires: only an IPI with its vector comes here."""
    cpu.apic_eoi()
    cpu.irq_stat.apic_timer_irqs += 1


def sysvec_x86_platform_ipi(cpu: "Cpu") -> None:
    """EOI, PLT, then ``kernel.x86_platform_ipi_callback``, if one is registered."""
    cpu.apic_eoi()
    cpu.irq_stat.x86_platform_ipis += 1
    callback = cpu.kernel.x86_platform_ipi_callback
    if callback is not None:
        callback(cpu)


def sysvec_spurious_apic_interrupt(cpu: "Cpu") -> None:
    """SPU and no EOI: 0xFF sent as a fixed IPI therefore stays in service (R47)."""
    _handle_spurious(cpu, SPURIOUS_APIC_VECTOR)


def spurious_interrupt(cpu: "Cpu") -> None:
    """An unassigned vector from 0xEB on: SPU; EOI only if its ISR bit is set."""
    _handle_spurious(cpu, cpu.vector)


def _handle_spurious(cpu: "Cpu", vector: int) -> None:
    cpu.irq_stat.irq_spurious_count += 1
    if vector == SPURIOUS_APIC_VECTOR:
        text = f"Spurious APIC interrupt (vector 0xFF) on CPU#{cpu.number}, should never happen."
    elif cpu.apic.isr & VECTOR_BIT[vector]:
        text = f"Spurious interrupt (vector 0x{vector:02x}) on CPU#{cpu.number}. Acked"
        cpu.apic_eoi()
    else:
        text = f"Spurious interrupt (vector 0x{vector:02x}) on CPU#{cpu.number}. Not pending!"
    cpu.printk(text, KERN_INFO)


def sysvec_error_interrupt(cpu: "Cpu") -> None:
    """ESR written, then read (the write latches, R50), EOI, ERR; with apic=debug a line that has a
    reason for every bit. It is not rate-limited."""
    cpu.apic.write_esr()
    esr = cpu.apic.esr
    cpu.apic_eoi()
    cpu.kernel.irq_err_count += 1
    if cpu.kernel.config.apic_debug:
        reasons = [f" : {text}" for bit, text in enumerate(_ESR_REASONS) if esr >> bit & 1]
        cpu.printk(f"APIC error on CPU{cpu.number}: {esr:02x}{''.join(reasons)}", KERN_DEBUG)


def sysvec_thermal(cpu: "Cpu") -> None:
    """TRM, EOI last."""
    cpu.irq_stat.irq_thermal_count += 1
    cpu.apic_eoi()


def sysvec_threshold(cpu: "Cpu") -> None:
    """THR, EOI last."""
    cpu.irq_stat.irq_threshold_count += 1
    cpu.apic_eoi()


def sysvec_deferred_error(cpu: "Cpu") -> None:
    """DFR, EOI last."""
    cpu.irq_stat.irq_deferred_error_count += 1
    cpu.apic_eoi()


def sysvec_kvm_posted_intr_ipi(cpu: "Cpu") -> None:
    """EOI, PIN."""
    cpu.apic_eoi()
    cpu.irq_stat.kvm_posted_intr_ipis += 1


def sysvec_kvm_posted_intr_wakeup_ipi(cpu: "Cpu") -> None:
    """EOI, PIW."""
    cpu.apic_eoi()
    cpu.irq_stat.kvm_posted_intr_wakeup_ipis += 1


def sysvec_kvm_posted_intr_nested_ipi(cpu: "Cpu") -> None:
    """EOI, NPI."""
    cpu.apic_eoi()
    cpu.irq_stat.kvm_posted_intr_nested_ipis += 1


def sysvec_posted_msi_notification(cpu: "Cpu") -> None:
    """PMN, EOI last."""
    cpu.irq_stat.posted_msi_notification_count += 1
    cpu.apic_eoi()


def common_interrupt(cpu: "Cpu") -> None:
    """A device vector that nobody has requested: the 6.17 text at level 0, no counter, EOI.

    CPU and vector are decimal; at most 10 lines in 5 s, as pr_emerg_ratelimited, which names the
    function that prints.
    """
    kernel = cpu.kernel
    allowed, missed = kernel.no_irq_handler_limit.allows(kernel.now_us())
    if missed:
        cpu.printk(f"reevaluate_vector: {missed} callbacks suppressed", KERN_WARNING)
    if allowed:
        cpu.printk(f"No irq handler for {cpu.number}.{cpu.vector}", KERN_EMERG)
    cpu.apic_eoi()


def _fred_extint_once() -> Callable[["Cpu"], object]:
    """What fred_extint does for vectors 16 to 31, for one kernel: WARN_ON_ONCE, and no EOI.

    The vector stays in service for good; nothing below class 2 is taken any more, and everything
    above is. Linux's TPR holds these vectors off from the start. Of the warning's lines only the
    first is printed, without the line number and offset that a binary has.
    """
    warned = False

    def fred_extint(cpu: "Cpu") -> None:
        nonlocal warned
        if not warned:
            warned = True
            place = "arch/x86/entry/entry_fred.c fred_extint"
            cpu.printk(f"WARNING: CPU: {cpu.number} at {place}", KERN_WARNING)

    return fred_extint


def exc_nmi(cpu: "Cpu") -> None:
    """NMI counted, and the marker of a forced halt looked at; nobody else has registered for one,
    and no reason port exists to be read."""
    cpu.irq_stat.nmi_count += 1
    if cpu.kernel.hotplug.parking.force_halt:
        cpu.kernel.hotplug.parking.take_nmi(cpu)


def unexpected_exception(cpu: "Cpu") -> None:
    """Vectors 16 to 31 by interrupt (R60): the exception's handler finds no cause for it: an oops.

    There is no EOI, so the vector stays in service and blocks its class and those below.
    """
    name = EXCEPTIONS.get(cpu.vector, "reserved exception")
    raise UnexpectedException(f"{name} (vector {cpu.vector}) by an interrupt")


_HANDLERS: dict[str, Callable[["Cpu"], object]] = {
    "asm_exc_nmi": exc_nmi,
    "sysvec_call_function_single": sysvec_call_function,
    **{
        handler.__name__: handler
        for handler in (
            sysvec_apic_timer_interrupt,
            sysvec_call_function,
            sysvec_deferred_error,
            sysvec_error_interrupt,
            sysvec_irq_work,
            sysvec_kvm_posted_intr_ipi,
            sysvec_kvm_posted_intr_nested_ipi,
            sysvec_kvm_posted_intr_wakeup_ipi,
            sysvec_multikernel,
            sysvec_posted_msi_notification,
            sysvec_reboot,
            sysvec_reschedule_ipi,
            sysvec_spurious_apic_interrupt,
            sysvec_thermal,
            sysvec_threshold,
            sysvec_x86_platform_ipi,
        )
    },
}


def install_event_dispatch(config: KernelConfig) -> Idt:
    """What a booted kernel has: an IDT, or FRED's tables; 0xEA only with the multikernel patch."""
    handlers = dict(_HANDLERS)
    if not config.multikernel:
        del handlers[_MULTIKERNEL]
    if config.entry == "fred":
        return FredDispatch(
            handlers,
            common_interrupt=common_interrupt,
            spurious_interrupt=spurious_interrupt,
            fred_extint=_fred_extint_once(),
        )
    return Idt(
        handlers,
        common_interrupt=common_interrupt,
        spurious_interrupt=spurious_interrupt,
        exception=unexpected_exception,
    )
