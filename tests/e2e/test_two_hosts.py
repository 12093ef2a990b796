"""Kernels that can share no memory: as two hosts would, as far as one machine has them.

Instances that are started by hand map no memory with anybody, whatever directory they are given:
here each has a state directory of its own, and in the second test a network of its own too.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import messengers
import pytest

from mkrpc.client import Client
from mkrpc.topology import Topology

pytestmark = pytest.mark.e2e

LISTEN, ANSWER = "messengers:listen", "messengers:answer_everybody"
CALL, SERVE = "messengers:call_the_host", "mkrpc.instance.multikernel.cpu_hotplug:serve_cpus"
ONE, OTHER = "10.231.7.1", "10.231.7.2"


def environment(directory: Path) -> dict[str, str]:
    """Of a process that has nothing in common with others but the network and the programs."""
    directory.mkdir(mode=0o700)
    paths = [str(Path(messengers.__file__).parent), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(filter(None, paths))
    return os.environ | {"MKRPC_STATE_DIR": str(directory), "PYTHONPATH": path}


class Host:
    """Starts processes; ``enter``: what puts them into its network."""

    def __init__(self, stack: ExitStack, directory: Path, *enter: str) -> None:
        self._stack = stack
        self._environment = environment(directory)
        self._log = directory / "log"
        self._enter = enter

    def start(self, *arguments: str, **how: object) -> "subprocess.Popen[str]":
        with self._log.open("a") as log:
            process = subprocess.Popen(
                [*self._enter, sys.executable, "-m", *arguments],
                text=True,
                stderr=log,
                env=self._environment,
                **how,
            )
        self._stack.callback(process.communicate)
        self._stack.callback(process.terminate)
        return process

    def interconnect(self, address: str) -> str:
        """Where it listens."""
        options = ("--listen", address, "--insecure")
        process = self.start("mkrpc.interconnect", *options, stdout=subprocess.PIPE)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on "), self._log.read_text()
        return line.split()[2]

    def instance(self, address: str, number: int, apic_ids: str, *programs: str) -> None:
        options = [word for each in programs for word in ("--program", each)]
        where = ("--connect", address, "--id", str(number), "--apic-ids", apic_ids)
        self.start("mkrpc.instance", *where, *options)

    def typed(self, *arguments: str) -> str:
        """What an ``mkrpc`` command prints."""
        done = subprocess.run(
            [*self._enter, sys.executable, "-m", "mkrpc", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env=self._environment,
            check=False,
        )
        return done.stdout + done.stderr


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


def wait_for(client: Client, instance_id: int, *texts: str) -> None:
    while not set(texts) <= {record.text for record in client.log(instance_id).records}:
        continue


def test_a_neighbour_by_memory_and_a_stranger_through_the_interconnect(
    mk_cluster_factory, tmp_path, monkeypatch, stack, assert_mirrors
) -> None:
    """One kernel talks both ways at a time; what is by hand comes after the cluster."""
    monkeypatch.setenv("PYTHONPATH", environment(tmp_path / "c")["PYTHONPATH"])
    specs = [
        {"id": 0, "cpu_count": 1, "programs": [{"cpu": 0, "entry": ANSWER}]},
        {"id": 1, "cpu_count": 1, "programs": [{"cpu": 0, "entry": LISTEN}]},
    ]
    topology = Topology.from_dict({"instances": specs})
    cluster = mk_cluster_factory(topology, address="127.0.0.1:0")
    client = cluster.client
    elsewhere = Host(stack, tmp_path / "elsewhere")
    elsewhere.instance(cluster.address, 7, "8,9", f"0={CALL}", f"1={SERVE}")
    wait_for(client, 0, "7 says here I am")
    wait_for(client, 7, "0 says instance 7 was heard")
    assert client.send_message(0, 1, "neighbour").way == "memory"
    assert client.send_message(0, 7, "stranger").way == "interconnect"
    assert client.send_message(7, 1, "stranger").taken
    assert client.send_message(1, 7, "stranger").way == "interconnect"
    wait_for(client, 1, "0 says neighbour", "7 says stranger")
    assert client.ask_for_cpu(0, 9, online=False) == 7
    assert client.interrupts(7).splitlines()[0].split() == ["CPU0"]
    assert_mirrors(cluster)


@pytest.fixture
def two_networks(tmp_path, stack) -> tuple[Host, Host]:
    """Two network namespaces with a wire between them."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-n", "ip", "link"], check=False).returncode:
        pytest.skip("network namespaces take root, unshare and ip")
    pids = []
    for _ in range(2):
        idle = [sys.executable, "-c", "import sys; print(); sys.stdout.flush(); sys.stdin.read()"]
        holder = subprocess.Popen(
            ["unshare", "-n", *idle], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        stack.callback(holder.communicate)
        assert holder.stdout is not None
        holder.stdout.readline()
        pids.append(str(holder.pid))
    one, other = (("nsenter", "-t", pid, "-n") for pid in pids)
    for command in (
        (*one, "ip", "link", "add", "wire", "type", "veth", "peer", "wire", "netns", pids[1]),
        (*one, "ip", "address", "add", f"{ONE}/30", "dev", "wire"),
        (*other, "ip", "address", "add", f"{OTHER}/30", "dev", "wire"),
        *((*each, "ip", "link", "set", name, "up") for each in (one, other) for name in ("lo",)),
        *((*each, "ip", "link", "set", "wire", "up") for each in (one, other)),
    ):
        subprocess.run(command, check=True)
    return Host(stack, tmp_path / "one", *one), Host(stack, tmp_path / "other", *other)


@pytest.mark.full
def test_over_a_network(two_networks) -> None:
    one, other = two_networks
    address = one.interconnect(f"{ONE}:0")
    one.instance(address, 0, "0", f"0={LISTEN}")
    other.instance(address, 1, "1,2", f"0={LISTEN}", f"1={SERVE}")
    at = ("--address", address)
    said = ""
    while "has taken it" not in said:  # until both have attached
        said = one.typed("message", "0", "1", "hello over there", *at)
    assert said == "instance 1 (mk1) has taken it; sent through the interconnect\n"
    back = other.typed("message", "1", "0", "hello back", *at)
    assert back == "instance 0 (mk0) has taken it; sent through the interconnect\n"
    assert "0 says hello over there" in other.typed("dmesg", "1", *at)
    assert "1 says hello back" in other.typed("dmesg", "0", *at)
    gone = one.typed("cpu", "2", "--online", "off", "--ask", "0", *at)
    assert "CPU 1 of instance 1: halted" in gone
    assert "the books balance" in one.typed("ledger", *at)
