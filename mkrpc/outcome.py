"""What became of a leg: one ICR write to one destination CPU.

Every leg ends as exactly one :class:`Outcome`. An outcome is data, never an exception: hardware
merges and drops interrupts too. The numbers are those of ``mkrpc.v1.Outcome`` on the wire.
"""

from enum import IntEnum

__all__ = ["Outcome", "OutcomeKind"]


class OutcomeKind(IntEnum):
    """The four ways in which a leg can end; the columns of the ledger."""

    DELIVERED = 1
    COALESCED = 2
    REJECTED = 3
    LOST = 4


class Outcome(IntEnum):
    """The end of a leg, with its reason.

    ``DELIVERED``: this write set the IRR bit, or latched an NMI, INIT, SIPI or SMI.
    ``COALESCED``: the IRR bit (or the NMI latch) was already set: hardware merges here too.
    ``REJECTED_*``: it changed no APIC, and everybody knows.
    ``LOST_*``: it was under way when somebody died; ``MAYBE_DELIVERED`` where nobody can know
    whether the destination had applied it.
    """

    DELIVERED = 1
    COALESCED = 2

    REJECTED_NO_SUCH_APIC = 16
    """No APIC matches the destination (SDM 10.6.1; rule R41)."""
    REJECTED_APIC_DISABLED = 17
    """The destination's APIC is globally disabled, APIC_BASE.EN = 0 (R3)."""
    REJECTED_SOFTWARE_DISABLED = 18
    """The destination's APIC is software-disabled, SVR bit 8 = 0 (R37)."""
    REJECTED_ILLEGAL_VECTOR = 19
    """A fixed vector below 16; ESR bit 5 at the sender or 6 at the receiver (R52)."""
    REJECTED_RESERVED_MODE = 20
    """Delivery mode 3 or 7, which an ICR does not have (R34)."""
    REJECTED_NOT_WAITING_FOR_SIPI = 21
    """A start-up IPI to a CPU that runs (R36)."""
    REJECTED_INIT_DEASSERT = 22
    """INIT level de-assert: has no effect since the Pentium 4 (R21)."""
    REJECTED_REDIRECTABLE_IPI = 23
    """Lowest priority where the CPU does not support it for IPIs; ESR bit 4 (R32)."""
    REJECTED_BLOCKED = 24
    """An NMI or SMI to a CPU that waits for SIPI (R36)."""
    REJECTED_INVALID_COMBINATION = 25
    """A shorthand and a delivery mode that SDM table 10-3 calls invalid (R22)."""
    REJECTED_ICR_BUSY = 26
    """Written while the ICR's delivery status was busy, and lost (R20)."""
    REJECTED_NOT_PERMITTED = 32
    """The policy table of the interconnect forbids it."""
    REJECTED_RATE_LIMITED = 33
    """The source's token bucket is empty."""
    REJECTED_BACKPRESSURE = 34
    """A queue on the way is at its limit."""
    REJECTED_INJECTED_FAULT = 35
    """A fault that somebody asked for swallowed it."""
    REJECTED_MALFORMED = 36
    """The message names what cannot be: a CPU that the source does not have."""
    REJECTED_NO_APIC_OF_ITS_OWN = 37
    """Self or all-but-self from an external injector, which has no APIC."""

    LOST_TARGET_DEAD = 64
    """The destination died before the leg was handed to it."""
    LOST_TARGET_DEAD_MAYBE_DELIVERED = 65
    """The destination died with the leg in its hands, unanswered."""
    LOST_SOURCE_DEAD = 66
    """The source died with the write unsent."""
    LOST_INTERCONNECT_RESTART = 67
    """An interconnect that died had not handed it over, and now it would overtake a later write."""
    LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED = 68
    """An interconnect died, and whoever could know whether it was applied, too."""

    @property
    def kind(self) -> OutcomeKind:
        """The ledger column that this outcome belongs to."""
        if self is Outcome.DELIVERED:
            return OutcomeKind.DELIVERED
        if self is Outcome.COALESCED:
            return OutcomeKind.COALESCED
        return OutcomeKind.REJECTED if self < Outcome.LOST_TARGET_DEAD else OutcomeKind.LOST

    @property
    def reason(self) -> str:
        """The reason in lower case, such as ``no_such_apic``; empty where there is none to give."""
        if self <= Outcome.COALESCED:
            return ""
        _, _, reason = self.name.partition("_")
        return reason.lower().replace("_maybe_delivered", ", maybe_delivered")

    @property
    def text(self) -> str:
        """The form that people read and scripts match: ``lost(target_dead, maybe_delivered)``."""
        kind = self.kind.name.lower()
        return f"{kind}({self.reason})" if self.reason else kind
