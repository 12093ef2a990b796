"""Writes that never left their APIC: self IPIs, and what it refused to send."""

from mkrpc.errors import ProtocolError
from mkrpc.link.frames import SettledWrite
from mkrpc.outcome import Outcome, OutcomeKind
from mkrpc.x86.icr import Shorthand, decode

__all__ = ["AT_ITS_OWN_GATE", "check_settled"]

AT_ITS_OWN_GATE = frozenset(
    {
        Outcome.DELIVERED,
        Outcome.COALESCED,
        Outcome.REJECTED_SOFTWARE_DISABLED,
        Outcome.REJECTED_NOT_WAITING_FOR_SIPI,
        Outcome.REJECTED_BLOCKED,
    }
)
"""Outcomes that book a self IPI to its own CPU: only the receiving side of its APIC says them. What
the sending side says is booked to nobody, and so is an illegal vector, though the receiving side
refuses it where ``self_ipi_illegal_vector`` is ``receive`` or ``both``: the outcome is the same."""


def check_settled(event: SettledWrite) -> None:
    """Whether an APIC can have settled a write like this by itself.

    :raises ProtocolError: it cannot.
    """
    kind = event.outcome.kind
    is_self = decode(event.word).shorthand is Shorthand.SELF
    if kind is OutcomeKind.LOST or (kind is not OutcomeKind.REJECTED and not is_self):
        raise ProtocolError(
            f"write {event.seq}, {event.word:#018x}, is called {event.outcome.text} "
            "within its own APIC"
        )
