"""The file: a magic line, then records; the first is the header.

A record is the length of its payload (32 bits), a CRC-32 of kind and payload, the kind (8 bits) and
the payload. One that ends before its length says is the last thing that a killed process wrote:
what is before it counts. All numbers are little-endian.
"""

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO

from mkrpc.errors import InvalidArgumentError

__all__ = [
    "FIRST_CALL",
    "FORMAT_VERSION",
    "MAGIC",
    "MAX_RECORD_BYTES",
    "SUFFIX",
    "Journal",
    "Kind",
    "Output",
    "Step",
    "json_payload",
    "record",
]

MAGIC = b"mkrpc journal\n"
FORMAT_VERSION = 1
"""In the header; a journal of another one is refused by name."""

SUFFIX = ".journal"

MAX_RECORD_BYTES = 1 << 26
"""Bytes of one record at most; a length beyond it is taken for damage."""

_HEAD = struct.Struct("<IIB")
_CRC = struct.Struct("<I")
_JSON = json.JSONEncoder(separators=(",", ":"))


class Kind(IntEnum):
    """What a record is; from :data:`FIRST_CALL` on it is a call, by its place in ``methods``."""

    HEADER = 0
    CLOCK = 1
    """Readings of the kernel's clock that the call before it made: 64-bit microseconds."""
    LOADS = 2
    """What its programs loaded from shared memory: 64-bit values."""
    OUTPUT = 3
    """What the call told somebody, or raised: a CRC-32 and the text, perhaps cut short."""
    BOOKS = 4
    """A digest of the books at this moment; JSON."""
    END = 5
    """The process came to its end by itself: the books as they were then; JSON."""
    STOPPED = 6
    """The recording ended before the process did; JSON with the reason."""
    FAILED = 7
    """The call before it ended by a bug, which its last output names; the process ends of it."""


FIRST_CALL = 32


def record(kind: int, payload: bytes) -> bytes:
    """One record."""
    return _HEAD.pack(len(payload), zlib.crc32(payload, kind), kind) + payload


def json_payload(value: object) -> bytes:
    """As UTF-8, without spaces."""
    return _JSON.encode(value).encode()


@dataclass(frozen=True, slots=True)
class Output:
    """What a call told somebody: a CRC-32 of the whole and as much of the text as was kept."""

    crc: int
    text: str


@dataclass(slots=True)
class Step:
    """One call and what came of it. ``number`` 0 is the making of the object.

    ``complete``: it is known to have returned, and all that came of it was written. ``books``: a
    digest made after it, if any.
    """

    number: int
    method: str
    payload: bytes
    offset: int
    clock: list[int] = field(default_factory=list)
    loads: list[int] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    books: dict[str, Any] | None = None
    complete: bool = False


class Journal:
    """One journal, read from its beginning as often as one likes.

    ``header``: what the object was made of. After a reading, ``end`` has the books of the end, or
    None if the process was killed; ``stopped`` says why the recording ended before it did, or is
    empty; ``torn`` counts the bytes of a record that is not whole.

    :raises InvalidArgumentError: no journal, damaged, of another version, or without a header.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.end: dict[str, Any] | None = None
        self.stopped = ""
        self.torn = 0
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise InvalidArgumentError(
                    f"{path} is no journal", advice="name a folder that `mkrpc up --record` made"
                )
            first = next(self._records(file), None)
        if first is None or first[1] != Kind.HEADER:
            raise InvalidArgumentError(
                f"{path} has no whole header",
                advice="its process ended before it had written anything: take the file away",
            )
        self.header: dict[str, Any] = json.loads(first[2])
        version = self.header.get("version")
        if version != FORMAT_VERSION:
            raise InvalidArgumentError(
                f"{path} is a journal of version {version}, this is for {FORMAT_VERSION}",
                advice="replay it with the release that recorded it",
            )
        self.methods: list[str] = self.header["methods"]

    def steps(self) -> Iterator[Step]:
        """Every call, with what followed from it.

        :raises InvalidArgumentError: the file is damaged; what is before was given.
        """
        self.end, self.stopped, self.torn = None, "", 0
        step = Step(0, "begin", b"", 0, complete=True)
        with self.path.open("rb") as file:
            file.seek(len(MAGIC))
            for offset, kind, payload in self._records(file):
                if kind >= FIRST_CALL:
                    step.complete = True
                    yield step
                    method = self.methods[kind - FIRST_CALL]
                    step = Step(step.number + 1, method, payload, offset)
                elif kind != Kind.HEADER:
                    # What it read and told may be written only in part, so that only what comes
                    # after all that vouches for it.
                    step.complete |= kind in (Kind.BOOKS, Kind.END, Kind.FAILED)
                    self._add(step, kind, payload)
        yield step

    def _add(self, step: Step, kind: int, payload: bytes) -> None:
        if kind == Kind.CLOCK:
            step.clock.extend(struct.unpack(f"<{len(payload) // 8}Q", payload))
        elif kind == Kind.LOADS:
            step.loads.extend(struct.unpack(f"<{len(payload) // 8}Q", payload))
        elif kind == Kind.OUTPUT:
            (crc,) = _CRC.unpack_from(payload)
            step.outputs.append(Output(crc, payload[_CRC.size :].decode()))
        elif kind == Kind.BOOKS:
            step.books = json.loads(payload)
        elif kind == Kind.END:
            self.end = json.loads(payload)
        elif kind == Kind.STOPPED:
            self.stopped = json.loads(payload)["reason"]

    def _records(self, file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
        """Offset, kind and payload of each whole record."""
        while True:
            offset = file.tell()
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                self.torn = len(head)
                return
            size, crc, kind = _HEAD.unpack(head)
            payload = file.read(size) if size <= MAX_RECORD_BYTES else b""
            if len(payload) < size <= MAX_RECORD_BYTES:
                self.torn = _HEAD.size + len(payload)
                return
            if size > MAX_RECORD_BYTES or zlib.crc32(payload, kind) != crc:
                raise self._damaged(offset)
            yield offset, kind, payload

    def _damaged(self, offset: int) -> InvalidArgumentError:
        return InvalidArgumentError(
            f"{self.path} is damaged at byte {offset}",
            advice="what is before that byte was replayed; the rest cannot be read",
        )
