"""Messages between real processes: over shared memory, and by the interconnect when that is not."""

import os
from errno import EINVAL, ENOSPC
from itertools import count
from pathlib import Path

import pytest
import recorded_programs

from mkrpc.client import apic
from mkrpc.instance.instructions import Load, Nop, Store
from mkrpc.journal.recorder import Recording
from mkrpc.replay.run import replay
from mkrpc.topology import Topology

pytestmark = pytest.mark.e2e

MESSAGES = 10_000
FEW = 2000
USER = 0x4000
LIFE, NUMBER, READY = 0x100, 0x108, 0x110
OURS = ("number ", "a message ", "all ", "sent ", "moved", "1 says ")
"""How lines of the programs below begin; kernels print others."""


def two(links: str) -> Topology:
    instances = [{"id": number, "cpu_count": 1} for number in (0, 1)]
    return Topology.from_dict({"links": links, "instances": instances})


def receiver(messages: int):
    """A program that counts what comes in order, by the life that sent it."""

    def program(cpu):
        lives: dict[int, int] = {}

        def note(cpu, delivery, _ctx):
            life = int.from_bytes(delivery.data[:8], "little")
            number = int.from_bytes(delivery.data[8:16], "little")
            if delivery.sender != 1 or number != lives.get(life, 0):
                cpu.printk(f"number {number} of life {life} after {lives}")
            if life < max(lives, default=0):
                cpu.printk(f"a message of life {life} after {lives}")
            lives[life] = number + 1
            yield Store(NUMBER, number + 1)
            if life > 1 and number + 1 == messages:
                cpu.printk(f"all {messages} of life {life}")

        cpu.kernel.multikernel.register_handler(USER, note)
        yield Store(READY, 1)  # what comes before there is a handler is lost on it

    return program


def sender(messages: int):
    """Sends its number of life, drawn from memory, and a count; its first life is to be cut off."""

    def program(cpu):
        while not (yield Load(READY)):
            pass
        life = (yield Load(LIFE)) + 1
        yield Store(LIFE, life)
        for number in count() if life == 1 else range(messages):
            data = life.to_bytes(8, "little") + number.to_bytes(8, "little") * 3
            ipi = cpu.kernel.multikernel
            while (result := (yield from ipi.send_ipi_data(0, data, USER))) == -ENOSPC:
                yield Nop()
            assert result == 0, result
        counts = cpu.kernel.multikernel.links.counts[0]
        cpu.printk(f"sent {counts.sent} posted {counts.posted}")

    return program


def texts(cluster, instance_id: int) -> list[str]:
    found = [record.text for record in cluster.client.log(instance_id).records]
    return [text for text in found if text.startswith(OURS)]


def wait_for(cluster, instance_id: int, text: str) -> None:
    while not any(text in each for each in texts(cluster, instance_id)):
        continue


@pytest.mark.parametrize("many", [FEW, pytest.param(MESSAGES, marks=pytest.mark.full)])
@pytest.mark.parametrize("links", ["memory", "interconnect"])
def test_thousands_of_messages_and_a_sender_that_is_killed(mk_cluster_factory, links, many) -> None:
    programs = {0: receiver(many), 1: sender(many)}
    cluster = mk_cluster_factory(two(links), programs=programs)
    while int.from_bytes(_memory(cluster, NUMBER), "little") < many // 4:
        continue
    cluster.client.kill_instance(1, force=True, signal=True)
    cluster.client.exec_instance(1)
    wait_for(cluster, 0, f"all {many} of life 2")
    wait_for(cluster, 1, "sent ")
    by_memory = many if links == "memory" else 0
    assert texts(cluster, 1) == [f"sent {by_memory} posted {many - by_memory}"]
    assert texts(cluster, 0) == [f"all {many} of life 2"]
    cluster.client.quiesce()
    assert cluster.client.ledger().balanced


def test_a_cpu_moves_between_processes_by_request(mk_cluster_factory) -> None:
    def coordinator(cpu):
        result = -1
        while result:  # those that answer may not be there yet
            hotplug = cpu.kernel.multikernel.hotplug
            result = yield from hotplug.move_cpu((1, 2), (2, 4))
        result = yield from hotplug.remove_cpu(1, 1)
        cpu.printk(f"moved, and the boot CPU says {result}")

    def serve(cpu):
        assert cpu.kernel.multikernel.hotplug is not None
        yield Nop()

    instances = [
        {"id": 0, "cpu_count": 1},
        {"id": 1, "cpu_count": 2},
        {"id": 2, "cpu_count": 2, "spare_cpus": 1},
    ]
    topology = Topology.from_dict({"instances": instances})
    cluster = mk_cluster_factory(topology, programs={0: coordinator, 1: serve, 3: serve})
    wait_for(cluster, 0, f"moved, and the boot CPU says {-EINVAL}")
    cluster.client.quiesce()
    columns = [cluster.client.interrupts(n).splitlines()[0].split() for n in (1, 2)]
    assert columns == [["CPU0"], ["CPU0", "CPU1"]]
    cluster.client.set_cpu(4, online=False)
    assert cluster.client.interrupts(2).splitlines()[0].split() == ["CPU0"]
    cluster.client.set_cpu(4, online=True)
    cluster.client.quiesce()
    assert cluster.client.inject(to=apic(4)).all_arrived


@pytest.mark.parametrize("links", ["memory", "interconnect"])
def test_messages_replay(mk_cluster_factory, tmp_path, monkeypatch, links) -> None:
    paths = [str(Path(recorded_programs.__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    programs = ("receive_messages", "send_messages")
    instances = [
        {
            "id": number,
            "cpu_count": 1,
            "programs": [{"cpu": 0, "entry": f"recorded_programs:{name}"}],
        }
        for number, name in enumerate(programs)
    ]
    topology = Topology.from_dict({"links": links, "instances": instances})
    folder = tmp_path / "recording"
    cluster = mk_cluster_factory(topology, recording=Recording(folder))
    wait_for(cluster, 0, f"1 says {recorded_programs.ROUNDS - 1}")
    cluster.client.quiesce()
    cluster.stop()
    done = replay(folder)
    assert [life.difference for life in done.lives] == [None] * 3, [
        f"{life.name}: {life.verdict} {life.difference}" for life in done.lives
    ]
    (receiver,) = [life for life in done.lives if life.name == "mk0.1"]
    log = [record.text for record in receiver.kernel.log.since(0)]
    assert [text for text in log if "says" in text] == [
        f"1 says {number}" for number in range(recorded_programs.ROUNDS)
    ]


def _memory(cluster, address: int) -> bytes:
    with (cluster.state_dir / "memory").open("rb") as file:
        file.seek(address)
        return file.read(8)
