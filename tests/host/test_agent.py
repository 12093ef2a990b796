"""The host agent by itself: what it tells its launcher, and that it ends all that it started."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mkrpc.client import Client, apic
from mkrpc.host.agent import HostAgent
from mkrpc.state_dir import CLUSTER_VARIABLE, members
from mkrpc.topology import Topology

TIMEOUT_S = 60


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A cluster's directory; its path is short, as that of a socket must be."""
    directory = Path(tempfile.mkdtemp(prefix="mk", dir="/tmp"))
    (directory / "logs").mkdir()
    yield directory
    shutil.rmtree(directory)


def configure(directory: Path, **changes) -> None:
    """What the launcher writes before it starts the agent."""
    config = {
        "address": f"unix:{directory}/s",
        "insecure": False,
        "topology": Topology.of(instances=2, cpus=1).to_dict(),
    }
    (directory / "memory").write_bytes(bytes(4096))
    (directory / "config.json").write_text(json.dumps(config | changes))


def test_an_agent_takes_its_orders_from_the_state_directory(state_dir):
    configure(state_dir, insecure=True)
    agent = HostAgent(state_dir)
    assert agent.topology == Topology.of(instances=2, cpus=1)
    assert (agent.address, agent.insecure) == (f"unix:{state_dir}/s", True)
    agent.stop()
    assert (agent.interconnect, agent.instances) == (None, {}), "there was nothing to stop"


@pytest.fixture
def run_agent(state_dir) -> Iterator[Callable[[], "subprocess.Popen[str]"]]:
    """``run_agent()``: ``python -m mkrpc.host`` on the directory; nothing of it is left after."""
    started = []

    def run(**options: Any) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "mkrpc.host", str(state_dir)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {CLUSTER_VARIABLE: str(state_dir)},
            **options,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        with process:
            process.kill()
    for pid in members(state_dir):
        os.kill(pid, signal.SIGKILL)


def said(process: "subprocess.Popen[str]") -> list[dict]:
    """The JSON lines on its standard output until it is ready or has failed, or to their end."""
    messages: list[dict] = []
    for line in process.stdout:
        messages.append(json.loads(line))
        if messages[-1].keys() & {"ready", "error"}:
            break
    return messages


def wait_until_gone(directory: Path) -> None:
    """The fork server ends once its pipe has closed, a moment after the agent; or time runs out."""
    while members(directory):
        continue


@pytest.mark.e2e
def test_it_tells_its_progress_then_where_it_is_ready_and_ends_all_when_asked(state_dir, run_agent):
    configure(state_dir)
    process = run_agent()
    address = f"unix:{state_dir}/s"
    assert said(process) == [
        {"progress": "starting the interconnect"},
        {"progress": "starting 2 instances"},
        {"progress": "1 of 2 instances attached"},
        {"progress": "2 of 2 instances attached"},
        {"ready": address},
    ]
    record = json.loads((state_dir / "cluster.json").read_text())
    assert record == {"name": state_dir.name, "address": address, "host_pid": process.pid}
    with Client(address) as client:
        assert client.inject(to=apic(1)).all_arrived
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 0
    wait_until_gone(state_dir)


@pytest.mark.e2e
def test_asked_to_end_while_it_starts_it_leaves_nobody(state_dir, run_agent):
    configure(state_dir, topology=Topology.of(instances=4, cpus=1).to_dict())
    process = run_agent()
    while "1 of 4" not in process.stdout.readline():
        continue
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 1
    wait_until_gone(state_dir)
    assert not (state_dir / "cluster.json").exists()


@pytest.mark.e2e
def test_more_instances_than_there_are_open_files_for_are_refused_before_any_starts(
    state_dir, run_agent
):
    configure(state_dir, topology=Topology.of(instances=40, cpus=1).to_dict())

    def few_open_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))

    process = run_agent(preexec_fn=few_open_files)
    (only,) = said(process)
    assert only["error"] == "40 instances take 304 open files, and 200 are allowed"
    assert only["reason"] == "LIMIT_REACHED"
    assert "ulimit -n" in only["advice"]
    assert process.wait(TIMEOUT_S) == 1
    wait_until_gone(state_dir)


@pytest.mark.e2e
def test_a_soft_limit_of_open_files_is_raised(state_dir, run_agent):
    configure(state_dir, topology=Topology.of(instances=4, cpus=1).to_dict())
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    def few_open_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))

    assert "ready" in said(run_agent(preexec_fn=few_open_files))[-1]


BAD_ENTRY = {"instances": [{"id": 0, "cpus": [0]}, {"id": 1, "cpus": [1], "handlers": ["json:no"]}]}


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("changes", "reason", "says"),
    [
        ({"address": "0.0.0.0:0"}, "NOT_PERMITTED", "interconnect: "),
        ({"address": "nonsense"}, "INVALID_ARGUMENT", "interconnect: "),
        ({"topology": BAD_ENTRY}, "BAD_TOPOLOGY", "mk1: json has no callable 'no'"),
    ],
    ids=["beyond loopback", "no address", "a bad entry"],
)
def test_what_keeps_a_process_from_starting_is_told_by_its_name(
    state_dir, run_agent, changes, reason, says
):
    configure(state_dir, **changes)
    process = run_agent()
    last = said(process)[-1]
    assert last["error"].startswith(says)
    assert last["reason"] == reason
    assert last["advice"]
    assert process.wait(TIMEOUT_S) == 1
    wait_until_gone(state_dir)
