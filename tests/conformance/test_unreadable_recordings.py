"""Files that hold no recording, or that were damaged on their way here."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from mkrpc.conformance import parse
from mkrpc.conformance.parse import read_recording
from mkrpc.errors import InvalidArgumentError, LimitReachedError


def apic_line(name: str = "one") -> dict[str, Any]:
    return {
        "name": name,
        "cpus": 1,
        "mode": "flat",
        "initial": {"0": {"tpr": 0}},
        "steps": [{"op": "nop", "cpu": 0, "cpus": {}}],
    }


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_a_file_without_scenarios_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    with pytest.raises(InvalidArgumentError, match="no recorded scenario"):
        read_recording(path)


def test_a_file_that_is_not_gzip_is_an_error_of_the_operator(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(b"not gzip")
    with pytest.raises(InvalidArgumentError, match="cannot be read") as caught:
        read_recording(path)
    assert caught.value.advice == "name a .jsonl or .jsonl.gz file"


@pytest.mark.parametrize("packed", [False, True])
def test_bytes_that_are_no_text_are_named_with_their_line(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("u.jsonl.gz" if packed else "u.jsonl")
    data = json.dumps(apic_line()).encode() + b'\n{"name": "\xff"}\n'
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(InvalidArgumentError) as caught:
        read_recording(path)
    assert str(caught.value) == f"{path}:2: no UTF-8: byte 0xff at 10"
    assert caught.value.advice == "record or copy it again"


@pytest.mark.parametrize(("lines", "kept"), [(1, 0.5), (4000, 0.5), (4000, 0.9)])
def test_a_gzip_file_that_was_cut_off_is_named_with_the_line(
    tmp_path: Path, lines: int, kept: float
) -> None:
    path = tmp_path / "x.jsonl.gz"
    text = b"".join(json.dumps(apic_line(str(n))).encode() + b"\n" for n in range(lines))
    packed = gzip.compress(text, mtime=0)
    path.write_bytes(packed[: int(len(packed) * kept)])
    with pytest.raises(InvalidArgumentError, match="cannot be read from here on") as caught:
        read_recording(path)
    number = int(str(caught.value).removeprefix(f"{path}:").partition(":")[0])
    assert lines * (kept - 0.2) <= number <= max(lines * (kept + 0.1), 1)
    assert caught.value.advice == "record or copy it again"


def test_a_file_beyond_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(apic_line()))
    monkeypatch.setattr(parse, "MAX_FILE_BYTES", path.stat().st_size)
    assert read_recording(path).apic
    monkeypatch.setattr(parse, "MAX_FILE_BYTES", path.stat().st_size - 1)
    with pytest.raises(LimitReachedError):
        read_recording(path)
