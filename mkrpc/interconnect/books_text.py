"""The books as lines of text that are the same for the same books: to compare two runs."""

from mkrpc.interconnect.ledger import Party, Row
from mkrpc.interconnect.overview import Overview

__all__ = ["books_of"]


def books_of(bus: Overview) -> list[str]:
    """Every row of the ledger, every CPU of the mirror, and what does not balance."""
    discrepancies = bus.balance()  # before the rows: it may book what is in nobody's books
    lines = sorted(_row(row) for row in bus.ledger)
    for incarnation, mirrored in sorted(bus.mirror.rows().items()):
        for account in mirrored.accounts():
            lines.append(f"mirror {incarnation.hex()} {account}")
    return lines + [f"discrepancy: {line}" for line in discrepancies]


def _row(row: Row) -> str:
    key = row.key
    where = "nobody" if key.destination is None else _party(key.destination)
    outcomes = ", ".join(
        f"{outcome.name.lower()} {count}" for outcome, count in sorted(row.outcomes.items())
    )
    return (
        f"{_party(key.source)} to {where} APIC id {key.apic_id}, {key.mode.name.lower()} "
        f"vector {key.vector:#04x}: written {row.written}, {outcomes}"
    )


def _party(party: Party) -> str:
    return f"{party.name} {party.identity.hex()}".rstrip()
