"""What outlives an interconnect: kept whole, bounded, and refused by name where it is of no use."""

import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mkrpc.errors import AddressInUseError, ClusterStateError
from mkrpc.interconnect import books_file
from mkrpc.interconnect.books_file import (
    MAX_KEPT_ENDED,
    MAX_KEPT_EPOCHS,
    MAX_KEPT_MIRRORS,
    BooksFile,
)
from mkrpc.interconnect.books_schema import CorruptBooksError
from mkrpc.interconnect.ledger import EARLIER_CLIENTS, OVERFLOW, Party, RowKey
from mkrpc.interconnect.policy import SourceKind
from mkrpc.interconnect.takeover import BookRow, Changes, Incarnation, KeptMirror
from mkrpc.link.accounts import CpuAccount, VectorCount
from mkrpc.link.frames import NOBODY
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode

LEASE_US = 3_000_000


def incarnation(number: int, *, ended: int = 0) -> Incarnation:
    return Incarnation(
        incarnation=number.to_bytes(16, "big"),
        instance_id=number % 512,
        name=f"mk{number}",
        pid=1000 + number,
        born=number,
        apic_ids=(2 * number, 2 * number + 1),
        reason="left: asked to stop" if ended else "",
        ended=ended,
    )


def party(number: int) -> Party:
    return Party(SourceKind.INSTANCE, number, f"mk{number}", number.to_bytes(16, "big"))


def row(source: Party, destination: Party | None, delivered: int, *, lost: int = 0) -> BookRow:
    apic_id = NOBODY if destination in (None, OVERFLOW) else 3
    key = RowKey(source, destination, apic_id, DeliveryMode.FIXED, 0xEA)
    outcomes = ((Outcome.DELIVERED, delivered), (Outcome.LOST_TARGET_DEAD, lost))
    return BookRow(key, delivered + lost, tuple(each for each in outcomes if each[1]))


def mirror(number: int) -> KeptMirror:
    account = CpuAccount(
        cpu=0,
        irr=1 << 0xEA,
        isr=0,
        tpr=0x20,
        ppr=0x20,
        interrupts_enabled=True,
        activity="halted",
        multikernel=7,
        vectors=[VectorCount(0xEA, 8, 1, 7, 7, 0)],
        stats={3: 7},
    )
    return KeptMirror(number.to_bytes(16, "big"), number % 512, (account,))


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "books.sqlite"


@pytest.fixture
def file(path):
    books = BooksFile(path)
    yield books
    books.close()


def reopened(file: BooksFile) -> BooksFile:
    file.close()
    return BooksFile(file.path)


def taken_over(path: Path):
    """What another interconnect finds."""
    file = BooksFile(path)
    try:
        return file.takeover()
    finally:
        file.close()


def test_new_books_tell_of_nobody(file):
    assert file.takeover() is None
    assert file.epochs() == 0


def test_what_was_kept_is_read_as_it_was(file):
    file.begin(0xFFFF_FFFF_FFFF_FFFF, LEASE_US)
    file.begin(2, 2 * LEASE_US)
    living, dead = incarnation(1), incarnation(2)
    file.keep(Changes(roster=2, attached=(living, dead)))
    ended = incarnation(2, ended=3)
    file.keep(Changes(roster=3, ended=(ended,), mirrors=(mirror(2),)))
    rows = (
        row(party(1), party(2), 5, lost=1),
        row(party(1), None, 0, lost=2),
        row(party(1), OVERFLOW, 4),
        row(EARLIER_CLIENTS, party(1), 9),
    )
    file.keep_rows(Changes(rows=rows))

    found = reopened(file).takeover()
    assert found.epochs == (0xFFFF_FFFF_FFFF_FFFF, 2)
    assert (found.expected, found.ended) == ((living,), (ended,))
    assert found.roster == 3
    assert found.lease_us == 2 * LEASE_US
    assert found.mirrors == (mirror(2),)
    assert set(found.rows) == set(rows)
    assert any(each.key.destination is OVERFLOW for each in found.rows), "the ledger asks by `is`"


