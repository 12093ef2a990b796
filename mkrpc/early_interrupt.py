"""Ctrl-C while a command is still being imported."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

__all__ = ["EXIT_INTERRUPTED", "quiet_imports"]

EXIT_INTERRUPTED = 130


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Within it a Ctrl-C ends the process with exit code 130 and without a word: there is nothing
    to tidy up yet, and Python would print where it was in somebody's module. What the caller has
    switched off stays off."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    # Not by an exception: modules catch what their imports raise.
    os._exit(EXIT_INTERRUPTED)
