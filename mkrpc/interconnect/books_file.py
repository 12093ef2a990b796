"""The file that outlives an interconnect: SQLite, of which every commit survives kill -9.

A write-ahead log with ``synchronous=NORMAL``: a commit is in the kernel's page cache, and with it
safe from the end of any process; the end of the host ends the instances too. What is in flight is
never here (design 3.4).
"""

import json
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

from mkrpc.codec import cpu_account_from_pb, cpu_account_to_pb
from mkrpc.interconnect.books_rows import (
    PUT_ROW,
    ROW_IS,
    Where,
    add_row,
    book_call,
    calls_in,
    outcomes_in,
    put_call,
    row_values,
)
from mkrpc.interconnect.books_schema import damaged, lock_file, open_database
from mkrpc.interconnect.ledger import EARLIER_CLIENTS, OVERFLOW, Party, RowKey
from mkrpc.interconnect.policy import SourceKind
from mkrpc.interconnect.takeover import BookRow, Changes, Incarnation, KeptMirror, Takeover
from mkrpc.v1 import types_pb2
from mkrpc.x86.icr import DeliveryMode

__all__ = [
    "MAX_KEPT_ENDED",
    "MAX_KEPT_EPOCHS",
    "MAX_KEPT_MIRRORS",
    "BooksFile",
]

MAX_KEPT_EPOCHS = 64
"""Epochs that are kept, the latest. Whoever was attached to an older one is fenced."""

MAX_KEPT_ENDED = 1024
"""Incarnations that have ended and are kept, those that ended last."""

MAX_KEPT_MIRRORS = 64
"""Of these, how many keep their last accounting: as many as the mirror keeps."""

ROWS_PER_COMMIT = 500
"""Rows of the ledger in one transaction: some 10 ms, for which an attach may have to wait."""

MAX_KNOWN_PARTIES = 4096
"""Parties whose numbers are remembered; beyond, those without rows are cleared away."""

_NONE = -1
_NOBODY = 0
_PUT_ENDED = "UPDATE incarnations SET reason = ?, ended = ? WHERE incarnation = ?"

T = TypeVar("T")


