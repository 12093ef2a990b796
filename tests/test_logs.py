"""A log that cannot be written is in nobody's way, and says afterwards what it lacks."""

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
