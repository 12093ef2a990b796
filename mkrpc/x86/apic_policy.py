"""Where real local APICs differ: one switch each, with its default.

Source: section 3.6 of the design, and the rules of docs/rules.md.
"""

from dataclasses import dataclass
from typing import Literal

from mkrpc.x86.switches import check_switches

__all__ = ["ApicPolicy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApicPolicy:
    """The choices of one APIC model; frozen, shared by all APICs of an instance.

    Raises InvalidArgumentError for a value that a switch does not have.
    """

    lowest_priority: Literal["ppr", "hash", "unsupported"] = "ppr"
    """Lowest-priority IPIs (R32). ``ppr``: sent, and the bus picks the lowest PPR, ties in turn, as
    Xen does. ``hash``: sent, and the bus picks by the vector, as KVM does. ``unsupported``: ESR bit
    4 and nothing is sent, as on current Intel processors."""

    icr_busy: Literal["never", "queue", "drop"] = "never"
    """Delivery status, bit 12 of an xAPIC's ICR (R20); x2APIC mode has no such bit. ``never``: it
    reads 0. ``queue``: it reads 1 while a command is under way, and a second one is sent all the
    same. ``drop``: as ``queue``, but a second one is lost, as in gem5; the SDM says nothing."""

    icr_bit12: Literal["cleared", "gp"] = "cleared"
    """Bit 12 set in an x2APIC ICR write (R18). ``cleared``: ignored and read back as 0, as on
    Intel. ``gp``: #GP, as on AMD."""

    invalid_combination: Literal["deliver", "drop"] = "deliver"
    """A shorthand with a mode that SDM table 10-3 calls invalid: self or all-including-self with
    anything but fixed (R22). ``deliver`` as KVM does, ``drop`` as ACRN does. Either way the APIC
    counts it."""

    nmi_while_software_disabled: Literal["deliver", "drop"] = "deliver"
    """An NMI to a software-disabled APIC (R35). ``deliver`` is the SDM's word. ``drop`` follows the
    measurement that such a CPU never runs its NMI handler; unlike the measured CPU it does not
    leave HLT either."""

    pending_while_software_disabled: Literal["hold", "deliver"] = "hold"
    """IRR bits that are set when the APIC is software-disabled (R38). ``hold``: they wait until it
    is enabled again, as in Xen. ``deliver``: they are taken all the same, as in KVM."""

    global_disable: Literal["reset", "keep"] = "reset"
    """What clearing APIC_BASE.EN does to the registers (R6; SDM 10.4.3 leaves it open). ``reset``
    empties them, IRR included. ``keep`` loses nothing but a rewritten id, as in KVM."""

    intr: Literal["synchronous", "latched"] = "synchronous"
    """What becomes of an INTR whose interrupt is masked, by TPR or by SVR, before the CPU takes it
    (R47). ``synchronous``: it is withdrawn. ``latched``: the CPU acknowledges it and is given the
    spurious vector, as SDM 10.9 describes."""

    self_ipi_illegal_vector: Literal["send", "receive", "both"] = "send"
    """Which error a self IPI with a vector below 16 is (R52). ``send``: ESR bit 5, as in Xen and
    ACRN. ``receive``: bit 6, as in Bochs. ``both``, which the SDM's text allows."""

    xapic_id_writable: bool = True
    """May software rewrite the id register in xAPIC mode (R7)? Both exist; where not, the write is
    dropped."""

    self_ipi_stored_in_icr: bool = False
    """Does a SELF_IPI show in the ICR (R54)? True as in Xen; KVM, QEMU and Bochs do not store."""

    x2apic_supported: bool = True
    """CPUID.1:ECX[21]. Without it EXTD is a reserved bit of IA32_APIC_BASE (R1)."""

    def __post_init__(self) -> None:
        check_switches(self)
