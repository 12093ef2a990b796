"""Starts, stops and everything between that goes wrong: one cluster per name, nothing left over."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mkrpc import cluster as cluster_module
from mkrpc.client import Client, apic
from mkrpc.cluster import Cluster, find, remove, running
from mkrpc.errors import ClusterStateError, InstanceBusyError, MkrpcError, NotFoundError
from mkrpc.state_dir import (
    CLUSTER_VARIABLE,
    RECORD_FILE,
    cluster_dir,
    end_all,
    locked,
    make_dir,
    make_private,
    members,
)
from mkrpc.topology import Topology

pytestmark = pytest.mark.e2e

TIMEOUT_S = 60
SMALL = Topology.of(instances=2, cpus=1)


@pytest.fixture
def state(mk_cluster_factory) -> Iterator[Path]:
    """The directory of all clusters; also what a test starts by other means ends with it."""
    root = Path(os.environ["MKRPC_STATE_DIR"])
    yield root
    for path in root.iterdir():
        end_all(path, grace_s=0.0)


def cli(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "mkrpc", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


def finish(*processes: "subprocess.Popen[str]") -> list[tuple[int, str]]:
    """Exit code and standard error of each, the successful ones first."""
    ends = []
    for process in processes:
        _, errors = process.communicate(timeout=TIMEOUT_S)
        assert "Traceback" not in errors
        ends.append((process.returncode, errors))
    return sorted(ends)


def wait_for_end(pid: int) -> None:
    """Until the process has ended; it may be nobody's child here."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    ended = poll.poll(TIMEOUT_S * 1000)
    os.close(descriptor)
    assert ended, f"process {pid} goes on"


EARLY = """
import os

def program(cpu):
    with open({fifo!r}, "w"):  # once mk2 is about to start
        os._exit(7)
    yield
"""
LATE = """
with open({fifo!r}) as fifo:
    fifo.read()  # until mk1 has ended

def handler(cpu):
    pass
"""


