"""``mkrpc chaos``, short: real processes are killed, stopped and cut off under load."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mkrpc.client import Client
from mkrpc.state_dir import cluster_names

pytestmark = pytest.mark.e2e

Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """``run(*arguments)``: the command as a user types it, with clusters of its own."""
    directory = tempfile.mkdtemp(prefix="mk", dir="/tmp")
    monkeypatch.setenv("MKRPC_STATE_DIR", directory)
    # Whatever is kept of a run that fails is kept below the directory of this test.
    monkeypatch.setenv("TMPDIR", directory)
    started = []

    def start(*arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "mkrpc", "chaos", *arguments, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"COLUMNS": "200"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
    shutil.rmtree(directory)


def client_of(process: "subprocess.Popen[str]") -> Client:
    """A client of the cluster, once that is up."""
    record = Path(os.environ["MKRPC_STATE_DIR"]) / "chaos" / "cluster.json"
    while not record.exists():
        assert process.poll() is None
    return Client(json.loads(record.read_text())["address"])


def report_of(process: "subprocess.Popen[str]") -> dict:
    """What it says in the end; a run that does not add up fails with all that it found."""
    output, errors = process.communicate(timeout=110)
    assert output, errors
    report = json.loads(output)
    assert report["findings"] == {}, report
    assert (process.returncode, report["passed"]) == (0, True)
    return report


def test_a_short_run_of_every_kind_adds_up_and_leaves_nothing_behind(run):
    report = report_of(
        run(
            *("--minutes", "0.3", "--every", "2.25", "--seed", "11", "--rate", "300"),
            *("--instances", "4", "--cpus", "2"),
        )
    )
    assert report["planned"] == 8
    assert sum(report["faults"].values()) + report["skipped"] == 8
    assert set(report["faults"]) == {"kill", "stop", "link", "interconnect"}
    assert report["restarts"] == report["faults"]["interconnect"]
    assert (report["lost_without_reason"], report["doubled"]) == (0, 0)
    assert report["incarnations"] > 4
    assert report["legs"] > 500
    assert cluster_names() == []
    assert [path.name for path in Path(os.environ["TMPDIR"]).glob("mkrpc-chaos-*")] == []


def test_a_death_that_is_no_fault_of_the_plan_is_found_and_the_logs_are_kept(run):
    """So that a run can fail: the test kills an instance behind its back."""
    process = run("--minutes", "0.15", "--every", "2", "--instances", "3", "--kinds", "stop")
    client = client_of(process)
    victim = client.find_instance(1)
    while client.ledger(totals_only=True).totals.delivered < 200:
        assert process.poll() is None
    os.kill(victim.pid, signal.SIGKILL)
    client.close()
    output, errors = process.communicate(timeout=110)
    report = json.loads(output)
    assert (process.returncode, report["passed"]) == (1, False), errors
    assert victim.incarnation.hex()[:8] in report["findings"]["endings"][0]
    kept = Path(report["kept"])
    assert json.loads((kept / "report.json").read_text()) == report
    assert (kept / "logs" / "mk1.log").exists()
    assert cluster_names() == []


def test_ctrl_c_ends_the_faults_and_all_is_checked(run):
    process = run("--minutes", "30", "--every", "1", "--instances", "2", "--cpus", "1")
    client_of(process).close()
    process.send_signal(signal.SIGINT)
    report = report_of(process)
    assert report["cut_short"]
    assert report["planned"] == 1800
    assert cluster_names() == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--kinds", "flood"), "'flood' is no kind of fault"),
        (("--instances", "20", "--cpus", "4"), "20 instances of 4 CPUs are no load"),
    ],
    ids=["kind", "size"],
)
def test_what_no_run_can_be_is_refused_before_anything_starts(run, arguments, says):
    process = run(*arguments)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (2, "")
    assert says in errors


def test_a_plan_can_be_read_beforehand_and_is_that_of_its_seed(run):
    plans = [run("--plan", "--seed", "3", "--minutes", "30").communicate()[0] for _ in range(2)]
    assert plans[0] == plans[1]
    assert len(json.loads(plans[0])["faults"]) == 360
