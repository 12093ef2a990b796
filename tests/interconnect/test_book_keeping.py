"""When the books are kept, and what becomes of a cluster whose disk takes no more."""

import pytest

from mkrpc.errors import (
    AddressInUseError,
    ClusterStateError,
    InvalidArgumentError,
    StartUpError,
    UnavailableError,
)
from mkrpc.interconnect.book_keeping import ASIDE, NOT_ASKED_FOR, BookKeeper, open_books
from mkrpc.interconnect.books_file import BooksFile
from mkrpc.trace import BooksNotKept

EPOCH = 0x1234
LEASE_US = 3_000_000
RING_2 = (2 << 32) | 0xEA
"""Fixed, physical, to APIC id 2."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "books.sqlite"


def open_at(path, epoch=EPOCH):
    return open_books(path, epoch=epoch, lease_us=LEASE_US)


@pytest.fixture
def events():
    return []


@pytest.fixture
def kept(machine, path, events):
    """``wire, keeper``: two instances on a bus whose books are kept."""
    wire = machine()
    keeper = BookKeeper(wire.bus, open_at(path), events.append)
    wire.peers = [wire.attach(0, (0, 1)), wire.attach(1, (2,))]
    keeper.keep()
    yield wire, keeper
    keeper.close("the test is over")


def killed(keeper):
    """As kill -9 leaves it: the file as it is, nothing said to it."""
    if keeper._file is not None:
        keeper._settle()
        keeper._let_go()


def test_who_has_come_and_gone_is_there_at_once(kept, path):
    wire, keeper = kept
    first, second = wire.peers
    wire.bus.detach(second.session, "left: asked to")
    keeper.keep()
    killed(keeper)
    found = open_at(path, epoch=2).takeover
    assert found.epochs == (EPOCH,)
    assert [each.incarnation for each in found.expected] == [first.incarnation]
    assert [(each.incarnation, each.reason) for each in found.ended] == [
        (second.incarnation, "left: asked to")
    ]
    assert found.roster == wire.bus.roster_number == 4
    assert [each.incarnation for each in found.mirrors] == [second.incarnation]


def test_a_snapshot_has_the_rows_that_have_changed(kept, path):
    wire, keeper = kept
    wire.peers[0].write(RING_2, count=5)
    wire.peers[0].push()
    wire.settle()
    keeper.snapshot()
    wire.peers[0].write(RING_2, count=2)
    wire.peers[0].push()
    wire.settle()
    keeper.snapshot()  # the first may still be being written: then it is the next one's
    keeper._settle()
    keeper.snapshot()
    killed(keeper)
    (row,) = open_at(path, epoch=2).takeover.rows
    assert (row.key.apic_id, row.written) == (2, 7)
    assert sum(count for _, count in row.outcomes) == 7


def test_an_interconnect_that_leaves_as_asked_leaves_nobody_to_wait_for(kept, path):
    _, keeper = kept
    keeper.close("the interconnect was stopped")
    books = open_at(path, epoch=2)
    assert books.takeover.expected == ()
    assert len(books.takeover.ended) == 2
    assert books.restarts == 1
    books.file.close()


def test_without_books_the_reason_is_told(machine):
    keeper = BookKeeper(machine().bus, open_books(None, epoch=1, lease_us=1), lambda _event: None)
    keeper.keep()
    keeper.snapshot()
    keeper.close("over")
    assert keeper.trouble == NOT_ASKED_FOR


def fill_up(keeper, *, rows=False):
    """From now on its file takes no further page: SQLITE_FULL."""
    db = (keeper._rows_file if rows else keeper._file)._db
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages}")


def ring_until_full(wire, keeper):
    """Rows for every vector, until the disk is full."""
    for vector in range(16, 256):
        wire.peers[0].write((2 << 32) | vector)
    wire.peers[0].push()
    wire.settle()
    for _ in range(2):
        keeper.snapshot()
        keeper._settle()


def test_a_full_disk_is_told_once_and_the_cluster_goes_on(kept, path, events):
    wire, keeper = kept
    fill_up(keeper, rows=True)
    ring_until_full(wire, keeper)
    assert events == [BooksNotKept(keeper.trouble)]
    assert "full" in keeper.trouble
    third = wire.attach(2, (3,))
    keeper.keep()
    keeper.snapshot()
    assert third.session.alive
    assert len(events) == 1
    wire.bus.detach(third.session, "left: asked to")
    changes, ledger = wire.bus._changes, wire.bus.ledger
    assert not (changes._attached)
    assert not (changes._ended)
    assert not (ledger.changed)
    assert not ledger.removed


def test_books_that_stopped_being_kept_are_nobodys_takeover(kept, path):
    """What they say is no longer so: whoever was attached since is not in them."""
    wire, keeper = kept
    number = wire.bus.roster_number
    fill_up(keeper, rows=True)
    ring_until_full(wire, keeper)
    wire.attach(2, (3,))
    keeper.keep()
    books = open_at(path, epoch=2)
    assert path.with_name(path.name + ASIDE).exists()
    assert books.trouble == ""
    assert books.takeover.expected == ()
    assert EPOCH not in books.takeover.epochs, "all are fenced"
    assert books.takeover.roster > number, "no roster number comes again"
    books.file.close()


def test_stale_books_that_cannot_be_put_aside_refuse_newcomers(kept, path, events):
    wire, keeper = kept
    # A directory that has the name, with something in it, cannot be replaced.
    aside = path.with_name(path.name + ASIDE)
    aside.mkdir()
    (aside / "something").touch()
    fill_up(keeper, rows=True)
    ring_until_full(wire, keeper)
    with pytest.raises(UnavailableError, match="stale ones cannot be removed") as refused:
        keeper.keep()
    assert refused.value.advice
    assert len(events) == 1


def test_damaged_books_are_put_aside_and_new_ones_begun(path):
    path.write_bytes(b"no database at all" * 1000)
    books = open_at(path)
    assert books.trouble == ""
    assert books.file is not None
    assert books.takeover.expected == ()
    assert path.with_name(path.name + ASIDE).read_bytes().startswith(b"no database")
    books.file.close()
    assert open_at(path, epoch=2).takeover.epochs == (EPOCH,)


def test_what_cannot_be_a_file_is_done_without(path):
    path.mkdir()
    books = open_at(path)
    assert books.file is None
    assert books.trouble.startswith(str(path))
    assert not path.exists(), "put aside"


def test_what_can_be_neither_used_nor_put_aside_is_refused(path):
    path.mkdir()
    path.with_name(path.name + ASIDE).write_text("in the way")
    with pytest.raises(StartUpError, match="neither used nor put aside") as refused:
        open_at(path)
    assert refused.value.advice


def test_refusals_at_the_start(path, tmp_path):
    with pytest.raises(InvalidArgumentError, match="does not exist"):
        open_at(tmp_path / "nowhere" / "books.sqlite")
    file = BooksFile(path)
    with pytest.raises(AddressInUseError, match="another interconnect"):
        open_at(path)
    file._db.execute("PRAGMA user_version = 7")
    file.close()
    with pytest.raises(ClusterStateError, match="newer mkrpc"):
        open_at(path)
    assert path.exists(), "a newer version may still want it"


def test_books_in_a_directory_that_the_file_system_refuses_are_refused(tmp_path):
    """By a name that is too long, or, but to root, by one that may not be entered."""
    with pytest.raises(InvalidArgumentError, match="or is out of reach"):
        open_at(tmp_path / ("x" * 300) / "books")
