"""Keeps what outlives an interconnect: what has to be kept at once, and the rest each second.

Who is attached is committed before anything is sent that shows it. The rows of the ledger are a
snapshot of what has changed, written by a thread of its own, so that no write waits for the disk. A
file that takes no more is put aside, for what it says is no longer so: the cluster goes on, and an
interconnect that follows fences everybody.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import structlog

from mkrpc.errors import InvalidArgumentError, StartUpError, UnavailableError
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.books_file import BooksFile
from mkrpc.interconnect.books_schema import CorruptBooksError
from mkrpc.interconnect.takeover import Changes, Takeover
from mkrpc.trace import BooksNotKept, Sink

__all__ = ["ASIDE", "SNAPSHOT_S", "BookKeeper", "Books", "open_books"]

SNAPSHOT_S = 1.0
"""Seconds between two snapshots of the rows that have changed."""

WRITING_SHARE = 5
"""One part in so many of the time at most is spent on writing snapshots: with very many rows that
change all the time they are further apart."""

ASIDE = ".aside"
"""What is added to the name of a file that is of no use any more."""

NOT_ASKED_FOR = "this interconnect was started without --books"

_log = structlog.get_logger("mkrpc.interconnect")


class Books:
    """A file that is open, and what was in it. ``restarts``: interconnects that it served before.

    ``file`` is None if there is none; ``trouble`` says why then.
    """

    def __init__(
        self,
        file: BooksFile | None,
        *,
        takeover: Takeover | None = None,
        restarts: int = 0,
        trouble: str = "",
    ) -> None:
        self.file = file
        self.takeover = takeover
        self.restarts = restarts
        self.trouble = trouble


def open_books(path: Path | None, *, epoch: int, lease_us: int) -> Books:
    """Open the books, or begin some, for the interconnect of ``epoch``.

    A damaged file is put aside and new books are begun: nobody is taken over. One that cannot be
    written is put aside too, and the cluster goes on without.

    :raises InvalidArgumentError: its directory is not there, or out of reach.
    :raises AddressInUseError: another interconnect keeps it.
    :raises ClusterStateError: a newer version of mkrpc has written it.
    :raises StartUpError: it can be neither used nor put aside.
    """
    if path is None:
        return Books(None, trouble=NOT_ASKED_FOR)
    # Path.is_dir() raises where the way there is forbidden, or a name is too long.
    if not os.path.isdir(path.absolute().parent):
        raise InvalidArgumentError(
            f"--books {path}: its directory does not exist, or is out of reach",
            advice="make it first: mkdir -m 700",
        )
    try:
        try:
            return _open(path, epoch, lease_us)
        except CorruptBooksError as damage:
            _log.error("damaged books were put aside: nobody is taken over", error=str(damage))
            _put_aside(path)
            return _open(path, epoch, lease_us)
    except (sqlite3.Error, OSError, CorruptBooksError) as failure:
        trouble = f"{path}: {failure}"
        _log.error("books are not kept", reason=trouble)
        try:
            if path.exists():
                _put_aside(path)
        except OSError as stays:
            raise StartUpError(
                f"{path} can be neither used nor put aside: {stays}",
                advice="mend the disk, or give another --books",
            ) from stays
        return Books(None, takeover=_of_the_lost(path), trouble=trouble)


def _open(path: Path, epoch: int, lease_us: int) -> Books:
    file = BooksFile(path)
    try:
        takeover = file.takeover() or _of_the_lost(path)
        restarts = file.epochs()
        file.begin(epoch, lease_us)
    except BaseException:
        file.close()
        raise
    return Books(file, takeover=takeover, restarts=restarts)


def _of_the_lost(path: Path) -> Takeover | None:
    """After books that were put aside: nobody is expected, and no roster number comes again.

    They rise more slowly than one in a microsecond, so that those since 1970 are above them all.
    """
    if not Path(f"{path}{ASIDE}").exists():
        return None
    return Takeover(epochs=(1,), roster=time.time_ns() // 1000)


def _put_aside(path: Path) -> None:
    """Out of the way of the next interconnect; raises OSError if that cannot be.

    The write-ahead log goes with it: SQLite would copy it into whatever has the name next.
    """
    path.rename(f"{path}{ASIDE}")
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


class BookKeeper:
    """Keeps the books of one bus. ``trouble`` says why it does not, and is empty if it does.

    ``sink`` takes the event that it has stopped to.
    """

    def __init__(self, bus: ApicBus, books: Books, sink: Sink) -> None:
        self.restarts = books.restarts
        self.trouble = books.trouble
        self._bus = bus
        self._sink = sink
        self._file = books.file
        self._rows_file: BooksFile | None = None
        self._writing: Future[None] | None = None
        self._wrote_s = 0.0
        self._worker = ThreadPoolExecutor(1, "books")
        self._dangerous = False
        if self._file is not None:
            self._attempt(lambda file: setattr(self, "_rows_file", file.beside()))
            self.keep()
        else:
            bus.keep_no_changes()

    def keep(self) -> None:
        """Keep who has come and gone; returns when it is safe.

        :raises UnavailableError: the books could be neither kept nor put aside, so that another
            interconnect would take them for true.
        """
        if self._file is not None:
            changes = self._bus.take_changes(rows=False)
            self._attempt(lambda file: file.keep(changes))
        if self._dangerous:
            raise UnavailableError(
                f"books are not kept, and stale ones cannot be removed: {self.trouble}",
                advice="mend the disk, or take the cluster down",
            )

    def snapshot(self) -> None:
        """Begin to write what rows have changed, unless the last snapshot is still being written.

        Who has come and gone meanwhile is kept when this returns.
        """
        if self._file is None or (self._writing is not None and not self._writing.done()):
            return
        if self._writing is not None and (failure := self._writing.exception()) is not None:
            self._fail(failure)
            return
        changes = self._bus.take_changes()
        self._attempt(lambda file: file.keep(changes))
        if self._rows_file is not None and _has_rows(changes):
            self._writing = self._worker.submit(self._write, self._rows_file, changes)

    def _write(self, file: BooksFile, changes: Changes) -> None:
        began_s = time.monotonic()
        file.keep_rows(changes)
        self._wrote_s = time.monotonic() - began_s

    async def run(self) -> None:
        """A snapshot each :data:`SNAPSHOT_S` seconds, without end; see :data:`WRITING_SHARE`."""
        while True:
            await asyncio.sleep(max(SNAPSHOT_S, WRITING_SHARE * self._wrote_s))
            self.snapshot()

    def close(self, reason: str) -> None:
        """The interconnect leaves as asked: nobody is left for another one to wait for."""
        self._settle()
        self.snapshot()
        self._settle()
        self._attempt(lambda file: file.end_all(reason))
        self._let_go()
        self._worker.shutdown()

    def _settle(self) -> None:
        if self._writing is not None:
            self._writing.exception()

    def _attempt(self, what: Callable[[BooksFile], object]) -> None:
        """Do it with the file, if there still is one."""
        if self._file is None:
            return
        try:
            what(self._file)
        except (sqlite3.Error, OSError) as failure:
            self._fail(failure)

    def _fail(self, failure: BaseException) -> None:
        assert self._file is not None
        if not isinstance(failure, sqlite3.Error | OSError):
            raise failure
        path = self._file.path
        self.trouble = f"{path}: {failure}"
        _log.error(
            "books are not kept: another interconnect could not take over",
            reason=self.trouble,
            advice="mend the disk, then take the cluster down and up again when it suits",
        )
        self._sink(BooksNotKept(self.trouble))
        self._settle()
        self._let_go()
        self._bus.keep_no_changes()
        try:
            _put_aside(path)
        except OSError as stays:
            _log.critical("stale books cannot be put aside", error=str(stays))
            self._dangerous = True

    def _let_go(self) -> None:
        for file in (self._rows_file, self._file):
            if file is not None:
                file.close()
        self._rows_file = self._file = None


def _has_rows(changes: Changes) -> bool:
    of_clients = changes.client_rows or changes.acknowledged or changes.calls
    return bool(changes.rows or changes.removed or of_clients)