def test_rows_take_the_place_of_the_old_and_those_of_clients_are_added(file):
    file.begin(1, LEASE_US)
    client = row(EARLIER_CLIENTS, party(1), 9, lost=1)
    file.keep_rows(Changes(rows=(row(party(1), party(2), 5),), client_rows=(client,)))
    again = row(EARLIER_CLIENTS, party(1), 1)
    file.keep_rows(Changes(rows=(row(party(1), party(2), 6),), client_rows=(again,)))
    assert set(file.takeover().rows) == {
        row(party(1), party(2), 6),
        row(EARLIER_CLIENTS, party(1), 10, lost=1),
    }
    file.keep_rows(Changes(removed=(row(party(1), party(2), 6).key,)))
    assert file.takeover().rows == (row(EARLIER_CLIENTS, party(1), 10, lost=1),)


def test_nobody_is_expected_once_the_interconnect_has_left(file):
    file.begin(1, LEASE_US)
    file.keep(Changes(roster=2, attached=(incarnation(1), incarnation(2))))
    file.end_all("the interconnect was stopped")
    found = file.takeover()
    assert found.expected == ()
    assert {each.reason for each in found.ended} == {"the interconnect was stopped"}
    assert found.roster == 3


def test_the_dead_and_the_epochs_that_are_kept_are_bounded(file):
    more = 5
    for epoch in range(1, MAX_KEPT_EPOCHS + more + 1):
        file.begin(epoch, LEASE_US)
    for number in range(1, MAX_KEPT_ENDED + more + 1):
        attached, ended = incarnation(number), incarnation(number, ended=number)
        file.keep(Changes(roster=number, attached=(attached,)))
        file.keep(Changes(roster=number, ended=(ended,), mirrors=(mirror(number),)))
    file.keep(Changes(roster=9999, attached=(incarnation(5000),)))
    found = file.takeover()
    assert found.epochs == tuple(range(more + 1, MAX_KEPT_EPOCHS + more + 1))
    assert [each.born for each in found.ended] == list(range(more + 1, MAX_KEPT_ENDED + more + 1))
    assert found.expected == (incarnation(5000),), "who lives is never forgotten"
    assert len(found.mirrors) == MAX_KEPT_MIRRORS
    assert mirror(MAX_KEPT_ENDED + more) in found.mirrors
    assert file.epochs() == MAX_KEPT_EPOCHS + more


def test_parties_without_rows_are_cleared_away(file, monkeypatch):
    monkeypatch.setattr(books_file, "MAX_KNOWN_PARTIES", 4)
    file.begin(1, LEASE_US)
    for number in range(1, 40):
        gone = () if number == 1 else (row(party(number - 1), None, 1).key,)
        file.keep_rows(Changes(rows=(row(party(number), None, 1),), removed=gone))
    assert file.takeover().rows == (row(party(39), None, 1),)
    with sqlite3.connect(file.path) as db:
        assert db.execute("SELECT COUNT(*) FROM parties").fetchone()[0] <= 6
    db.close()


def test_books_are_one_interconnects(file):
    with pytest.raises(AddressInUseError, match="another interconnect") as refused:
        BooksFile(file.path)
    assert refused.value.advice
    reopened(file).close()


def test_books_of_a_newer_version_are_refused_by_name(file):
    file.close()
    with sqlite3.connect(file.path) as db:
        db.execute("PRAGMA user_version = 4")
    db.close()
    with pytest.raises(ClusterStateError, match="newer mkrpc: schema 4, this one has 3") as refused:
        BooksFile(file.path)
    assert "move the file away" in refused.value.advice


def overwrite(path: Path, offset: int, text: bytes) -> None:
    with path.open("r+b") as raw:
        raw.seek(offset)
        raw.write(text)


