"""Journals as files: what a reader gets of one that is whole, cut short, damaged or foreign."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from mkrpc.errors import InvalidArgumentError, StartUpError
from mkrpc.journal.format import FIRST_CALL, MAGIC, Journal, Kind, json_payload, record
from mkrpc.journal.writer import JournalWriter, check_folder

METHODS = ["zero", "one"]
LIMIT = 1 << 20


def written(path: Path, *records: bytes, limit: int = LIMIT, last: bytes = b"") -> JournalWriter:
    header = {"version": 1, "methods": METHODS, "object": "test", "began_us": 1}
    writer = JournalWriter(path, header=header, limit=limit)
    for each in records:
        writer.append(each)
    writer.close(last)
    return writer


def calls(count: int) -> list[bytes]:
    return [record(FIRST_CALL + n % 2, bytes([n]) * n) for n in range(count)]


def read(path: Path) -> list[tuple[str, bytes]]:
    return [(step.method, step.payload) for step in Journal(path).steps()]


def test_what_is_written_is_read(tmp_path):
    end = record(Kind.END, json_payload({"lines": 0}))
    clock = record(Kind.CLOCK, (7).to_bytes(8, "little") + (9).to_bytes(8, "little"))
    first, *rest = calls(5)
    written(tmp_path / "j", first, clock, *rest, last=end)
    journal = Journal(tmp_path / "j")
    steps = list(journal.steps())
    assert [step.number for step in steps] == list(range(6))
    assert [step.method for step in steps] == ["begin", "zero", "one", "zero", "one", "zero"]
    assert [step.payload for step in steps[1:]] == [bytes([n]) * n for n in range(5)]
    assert steps[1].clock == [7, 9]
    assert all(step.complete for step in steps)
    assert (journal.end, journal.stopped, journal.torn) == ({"lines": 0}, "", 0)


def test_the_last_call_of_a_killed_process_is_not_known_to_have_returned(tmp_path):
    written(tmp_path / "j", *calls(3))
    *before, last = Journal(tmp_path / "j").steps()
    assert all(step.complete for step in before)
    assert not last.complete


def test_a_file_cut_at_any_byte_is_a_prefix_of_its_calls(tmp_path):
    """What kill -9 and a full disk leave behind."""
    whole = tmp_path / "whole"
    written(whole, *calls(6))
    wanted = read(whole)
    content = whole.read_bytes()
    (header,) = [step.offset for step in Journal(whole).steps() if step.number == 1]
    cut = tmp_path / "cut"
    lengths = set()
    for size in range(header, len(content)):
        cut.write_bytes(content[:size])
        found = read(cut)
        assert found == wanted[: len(found)]
        lengths.add(len(found))
    assert lengths == set(range(1, len(wanted)))


def test_a_file_cut_within_its_header_is_refused_by_name(tmp_path):
    written(tmp_path / "whole", *calls(1))
    content = (tmp_path / "whole").read_bytes()
    (header,) = [step.offset for step in Journal(tmp_path / "whole").steps() if step.number == 1]
    path = tmp_path / "cut"
    for size in range(header):
        path.write_bytes(content[:size])
        with pytest.raises(InvalidArgumentError, match=r"is no journal|no whole header"):
            Journal(path)


def test_a_flipped_bit_is_damage_and_never_another_call(tmp_path):
    written(tmp_path / "whole", *calls(6))
    wanted = read(tmp_path / "whole")
    content = bytearray((tmp_path / "whole").read_bytes())
    (first,) = [step.offset for step in Journal(tmp_path / "whole").steps() if step.number == 1]
    cut_short = 0
    for at in range(first, len(content)):
        content[at] ^= 0x10
        (tmp_path / "bad").write_bytes(content)
        content[at] ^= 0x10
        try:
            found = read(tmp_path / "bad")
        except InvalidArgumentError:
            continue
        # A length that now points beyond the end: the rest is missing, as if cut.
        assert found == wanted[: len(found)]
        assert len(found) < len(wanted)
        cut_short += 1
    assert cut_short < (len(content) - first) // 2


def test_another_version_is_refused_by_name(tmp_path):
    header = json.dumps({"version": 99, "methods": []}).encode()
    (tmp_path / "j").write_bytes(MAGIC + record(Kind.HEADER, header))
    with pytest.raises(InvalidArgumentError, match="version 99"):
        Journal(tmp_path / "j")


def test_at_its_limit_a_recording_stops_and_says_so(tmp_path):
    writer = written(tmp_path / "j", *calls(200), limit=2000)
    assert writer.stopped == "the limit of 2000 bytes is reached"
    journal = Journal(tmp_path / "j")
    steps = list(journal.steps())
    assert journal.stopped == writer.stopped
    assert journal.end is None
    assert 10 < len(steps) < 100
    assert (tmp_path / "j").stat().st_size < 2200


def test_on_a_full_disk_a_recording_stops_and_its_process_goes_on(tmp_path):
    """The limit of a file's size fails as a full disk does, in the middle of a write."""
    code = f"""
import resource, signal
from pathlib import Path
from mkrpc.journal.format import FIRST_CALL, record
from mkrpc.journal.writer import JournalWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
header = {{"version": 1, "methods": ["zero"], "object": "test", "began_us": 1}}
writer = JournalWriter(Path({str(tmp_path / "j")!r}), header=header, limit=1 << 20)
for number in range(40):
    writer.append(record(FIRST_CALL, bytes(300)))
    writer.flush()
print(writer.stopped)
writer.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    said = done.stdout.splitlines()[-1]
    assert said == "cannot write: File too large (EFBIG)"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 5000
    journal = Journal(tmp_path / "j")
    assert len(list(journal.steps())) > 10
    assert journal.stopped in ("", said)
    assert journal.torn == 0


def test_a_folder_with_anything_in_it_is_refused(tmp_path):
    assert check_folder(tmp_path / "new") == tmp_path / "new"
    assert check_folder(tmp_path / "new") == tmp_path / "new"
    (tmp_path / "new" / "file").touch()
    with pytest.raises(InvalidArgumentError, match="not empty"):
        check_folder(tmp_path / "new")
    with pytest.raises(InvalidArgumentError, match="No such file"):
        check_folder(tmp_path / "not" / "there")


def test_a_journal_that_cannot_be_made_is_a_start_up_error(tmp_path):
    with pytest.raises(StartUpError, match="cannot record into"):
        written(tmp_path / "not there" / "j")
