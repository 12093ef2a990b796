"""Reads recordings: one JSON object a line, ``.jsonl`` or ``.jsonl.gz``.

Everything is checked here, so that a scenario that was parsed can be played. What is wrong with a
file is an :class:`mkrpc.errors.InvalidArgumentError` that names the file and the line.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

from mkrpc.conformance.fields import MalformedError, as_object
from mkrpc.conformance.parse_apic import apic_scenario
from mkrpc.conformance.parse_linux import MAX_CPUS, MAX_STEPS, linux_test
from mkrpc.conformance.recording import ApicScenario, LinuxTest, Recording
from mkrpc.errors import InvalidArgumentError, LimitReachedError

__all__ = ["MAX_CPUS", "MAX_FILE_BYTES", "MAX_STEPS", "read_recording"]

MAX_FILE_BYTES = 256 << 20
"""Of one file, unpacked; beyond it LimitReachedError."""
_CHUNK_BYTES = 1 << 20
_AGAIN = "record or copy it again"


def read_recording(path: Path) -> Recording:
    """Every scenario of a file.

    Raises InvalidArgumentError with file and line for what is not a recording, and
    LimitReachedError for a file beyond ``MAX_FILE_BYTES``.
    """
    apic: list[ApicScenario] = []
    linux: list[LinuxTest] = []
    for number, text in enumerate(_lines(path), start=1):
        if not text.strip():
            continue
        try:
            line = as_object(_json(text), "a scenario")
            if "steps" in line:
                apic.append(apic_scenario(line, number))
            elif "script" in line:
                linux.append(linux_test(line, number))
            else:
                raise MalformedError("neither 'steps' nor 'script': no recorded scenario")
            if apic and linux:
                raise MalformedError("scenarios of both kinds in one file")
        except MalformedError as error:
            raise InvalidArgumentError(
                f"{path}:{number}: {error}",
                advice="docs/recordings.md has the format",
            ) from error
    if not apic and not linux:
        raise InvalidArgumentError(
            f"{path}: no recorded scenario in it", advice="name a file with one scenario a line"
        )
    _check_linux_file(path, linux)
    return Recording(apic=tuple(apic), linux=tuple(linux))


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"no JSON: {error}") from error


def _lines(path: Path) -> Iterator[str]:
    for number, line in enumerate(_data(path).split(b"\n"), start=1):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise InvalidArgumentError(
                f"{path}:{number}: no UTF-8: byte {line[error.start]:#04x} at {error.start}",
                advice=_AGAIN,
            ) from error


def _data(path: Path) -> bytes:
    """What is in the file, unpacked."""
    data = bytearray()
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while chunk := file.read1(_CHUNK_BYTES):
                data += chunk
                if len(data) > MAX_FILE_BYTES:
                    raise LimitReachedError(
                        f"{path}: more than {MAX_FILE_BYTES} bytes", advice="split the file"
                    )
    except (EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and not data:
            raise InvalidArgumentError(
                f"{path}: cannot be read: {error}", advice="name a .jsonl or .jsonl.gz file"
            ) from error
        number = data.count(b"\n") + 1
        raise InvalidArgumentError(
            f"{path}:{number}: cannot be read from here on: {error}",
            advice=_AGAIN,
        ) from error
    return bytes(data)


def _check_linux_file(path: Path, tests: list[LinuxTest]) -> None:
    """The tests of a file ran in one boot: the same CPUs and driver throughout."""
    for test in tests:
        if len(test.cal) != len(tests[0].cal) or test.apic is not tests[0].apic:
            raise InvalidArgumentError(
                f"{path}:{test.line}: another number of CPUs or another APIC driver than line "
                f"{tests[0].line}",
                advice="the tests of a file ran in one boot: put others in a file of their own",
            )
