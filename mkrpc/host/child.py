"""A process that the host agent started: watched and signalled through its pidfd.

The sentinels of ``multiprocess`` are pipes that the fork server holds: they also end when the fork
server itself dies, and then say of every child that it has ended. A pidfd (pidfd_open(2)) speaks
for the process alone, and is never that of another one with the same number.
"""

import asyncio
import json
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

__all__ = ["EXIT_UNKNOWN", "STOP_GRACE_S", "Child", "end", "last_words"]

STOP_GRACE_S = 5.0
"""Seconds between SIGTERM and SIGKILL, for all children that are ended together."""

KILL_TIMEOUT_S = 2.0
"""Seconds for killed processes to be gone; one in state D (proc(5)) may stay longer."""

REAP_TIMEOUT_S = 1.0
"""Seconds for the fork server, whose children they are, to tell an exit code."""

EXIT_UNKNOWN = 255
"""Reported as the exit code if the fork server, which alone could tell it, is dead or stopped."""

LAST_WORDS_BYTES = 8192
"""How much of the end of a log is looked at."""
MAX_LAST_WORDS = 400
"""Characters of it that go into a message."""

_log = structlog.get_logger("mkrpc.host")


@dataclass(slots=True, eq=False)
class Child:
    """A process that this agent started. ``exit_code`` is None until its end was noticed;
    ``pidfd`` is -1 once it was, or if it had ended before it could be watched. ``paused``: it was
    sent SIGSTOP, and no SIGCONT after it. ``ended_by_order``: it was told to end."""

    name: str
    process: Any
    log_path: Path
    pidfd: int = -1
    exit_code: int | None = None
    paused: bool = False
    ended_by_order: bool = False

    @classmethod
    def of(cls, name: str, process: Any, log_path: Path) -> "Child":
        """Watch a process that has just started."""
        try:
            pidfd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            pidfd = -1  # The fork server has reaped it already.
        return cls(name, process, log_path, pidfd)

    @property
    def pid(self) -> int:
        """Its process id, also after its end."""
        return int(self.process.pid)

    @property
    def state(self) -> tuple[int, bool, int]:
        """Process id, whether it runs, exit code (0 while it runs)."""
        return self.pid, self.exit_code is None, self.exit_code or 0

    def watch(self, loop: asyncio.AbstractEventLoop, on_end: Callable[[], None]) -> None:
        """Have ``loop`` call ``on_end`` once the process has ended, ``exit_code`` being known."""
        if self.pidfd < 0:
            loop.call_soon(self._ended, on_end)
            return
        # A copy, which stays open whoever else waits for the child meanwhile.
        descriptor = os.dup(self.pidfd)

        def readable() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            self._ended(on_end)

        loop.add_reader(descriptor, readable)

    def _ended(self, on_end: Callable[[], None]) -> None:
        _log.info("ended", child=self.name, pid=self.pid, exit_code=self.wait(0))
        on_end()

    def send(self, number: int) -> None:
        """Send a signal; nothing happens if it has ended."""
        if self.pidfd < 0:
            return
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            _log.info("ended before the signal came", child=self.name, signal=number)

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code once it has ended, None if it has not within ``timeout_s`` seconds."""
        if self.exit_code is not None:
            return self.exit_code
        if self.pidfd >= 0:
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            if not poll.poll(max(0.0, timeout_s) * 1000):
                return None
            os.close(self.pidfd)
            self.pidfd = -1
        # Only now: while it lives, a dead fork server would make this say that it has ended.
        self.process.join(REAP_TIMEOUT_S)
        code = self.process.exitcode
        self.exit_code = EXIT_UNKNOWN if code is None else int(code)
        return self.exit_code


def end(children: Sequence[Child], *, grace_s: float) -> None:
    """SIGTERM to all, and SIGKILL to those that still live ``grace_s`` seconds later."""
    for child in children:
        child.send(signal.SIGTERM)
        # A stopped process takes no SIGTERM before it goes on (signal(7)).
        child.send(signal.SIGCONT)
    deadline = time.monotonic() + grace_s
    left = [child for child in children if child.wait(deadline - time.monotonic()) is None]
    for child in left:
        _log.warning("killed: it did not end when asked", child=child.name, pid=child.pid)
        child.send(signal.SIGKILL)
    deadline = time.monotonic() + KILL_TIMEOUT_S
    for child in left:
        if child.wait(deadline - time.monotonic()) is None:
            _log.error("it does not end even when killed", child=child.name, pid=child.pid)


def last_words(log_path: Path) -> str:
    """Why a process ended, by the last line of its log: the reason in it, or the line itself."""
    try:
        with log_path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LAST_WORDS_BYTES))
            text = log.read().decode(errors="replace").strip()
    except FileNotFoundError:
        text = ""
    line = text.rpartition("\n")[2]
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if isinstance(record, dict):
        line = str(record.get("reason") or record.get("error") or record.get("event") or line)
    return line[:MAX_LAST_WORDS] or "nothing"
