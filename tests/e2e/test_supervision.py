"""Whatever part of a process dies, the process ends, with exit code 70 and the traceback logged.

Each case runs the real command with one of its parts replaced by one that raises.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import grpc
import pytest

from mkrpc.client import Client, apic
from mkrpc.errors import MkrpcError
from mkrpc.frame_codec import BEAT
from mkrpc.host.launch import write_config
from mkrpc.state_dir import CLUSTER_VARIABLE, end_all
from mkrpc.topology import Topology
from mkrpc.transport.address import BEATS_SUFFIX, Address
from mkrpc.transport.supervision import EXIT_BUG
from mkrpc.v1 import interconnect_pb2

pytestmark = pytest.mark.e2e

BROKEN = """
import runpy, sys

def boom(*_arguments, **_options):
    raise RuntimeError("a planted bug")

async def boom_later(*_arguments, **_options):
    raise RuntimeError("a planted bug")

{patch}
module, *sys.argv[1:] = sys.argv[1:]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""

INTERCONNECT_PARTS = {
    "the work in turn": "from mkrpc.interconnect.rota import Rota; Rota._work = boom",
    "the timer of leases": (
        "from mkrpc.interconnect.attachments import Pump; Pump._time_is_up = boom"
    ),
    "what sends frames": (
        "from mkrpc.interconnect.attachments import InstanceLink; InstanceLink.pump = boom"
    ),
    "the threads of beats": "import mkrpc.interconnect.beats as beats; beats._decoded = boom",
    "the event hub": "from mkrpc.interconnect.watch import Watcher; Watcher.put = boom",
}
INSTANCE_PARTS = {
    "the kernel's turn": "from mkrpc.instance.kernel import Kernel; Kernel.advance = boom",
    "the timer of its lease": (
        "from mkrpc.instance.process import InstanceProcess; InstanceProcess._time_is_up = boom"
    ),
    "the thread of its heartbeat": (
        "from mkrpc.instance.heartbeat import Heartbeat; Heartbeat._run = boom"
    ),
    "what takes frames": (
        "from mkrpc.instance.attachment import Attachment; Attachment.receive = boom"
    ),
    "the task that comes back": (
        "from mkrpc.instance.uplink import Uplink; Uplink._come_back = boom_later"
    ),
}
HOST_PARTS = {
    "what takes orders": "from mkrpc.host.link import HostLink; HostLink.on_frame = boom",
    "the stream's task": "from mkrpc.host.link import HostLink; HostLink._serve = boom_later",
}


class Processes:
    """Starts commands, with or without a planted bug; ends what is left of them."""

    def __init__(self, directory: Path) -> None:
        self.address = f"unix:{directory / 's'}"
        self.started: list[subprocess.Popen[str]] = []

    def start(
        self, patch: str, *command: str, output: IO[str] | None = None, **env: str
    ) -> "subprocess.Popen[str]":
        program = BROKEN.format(patch=patch)
        process = subprocess.Popen(
            [sys.executable, "-c", program, *command],
            stdout=output or subprocess.PIPE,
            stderr=output or subprocess.PIPE,
            text=True,
            env=os.environ | env,
        )
        self.started.append(process)
        return process

    def interconnect(self, patch: str = "") -> "subprocess.Popen[str]":
        process = self.start(patch, "mkrpc.interconnect", "--listen", self.address)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("listening on ")
        return process

    def instance(self, patch: str = "") -> "subprocess.Popen[str]":
        where = ("--connect", self.address, "--id", "0", "--apic-ids", "0")
        program = "mkrpc.benchmarks.storm_programs:receive_paced"
        return self.start(patch, "mkrpc.instance", *where, "--program", f"0={program}")

    def wait_until_attached(self) -> None:
        with Client(self.address) as client:
            while not client.cluster().instances:
                continue

    def end(self) -> None:
        for process in self.started:
            process.kill()
            process.communicate()


@pytest.fixture
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    directory = tmp_path_factory.mktemp("s")
    directory.chmod(0o700)
    found = Processes(directory)
    yield found
    found.end()


def assert_ended_loudly(process: "subprocess.Popen[str]") -> None:
    _, log = process.communicate()
    assert process.returncode == EXIT_BUG, log
    assert "RuntimeError: a planted bug" in log
    assert "Traceback" in log


def beat(processes: Processes) -> None:
    socket = Address(path=processes.address.removeprefix("unix:") + BEATS_SUFFIX)
    with grpc.insecure_channel(socket.connect_target) as channel, suppress(grpc.RpcError):
        request = interconnect_pb2.BeatRequest(incarnation=bytes(16)).SerializeToString()
        channel.unary_unary(BEAT)(request, timeout=60)


