"""What SQLite is told of the rows of the ledger, and of calls that are answered.

Parties stand for themselves by their numbers here: see :class:`BooksFile`.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator

from mkrpc.interconnect.ledger import RowKey
from mkrpc.interconnect.takeover import BookRow, CallKey, KeptCall
from mkrpc.outcome import Outcome

__all__ = [
    "PUT_ROW",
    "ROW_IS",
    "Outcomes",
    "Where",
    "add_row",
    "book_call",
    "calls_in",
    "outcomes_in",
    "put_call",
    "row_values",
]

Where = tuple[int, int, int, int, int]
"""The number of the source, that of the destination or 0, APIC id, mode, vector."""

Outcomes = tuple[tuple[Outcome, int], ...]

ROW_IS = "source = ? AND destination = ? AND apic_id = ? AND mode = ? AND vector = ?"
PUT_ROW = "INSERT OR REPLACE INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?)"
_PUT_ROW_OF_CALL = "INSERT INTO call_rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_ROW = "source, destination, apic_id, mode, vector, written, outcomes"


def row_values(where: Where, written: int, outcomes: Outcomes) -> tuple[object, ...]:
    """A row as its columns."""
    return (*where, written, json.dumps({str(int(outcome)): count for outcome, count in outcomes}))


def outcomes_in(text: str) -> Outcomes:
    """The outcomes in a row's last column."""
    return tuple((Outcome(int(number)), int(count)) for number, count in json.loads(text).items())


def add_row(db: sqlite3.Connection, where: Where, written: int, outcomes: Outcomes) -> None:
    """Add to what the ledger has there."""
    found = db.execute(f"SELECT written, outcomes FROM ledger WHERE {ROW_IS}", where).fetchone()
    if found is not None:
        written += found[0]
        total = dict(outcomes_in(found[1]))
        for outcome, count in outcomes:
            total[outcome] = total.get(outcome, 0) + count
        outcomes = tuple(total.items())
    db.execute(PUT_ROW, row_values(where, written, outcomes))


def put_call(db: sqlite3.Connection, call: KeptCall, where: Callable[[RowKey], Where]) -> int:
    """Keep a call and its rows; returns how many rows of the file that makes."""
    legs = json.dumps(
        [
            (apic_id, instance_id, int(outcome), count)
            for (apic_id, instance_id, outcome), count in call.legs
        ]
    )
    # All 64 bits of a word are more than an INTEGER has.
    values = (call.client, call.first_seq, call.count, f"{call.word:016x}", legs)
    number = db.execute(
        "INSERT INTO calls (client, first_seq, count, word, legs) VALUES (?, ?, ?, ?, ?)", values
    ).lastrowid
    db.executemany(
        _PUT_ROW_OF_CALL,
        ((number, *row_values(where(row.key), row.written, row.outcomes)) for row in call.rows),
    )
    return 1 + len(call.rows)


def book_call(db: sqlite3.Connection, key: CallKey, source: int) -> int:
    """Keep a call no longer: its rows are the ledger's now, of this source.

    Returns as :func:`put_call`.
    """
    (number,) = db.execute(
        "SELECT number FROM calls WHERE client = ? AND first_seq = ?", key
    ).fetchone()
    rows = db.execute(f"SELECT {_ROW} FROM call_rows WHERE call = ?", (number,)).fetchall()
    for _client, destination, apic_id, mode, vector, written, outcomes in rows:
        where = source, destination, apic_id, mode, vector
        add_row(db, where, written, outcomes_in(outcomes))
    db.execute("DELETE FROM call_rows WHERE call = ?", (number,))
    db.execute("DELETE FROM calls WHERE number = ?", (number,))
    return 1 + len(rows)


def calls_in(db: sqlite3.Connection, key_of: Callable[..., RowKey]) -> Iterator[KeptCall]:
    """All that are kept, in the order of their answers. ``key_of`` is given a :data:`Where`."""
    rows: dict[int, list[BookRow]] = {}
    for call, *where, written, outcomes in db.execute(f"SELECT call, {_ROW} FROM call_rows"):
        rows.setdefault(call, []).append(BookRow(key_of(*where), written, outcomes_in(outcomes)))
    for number, client, first_seq, count, word, legs in db.execute(
        "SELECT number, client, first_seq, count, word, legs FROM calls ORDER BY number"
    ):
        yield KeptCall(
            client=client,
            first_seq=first_seq,
            count=count,
            word=int(word, 16),
            legs=tuple(_legs(json.loads(legs))),
            rows=tuple(rows.get(number, ())),
        )


def _legs(
    legs: Iterable[tuple[int, int | None, int, int]],
) -> Iterator[tuple[tuple[int, int | None, Outcome], int]]:
    for apic_id, instance_id, outcome, count in legs:
        yield (apic_id, instance_id, Outcome(outcome)), count
