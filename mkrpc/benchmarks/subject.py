"""What ``mkrpc bench`` measures, as the bench sees it: a process that takes orders and answers.

The other side is :mod:`mkrpc.benchmarks.serving`. A subject has a process group of its own, which
ends with it.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mkrpc.errors import DeadlineExceededError, MkrpcError, StartUpError

__all__ = ["ORDER_TIMEOUT_S", "OrderFailedError", "Subject"]

ORDER_TIMEOUT_S = 180.0
"""Seconds in which an order has to be answered."""

_END_TIMEOUT_S = 30.0
_LAST_WORDS = 300


class OrderFailedError(MkrpcError):
    """A subject could not do as it was told; it goes on."""

    status = "INTERNAL"
    reason = "ORDER_FAILED"


class Subject:
    """A process, started at once and asked afterwards.

    ``command``: what Python runs, such as ``["-m", "mkrpc.benchmarks.machine", "2", "5"]``.
    ``environment`` is added to this process's; it runs in ``directory``, whose packages it
    imports first with ``-m``. ``about``: what it said of itself when it was ready. As a context
    manager it is ended, with everything in its process group; at once if the block raises. What it
    leaves in temporary files is beside its ``log``.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "TMPDIR": str(log.parent), **(environment or {})},
                cwd=directory,
                start_new_session=True,
            )
        self._buffer = b""
        self.about: dict[str, Any] = {}
        self.silent = False
        """It has ended or has not answered in time, and is of no use any more."""

    def wait_until_ready(self) -> None:
        """Until it has said so."""
        self.about = self._answer(f"start {self.name}")["ready"]

    def ask(self, order: str, **arguments: Any) -> Any:
        """What came of an order.

        Raises OrderFailedError, StartUpError if it has ended, DeadlineExceededError.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": order, **arguments}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended(order) from None
        answer = self._answer(order)
        if isinstance(answer, dict) and "error" in answer:
            raise OrderFailedError(f"{self.name}, asked for {order}: {answer['error']}")
        return answer

    def end(self) -> None:
        """Let it end by itself, and end what is left of its process group."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # it has ended before
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):  # then by force
            self._process.wait(0 if self.silent else _END_TIMEOUT_S)
        with suppress(ProcessLookupError):  # nobody is left
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.silent |= kind is not None
        self.end()

    def _answer(self, order: str) -> Any:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + ORDER_TIMEOUT_S
        while b"\n" not in self._buffer:
            left_s = deadline - time.monotonic()
            readable, _, _ = select.select([descriptor], [], [], max(0.0, left_s))
            if not readable:
                self.silent = True
                raise DeadlineExceededError(
                    f"{self.name} did not answer {order} within {ORDER_TIMEOUT_S:.0f} s",
                    advice=f"its last words: {self._last_words()}",
                )
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                raise self._ended(order)
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def _ended(self, order: str) -> StartUpError:
        self.silent = True
        return StartUpError(
            f"{self.name} ended instead of answering {order}",
            advice=f"its last words: {self._last_words()}",
        )

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines() or ["nothing"]
        return lines[-1][-_LAST_WORDS:]