def test_an_instance_that_ends_during_start_up_ends_the_start(state, tmp_path, monkeypatch):
    """Instance 1 attaches and ends before instance 2 has attached: every time, by the pipe."""
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    (tmp_path / "early_end.py").write_text(EARLY.format(fifo=fifo))
    (tmp_path / "late_start.py").write_text(LATE.format(fifo=fifo))
    path = tmp_path / "machine.toml"
    path.write_text(
        "[[instances]]\nid = 0\ncpus = [0]\n"
        "[[instances]]\nid = 1\ncpus = [1]\n"
        '[[instances.programs]]\ncpu = 0\nentry = "early_end:program"\n'
        '[[instances]]\nid = 2\ncpus = [2]\nhandlers = ["late_start:handler"]\n'
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    ((code, errors),) = finish(cli("up", "--detach", "--name", "a", "--topology", str(path)))
    assert code == 3
    assert "instance 1 (mk1) ended during start-up, exit code 7" in errors
    assert list(state.iterdir()) == []
    assert members(state / "a") == []


def test_a_directory_that_mkrpc_did_not_make_is_left_as_it_is(state):
    (state / "a").mkdir()
    (state / "a" / "precious").write_text("1")
    with pytest.raises(ClusterStateError, match="was not made by mkrpc"):
        Cluster.start(SMALL, name="a")
    with pytest.raises(ClusterStateError, match="was not made by mkrpc"):
        remove("a")
    ends = finish(cli("down", "--all"))
    assert ends[0][0] == 0
    assert (state / "a" / "precious").read_text() == "1"
    assert [path.name for path in state.iterdir()] == ["a"]


def test_of_two_starts_at_a_time_one_succeeds_and_of_two_stops(state):
    up = ("up", "--detach", "--name", "a", "--instances", "2")
    (code, _), *refused = finish(*(cli(*up) for _ in range(3)))
    assert code == 0
    for code, errors in refused:
        assert code == 3
        assert "is being started by process" in errors or "runs already" in errors
    with Client(find("a").address) as client:
        assert client.inject(to=apic(1)).all_arrived
    (code, _), *late = finish(*(cli("down", "--name", "a") for _ in range(3)))
    assert code == 0
    for code, errors in late:
        assert code == 3
        assert "no cluster named 'a'" in errors
    assert list(state.iterdir()) == []


def test_a_name_that_is_held_is_neither_started_nor_removed(mk_cluster_factory, state, monkeypatch):
    monkeypatch.setattr(cluster_module, "LOCK_WAIT_S", 0.0)
    cluster = mk_cluster_factory(SMALL, name="a")
    with locked("a", "stopped"):
        for attempt in (cluster.stop, lambda: Cluster.start(SMALL, name="a")):
            with pytest.raises(ClusterStateError, match="'a' is being stopped by process"):
                attempt()
    assert Client(cluster.address).inject(to=apic(1)).all_arrived


@pytest.mark.mk_topology(instances=2, cpus=1)
def test_of_many_execs_at_a_time_one_starts_the_instance(mk_cluster):
    mk_cluster.client.kill_instance(1, force=True)
    before = set(members(mk_cluster.state_dir))
    pids, errors = [], []

    def exec_() -> None:
        with Client(mk_cluster.address) as client:
            try:
                pids.append(client.exec_instance(1))
            except MkrpcError as error:
                errors.append(error)

    threads = [threading.Thread(target=exec_) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 1
    assert {type(error) for error in errors} == {InstanceBusyError}
    assert set(members(mk_cluster.state_dir)) - before == set(pids)
    assert mk_cluster.pids()[1] == pids[0]
    assert mk_cluster.client.kill_instance(1) == 0
    assert mk_cluster.client.exec_instance(1) not in pids


def test_a_cluster_is_found_by_any_name_of_its_root(mk_cluster_factory, state, monkeypatch):
    with tempfile.TemporaryDirectory(prefix="mk", dir="/tmp") as elsewhere:
        link = Path(elsewhere) / "l"
        link.symlink_to(state)
        monkeypatch.setenv("MKRPC_STATE_DIR", str(link / "r"))
        cluster = mk_cluster_factory(SMALL, name="a")
        monkeypatch.setenv("MKRPC_STATE_DIR", str(state / "r"))
        assert find("a").host_pid == cluster.host_pid
        remove("a")
        assert members(cluster.state_dir) == []
        assert not (state / "r" / "a").exists()


@pytest.fixture
def stubborn(mk_cluster_factory) -> Iterator["subprocess.Popen[str]"]:
    """A cluster ``a`` whose host agent, a child of this process, takes no SIGTERM."""
    directory = cluster_dir("a")
    make_private(directory.parent)
    make_dir(directory)
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True)"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code}; input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {CLUSTER_VARIABLE: str(directory)},
    )
    with process:
        process.stdout.readline()
        record = {"name": "a", "address": "unix:/nowhere", "host_pid": process.pid}
        (directory / RECORD_FILE).write_text(json.dumps(record))
        yield process
        process.kill()


def test_a_host_agent_that_does_not_end_is_killed(stubborn, monkeypatch):
    monkeypatch.setattr(cluster_module, "STOP_TIMEOUT_S", 0.3)
    done = remove("a")
    assert f"a: killed what was left: {stubborn.pid}" in done
    assert not cluster_dir("a").exists()


def test_a_stopped_host_agent_does_not_hold_up_the_end(mk_cluster):
    os.kill(mk_cluster.host_pid, signal.SIGSTOP)
    os.waitid(os.P_PID, mk_cluster.host_pid, os.WSTOPPED | os.WNOWAIT)
    done = remove(mk_cluster.name)
    assert not [line for line in done if "killed what was left" in line], "it went on, and ended"
    assert members(mk_cluster.state_dir) == []


