"""How a kernel rings and drains, where the series does otherwise and has a defect for it."""

from dataclasses import dataclass

__all__ = ["IpiSwitches"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IpiSwitches:
    """The defaults are without a known defect; the other value of each is the way of upstream, or
    what it would be without a line of its own.
    """

    fence: bool = True
    """MFENCE between payload and doorbell: in x2APIC mode the ICR write can overtake the stores
    (R17; native_x2apic_icr_write has weak_wrmsr_fence)."""

    waits_for_icr_idle: bool = True
    """In xAPIC mode, wait until delivery status is idle before the ICR is written (R20);
    mk_arch_send_ipi does not."""

    refuses_empty: bool = True
    """-EINVAL for data of no bytes; in a ring whose size is its flag they are never published."""

    rings_itself: bool = True
    """A receiver that stops at the messages of one interrupt rings itself: the doorbells of those
    that are left may have merged into the interrupt that it is."""
