"""Logs of the processes: one JSON object a line, on standard error.

What the emulated kernels print is not here: that is the printk ring (``mkrpc dmesg``).
"""

import fcntl
import json
import logging
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import structlog

__all__ = ["MAX_LOG_BYTES", "LogFile", "bound", "configure"]

MAX_LOG_BYTES = 1 << 20
"""Bytes of a process's log, at which it is begun anew; what it was is NAME.log.1 until the next
time."""

_STANDARD_ERROR = 2


class LogFile:
    """Standard error, written to a line at a time and never in anybody's way.

    A line that the system does not take, such as for a full disk, is lost; the next one that it
    takes comes after one that says how many were.

    With a ``path``, of the very file, it is begun anew at :data:`MAX_LOG_BYTES`, with a line that
    says so.
    """

    def __init__(self) -> None:
        self.lost = 0
        self.path: Path | None = None
        self._why = ""
        self._turn = threading.RLock()  # Of threads, and of what a signal interrupts.

    def write(self, text: str) -> int:
        """Write it, or count it as lost."""
        with self._turn:
            return self._write(text)

    def _write(self, text: str) -> int:
        # The end of a line may come by itself, and belongs to what came before it.
        told = self._begun_anew() if self.path is not None and text != "\n" else ""
        if self.lost:
            lost = {"event": "lines of this log were lost", "lines": self.lost, "error": self._why}
            told += f"{json.dumps(lost | {'level': 'error'})}\n"
        whole = (told + text).encode(errors="backslashreplace")
        try:
            if os.write(_STANDARD_ERROR, whole) == len(whole):
                self.lost = 0
                return len(text)
            self._why = "only a part was taken"
        except OSError as error:
            self._why = str(error)
        self.lost += text.count("\n")
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""

    def _begun_anew(self) -> str:
        """Keep apart what the log has become, if it is too long; the line that says so, or empty.

        The file is emptied and not replaced: others may write to it that began before this one.
        """
        assert self.path is not None
        try:
            if os.fstat(_STANDARD_ERROR).st_size < MAX_LOG_BYTES or not self._is_mine():
                return ""
            fcntl.flock(_STANDARD_ERROR, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return ""  # Another process is about it, or nobody can write here: that is told there.
        told = {"event": "this log was begun anew", "level": "info"}
        try:
            if (size := os.fstat(_STANDARD_ERROR).st_size) < MAX_LOG_BYTES:
                return ""
            told["before"] = self._keep()
            os.ftruncate(_STANDARD_ERROR, 0)
            return f"{json.dumps(told | {'bytes': size})}\n"
        except OSError:
            return ""  # It grows on: a log is in nobody's way.
        finally:
            fcntl.flock(_STANDARD_ERROR, fcntl.LOCK_UN)

    def _is_mine(self) -> bool:
        """Whether it is the file of that path, and written at its end wherever that is."""
        assert self.path is not None
        appends = fcntl.fcntl(_STANDARD_ERROR, fcntl.F_GETFL) & os.O_APPEND
        return bool(appends) and os.path.samestat(os.fstat(_STANDARD_ERROR), self.path.stat())

    def _keep(self) -> str:
        """Copy it; the name of the copy, or why there is none."""
        kept = Path(f"{self.path}.1")
        try:
            shutil.copy(f"{self.path}", f"{kept}.new")
            Path(f"{kept}.new").replace(kept)
        except OSError as error:
            return f"not kept: {error}"
        return kept.name


_output = LogFile()

_levels: list[int] = []
"""What this process, or the fork server that it comes from, has been configured for."""


def configure(process: str, *, level: int = logging.INFO) -> None:
    """Log as ``process``, such as ``interconnect`` or ``instance mk1``, from here on."""
    if not structlog.is_configured() or _levels != [level]:
        _configure(level)
        _levels[:] = [level]
    structlog.contextvars.bind_contextvars(process=process)


def bound(path: Path) -> None:
    """Standard error is this file from here on, and not to grow beyond :data:`MAX_LOG_BYTES`."""
    _output.path = path


def _configure(level: int) -> None:
    output: Any = _output
    logging.basicConfig(stream=output, level=level, format="%(message)s", force=True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(output),
        cache_logger_on_first_use=False,
    )