def watch(processes: Processes) -> None:
    with Client(processes.address) as client, suppress(MkrpcError):
        events = client.watch()
        processes.instance()
        next(events)


def attach(processes: Processes) -> None:
    processes.instance()


TRIGGERS: dict[str, Callable[[Processes], None]] = {
    "the threads of beats": beat,
    "the event hub": watch,
}


@pytest.mark.parametrize("part", INTERCONNECT_PARTS)
def test_an_interconnect_without_one_of_its_parts_ends(processes: Processes, part: str) -> None:
    interconnect = processes.interconnect(INTERCONNECT_PARTS[part])
    TRIGGERS.get(part, attach)(processes)
    assert_ended_loudly(interconnect)


@pytest.mark.parametrize("part", INSTANCE_PARTS)
def test_an_instance_without_one_of_its_parts_ends(processes: Processes, part: str) -> None:
    interconnect = processes.interconnect()
    instance = processes.instance(INSTANCE_PARTS[part])
    if part == "the task that comes back":
        processes.wait_until_attached()
        interconnect.kill()
    elif part == "what takes frames":
        with suppress(MkrpcError), Client(processes.address) as client:
            processes.wait_until_attached()
            client.inject(to=apic(0))
    assert_ended_loudly(instance)


@pytest.mark.parametrize("part", HOST_PARTS)
def test_a_host_agent_without_one_of_its_parts_ends(
    processes: Processes, part: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("h")
    topology = Topology.of(instances=1, cpus=1)
    write_config(directory, topology, address=processes.address, insecure=False, via={})
    said = directory / "said"
    with said.open("w") as output:
        # A file: the children that it leaves behind hold on to it.
        agent = processes.start(
            HOST_PARTS[part],
            "mkrpc.host",
            str(directory),
            output=output,
            **{CLUSTER_VARIABLE: str(directory)},
        )
    try:
        assert agent.wait() == EXIT_BUG
    finally:
        end_all(directory, grace_s=0)
    assert "RuntimeError: a planted bug" in said.read_text()
    assert '"ready"' not in said.read_text()


@pytest.mark.parametrize("address", ["unix", "tcp"])
def test_a_second_interconnect_at_an_address_is_refused_and_the_first_goes_on(
    processes: Processes, address: str
) -> None:
    if address == "tcp":
        processes.address = "127.0.0.1:0"
    first = processes.start("", "mkrpc.interconnect", "--listen", processes.address)
    assert first.stdout is not None
    processes.address = first.stdout.readline().removeprefix("listening on ").strip()
    with Client(processes.address) as client:
        epoch = client.cluster().epoch
        second = processes.start("", "mkrpc.interconnect", "--listen", processes.address)
        _, said = second.communicate()
        assert second.returncode == 3
        assert "is served by process" in said or "is in use by another process" in said
        assert client.cluster().epoch == epoch


def test_an_interconnect_that_is_told_to_stop_lets_settle_what_is_in_flight(
    processes: Processes,
) -> None:
    """The instance is stopped for a while with a leg in its hands, and answers within the grace."""
    interconnect = processes.interconnect()
    instance = processes.instance()
    processes.wait_until_attached()
    arrived: list[bool] = []

    def ring() -> None:
        with Client(processes.address) as other:
            arrived.append(other.inject(to=apic(0)).all_arrived)

    with Client(processes.address) as client:
        assert client.inject(to=apic(0)).all_arrived
        instance.send_signal(signal.SIGSTOP)
        ringing = threading.Thread(target=ring)
        ringing.start()
        while not client.ledger(totals_only=True).totals.in_flight:
            continue
        interconnect.send_signal(signal.SIGTERM)
        instance.send_signal(signal.SIGCONT)
        ringing.join()
    assert arrived == [True]
    assert interconnect.wait() == 0
    assert instance.wait() == 0


def test_an_interconnect_without_descriptors_refuses_by_name_and_serves_the_others(
    processes: Processes,
) -> None:
    """220 of them are 28 streams."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (220, 220))"
    interconnect = processes.interconnect(limit)
    from mkrpc.benchmarks.streams import Report, connect_all

    report = Report(streams=40, processes=1, address=processes.address, cores=1, load_before=0)
    connect_all(report)
    assert report.welcomed == 28
    (told,) = report.refused
    assert "all that its limit of open files leaves room for" in told
    assert interconnect.poll() is None
    processes.instance()
    processes.wait_until_attached()
