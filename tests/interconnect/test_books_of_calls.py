"""Calls that are answered, in the file of the books: whole, once, and as they were (design 3.4)."""

import sqlite3
from dataclasses import replace
from typing import Any

import pytest

from mkrpc.interconnect import books_file
from mkrpc.interconnect.book_keeping import BookKeeper, open_books
from mkrpc.interconnect.books_file import BooksFile
from mkrpc.interconnect.books_schema import SCHEMA
from mkrpc.interconnect.ledger import EARLIER_CLIENTS, OVERFLOW, Party, RowKey
from mkrpc.interconnect.policy import SourceKind
from mkrpc.interconnect.takeover import BookRow, Changes, Incarnation, KeptCall
from mkrpc.link.frames import NOBODY
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode, fixed

RING_2 = fixed(2, 0xEA)
NO_ELSEWHERE = "ALTER TABLE incarnations DROP COLUMN elsewhere;"
BOB = Party(SourceKind.INSTANCE, 1, "mk1", b"b" * 16)


def call(number: int, *, first_seq: int = 1, destinations: int = 1) -> KeptCall:
    """Two writes to each of some CPUs of bob, and one leg to nobody."""
    client = Party(SourceKind.CLIENT, None, "client", number.to_bytes(16, "big"))
    rows = [
        BookRow(RowKey(client, BOB, 2 + each, DeliveryMode.FIXED, 0xEA), 2, DELIVERED)
        for each in range(destinations)
    ]
    nobody = RowKey(client, None, NOBODY, DeliveryMode.NMI, 0)
    rows.append(BookRow(nobody, 1, ((Outcome.REJECTED_NO_SUCH_APIC, 1),)))
    legs = tuple(((2 + each, 1, Outcome.DELIVERED), 2) for each in range(destinations))
    return KeptCall(
        client=client.identity,
        first_seq=first_seq,
        count=2,
        word=0xFFFF_FFFF_0000_00EA,
        legs=(*legs, ((NOBODY, None, Outcome.REJECTED_NO_SUCH_APIC), 1)),
        rows=tuple(rows),
    )


DELIVERED = ((Outcome.DELIVERED, 2),)
MOST = (1 << 63) - 1
"""The highest number of a write, which the file has to hold."""


@pytest.fixture
def file(tmp_path: Any) -> Any:
    books = BooksFile(tmp_path / "books.sqlite")
    books.begin(1, 1)
    yield books
    books.close()


def sorted_rows(call: KeptCall) -> KeptCall:
    """The file has rows in an order of its own."""
    return replace(call, rows=tuple(sorted(call.rows, key=lambda row: row.key.apic_id)))


def found(file: BooksFile) -> list[KeptCall]:
    takeover = file.takeover()
    assert takeover is not None
    return [sorted_rows(each) for each in takeover.calls]


def test_calls_are_read_as_they_were_in_the_order_of_their_answers(file: BooksFile) -> None:
    calls = (call(7, first_seq=9), call(3), call(7), call(5, first_seq=MOST - 1, destinations=300))
    file.keep_rows(Changes(calls=calls[:2]))
    file.keep_rows(Changes(calls=calls[2:]))
    file.close()
    file.__init__(file.path)  # type: ignore[misc] # another interconnect opens it
    assert found(file) == list(calls)
    assert file.takeover().rows == ()


def test_rows_of_what_is_acknowledged_are_added_to_those_of_all_clients(file: BooksFile) -> None:
    first, second, third = call(1), call(2), call(2, first_seq=5)
    file.keep_rows(Changes(calls=(first, second, third)))
    file.keep_rows(Changes(acknowledged=(first.key, third.key)))
    assert found(file) == [second]
    twice = {replace(row, written=2 * row.written) for row in first.booked}
    assert {replace(row, outcomes=()) for row in file.takeover().rows} == {
        replace(row, outcomes=()) for row in twice
    }
    assert all(row.key.source == EARLIER_CLIENTS for row in file.takeover().rows)
    sums = {row.written: sum(count for _, count in row.outcomes) for row in file.takeover().rows}
    assert sums == {4: 4, 2: 2}


def test_a_number_that_was_forgotten_can_be_used_again_in_the_same_snapshot(
    file: BooksFile,
) -> None:
    file.keep_rows(Changes(calls=(call(1),)))
    file.keep_rows(Changes(acknowledged=(call(1).key,), calls=(call(1, destinations=2),)))
    assert found(file) == [call(1, destinations=2)]