class BooksFile:
    """One file, opened by one interconnect at a time; every method is for one thread at a time.

    ``keep`` and ``keep_rows`` raise sqlite3.Error if the file takes no more: a full disk, a failing
    one. ``lock`` is taken by the first of the connections of a process.

    :raises AddressInUseError: another process has it open.
    :raises ClusterStateError: a newer version of mkrpc has written it.
    :raises CorruptBooksError: it is damaged.
    :raises sqlite3.Error: it cannot be opened or made.
    :raises OSError: the same.
    """

    def __init__(self, path: Path, *, lock: bool = True) -> None:
        self.path = path
        self._lock = lock_file(path) if lock else -1
        self._numbers: dict[Party, int] = {}
        try:
            self._db = open_database(path, check=lock)
        except BaseException:
            self._unlock()
            raise

    def beside(self) -> "BooksFile":
        """Another connection to the same file, for another thread.

        This one leaves the write-ahead log to that one: to copy it back waits for the disk.
        """
        self._db.execute("PRAGMA wal_autocheckpoint = 0")
        return BooksFile(self.path, lock=False)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            # SQLite itself may have rolled back, as after SQLITE_FULL.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # --- writing --------------------------------------------------------------------------------

    def begin(self, epoch: int, lease_us: int) -> None:
        """An interconnect begins."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO epochs (epoch, lease_us) VALUES (?, ?)", (f"{epoch:016x}", lease_us)
            )
            db.execute(
                "DELETE FROM epochs WHERE number <= (SELECT MAX(number) FROM epochs) - ?",
                (MAX_KEPT_EPOCHS,),
            )
            restarts = "INSERT INTO counters VALUES ('epochs', 1)"
            db.execute(f"{restarts} ON CONFLICT (name) DO UPDATE SET value = value + 1")

    def keep(self, changes: Changes) -> None:
        """Who has come and gone, in one transaction; not the rows."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO counters VALUES ('roster', ?)", (changes.roster,))
            db.executemany(
                "INSERT OR REPLACE INTO incarnations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                map(_incarnation_values, changes.attached),
            )
            db.executemany(
                _PUT_ENDED, ((each.reason, each.ended, each.incarnation) for each in changes.ended)
            )
            for mirror in changes.mirrors:
                db.executemany(
                    "INSERT OR REPLACE INTO mirrors VALUES (?, ?, ?, ?)", _mirror_values(mirror)
                )
            if changes.ended:
                self._forget_oldest(db)

    @staticmethod
    def _forget_oldest(db: sqlite3.Connection) -> None:
        latest = "SELECT incarnation FROM incarnations WHERE ended > 0 ORDER BY ended DESC LIMIT ?"
        db.execute(
            f"DELETE FROM incarnations WHERE ended > 0 AND incarnation NOT IN ({latest})",
            (MAX_KEPT_ENDED,),
        )
        db.execute(f"DELETE FROM mirrors WHERE incarnation NOT IN ({latest})", (MAX_KEPT_MIRRORS,))

    def end_all(self, reason: str) -> None:
        """Nobody lives any longer: the interconnect has said goodbye to all."""
        with self._transaction() as db:
            db.execute("UPDATE counters SET value = value + 1 WHERE name = 'roster'")
            roster = "SELECT value FROM counters WHERE name = 'roster'"
            db.execute(
                f"UPDATE incarnations SET reason = ?, ended = ({roster}) WHERE ended = 0", (reason,)
            )

    def keep_rows(self, changes: Changes) -> None:
        """The rows of the ledger and the calls, :data:`ROWS_PER_COMMIT` in a transaction."""
        for keys in _parts(changes.removed):
            with self._numbering() as db:
                db.executemany(f"DELETE FROM ledger WHERE {ROW_IS}", map(self._where, keys))
        for rows in _parts(changes.rows):
            with self._numbering() as db:
                db.executemany(PUT_ROW, map(self._row_values, rows))
        for rows in _parts(changes.client_rows):
            with self._numbering() as db:
                for row in rows:
                    add_row(db, self._where(row.key), row.written, row.outcomes)
        self._each_whole(
            changes.acknowledged, lambda db, key: book_call(db, key, self._number(EARLIER_CLIENTS))
        )
        self._each_whole(changes.calls, lambda db, call: put_call(db, call, self._where))
        if len(self._numbers) > MAX_KNOWN_PARTIES:
            self._clear_parties()

    def _each_whole(
        self, items: Iterable[T], write: Callable[[sqlite3.Connection, T], int]
    ) -> None:
        """Write each item in one transaction, with others while they are small."""
        rest = deque(items)
        while rest:
            with self._numbering() as db:
                written = 0
                while rest and written < ROWS_PER_COMMIT:
                    written += write(db, rest.popleft())

    @contextmanager
    def _numbering(self) -> Iterator[sqlite3.Connection]:
        """A transaction; numbers that parties were given in one that failed count for nothing."""
        try:
            with self._transaction() as db:
                yield db
        except BaseException:
            self._numbers.clear()
            raise

    def _clear_parties(self) -> None:
        self._numbers.clear()
        with self._transaction() as db:
            db.execute(
                "DELETE FROM parties WHERE number NOT IN (SELECT source FROM ledger UNION "
                "SELECT destination FROM ledger UNION SELECT source FROM call_rows UNION "
                "SELECT destination FROM call_rows)"
            )

    def _where(self, key: RowKey) -> Where:
        destination = _NOBODY if key.destination is None else self._number(key.destination)
        return self._number(key.source), destination, key.apic_id, int(key.mode), key.vector

    def _row_values(self, row: BookRow) -> tuple[object, ...]:
        return row_values(self._where(row.key), row.written, row.outcomes)

    def _number(self, party: Party) -> int:
        number = self._numbers.get(party)
        if number is not None:
            return number
        instance_id = _NONE if party.instance_id is None else party.instance_id
        values = (int(party.kind), instance_id, party.name, party.identity)
        self._db.execute(
            "INSERT OR IGNORE INTO parties (kind, instance_id, name, identity) VALUES (?, ?, ?, ?)",
            values,
        )
        (found,) = self._db.execute(
            "SELECT number FROM parties "
            "WHERE kind = ? AND instance_id = ? AND name = ? AND identity = ?",
            values,
        ).fetchone()
        self._numbers[party] = found
        return int(found)

    # --- reading --------------------------------------------------------------------------------

    def takeover(self) -> Takeover | None:
        """What the interconnects before have left, of one moment; None if there was none.

        :raises CorruptBooksError: it says what cannot be.
        """
        self._db.execute("BEGIN")
        try:
            return self._takeover()
        except (ValueError, KeyError, TypeError) as nonsense:
            raise damaged(self.path, str(nonsense)) from nonsense
        finally:
            self._db.execute("COMMIT")

    def epochs(self) -> int:
        """How many interconnects have begun with this file."""
        return self._counter("epochs")

    def _takeover(self) -> Takeover | None:
        epochs = self._db.execute("SELECT epoch, lease_us FROM epochs ORDER BY number").fetchall()
        if not epochs:
            return None
        known = [
            Incarnation(
                who, number, name, pid, born, tuple(json.loads(ids)), reason, end, bool(moved)
            )
            for who, number, name, pid, born, ids, reason, end, moved in self._db.execute(
                "SELECT * FROM incarnations ORDER BY born"
            )
        ]
        ended = [each for each in known if each.ended]
        key_of = self._keys()
        return Takeover(
            epochs=tuple(int(epoch, 16) for epoch, _ in epochs),
            expected=tuple(each for each in known if not each.ended),
            ended=tuple(sorted(ended, key=lambda each: each.ended)),
            roster=self._counter("roster"),
            rows=tuple(self._rows(key_of)),
            calls=tuple(calls_in(self._db, key_of)),
            mirrors=tuple(self._mirrors()),
            lease_us=max(lease_us for _, lease_us in epochs),
        )

    def _counter(self, name: str) -> int:
        found = self._db.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
        return int(found[0]) if found is not None else 0

    def _keys(self) -> Callable[..., RowKey]:
        parties = {
            number: _party(kind, instance_id, name, identity)
            for number, kind, instance_id, name, identity in self._db.execute(
                "SELECT * FROM parties"
            )
        }

        def key_of(source: int, destination: int, apic_id: int, mode: int, vector: int) -> RowKey:
            to = None if destination == _NOBODY else parties[destination]
            return RowKey(parties[source], to, apic_id, DeliveryMode(mode), vector)

        return key_of

    def _rows(self, key_of: Callable[..., RowKey]) -> Iterator[BookRow]:
        for *where, written, outcomes in self._db.execute("SELECT * FROM ledger"):
            yield BookRow(key_of(*where), written, outcomes_in(outcomes))

    def _mirrors(self) -> Iterator[KeptMirror]:
        accounts: dict[tuple[bytes, int], list[bytes]] = {}
        for incarnation, instance_id, account in self._db.execute(
            "SELECT incarnation, instance_id, account FROM mirrors ORDER BY incarnation, cpu"
        ):
            accounts.setdefault((incarnation, instance_id), []).append(account)
        for (incarnation, instance_id), found in accounts.items():
            messages = map(types_pb2.CpuAccount.FromString, found)
            yield KeptMirror(incarnation, instance_id, tuple(map(cpu_account_from_pb, messages)))


def _parts(items: Sequence[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while part := list(islice(rest, ROWS_PER_COMMIT)):
        yield part


def _incarnation_values(each: Incarnation) -> tuple[object, ...]:
    return (
        each.incarnation,
        each.instance_id,
        each.name,
        each.pid,
        each.born,
        json.dumps(each.apic_ids),
        each.reason,
        each.ended,
        each.elsewhere,
    )


def _mirror_values(mirror: KeptMirror) -> Iterator[tuple[object, ...]]:
    for account in mirror.accounts:
        encoded = cpu_account_to_pb(account).SerializeToString()
        yield mirror.incarnation, account.cpu, mirror.instance_id, encoded


def _party(kind: int, instance_id: int, name: str, identity: bytes) -> Party:
    party = Party(SourceKind(kind), None if instance_id == _NONE else instance_id, name, identity)
    # The ledger knows it by what it is, not by what it says.
    return OVERFLOW if party == OVERFLOW else party
