"""``mkrpc ledger``: the books of legs and outcomes, and whether they balance."""

from typing import TYPE_CHECKING

import click

from mkrpc.cli.group import EXIT_NO, EXIT_OK
from mkrpc.cli.options import cluster_options, connect, json_option
from mkrpc.cli.output import print_json, print_table

if TYPE_CHECKING:
    from mkrpc.client.books import Ledger, LedgerParty, LedgerTotals

__all__ = ["ledger", "totals_text"]

_COLUMNS = ("written#", "delivered#", "coalesced#", "rejected#", "lost#", "in flight#")


def totals_text(totals: "LedgerTotals") -> str:
    """The law of the books in one line."""
    return (
        f"written {totals.written} = delivered {totals.delivered} + coalesced {totals.coalesced}"
        f" + rejected {totals.rejected} + lost {totals.lost} + in flight {totals.in_flight}"
    )


@click.command(short_help="Print the books, and whether they balance.")
@cluster_options
@click.option("--quiesce", is_flag=True, help="Wait first until nothing is in flight.")
@json_option
def ledger(name: str, address: str | None, quiesce: bool, as_json: bool) -> int:
    """Print the books by source, destination, delivery mode and vector.

    Exits 0 only if they balance.
    """
    with connect(name, address) as client:
        if quiesce:
            client.quiesce()
        books = client.ledger()
    if as_json:
        from mkrpc.cli.as_json import ledger_as_json

        print_json(ledger_as_json(books))
    else:
        _print(books)
    return EXIT_OK if books.balanced else EXIT_NO


def _print(books: "Ledger") -> None:
    rows = []
    for row in books.rows:
        totals = row.totals
        rows.append(
            (
                _party(row.source),
                "nobody" if row.destination is None else _party(row.destination),
                row.delivery_mode,
                f"{row.vector:#04x}",
                totals.written,
                totals.delivered,
                totals.coalesced,
                totals.rejected,
                totals.lost,
                totals.in_flight,
                ", ".join(f"{outcome.text} {n}" for outcome, n in row.outcomes if outcome.reason),
            )
        )
    if rows:
        print_table(("source", "destination", "mode", "vector", *_COLUMNS, "reasons"), rows)
    click.echo(totals_text(books.totals))
    for line in books.discrepancies:
        click.echo(line)
    click.echo("the books balance" if books.balanced else "the books do NOT balance")


def _party(party: "LedgerParty") -> str:
    """``mk1 apic 3 (0a1b2c3d)``: name, CPU, and the first digits of the identity."""
    cpu = f" apic {party.apic_id}" if party.apic_id is not None else ""
    identity = f" ({party.identity.hex()[:8]})" if party.identity else ""
    return f"{party.name}{cpu}{identity}"