@pytest.mark.parametrize(
    ("offset", "text"),
    [(0, b"what is this?" * 10), (4096, bytes(4096)), (2 * 4096, b"\xff" * 8192)],
    ids=["no database", "a page of zeros", "pages of ones"],
)
def test_damaged_books_are_refused_by_name(file, offset, text):
    file.begin(1, LEASE_US)
    file.keep(Changes(roster=300, attached=tuple(map(incarnation, range(300)))))
    file.close()
    overwrite(file.path, offset, text)
    with pytest.raises(CorruptBooksError, match="damaged"):
        taken_over(file.path)


def test_nonsense_in_sound_pages_is_damage_too(file):
    file.begin(1, LEASE_US)
    file.close()
    with sqlite3.connect(file.path) as db:
        db.execute("INSERT INTO ledger VALUES (7, 8, 0, 99, 0, 1, '{}')")
    db.close()
    with pytest.raises(CorruptBooksError, match="damaged"):
        taken_over(file.path)


def test_what_a_full_disk_refuses_leaves_the_books_as_they_were(file):
    file.begin(1, LEASE_US)
    file.keep(Changes(roster=1, attached=(incarnation(1),)))
    pages = file._db.execute("PRAGMA page_count").fetchone()[0]
    file._db.execute(f"PRAGMA max_page_count = {pages}")
    many = tuple(map(incarnation, range(2, 2000)))
    with pytest.raises(sqlite3.OperationalError, match="full"):
        file.keep(Changes(roster=2000, attached=many))
    found = reopened(file).takeover()
    assert (found.expected, found.roster) == ((incarnation(1),), 1)


# Killed at any point, by what cannot be caught.

WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[2])
    from interconnect.test_books_file import write_without_end
    write_without_end(Path(sys.argv[1]))
""")


def write_without_end(path: Path) -> None:
    """Each commit is told once it has returned: attach, row and end carry the same number."""
    file = BooksFile(path)
    rows = file.beside()
    begun = file.takeover()
    number = begun.roster if begun is not None else 0
    file.begin(number + 1, LEASE_US)
    while True:
        number += 1
        file.keep(Changes(roster=number, attached=(incarnation(number),)))
        # Every row says the same, so that a snapshot that was half written would show.
        sums = tuple(row(party(each), party(1), number, lost=number) for each in range(2, 40))
        rows.keep_rows(Changes(rows=sums))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


KILLS = 50


def test_books_that_are_killed_at_any_point_hold_a_prefix_of_what_was_committed(path):
    """Design 3.4: the books outlive the interconnect."""
    tests = str(Path(__file__).resolve().parents[1])
    told = 0
    for kill in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), tests], stdout=subprocess.PIPE, text=True
        )
        with process:
            # A different point each time: after so many commits, in the midst of the next.
            for _ in range(1 + kill % 7):
                told = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            said = process.stdout.read().split()
            told = max([told, *(int(word) for word in said[:-1])])
        found = taken_over(path)
        born = [each.born for each in found.expected]
        assert born == list(range(1, found.roster + 1)), "a prefix, without a gap"
        assert found.roster >= told, "what was told is there"
        sums = {(each.written, each.outcomes) for each in found.rows}
        assert len(sums) == 1, "a snapshot is whole"
        ((written, outcomes),) = sums
        assert written == sum(count for _, count in outcomes), "and balances"
        assert written // 2 in (found.roster, found.roster - 1)
        assert len(found.epochs) == kill + 1


def test_a_limit_of_the_file_s_size_is_an_error_and_no_end(path):
    """RLIMIT_FSIZE, as a quota: what a disk that is full does while SQLite writes its log."""
    script = textwrap.dedent("""
        import resource, sqlite3, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from interconnect.test_books_file import BooksFile, Changes, incarnation
        file = BooksFile(Path(sys.argv[1]))
        file.begin(1, 1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        number = 0
        try:
            while True:
                number += 1
                file.keep(Changes(roster=number, attached=(incarnation(number),)))
        except sqlite3.Error as error:
            print(number, error)
    """)
    tests = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), tests], capture_output=True, text=True, check=True
    )
    number, _, error = done.stdout.partition(" ")
    assert "disk" in error
    found = taken_over(path)
    assert found.roster == int(number) - 1
