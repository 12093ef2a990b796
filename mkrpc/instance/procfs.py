"""The files of /proc that a person reads of one kernel.

Source: arch/x86/kernel/irq.c (arch_show_interrupts, arch_irq_stat_cpu), kernel/irq/proc.c,
fs/proc/stat.c, arch/x86/kernel/apic/vector.c (number of interrupts); byte layout as recorded from
the patched kernel. There are no device interrupts, so no numbered rows.
"""

from typing import TYPE_CHECKING

from mkrpc.x86.idt import SPURIOUS_INTERRUPT
from mkrpc.x86.irq_stat import ARCH_ROWS, ArchRow, RowShown
from mkrpc.x86.irq_vectors import NR_VECTORS

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu
    from mkrpc.instance.kernel import Kernel

__all__ = ["nr_irqs", "proc_cmdline", "proc_interrupts", "proc_stat"]

_GSI_TOP = 24
_NR_LEGACY_IRQS = 16

_COUNTER_MASK = 0xFFFFFFFF
"""Linux's counters have 32 bits, which is what keeps a column 10 wide; irq_stat does not wrap."""

_SUMMED: tuple[str, ...] = (
    *("nmi_count", "apic_timer_irqs", "irq_spurious_count", "apic_perf_irqs"),
    *("apic_irq_work_irqs", "icr_read_retry_count", "irq_resched_count", "irq_call_count"),
    *("irq_thermal_count", "irq_threshold_count", "irq_hv_callback_count"),
    *("irq_hv_reenlightenment_count", "hyperv_stimer0_count"),
    *("mce_exception_count", "mce_poll_count"),
)
"""What arch_irq_stat_cpu adds up, with PLT if it has a callback. Not every row of /proc/interrupts:
no TLB, DFR, PIN, NPI, PIW, PMN; nor 0xEA on a kernel that finds no handler for it."""


def nr_irqs(cpus: int) -> int:
    """How many interrupt numbers a machine of this many CPUs and one I/O APIC of 24 pins has."""
    by_device = _GSI_TOP + _NR_LEGACY_IRQS + 8 * cpus + 16 * _GSI_TOP
    return min(by_device, NR_VECTORS * cpus)


def proc_cmdline(kernel: "Kernel") -> str:
    """/proc/cmdline."""
    return f"{kernel.config.cmdline}\n"


def proc_interrupts(kernel: "Kernel") -> str:
    """/proc/interrupts of Linux 6.17: a column for every online CPU, architecture rows only.

    A CPU that waits for SIPI keeps its column unless its kernel took it offline. PLT is shown with
    a callback registered, HYP, HRE and HVS with their vector installed.
    """
    cpus = kernel.hotplug.online_cpus
    width = max(3, len(str(nr_irqs(len(kernel.cpus)))))
    lines = [" " * (width + 8) + "".join(f"CPU{cpu.number:<8d}" for cpu in cpus)]
    machine_wide = {"ERR": kernel.irq_err_count & _COUNTER_MASK, "MIS": 0}
    for row in ARCH_ROWS:
        if not _is_shown(kernel, row):
            continue
        label = f"{row.label:>{width}}: "
        if row.field is None:
            lines.append(f"{label}{machine_wide[row.label]:10d}")
            continue
        counts = "".join(f"{_counter(cpu, row.field):10d} " for cpu in cpus)
        lines.append(f"{label}{counts}  {row.text}")
    return "\n".join(lines) + "\n"


def proc_stat(kernel: "Kernel") -> str:
    """The ``intr`` line of /proc/stat, the only one of that file whose numbers exist here.

    First the total over all CPUs, offline ones too, and ERR; then the count of each interrupt
    number, all 0.
    """
    total = kernel.irq_err_count & _COUNTER_MASK
    summed = _SUMMED
    if kernel.x86_platform_ipi_callback is not None:
        summed = (*_SUMMED, "x86_platform_ipis")
    for cpu in kernel.cpus:
        total += sum(_counter(cpu, field) for field in summed)
    return f"intr {total}{' 0' * nr_irqs(len(kernel.cpus))}\n"


def _is_shown(kernel: "Kernel", row: ArchRow) -> bool:
    if row.shown is RowShown.ALWAYS:
        return True
    if row.vector is None:
        return kernel.x86_platform_ipi_callback is not None
    gate = kernel.idt[row.vector]
    return gate.present and gate.name != SPURIOUS_INTERRUPT


def _counter(cpu: "Cpu", field: str) -> int:
    count: int = getattr(cpu.irq_stat, field)
    return count & _COUNTER_MASK