def test_a_call_and_its_rows_change_place_in_one_step(file: BooksFile) -> None:
    """Whatever the disk refuses in the middle, its legs are in one of both."""
    calls = tuple(call(number, destinations=40) for number in range(1, 30))
    legs = sum(row.written for each in calls for row in each.rows)
    file.keep_rows(Changes(calls=calls))
    for forbidden in ("calls", "call_rows", "ledger"):
        # The third call of a transaction meets it, halfway through.
        file._db.execute(
            f"CREATE TEMP TRIGGER stop BEFORE {'INSERT' if forbidden == 'ledger' else 'DELETE'} "
            f"ON main.{forbidden} WHEN (SELECT COUNT(*) FROM calls) < {len(calls) - 2} "
            "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
        with pytest.raises(sqlite3.DatabaseError):
            file.keep_rows(Changes(acknowledged=tuple(each.key for each in calls)))
        file._db.execute("DROP TRIGGER stop")
        takeover = file.takeover()
        kept = sum(row.written for each in takeover.calls for row in each.rows)
        assert kept + sum(row.written for row in takeover.rows) == legs
    file.keep_rows(Changes(acknowledged=tuple(each.key for each in found(file))))
    assert found(file) == []
    assert sum(row.written for row in file.takeover().rows) == legs


def test_parties_of_calls_are_not_cleared_away(
    file: BooksFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books_file, "MAX_KNOWN_PARTIES", 2)
    kept = call(1)
    file.keep_rows(Changes(calls=(kept,)))
    for number in range(2, 20):
        file.keep_rows(Changes(calls=(call(number),)))
        file.keep_rows(Changes(acknowledged=(call(number).key,)))
    assert found(file) == [kept]
    parties = file._db.execute("SELECT COUNT(*) FROM parties").fetchone()[0]
    assert parties <= 4


def test_a_call_beyond_the_limit_of_rows_names_that_row(file: BooksFile) -> None:
    kept = call(1)
    over = RowKey(kept.rows[0].key.source, OVERFLOW, NOBODY, DeliveryMode.FIXED, 0)
    kept = replace(kept, rows=(BookRow(over, 2, DELIVERED),))
    file.keep_rows(Changes(calls=(kept,)))
    assert found(file)[0].rows[0].key.destination is OVERFLOW


def test_books_of_the_version_before_have_no_calls_and_take_some(file: BooksFile) -> None:
    file._db.executescript("DROP TABLE calls; DROP TABLE call_rows")
    file._db.executescript(f"{NO_ELSEWHERE} PRAGMA user_version = 1")
    file.close()
    file.__init__(file.path)  # type: ignore[misc] # this version opens it
    assert found(file) == []
    file.keep_rows(Changes(calls=(call(1),)))
    assert found(file) == [call(1)]
    assert file._db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA


def test_who_is_in_books_of_the_version_before_may_have_been_at_any_xapic_id(
    file: BooksFile,
) -> None:
    file.keep(Changes(2, attached=(Incarnation(b"a" * 16, 0, "zero", 1, 2, (0, 1)),)))
    file._db.executescript(f"{NO_ELSEWHERE} PRAGMA user_version = 2")
    file.close()
    file.__init__(file.path)  # type: ignore[misc] # this version opens it
    takeover = file.takeover()
    assert takeover is not None
    assert [each.elsewhere for each in takeover.expected] == [True]


def test_what_a_driver_keeps_of_calls_is_what_the_bus_knew(machine: Any, tmp_path: Any) -> None:
    """With no word of the client after its answer: killed, its call is known and in the books."""
    wire = machine()
    path = tmp_path / "books.sqlite"
    keeper = BookKeeper(wire.bus, open_books(path, epoch=1, lease_us=1), lambda _: None)
    wire.peers = [wire.attach(0, (0, 1)), wire.attach(1, (2,))]
    answered = wire.inject(RING_2, 3)
    wire.settle()
    assert answered.done
    keeper.snapshot()
    keeper._settle()
    keeper._let_go()
    books = open_books(path, epoch=2, lease_us=1)
    assert books.takeover is not None
    (kept,) = books.takeover.calls
    assert dict(kept.legs) == answered.legs
    assert (kept.first_seq, kept.count, kept.word) == (1, 3, RING_2)
    assert sum(row.written for row in kept.rows) == 3
    assert books.takeover.rows == ()
    assert books.file is not None
    books.file.close()
