"""Messages between real processes: over shared memory, and by the interconnect when that is not."""

from errno import EINVAL, ENOSPC

import pytest

from mkrpc.client import apic
from mkrpc.instance.instructions import Load, Nop, Store
from mkrpc.topology import Topology

pytestmark = pytest.mark.e2e

MESSAGES = 10_000
FEW = 2000
USER = 0x4000
LIFE, NUMBER = 0x100, 0x108


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
            if number + 1 == messages:
                cpu.printk(f"all {messages} of life {life}")

        cpu.kernel.multikernel.register_handler(USER, note)
        yield Nop()

    return program


def sender(messages: int):
    """Sends its number of life, drawn from memory, and a count."""

    def program(cpu):
        life = (yield Load(LIFE)) + 1
        yield Store(LIFE, life)
        for number in range(messages):
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
    return [text for text in found if text != "Multikernel interrupt"]


def wait_for(cluster, instance_id: int, text: str) -> None:
    while not any(text in each for each in texts(cluster, instance_id)):
        continue


@pytest.mark.parametrize("count", [FEW, pytest.param(MESSAGES, marks=pytest.mark.full)])
@pytest.mark.parametrize("links", ["memory", "interconnect"])
def test_thousands_of_messages_and_a_sender_that_is_killed(
    mk_cluster_factory, links, count
) -> None:
    programs = {0: receiver(count), 1: sender(count)}
    cluster = mk_cluster_factory(two(links), programs=programs)
    while int.from_bytes(_memory(cluster, NUMBER), "little") < count // 4:
        continue
    cluster.client.kill_instance(1, force=True)
    cluster.client.exec_instance(1)
    wait_for(cluster, 0, f"all {count} of life 2")
    wait_for(cluster, 1, "sent ")
    by_memory = count if links == "memory" else 0
    assert texts(cluster, 1) == [f"sent {by_memory} posted {count - by_memory}"]
    assert texts(cluster, 0) == [f"all {count} of life 2"]
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


def _memory(cluster, address: int) -> bytes:
    with (cluster.state_dir / "memory").open("rb") as file:
        file.seek(address)
        return file.read(8)
