"""The measured side of ``mkrpc bench``: a process that answers orders, one JSON object a line.

Whatever is measured, mkrpc itself or what it is compared with, is a process of its own with what it
starts, and this is all that the bench knows of it. An order names what to do under ``do``; an
answer is what came of it, or ``{"error": ...}``.
"""

import json
import os
import struct
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

__all__ = ["ACKNOWLEDGEMENT", "Chain", "chain_commands", "passed", "serve", "words_of"]

ACKNOWLEDGEMENT = struct.Struct("<QII")
"""What comes back for each message: when the handler of its last word began, in ns of
CLOCK_MONOTONIC; how many handlers it ran; how many of its words were coalesced."""

Command = Callable[..., Any]


class Chain(Protocol):
    """A client of a chain client -> broker -> instance, as those who use one write it: blocking.

    A message is ICR words of 8 bytes each, and is answered by one acknowledgement, in order.
    """

    def send(self, message: bytes) -> None:
        """One message."""

    def receive(self) -> bytes:
        """The next acknowledgement."""


def serve(commands: Mapping[str, Command], **about: Any) -> None:
    """Say that all is ready, with what there is to say ``about`` it, and answer until the end.

    Standard output is for the answers alone: what anybody prints goes to standard error.
    """
    with os.fdopen(os.dup(1), "w", buffering=1) as answers:
        os.dup2(2, 1)
        print(json.dumps({"ready": about}), file=answers)
        for line in sys.stdin:
            order = json.loads(line)
            try:
                answer = commands[order.pop("do")](**order)
            except Exception as error:  # noqa: BLE001 - passed on to whoever asked
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), file=answers)


def words_of(words: list[int]) -> bytes:
    """A message of these words."""
    return struct.pack(f"<{len(words)}Q", *words)


def passed(seconds: float, written: int, handled: int, coalesced: int) -> dict[str, float]:
    """The answer of whoever was to pass words on: what was written, and what came of it."""
    return {"seconds": seconds, "written": written, "handled": handled, "coalesced": coalesced}


def chain_commands(chain: Chain) -> dict[str, Command]:
    """What a chain is asked to do."""

    def delay(count: int, word: int) -> dict[str, Any]:
        """One word at a time: microseconds from before it is sent to its handler's first line."""
        message = words_of([word])
        delays_us = []
        for _ in range(count):
            began_ns = time.monotonic_ns()
            chain.send(message)
            ran_ns, _, _ = ACKNOWLEDGEMENT.unpack(chain.receive())
            delays_us.append((ran_ns - began_ns) / 1000)
        return {"delays_us": delays_us}

    def stream(messages: int, words: list[int], window: int) -> dict[str, float]:
        """So many messages of these words, ``window`` of them unacknowledged at most."""
        message = words_of(words)
        ahead = min(window, messages)
        handled = coalesced = 0
        began = time.perf_counter()
        for number in range(messages + ahead):
            if number >= ahead:
                _, ran, merged = ACKNOWLEDGEMENT.unpack(chain.receive())
                handled += ran
                coalesced += merged
            if number < messages:
                chain.send(message)
        seconds = time.perf_counter() - began
        return passed(seconds, messages * len(words), handled, coalesced)

    return {"delay": delay, "stream": stream}
