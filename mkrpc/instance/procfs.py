"""The files of /proc that a person reads of one kernel.

Source: arch/x86/kernel/irq.c (arch_show_interrupts, arch_irq_stat_cpu), kernel/irq/proc.c,
fs/proc/stat.c, arch/x86/kernel/apic/vector.c (number of interrupts); byte layout as recorded from
the patched kernel. There are no device interrupts, so no numbered rows.
"""

from typing import TYPE_CHECKING

from mkrpc.x86.irq_stat import ARCH_ROWS, RowShown
from mkrpc.x86.irq_vectors import NR_VECTORS

if TYPE_CHECKING:
    from mkrpc.instance.kernel import Kernel

__all__ = ["nr_irqs", "proc_interrupts", "proc_stat"]

_GSI_TOP = 24
_NR_LEGACY_IRQS = 16

_SUMMED = (
    *("nmi_count", "apic_timer_irqs", "irq_spurious_count", "apic_perf_irqs"),
    *("apic_irq_work_irqs", "icr_read_retry_count", "irq_resched_count", "irq_call_count"),
    *("irq_thermal_count", "irq_threshold_count", "mce_exception_count", "mce_poll_count"),
)
"""What arch_irq_stat_cpu adds up: not every row of /proc/interrupts (no TLB, DFR, posted ones)."""


def nr_irqs(cpus: int) -> int:
    """How many interrupt numbers a machine of this many CPUs and one I/O APIC of 24 pins has."""
    by_device = _GSI_TOP + _NR_LEGACY_IRQS + 8 * cpus + 16 * _GSI_TOP
    return min(by_device, NR_VECTORS * cpus)


def proc_interrupts(kernel: "Kernel") -> str:
    """/proc/interrupts of Linux 6.17: a column for every CPU of the kernel, architecture rows only.

    A CPU that waits for SIPI keeps its column: its kernel never took it offline. PLT, HYP, HRE and
    HVS are not shown, as nothing registers for them.
    """
    numbers = nr_irqs(len(kernel.cpus))
    width = max(3, len(str(numbers)))
    lines = [" " * (width + 8) + "".join(f"CPU{cpu.number:<8d}" for cpu in kernel.cpus)]
    machine_wide = {"ERR": kernel.irq_err_count, "MIS": 0}
    for row in ARCH_ROWS:
        if row.shown is RowShown.IF_CONFIGURED:
            continue
        label = f"{row.label:>{width}}: "
        if row.field is None:
            lines.append(f"{label}{machine_wide[row.label]:10d}")
            continue
        counts = "".join(f"{getattr(cpu.irq_stat, row.field):10d} " for cpu in kernel.cpus)
        lines.append(f"{label}{counts}  {row.text}")
    return "\n".join(lines) + "\n"


def proc_stat(kernel: "Kernel") -> str:
    """The ``intr`` line of /proc/stat, the only one of that file whose numbers exist here.

    First the total over all CPUs, errors included, then the count of each interrupt number, all 0.
    """
    total = kernel.irq_err_count
    for cpu in kernel.cpus:
        total += sum(getattr(cpu.irq_stat, field) for field in _SUMMED)
    return f"intr {total}{' 0' * nr_irqs(len(kernel.cpus))}\n"
