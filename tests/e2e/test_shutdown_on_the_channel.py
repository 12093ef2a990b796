"""``mkrpc kill``: SHUTDOWN from kernel to kernel, and where there is no way between them."""

import pytest

from mkrpc.instance.instructions import Cli, Nop
from mkrpc.topology import Topology
from mkrpc.v1 import control_pb2 as pb

pytestmark = pytest.mark.e2e

HOST, TALKER, PLAIN, DEAF = range(4)
CPUS = 2


def talk(cpu):
    """Asks for messages, and stays at work."""
    cpu.kernel.multikernel.register_handler(0x4000, lambda *_: None)
    while True:
        yield Nop()


def note_for_a_while(cpu):
    """The other CPU of it has interrupts disabled: it parks all the same."""
    yield Cli()
    while True:
        yield Nop()


def parked(cluster, instance_id: int) -> tuple[int, int]:
    """The exit code of its process, and how many CPUs had parked."""
    request = pb.KillInstanceRequest(instance_id=instance_id)
    answer = cluster.client._stub.KillInstance(request, timeout=40)
    return answer.exit_code, answer.parked


def doorbells_to(cluster, name: str) -> int:
    return sum(
        count
        for row in cluster.client.ledger().rows
        if row.destination is not None and row.destination.name == name and row.vector == 0xEA
        for _, count in row.outcomes
    )


def test_each_kernel_parks_by_the_way_that_there_is(mk_cluster_factory) -> None:
    instances = [{"id": number, "cpu_count": CPUS} for number in range(4)]
    instances[DEAF]["multikernel"] = False
    topology = Topology.from_dict({"instances": instances})
    first = CPUS * TALKER
    cluster = mk_cluster_factory(topology, programs={first: talk, first + 1: note_for_a_while})
    client = cluster.client
    assert parked(cluster, TALKER) == (0, CPUS)
    assert (doorbells_to(cluster, "mk1"), doorbells_to(cluster, "mk0")) == (1, 1)
    assert parked(cluster, PLAIN) == (0, CPUS)
    assert (doorbells_to(cluster, "mk2"), doorbells_to(cluster, "mk0")) == (1, 2)
    assert parked(cluster, DEAF) == (0, CPUS), "as a command"
    assert (doorbells_to(cluster, "mk3"), doorbells_to(cluster, "mk0")) == (0, 2)
    client.exec_instance(PLAIN)
    assert parked(cluster, PLAIN) == (0, CPUS), "a second life, with another link"
    assert (doorbells_to(cluster, "mk2"), doorbells_to(cluster, "mk0")) == (2, 3)
    assert client.interrupts(HOST).count("IRQ work interrupts") == 1
    client.exec_instance(PLAIN, direct=True)
    assert parked(cluster, HOST) == (0, CPUS), "nobody is there to ask it"
    assert parked(cluster, PLAIN) == (0, CPUS), "the host is not there to ask"
    assert client.ledger().balanced
