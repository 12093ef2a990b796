"""The printk ring of one kernel, and the form in which dmesg shows it.

Source: kernel/printk (record layout ``<level>[seconds.microseconds] text``), lib/ratelimit.c (10
messages in 5 s); the texts recorded with the kernel patch.
"""

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final

from mkrpc.errors import InvalidArgumentError
from mkrpc.link.frames import LogRecord

__all__ = [
    "DEFAULT_RECORDS",
    "KERN_ALERT",
    "KERN_DEBUG",
    "KERN_EMERG",
    "KERN_ERR",
    "KERN_INFO",
    "KERN_WARNING",
    "LOG_LINE_MAX",
    "LogRecord",
    "Printk",
    "Ratelimit",
    "format_dmesg",
    "format_record",
]

KERN_EMERG: Final = 0
KERN_ALERT: Final = 1
KERN_ERR: Final = 3
KERN_WARNING: Final = 4
KERN_INFO: Final = 6
KERN_DEBUG: Final = 7
_LEVELS: Final = 8

DEFAULT_RECORDS: Final = 4096
"""Records that a ring holds unless told otherwise; beyond, the oldest is overwritten."""

LOG_LINE_MAX: Final = 992
"""Characters of one record; the rest of a longer line is cut off (LOG_LINE_MAX in Linux)."""

_MICROSECONDS: Final = 1_000_000


class Printk:
    """A bounded ring of records; the oldest are overwritten and counted in :attr:`dropped`.

    ``now_us`` is the kernel's clock in microseconds since its boot.
    """

    __slots__ = ("_append", "_now_us", "_ring", "_written")

    def __init__(self, *, records: int = DEFAULT_RECORDS, now_us: Callable[[], int]) -> None:
        if records < 1:
            raise InvalidArgumentError(
                f"a log of {records} records", advice="a log has at least one record"
            )
        self._ring: deque[tuple[int, int, int, str]] = deque(maxlen=records)
        self._append = self._ring.append
        self._now_us = now_us
        self._written = 0

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def written(self) -> int:
        """How many records there have ever been: the number of the newest."""
        return self._written

    @property
    def dropped(self) -> int:
        """How many records were overwritten."""
        return self._written - len(self._ring)

    def emit(self, level: int, text: str, cpu: int) -> None:
        """Append ``text``, one record a line, without a newline at its end; ``level`` 0 to 7."""
        assert 0 <= level < _LEVELS, level
        now_us = self._now_us()
        # Half a surrogate pair is a legal str and no UTF-8: it could not be sent.
        text = text.encode("utf-8", "backslashreplace").decode()
        for line in text.removesuffix("\n").split("\n"):
            self._written += 1
            self._ring.append((level, now_us, cpu, line[:LOG_LINE_MAX]))

    def emit_plain(self, level: int, text: str, cpu: int) -> None:
        """:meth:`emit` of one short line of ASCII: on the way of every multikernel interrupt."""
        self._written += 1
        self._append((level, self._now_us(), cpu, text))

    def since(self, number: int) -> list[LogRecord]:
        """All records that are still there from ``number`` on, oldest first."""
        skipped = min(len(self._ring), max(0, number - self.dropped - 1))
        entries = enumerate(islice(self._ring, skipped, None), self.dropped + skipped + 1)
        return [LogRecord(number, *entry) for number, entry in entries]


class Ratelimit:
    """``burst`` messages every ``interval_us``; the rest are counted, not printed."""

    __slots__ = ("_begin_us", "_burst", "_interval_us", "_missed", "_printed")

    def __init__(self, *, interval_us: int = 5 * _MICROSECONDS, burst: int = 10) -> None:
        self._interval_us = interval_us
        self._burst = burst
        self._begin_us: int | None = None
        self._printed = 0
        self._missed = 0

    def allows(self, now_us: int) -> tuple[bool, int]:
        """May a message be printed now, and how many were suppressed in the interval before?

        The second number is other than 0 once, with the first message of a new interval.
        """
        missed = 0
        if self._begin_us is None or now_us >= self._begin_us + self._interval_us:
            missed, self._missed = self._missed, 0
            self._begin_us = now_us
            self._printed = 0
        if self._printed < self._burst:
            self._printed += 1
            return True, missed
        self._missed += 1
        return False, missed


def format_dmesg(record: LogRecord, *, caller: bool = False) -> str:
    """``[    1.374792] Multikernel interrupt``, as dmesg prints it.

    ``caller``: with the column of CONFIG_PRINTK_CALLER, ``[    C1]``. A departure: it is the CPU
    for a program's lines too, where Linux has the number of the task.
    """
    seconds, microseconds = divmod(record.time_us, _MICROSECONDS)
    column = f"[{f'C{record.cpu}':>6}]" if caller else ""
    return f"[{seconds:5d}.{microseconds:06d}]{column} {record.text}"


def format_record(record: LogRecord, *, caller: bool = False) -> str:
    """``<6>[    1.374792] Multikernel interrupt``, as ``dmesg --raw`` prints it; ``caller`` as in
    :func:`format_dmesg`."""
    return f"<{record.level}>{format_dmesg(record, caller=caller)}"
