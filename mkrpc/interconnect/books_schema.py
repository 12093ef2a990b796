"""What is in the file of the books, and how it is opened: whole, sound, and by one alone."""

import fcntl
import os
import sqlite3
from pathlib import Path

from mkrpc.errors import AddressInUseError, ClusterStateError

__all__ = ["SCHEMA", "CorruptBooksError", "damaged", "lock_file", "open_database"]

SCHEMA = 3
"""``PRAGMA user_version`` of the files that this version writes. Those of 1 know of no calls, those
of 2 not whose xAPIC ids were others than the initial ones: all of them are taken to have been."""

BUSY_TIMEOUT_S = 5.0
"""Seconds that a commit waits for the other connection's."""

_TABLES = """
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS epochs (
    number INTEGER PRIMARY KEY, epoch TEXT NOT NULL UNIQUE, lease_us INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS incarnations (
    incarnation BLOB PRIMARY KEY, instance_id INTEGER NOT NULL, name TEXT NOT NULL,
    pid INTEGER NOT NULL, born INTEGER NOT NULL, apic_ids TEXT NOT NULL,
    reason TEXT NOT NULL, ended INTEGER NOT NULL, elsewhere INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parties (
    number INTEGER PRIMARY KEY, kind INTEGER NOT NULL, instance_id INTEGER NOT NULL,
    name TEXT NOT NULL, identity BLOB NOT NULL, UNIQUE (kind, instance_id, name, identity)
);
CREATE TABLE IF NOT EXISTS ledger (
    source INTEGER NOT NULL, destination INTEGER NOT NULL, apic_id INTEGER NOT NULL,
    mode INTEGER NOT NULL, vector INTEGER NOT NULL,
    written INTEGER NOT NULL, outcomes TEXT NOT NULL,
    PRIMARY KEY (source, destination, apic_id, mode, vector)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS calls (
    number INTEGER PRIMARY KEY, client BLOB NOT NULL, first_seq INTEGER NOT NULL,
    count INTEGER NOT NULL, word TEXT NOT NULL, legs TEXT NOT NULL, UNIQUE (client, first_seq)
);
CREATE TABLE IF NOT EXISTS call_rows (
    call INTEGER NOT NULL, source INTEGER NOT NULL, destination INTEGER NOT NULL,
    apic_id INTEGER NOT NULL, mode INTEGER NOT NULL, vector INTEGER NOT NULL,
    written INTEGER NOT NULL, outcomes TEXT NOT NULL,
    PRIMARY KEY (call, source, destination, apic_id, mode, vector)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mirrors (
    incarnation BLOB NOT NULL, cpu INTEGER NOT NULL, instance_id INTEGER NOT NULL,
    account BLOB NOT NULL, PRIMARY KEY (incarnation, cpu)
) WITHOUT ROWID;
"""

_ELSEWHERE = "ALTER TABLE incarnations ADD COLUMN elsewhere INTEGER NOT NULL DEFAULT 1;"


class CorruptBooksError(ClusterStateError):
    """The file is no database, or not a sound one."""


def open_database(path: Path, *, check: bool) -> sqlite3.Connection:
    """A connection to the file, which is made if need be; ``check`` it first.

    :raises ClusterStateError: a newer version of mkrpc has written it.
    :raises CorruptBooksError: it is damaged.
    :raises sqlite3.Error: it cannot be opened or made.
    """
    db = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        if check:
            _check(db, path)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA journal_size_limit = 16777216")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version < SCHEMA:
            older = _ELSEWHERE if version else ""
            db.executescript(f"BEGIN;{older}{_TABLES}PRAGMA user_version = {SCHEMA};COMMIT;")
    except BaseException:
        db.close()
        raise
    return db


def _check(db: sqlite3.Connection, path: Path) -> None:
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA:
            raise ClusterStateError(
                f"{path} was written by a newer mkrpc: schema {version}, this one has {SCHEMA}",
                advice="use that version, or move the file away: nobody is taken over then",
            )
        damage = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError:
        raise  # the disk, not the file
    except sqlite3.DatabaseError as failure:
        raise damaged(path, str(failure)) from failure
    if damage != "ok":
        raise damaged(path, " ".join(str(damage).split()))


def damaged(path: Path, why: str) -> CorruptBooksError:
    """What is to be raised for it."""
    return CorruptBooksError(f"{path} is damaged: {why}", advice="it is of no use any more")


def lock_file(path: Path) -> int:
    """A lock that ends with the process; beside the file, whose own locks are SQLite's.

    :raises AddressInUseError: another process has it.
    :raises OSError: the file of the lock cannot be made.
    """
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AddressInUseError(
            f"{path} is kept by another interconnect", advice="give each its own --books"
        ) from None
    return descriptor
