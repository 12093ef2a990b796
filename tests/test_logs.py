"""A log stays within its bound, and says so.

A log that cannot be written is in nobody's way, and says afterwards what it lacks.
"""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import resource, sys
import structlog
from mkrpc import logs

logs.configure("test")
log = structlog.get_logger()
unlimited = resource.RLIM_INFINITY
log.info("before")
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, unlimited))
for number in range(100):
    log.info("beyond what the disk takes", number=number)
print("the program goes on", flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (unlimited, unlimited))
log.info("after")
"""


def test_a_full_disk_stops_nobody_and_is_named_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=log, check=True
        )
    assert done.stdout == b"the program goes on\n"
    *_, cut, after = path.read_text().splitlines()
    assert json.loads(after)["event"] == "after"
    # The line at which the disk was full ends in the middle, and the next begins there.
    told = json.loads(cut[cut.rindex('{"event": "lines of this log') :])
    taken = sum("beyond what the disk" in line for line in path.read_text().splitlines())
    assert told["lines"] in (100 - taken, 101 - taken)
    assert "large" in told["error"].lower()


GROWING = """
import sys
from pathlib import Path
import structlog
from mkrpc import logs

logs.MAX_LOG_BYTES = 2000
logs.configure("test")
logs.bound(Path(sys.argv[1]))
log = structlog.get_logger()
for number in range(int(sys.argv[2])):
    log.info("a line", number=number)
"""


def grow(path: Path, lines: int, *, into: Path | None = None) -> list[dict]:
    """What is in the log after a process more has written so many lines to it."""
    with (into or path).open("ab") as log:
        command = [sys.executable, "-c", GROWING, str(path), str(lines)]
        subprocess.run(command, stderr=log, check=True)
    return [json.loads(line) for line in (into or path).read_text().splitlines()]


def test_a_log_that_is_too_long_is_begun_anew_and_what_it_was_is_kept(tmp_path: Path):
    path = tmp_path / "mk1.log"
    first, *lines = grow(path, 50)
    assert first["event"] == "this log was begun anew"
    assert first["before"] == "mk1.log.1"
    assert first["bytes"] >= 2000
    before = [json.loads(line) for line in (tmp_path / "mk1.log.1").read_text().splitlines()]
    numbers = [line["number"] for line in before[1:] + lines]
    assert numbers == list(range(50 - len(numbers), 50))
    for file in (path, tmp_path / "mk1.log.1"):
        assert file.stat().st_size < 2200
    assert sorted(each.name for each in tmp_path.iterdir()) == ["mk1.log", "mk1.log.1"]


def test_the_next_life_goes_on_with_the_log_and_with_its_bound(tmp_path: Path):
    path = tmp_path / "mk1.log"
    for _ in range(6):
        lines = grow(path, 5)
        assert lines[-1]["number"] == 4
        assert path.stat().st_size < 2200
    assert (tmp_path / "mk1.log.1").exists()


def test_what_cannot_be_kept_is_let_go_with_the_reason(tmp_path: Path):
    (tmp_path / "mk1.log.1.new").mkdir()
    first, *lines = grow(tmp_path / "mk1.log", 50)
    assert "not kept: [Errno 21] Is a directory" in first["before"]
    assert lines[-1]["number"] == 49


def test_a_file_that_is_not_the_log_is_never_emptied(tmp_path: Path):
    (tmp_path / "mk1.log").touch()
    lines = grow(tmp_path / "mk1.log", 50, into=tmp_path / "mine")
    assert [line["number"] for line in lines] == list(range(50))
