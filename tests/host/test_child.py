"""Children are watched through pidfds and ended within one deadline, whatever hangs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from mkrpc.host.child import EXIT_UNKNOWN, Child, end, last_words

IGNORES_TERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
GRACE_S = 0.5


class Process:
    """What a Child asks of the process handle, over a real process. ``knows``: as a fork server
    that lives, which alone can tell the exit code."""

    def __init__(self, popen: subprocess.Popen, *, knows: bool) -> None:
        self._popen = popen
        self._knows = knows
        self.pid = popen.pid
        self.exitcode: int | None = None

    def join(self, timeout_s: float) -> None:
        if self._knows:
            self.exitcode = self._popen.wait(timeout_s)


@pytest.fixture
def spawn(tmp_path) -> Iterator[Callable[..., Child]]:
    """``spawn(code)``: a process that runs this code and then waits for ever."""
    started: list[subprocess.Popen] = []

    def start(code: str = "", *, knows: bool = True) -> Child:
        command = [sys.executable, "-c", f"{code}\nprint(flush=True)\ninput()"]
        popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(popen)
        popen.stdout.readline()
        return Child.of("mk1", Process(popen, knows=knows), tmp_path / "mk1.log")

    yield start
    for popen in started:
        with popen:
            popen.kill()


def test_hung_children_share_one_deadline(spawn):
    children = [spawn(IGNORES_TERM) for _ in range(4)]
    before = time.monotonic()
    end(children, grace_s=GRACE_S)
    took_s = time.monotonic() - before
    assert [child.exit_code for child in children] == [-signal.SIGKILL] * 4
    assert GRACE_S <= took_s < 3 * GRACE_S


def test_a_stopped_child_is_woken_to_take_its_leave(spawn):
    child = spawn()
    os.kill(child.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    end([child], grace_s=60.0)
    assert child.exit_code == -signal.SIGTERM


def test_the_end_of_a_child_is_its_own_and_not_the_fork_servers(spawn):
    """A dead fork server says of every child that it has ended."""
    child = spawn(knows=False)
    child.process.exitcode = 255
    assert child.wait(0) is None
    child.send(signal.SIGKILL)
    assert child.wait(60.0) == EXIT_UNKNOWN


def test_an_ended_child_takes_no_signal_and_keeps_its_exit_code(spawn):
    child = spawn("import sys; sys.exit(7)")
    assert child.wait(60.0) == 7
    child.send(signal.SIGKILL)
    assert (child.wait(0), child.pidfd) == (7, -1)
    end([child], grace_s=60.0)
    assert child.exit_code == 7


def test_a_child_that_was_reaped_before_it_could_be_watched(spawn):
    child = spawn("import sys; sys.exit(3)")
    child.wait(60.0)
    again = Child.of("mk1", child.process, child.log_path)
    assert (again.pidfd, again.wait(0)) == (-1, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "nothing"),
        ("", "nothing"),
        ("first\nlast\n", "last"),
        (json.dumps({"event": "leaving", "reason": "Kernel panic", "code": 5}), "Kernel panic"),
        (json.dumps({"event": "cannot attach", "error": "no"}) + "\n", "no"),
        (json.dumps({"event": "attached"}), "attached"),
        ("[1, 2]", "[1, 2]"),
        ("x" * 100_000, "x" * 400),
    ],
    ids=["no log", "empty", "plain", "a reason", "an error", "an event", "other JSON", "long"],
)
def test_last_words(tmp_path, text, expected):
    path = tmp_path / "mk1.log"
    if text is not None:
        path.write_text(text)
    assert last_words(path) == expected
