"""Legs of earlier interconnects that are in no source's books (design 3.4).

What a client, or a source that died together with its interconnect, had delivered since its rows
were last kept, is in the accounting of the destination alone. It is booked by name, never silently:
as delivered, from a party that stands for what nobody can tell any more.
"""

from collections import Counter
from collections.abc import Callable

from mkrpc.interconnect.ledger import Ledger, Party, Row, RowKey
from mkrpc.interconnect.policy import SourceKind
from mkrpc.interconnect.session import Session
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode

__all__ = ["UNKNOWN", "Unbooked", "VectorOfCpu"]

UNKNOWN = Party(SourceKind.INSTANCE, None, "unknown, before the restart", b"unknown")
"""The source, in the books, of legs that were delivered before and are in nobody's books."""

VectorOfCpu = tuple[int, int]
"""APIC id and vector."""


class Unbooked:
    """Only the first quiet moment after a takeover can say how many there are.

    From then on there can be fewer of them, when a client repeats a call and so has it booked, and
    never more: that would be a leg that has gone missing since.
    """

    def __init__(self, ledger: Ledger, is_quiet: Callable[[], bool]) -> None:
        self._ledger = ledger
        self._is_quiet = is_quiet
        self._rows: dict[tuple[bytes, VectorOfCpu], Row] = {}
        self._known: set[bytes] = set()

    @property
    def quiet(self) -> bool:
        """Whether every leg has its outcome, and every instance has reported all there is."""
        return self._is_quiet()

    def settle(
        self, session: Session, booked: Counter[VectorOfCpu], mirrored: Counter[VectorOfCpu]
    ) -> None:
        """In a quiet moment: make ``booked``, without them, agree with what the instance counts.

        What cannot be explained by them is left as it is, for the caller to find.
        """
        first = session.party.identity not in self._known
        self._known.add(session.party.identity)
        for where in sorted(booked.keys() | mirrored.keys()):
            row = self._rows.get((session.party.identity, where))
            most = row.written if row is not None else 0
            count = mirrored[where] - booked[where]
            if count < 0 or (count > most and not first):
                count = most
            if count:
                self._row(session, where).written = count
                self._row(session, where).outcomes[Outcome.DELIVERED] = count
            elif row is not None:
                row.written = 0
                row.outcomes.clear()
            booked[where] += count

    def _row(self, session: Session, where: VectorOfCpu) -> Row:
        """Kept here, so that it is never folded; limits do not count what nobody can help."""
        row = self._rows.get((session.party.identity, where))
        if row is None:
            apic_id, vector = where
            key = RowKey(UNKNOWN, session.party, apic_id, DeliveryMode.FIXED, vector)
            row = self._rows[session.party.identity, where] = self._ledger.open(key)
        return row
