"""What the recorded objects share: a call begins, tells, ends; nothing nested is an input."""

import inspect
import time
import zlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any

from mkrpc.journal.format import (
    FIRST_CALL,
    FORMAT_VERSION,
    SUFFIX,
    Kind,
    json_payload,
    record,
)
from mkrpc.journal.values import Reference, to_plain
from mkrpc.journal.writer import JOURNAL_LIMIT, JournalWriter
from mkrpc.link.frames import WIRE_VERSION

__all__ = ["KEPT_TEXT", "Recorder", "Recording", "error_text", "text_crc"]

KEPT_TEXT = 500
"""Characters of an output that are kept to be shown; its CRC is of the whole."""

_CRC = Struct("<I")


@dataclass(frozen=True, slots=True)
class Recording:
    """Where the processes of a cluster record, and how much each of them may write."""

    folder: Path
    limit: int = JOURNAL_LIMIT


def text_crc(text: str) -> int:
    """The CRC-32 of an output's text."""
    return zlib.crc32(text.encode("utf-8", "backslashreplace"))


def error_text(error: Exception) -> str:
    """What a call raised, as an output."""
    return f"raised {type(error).__name__}: {error}"


class Recorder:
    """The journal of one object.

    ``busy``: inside of a call, or stopped: what is called now is no input of its own.
    ``calls``: how many were recorded.
    """

    __slots__ = ("_clock", "_kinds", "_loads", "_writer", "busy", "calls", "telling")

    def __init__(
        self, recording: Recording, *, name: str, methods: Sequence[str], header: dict[str, object]
    ) -> None:
        self._kinds = {method: FIRST_CALL + index for index, method in enumerate(methods)}
        self._clock = array("Q")
        self._loads = array("Q")
        self.busy = False
        self.telling = False
        self.calls = 0
        self._writer = JournalWriter(
            recording.folder / f"{name}{SUFFIX}",
            header={
                "version": FORMAT_VERSION,
                "release": _release(),
                "wire_version": WIRE_VERSION,
                "began_us": time.monotonic_ns() // 1000,
                "methods": list(methods),
            }
            | header,
            limit=recording.limit,
        )

    def kind(self, method: str) -> int:
        """The number of a method's records."""
        return self._kinds[method]

    # Calls.

    def begin(self, kind: int, payload: bytes) -> None:
        """A call: what it is given, before anything happens."""
        if self._clock or self._loads:
            self._write_readings()
        self.calls += 1
        self.busy = True
        self._writer.append(record(kind, payload))

    def note(self, line: bytes) -> None:
        """A call that has returned already, as a whole record."""
        if self._clock or self._loads:
            self._write_readings()
        self.calls += 1
        self._writer.append(line)
        self.busy = bool(self._writer.stopped)

    def end(self) -> None:
        """It has returned or raised."""
        self.busy = bool(self._writer.stopped)
        if self._clock or self._loads:
            self._write_readings()

    def tell(self, text: str) -> None:
        """The call has told somebody something that a replay must tell again."""
        if not self._writer.stopped:
            payload = _CRC.pack(text_crc(text)) + text[:KEPT_TEXT].encode(
                "utf-8", "backslashreplace"
            )
            self._writer.append(record(Kind.OUTPUT, payload))

    def failed(self, error: Exception) -> None:
        """The call ends by a bug: what led to it is on the disk before anybody ends the process."""
        self._write_readings()
        self.tell(error_text(error))
        if not self._writer.stopped:
            self._writer.append(record(Kind.FAILED, b""))
            self._writer.flush()

    def nested(self) -> None:
        """An input inside of another call. Harmless if the object itself makes it; whoever is told
        something and at once calls back has it done in an order that a replay does not have."""
        if self.telling and not self._writer.stopped:
            self._writer.stop("an input was given from inside of a call-back")

    def generic(
        self, method: Callable[..., Any], reference: Reference
    ) -> Callable[[tuple[Any, ...], dict[str, Any]], bytes]:
        """Any arguments as the payload of a record, by their names."""
        signature = inspect.signature(method)

        def encode(positional: tuple[Any, ...], named: dict[str, Any]) -> bytes:
            bound = named
            if positional:
                bound = signature.bind(None, *positional, **named).arguments
                del bound[next(iter(signature.parameters))]  # self
            return json_payload({key: to_plain(each, reference) for key, each in bound.items()})

        return encode

    # What an instance is told by the host.

    def clock(self, now_us: Callable[[], int]) -> Callable[[], int]:
        """The same clock; what it says is recorded."""
        add = self._clock.append

        def read() -> int:
            reading = now_us()
            add(reading)
            return reading

        return read

    def loaded(self, value: int) -> None:
        """A program has loaded a value that another kernel may have stored."""
        self._loads.append(value)

    def _write_readings(self) -> None:
        for kind, readings in ((Kind.CLOCK, self._clock), (Kind.LOADS, self._loads)):
            if readings:
                if not self._writer.stopped:
                    packed = Struct(f"<{len(readings)}Q").pack(*readings)
                    self._writer.append(record(kind, packed))
                del readings[:]

    # Books.

    def books(self, digest: dict[str, Any]) -> None:
        """What the books are now."""
        self._writer.append(record(Kind.BOOKS, json_payload(digest)))

    def close(self, books: dict[str, Any]) -> None:
        """The object's process has come to its end."""
        self.busy = True
        self._writer.close(record(Kind.END, json_payload(books)))


def _release() -> str:
    # Not above: it loads a lot, and every instance would have it beside what it uses.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mkrpc")
    except PackageNotFoundError:
        return "unknown"
