"""What a benchmark has started ends with it, however it ends."""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mkrpc.benchmarks.warden import BENCH_VARIABLE, guarded_directory
from mkrpc.state_dir import end_all, members

PATIENCE_S = 60

STUBBORN = """
import signal, subprocess, sys
from mkrpc.benchmarks.serving import serve

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
wait = [sys.executable, "-c", "print(flush=True); import signal; signal.pause()"]
child = subprocess.Popen(wait, stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
serve({"never": lambda: signal.pause()})
"""
"""A subject that minds neither signals nor the end of its orders, with a child out of its group."""

BENCH = """
import signal, sys
from mkrpc.benchmarks.subject import Subject
from mkrpc.benchmarks.suite import private_state_dir
from mkrpc.cluster import Cluster
from mkrpc.topology import Topology

signal.signal(signal.SIGINT, signal.default_int_handler)
with private_state_dir() as directory:
    log = directory / "log"
    with Subject("stubborn", ["-c", sys.argv[1]], log=log) as subject:
        subject.wait_until_ready()
        if sys.argv[2] == "cluster":
            Cluster.start(Topology.of(instances=1, cpus=1), name="left")
        print(directory, flush=True)
        subject.ask("never")
"""


def wait_for_end(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return  # it has ended already
    try:
        readable, _, _ = select.select([descriptor], [], [], PATIENCE_S)
    finally:
        os.close(descriptor)
    assert readable, f"process {pid} goes on"


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("number", "beside"),
    [
        (signal.SIGKILL, "cluster"),
        (signal.SIGINT, "nothing"),
        pytest.param(signal.SIGTERM, "cluster", marks=pytest.mark.full),
    ],
    ids=lambda each: getattr(each, "name", each),
)
def test_nobody_is_left_of_a_benchmark_that_has_gone(number: signal.Signals, beside: str):
    # Its session is its own: what it starts is to end without a terminal that tells it.
    with subprocess.Popen(
        [sys.executable, "-c", BENCH, STUBBORN, beside],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as bench:
        assert bench.stdout is not None
        assert bench.stderr is not None
        directory = Path(bench.stdout.readline().decode().strip())
        pids = members(directory, variable=BENCH_VARIABLE)
        assert len(pids) >= (6 if beside == "cluster" else 2)
        try:
            bench.send_signal(number)
            for pid in pids:
                wait_for_end(pid)
            # The warden has it open until it is done.
            bench.stderr.read()
            assert members(directory, variable=BENCH_VARIABLE) == []
            assert not directory.exists()
        finally:
            end_all(directory, grace_s=0.0, variable=BENCH_VARIABLE)
            bench.kill()


def test_what_a_block_leaves_ends_with_it_and_nobody_else_does():
    code = "import signal; print(flush=True); signal.pause()"
    wait = [sys.executable, "-c", code]
    with subprocess.Popen(wait, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with guarded_directory("mkt") as directory:
            left = subprocess.Popen(wait, stdout=subprocess.PIPE, start_new_session=True)
            assert left.stdout is not None
            left.stdout.readline()
            (directory / "file").touch()
            with guarded_directory("mkt") as inner:
                assert os.environ[BENCH_VARIABLE] == str(inner)
            assert left.poll() is None
        assert left.wait(PATIENCE_S) == -signal.SIGKILL
        left.stdout.close()
        assert BENCH_VARIABLE not in os.environ
        assert not directory.exists()
        assert other.poll() is None
        other.terminate()


def test_a_benchmark_names_its_directory_to_what_it_starts():
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    with guarded_directory("mkt") as directory:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(done.stdout)[BENCH_VARIABLE] == str(directory)
