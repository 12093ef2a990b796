"""What a destination can say of a leg; nobody else's outcomes are taken from it."""

from mkrpc.outcome import Outcome

__all__ = ["A_DESTINATIONS", "A_DESTINATIONS_AGAIN"]

A_DESTINATIONS = frozenset(
    {
        Outcome.DELIVERED,
        Outcome.COALESCED,
        Outcome.REJECTED_APIC_DISABLED,
        Outcome.REJECTED_SOFTWARE_DISABLED,
        Outcome.REJECTED_ILLEGAL_VECTOR,
        Outcome.REJECTED_RESERVED_MODE,
        Outcome.REJECTED_NOT_WAITING_FOR_SIPI,
        Outcome.REJECTED_INIT_DEASSERT,
        Outcome.REJECTED_BLOCKED,
        # Not its APIC's, but its kernel's: a CPU that has left it, which it may not have come to
        # say yet; one that it never had or a number that it has forgotten; and no room to remember
        # the outcome.
        Outcome.REJECTED_NO_SUCH_APIC,
        Outcome.REJECTED_MALFORMED,
        Outcome.REJECTED_BACKPRESSURE,
    }
)
"""What a destination can say to a leg. The rest is for the sender's APIC, the
interconnect and the dead."""

A_DESTINATIONS_AGAIN = frozenset(
    {
        Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED,
        Outcome.LOST_INTERCONNECT_RESTART,
        Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED,
    }
)
"""What it can say besides to a leg that an earlier interconnect may have handed over."""
