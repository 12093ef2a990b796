"""Writes a journal: records gather in memory, and a thread of its own takes them to the disk.

The thread goes on while a handler does not return, so that what led to it is there to be read.
"""

import errno
import os
import threading
from collections import deque
from pathlib import Path

import structlog

from mkrpc.errors import InvalidArgumentError, StartUpError
from mkrpc.journal.format import MAGIC, Kind, json_payload, record

__all__ = ["FLUSH_S", "JOURNAL_LIMIT", "MAX_WAITING_BYTES", "JournalWriter", "check_folder"]

FLUSH_S = 0.25
"""Seconds between two writes to the disk; what a killed process had not written is lost."""

JOURNAL_LIMIT = 256 << 20
"""Bytes of the journal of one process, unless told otherwise; then the recording stops."""

MAX_WAITING_BYTES = 64 << 20
"""Bytes that wait for the disk; beyond, the recording stops: the disk cannot follow."""

_log = structlog.get_logger("mkrpc.journal")


def check_folder(folder: Path) -> Path:
    """Make the folder of a recording, or take an empty one; its absolute path.

    :raises InvalidArgumentError: there is something in it, or it cannot be made.
    """
    folder = folder.absolute()
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        taken = any(folder.iterdir())
    except OSError as error:
        raise InvalidArgumentError(
            f"cannot record into {folder}: {error.strerror}",
            advice="name a folder that does not exist yet, in one that does",
        ) from error
    if taken:
        raise InvalidArgumentError(
            f"cannot record into {folder}: it is not empty",
            advice="name a folder that does not exist yet; a recording has one of its own",
        )
    return folder


class JournalWriter:
    """One journal. ``stopped``: empty, or why nothing is recorded any more.

    Only one thread may append. At ``limit`` bytes, at a full disk or one that cannot follow, the
    recording ends with a record that says so and a line of the log; the process goes on.

    :raises StartUpError: the file cannot be made.
    """

    def __init__(self, path: Path, *, header: dict[str, object], limit: int) -> None:
        self.path = path
        self.stopped = ""
        self._limit = limit
        self._appended = 0
        self._written = 0
        self._room = min(limit, MAX_WAITING_BYTES)
        self._waiting: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            os.write(self._file, MAGIC)
        except OSError as error:
            raise StartUpError(
                f"cannot record into {path}: {error.strerror}",
                advice="is the folder there, writable, and on a disk with room?",
            ) from error
        self._offset = len(MAGIC)
        self.append(record(Kind.HEADER, json_payload(header)))
        self.flush()
        self._thread = threading.Thread(target=self._keep_writing, name="journal", daemon=True)
        self._thread.start()
        _log.info("recording", path=str(path), limit_bytes=limit)

    def append(self, line: bytes) -> None:
        """Add a whole record."""
        self._appended += len(line)
        if self._appended <= self._room:
            self._waiting.append(line)
        elif self._appended > self._limit:
            self.stop(f"the limit of {self._limit} bytes is reached")
        else:
            self.stop(f"the disk cannot follow: {MAX_WAITING_BYTES} bytes wait for it")

    def stop(self, reason: str) -> None:
        """Record no more; the reason is the last that is recorded."""
        if not self.stopped:
            self.stopped = reason
            self._waiting.append(_stopped(reason))
            _log.warning("recording stopped", path=str(self.path), reason=reason)

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            waiting = self._waiting
            batch = b"".join([waiting.popleft() for _ in range(len(waiting))])
            if batch and self._file >= 0:
                self._write(batch)
                self._written += len(batch)
                self._room = min(self._limit, self._written + MAX_WAITING_BYTES)

    def close(self, last: bytes = b"") -> None:
        """The end: ``last`` is the last record, though it be beyond the limit."""
        if last and not self.stopped:
            self._waiting.append(last)
        self._wake.set()
        self._thread.join()
        self.flush()
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _keep_writing(self) -> None:
        while not self._wake.wait(FLUSH_S):
            self.flush()

    def _write(self, batch: bytes) -> None:
        """All of it, or nothing but the reason why not."""
        left = memoryview(batch)
        try:
            while left:
                left = left[os.write(self._file, left) :]
            self._offset += len(batch)
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "error")
            self._give_up(f"cannot write: {error.strerror} ({name})")

    def _give_up(self, reason: str) -> None:
        self.stopped = self.stopped or reason
        self._waiting.clear()
        _log.error("recording stopped", path=str(self.path), reason=reason)
        try:
            # What came before stays readable, and the reason may just find room.
            os.ftruncate(self._file, self._offset)
            os.write(self._file, _stopped(reason))
        except OSError as error:
            _log.error("the journal's end is missing", path=str(self.path), error=error.strerror)
        os.close(self._file)
        self._file = -1


def _stopped(reason: str) -> bytes:
    return record(Kind.STOPPED, json_payload({"reason": reason}))