def test_without_its_host_agent_a_cluster_goes_on(mk_cluster, shell):
    assert list(mk_cluster.state_dir.glob("pymp-*")), "what is left of it goes with the cluster"
    os.kill(mk_cluster.host_pid, signal.SIGKILL)
    wait_for_end(mk_cluster.host_pid)
    assert find(mk_cluster.name).address == mk_cluster.address
    assert mk_cluster.name in running()
    line = shell(mk_cluster)
    assert {i["state"] for i in line.json("show")["instances"]} == {"active"}
    assert line.run("ipi", "--to", "1").returncode == 0
    refused = line.run("exec", "1")
    assert refused.returncode == 3
    assert "no host agent is attached" in refused.stderr
    assert "mkrpc down" in refused.stderr
    with pytest.raises(ClusterStateError, match="runs already"):
        Cluster.start(SMALL, name=mk_cluster.name)
    assert line.run("down").returncode == 0
    assert members(mk_cluster.state_dir) == []
    with pytest.raises(NotFoundError):
        find(mk_cluster.name)


def test_what_a_crash_left_is_told_from_nothing(mk_cluster):
    for pid in members(mk_cluster.state_dir):
        os.kill(pid, signal.SIGKILL)
        wait_for_end(pid)
    with pytest.raises(NotFoundError) as found:
        find(mk_cluster.name)
    assert f"mkrpc down --name {mk_cluster.name}" in found.value.advice


def fork_server(cluster: Cluster, *, of: int) -> int:
    """The process id of the fork server that an instance comes from: its parent, from proc(5)."""
    stat = Path(f"/proc/{cluster.pids()[of]}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


@pytest.mark.mk_topology(instances=3, cpus=1)
def test_without_its_fork_server_a_cluster_goes_on(mk_cluster):
    client = mk_cluster.client
    pids = mk_cluster.pids()
    victim = fork_server(mk_cluster, of=1)
    os.kill(victim, signal.SIGKILL)
    wait_for_end(victim)
    client.kill_instance(1, force=True)
    wait_for_end(pids[1])
    assert mk_cluster.pids() == {0: pids[0], 2: pids[2]}
    client.exec_instance(1)
    assert client.inject(to=apic(1)).all_arrived
    os.kill(fork_server(mk_cluster, of=1), signal.SIGKILL)
    mk_cluster.stop()
    assert members(mk_cluster.state_dir) == []


@pytest.fixture
def socket_dir() -> Iterator[Path]:
    """A private directory of the user's, with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="mk", dir="/tmp") as directory:
        yield Path(directory)


@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "crashed"])
def test_a_socket_elsewhere_goes_with_its_cluster(mk_cluster_factory, socket_dir, crash):
    cluster = mk_cluster_factory(SMALL, address=f"unix:{socket_dir}/s")
    assert {path.name for path in socket_dir.iterdir()} == {"s", "s.beats", "s.lock"}
    if crash:
        for pid in members(cluster.state_dir):
            os.kill(pid, signal.SIGKILL)
            wait_for_end(pid)
    cluster.stop()
    assert list(socket_dir.iterdir()) == []


def test_a_socket_that_another_cluster_serves_stays(mk_cluster_factory, socket_dir):
    address = f"unix:{socket_dir}/s"
    first = mk_cluster_factory(SMALL, address=address)
    for pid in members(first.state_dir):
        os.kill(pid, signal.SIGKILL)
        wait_for_end(pid)
    second = mk_cluster_factory(SMALL, address=address)
    first.stop()
    with pytest.raises(MkrpcError, match="is served by process"):
        mk_cluster_factory(SMALL, address=address)
    with Client(second.address) as client:
        assert client.inject(to=apic(1)).all_arrived


LAUNCHER = """
import os, signal
from mkrpc.cluster import Cluster
from mkrpc.topology import Topology

def tell(line):
    if "1 of 4" in line:
        os.kill(os.getpid(), signal.{signal})

Cluster.start(Topology.of(instances=4, cpus=1), name="a", on_progress=tell)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_start_whose_launcher_dies_leaves_no_process(
    mk_cluster_factory: Callable[..., Cluster], state: Path, number: signal.Signals
):
    command = [sys.executable, "-c", LAUNCHER.format(signal=number.name)]
    assert subprocess.run(command, timeout=TIMEOUT_S, check=False).returncode == -number
    while pids := members(state / "a"):
        wait_for_end(pids[0])
    with pytest.raises(NotFoundError):
        find("a")
    again = mk_cluster_factory(SMALL, name="a")
    assert again.client.inject(to=apic(1)).all_arrived
    again.stop()
    assert list(state.iterdir()) == []
