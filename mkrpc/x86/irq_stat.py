"""The per-CPU interrupt counters of Linux and the rows that show them in /proc/interrupts.

Source: irq_cpustat_t in arch/x86/include/asm/hardirq.h (6.17), the per-CPU variables of the
machine-check code, and arch_show_interrupts() in arch/x86/kernel/irq.c for the order of the rows.
Linux counts in 32 bits and wraps; these counters do not wrap.
"""

from dataclasses import dataclass, fields
from enum import Enum

from mkrpc.x86 import irq_vectors as v

__all__ = ["ARCH_ROWS", "FIELDS", "ArchRow", "IrqStat", "RowShown"]


@dataclass(slots=True)
class IrqStat:
    """Counters of one CPU, each the number of events since the instance started.

    The order of the fields is the numbering on the wire: new fields go to the end. Linux spells
    the first one ``__nmi_count``, which Python would mangle. The two ``mce_*`` counters are no
    part of irq_cpustat_t in Linux but per-CPU variables beside it, shown among the same rows.
    """

    nmi_count: int = 0
    apic_timer_irqs: int = 0
    irq_spurious_count: int = 0
    apic_perf_irqs: int = 0
    apic_irq_work_irqs: int = 0
    icr_read_retry_count: int = 0
    x86_platform_ipis: int = 0
    irq_resched_count: int = 0
    irq_call_count: int = 0
    irq_tlb_count: int = 0
    irq_thermal_count: int = 0
    irq_threshold_count: int = 0
    irq_deferred_error_count: int = 0
    mce_exception_count: int = 0
    mce_poll_count: int = 0
    irq_hv_callback_count: int = 0
    irq_hv_reenlightenment_count: int = 0
    hyperv_stimer0_count: int = 0
    kvm_posted_intr_ipis: int = 0
    kvm_posted_intr_nested_ipis: int = 0
    kvm_posted_intr_wakeup_ipis: int = 0
    posted_msi_notification_count: int = 0

    def counts(self) -> tuple[int, ...]:
        """All of them, in the order of the fields."""
        return (
            self.nmi_count,
            self.apic_timer_irqs,
            self.irq_spurious_count,
            self.apic_perf_irqs,
            self.apic_irq_work_irqs,
            self.icr_read_retry_count,
            self.x86_platform_ipis,
            self.irq_resched_count,
            self.irq_call_count,
            self.irq_tlb_count,
            self.irq_thermal_count,
            self.irq_threshold_count,
            self.irq_deferred_error_count,
            self.mce_exception_count,
            self.mce_poll_count,
            self.irq_hv_callback_count,
            self.irq_hv_reenlightenment_count,
            self.hyperv_stimer0_count,
            self.kvm_posted_intr_ipis,
            self.kvm_posted_intr_nested_ipis,
            self.kvm_posted_intr_wakeup_ipis,
            self.posted_msi_notification_count,
        )


FIELDS: tuple[str, ...] = tuple(field.name for field in fields(IrqStat))
"""Field names; a field's index here is its number on the wire."""


class RowShown(Enum):
    """When Linux prints a row of /proc/interrupts."""

    ALWAYS = "always"
    IF_CONFIGURED = "if configured"
    """Only with the vector of the row installed (HYP, HRE, HVS), or its callback (PLT)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchRow:
    """One architecture row. ``field`` None: one machine-wide number without text (ERR, MIS).

    ``vector``: the system vector that must be installed for the row to be shown; None for the other
    rows, PLT among them.
    """

    label: str
    field: str | None
    text: str
    shown: RowShown = RowShown.ALWAYS
    vector: int | None = None

    def __post_init__(self) -> None:
        assert self.field is None or self.field in FIELDS, self.field


def _row(label: str, field: str | None, text: str = "") -> ArchRow:
    return ArchRow(label=label, field=field, text=text)


def _configured(label: str, field: str, text: str, vector: int | None = None) -> ArchRow:
    shown = RowShown.IF_CONFIGURED
    return ArchRow(label=label, field=field, text=text, shown=shown, vector=vector)


ARCH_ROWS: tuple[ArchRow, ...] = (
    _row("NMI", "nmi_count", "Non-maskable interrupts"),
    _row("LOC", "apic_timer_irqs", "Local timer interrupts"),
    _row("SPU", "irq_spurious_count", "Spurious interrupts"),
    _row("PMI", "apic_perf_irqs", "Performance monitoring interrupts"),
    _row("IWI", "apic_irq_work_irqs", "IRQ work interrupts"),
    _row("RTR", "icr_read_retry_count", "APIC ICR read retries"),
    _configured("PLT", "x86_platform_ipis", "Platform interrupts"),
    _row("RES", "irq_resched_count", "Rescheduling interrupts"),
    _row("CAL", "irq_call_count", "Function call interrupts"),
    _row("TLB", "irq_tlb_count", "TLB shootdowns"),
    _row("TRM", "irq_thermal_count", "Thermal event interrupts"),
    _row("THR", "irq_threshold_count", "Threshold APIC interrupts"),
    _row("DFR", "irq_deferred_error_count", "Deferred Error APIC interrupts"),
    _row("MCE", "mce_exception_count", "Machine check exceptions"),
    _row("MCP", "mce_poll_count", "Machine check polls"),
    _configured(
        "HYP",
        "irq_hv_callback_count",
        "Hypervisor callback interrupts",
        v.HYPERVISOR_CALLBACK_VECTOR,
    ),
    _configured(
        "HRE",
        "irq_hv_reenlightenment_count",
        "Hyper-V reenlightenment interrupts",
        v.HYPERV_REENLIGHTENMENT_VECTOR,
    ),
    _configured(
        "HVS", "hyperv_stimer0_count", "Hyper-V stimer0 interrupts", v.HYPERV_STIMER0_VECTOR
    ),
    _row("ERR", None),
    _row("MIS", None),
    _row("PIN", "kvm_posted_intr_ipis", "Posted-interrupt notification event"),
    _row("NPI", "kvm_posted_intr_nested_ipis", "Nested posted-interrupt event"),
    _row("PIW", "kvm_posted_intr_wakeup_ipis", "Posted-interrupt wakeup event"),
    _row("PMN", "posted_msi_notification_count", "Posted MSI notification event"),
)
"""The rows below the device interrupts, in Linux's order."""
