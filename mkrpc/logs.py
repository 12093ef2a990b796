"""Logs of the processes: one JSON object a line, on standard error.

What the emulated kernels print is not here: that is the printk ring (``mkrpc dmesg``).
"""

import json
import logging
import os
from typing import Any

import structlog

__all__ = ["LogFile", "configure"]

_STANDARD_ERROR = 2


class LogFile:
    """Standard error, written to a line at a time and never in anybody's way.

    A line that the system does not take, such as for a full disk, is lost; the next one that it
    takes comes after one that says how many were.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._why = ""

    def write(self, text: str) -> int:
        """Write it, or count it as lost."""
        told = ""
        if self.lost:
            lost = {"event": "lines of this log were lost", "lines": self.lost, "error": self._why}
            told = f"{json.dumps(lost | {'level': 'error'})}\n"
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


_levels: list[int] = []
"""What this process, or the fork server that it comes from, has been configured for."""


def configure(process: str, *, level: int = logging.INFO) -> None:
    """Log as ``process``, such as ``interconnect`` or ``instance mk1``, from here on."""
    if not structlog.is_configured() or _levels != [level]:
        _configure(level)
        _levels[:] = [level]
    structlog.contextvars.bind_contextvars(process=process)


def _configure(level: int) -> None:
    output: Any = LogFile()
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
