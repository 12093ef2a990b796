"""``mkrpc up`` in the foreground: whenever a signal comes, nothing stays behind."""

import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.e2e

# Standard output that is interrupted in the very moment in which the cluster is said to be up.
INTERRUPTED = """
import io, os, signal, sys
from mkrpc.cli import main

class Interrupted(io.TextIOWrapper):
    def write(self, text):
        written = super().write(text)
        if "is up" in text:
            self.flush()
            os.kill(os.getpid(), {signal})
        return written

sys.stdout = Interrupted(sys.stdout.buffer, encoding="utf-8", line_buffering=True)
main(["up", "--name", "brief", "--instances", "1", "--cpus", "1"])
"""


def processes_of(directory) -> list[int]:
    """What the directory's clusters have left running, by the mark in its environment."""
    mark = f"MKRPC_CLUSTER={directory}/brief".encode()
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as environment:
                if mark in environment.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:
            continue  # It ended meanwhile, or is somebody else's.
    return found


@pytest.fixture
def state_dir(mk_cluster_factory):
    """The private directory that the plugin has made, with a name short enough for sockets."""
    directory = os.environ["MKRPC_STATE_DIR"]
    yield directory
    for pid in processes_of(directory):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_right_after_the_start_stops_the_cluster(state_dir, name):
    script = INTERRUPTED.format(signal=int(signal.Signals[name]))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.startswith("cluster brief is up")
    assert "stopping cluster brief" in done.stderr
    assert done.returncode == 0
    assert processes_of(state_dir) == []
    assert not os.path.exists(f"{state_dir}/brief")


def test_what_nohup_has_switched_off_stays_off(state_dir):
    script = INTERRUPTED.format(signal=int(signal.SIGHUP)).replace(
        "main([", "signal.signal(signal.SIGHUP, signal.SIG_IGN); main(["
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("cluster brief is up")
        # Only a cluster that outlived the SIGHUP goes on to say how its instances are.
        assert process.stdout.readline().startswith("instance 0")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert processes_of(state_dir) == []
