"""Switches of a topology, seen from outside on real processes (design 3.6)."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mkrpc.client import Client, logical
from mkrpc.cluster import find, remove
from mkrpc.state_dir import cluster_names
from mkrpc.topology import Topology

pytestmark = pytest.mark.e2e

FILE = """
[apic]
lowest_priority = "hash"
icr_bit12 = "gp"

[[instances]]
id = 0
name = "host"
cpus = [0, 1]

[[instances]]
id = 1
name = "guest"
cpus = [2, 3]
entry = "fred"

[instances.apic]
lowest_priority = "unsupported"
icr_bit12 = "cleared"
"""
BIT_12 = "icr:0x10000001041"
"""Vector 0x41 to APIC id 0x100, which nobody has, with bit 12 set."""
LOWEST = ("--to", "logical:0xf", "--mode", "lowest", "--vector")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "switches.toml"
    file.write_text(FILE)
    return file


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A short path of its own: that of a Unix socket has 107 bytes."""
    directory = tempfile.mkdtemp(prefix="mk", dir="/tmp")
    monkeypatch.setenv("MKRPC_STATE_DIR", directory)
    yield
    for name in cluster_names():
        remove(name)
    shutil.rmtree(directory)


@pytest.mark.rule("R18", "R32")
def test_the_switches_of_a_file_reach_instances_and_interconnect(
    mk_cluster_factory, shell, path, read_cal, assert_mirrors
):
    mkrpc = shell(cluster := mk_cluster_factory(Topology.load(path)))
    # The machine hashes: of four candidates the one that the vector points at.
    for vector, winner in (("0x50", 0), ("0x51", 1), ("0x52", 2), ("0x53", 3)):
        (leg,) = mkrpc.json("ipi", "--from", "0", *LOWEST, vector, "--count", "3")["legs"]
        assert (leg["apic_id"], leg["outcome"], leg["count"]) == (winner, "delivered", 3)
    # The guest does not send it at all.
    refused = mkrpc.run("ipi", "--from", "2", *LOWEST, "0x51")
    assert (refused.returncode, refused.stdout) == (1, "nobody: rejected(redirectable_ipi)\n")
    # Bit 12 is a fault on the host, and nothing in the guest.
    fault = mkrpc.run("ipi", "--from", "0", "--to", BIT_12)
    assert fault.returncode == 2
    assert "#GP on CPU 0: ICR: bit 12" in fault.stderr
    sent = mkrpc.run("ipi", "--from", "2", "--to", BIT_12)
    assert sent.stdout == "nobody: rejected(no_such_apic)\n"
    # FRED has no gate for the doorbell.
    assert mkrpc.run("ipi", "--to", "guest").returncode == 0
    cluster.client.quiesce()
    assert read_cal(cluster, 1) == [0, 0]
    assert_mirrors(cluster)


def test_show_tells_the_switches_of_the_machine_and_of_each_instance(
    mk_cluster_factory, shell, path
):
    mkrpc = shell(mk_cluster_factory(Topology.load(path)))
    shown = mkrpc.json("show")
    assert shown["apic"] == {"icr_bit12": "gp", "lowest_priority": "hash"}
    assert [instance["switches"] for instance in shown["instances"]] == [
        {},
        {"apic.icr_bit12": "cleared", "apic.lowest_priority": "unsupported", "entry": "fred"},
    ]
    lines = mkrpc.run("show").stdout.splitlines()
    assert lines[2] == "apic icr_bit12=gp, lowest_priority=hash"
    assert [line.split()[:5] for line in lines[-4:]] == [
        [str(apic_id), ("host", "guest")[apic_id // 2], str(apic_id % 2), "idle", "on"]
        for apic_id in range(4)
    ]


@pytest.mark.usefixtures("state")
def test_up_sets_switches_beside_numbers_and_over_a_file(path):
    def up(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mkrpc", "up", "--detach", *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    many = up("--name", "a", "--instances", "17", "--cpus", "1", "--apic", "intr=latched")
    told = [f"{number} of 17 instances attached" for number in (*range(2, 17, 2), 17)]
    assert many.stderr.splitlines() == [
        "starting the interconnect",
        "starting 17 instances",
        *told,
    ]
    done = up("--name", "b", "--topology", str(path), "--apic", "icr_bit12=cleared")
    assert done.stderr.splitlines()[2:] == [f"{n} of 2 instances attached" for n in (1, 2)]
    a, b = find("a").client.cluster(), find("b").client.cluster()
    assert a.apic == {"intr": "latched"}
    assert b.apic == {"lowest_priority": "hash"}
    assert b.instances[1].switches == {"apic.lowest_priority": "unsupported", "entry": "fred"}


def test_an_interconnect_by_hand_arbitrates_as_it_is_told(tmp_path):
    directory = tmp_path / "d"
    directory.mkdir(mode=0o700)
    address = f"unix:{directory}/s"
    processes = []

    def start(*command: str) -> "subprocess.Popen[str]":
        processes.append(
            subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True)
        )
        return processes[-1]

    try:
        server = start("mkrpc.interconnect", "--listen", address, "--lowest-priority", "hash")
        assert server.stdout is not None
        assert server.stdout.readline() == f"listening on {address}\n"
        start("mkrpc.instance", "--connect", address, "--id", "0", "--apic-ids", "0-3")
        with Client(address) as client:
            while not client.cluster().instances:
                continue
            assert client.cluster().apic == {"lowest_priority": "hash"}
            (leg,) = client.inject(to=logical(0xF), delivery_mode="lowest", vector=0x52).legs
            assert leg.apic_id == 2
    finally:
        for process in reversed(processes):
            process.terminate()
            process.communicate(timeout=30)
