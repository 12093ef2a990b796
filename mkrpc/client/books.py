"""The ledger as a client gets to see it; other answers are in :mod:`mkrpc.client.answers`."""

from collections.abc import Iterable
from dataclasses import dataclass

from mkrpc.client.answers import outcome_of
from mkrpc.errors import ProtocolError
from mkrpc.outcome import Outcome
from mkrpc.v1 import control_pb2 as pb

__all__ = ["Ledger", "LedgerParty", "LedgerRow", "LedgerTotals"]


@dataclass(frozen=True, slots=True)
class LedgerTotals:
    """Counts of legs: ``written`` = the sum of the others (design 3.1)."""

    written: int
    delivered: int
    coalesced: int
    rejected: int
    lost: int
    in_flight: int

    @classmethod
    def of(cls, message: pb.LedgerTotals) -> "LedgerTotals":
        """Translate."""
        return cls(
            written=message.written,
            delivered=message.delivered,
            coalesced=message.coalesced,
            rejected=message.rejected,
            lost=message.lost,
            in_flight=message.in_flight,
        )


@dataclass(frozen=True, slots=True)
class LedgerParty:
    """Who wrote, or who was written to.

    ``instance_id`` is None for a client, ``apic_id`` for a source. ``identity``: incarnation or
    client id.
    """

    instance_id: int | None
    name: str
    identity: bytes
    apic_id: int | None

    @classmethod
    def of(cls, message: pb.LedgerParty) -> "LedgerParty":
        """Translate."""
        return cls(
            instance_id=message.instance_id if message.HasField("instance_id") else None,
            name=message.name,
            identity=message.identity,
            apic_id=message.apic_id if message.HasField("apic_id") else None,
        )


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """The legs of one source to one destination (None: to nobody), delivery mode and vector."""

    source: LedgerParty
    destination: LedgerParty | None
    delivery_mode: str
    vector: int
    totals: LedgerTotals
    outcomes: tuple[tuple[Outcome, int], ...]

    @classmethod
    def of(cls, message: pb.LedgerRow) -> "LedgerRow":
        """Translate; ProtocolError for an outcome that is unknown here."""
        has_destination = message.HasField("destination")
        return cls(
            source=LedgerParty.of(message.source),
            destination=LedgerParty.of(message.destination) if has_destination else None,
            delivery_mode=message.delivery_mode,
            vector=message.vector,
            totals=LedgerTotals.of(message.totals),
            outcomes=tuple((outcome_of(o.outcome), o.count) for o in message.outcomes),
        )


@dataclass(frozen=True, slots=True)
class Ledger:
    """The books. ``discrepancies``: what does not balance, a line each."""

    balanced: bool
    totals: LedgerTotals
    rows: tuple[LedgerRow, ...]
    discrepancies: tuple[str, ...]

    @classmethod
    def of(cls, messages: Iterable[pb.GetLedgerResponse]) -> "Ledger":
        """Translate the stream; ProtocolError if it has no summary, or an unknown outcome."""
        summary: pb.LedgerSummary | None = None
        rows: list[LedgerRow] = []
        for message in messages:
            if message.HasField("summary"):
                summary = message.summary
            rows += map(LedgerRow.of, message.rows)
        if summary is None:
            raise ProtocolError("the books came without their summary")
        return cls(
            balanced=summary.balanced,
            totals=LedgerTotals.of(summary.totals),
            rows=tuple(rows),
            discrepancies=tuple(summary.discrepancies),
        )
