"""A CPU moves from one running kernel to another, as docs/moving-cpus.md has it, in processes."""

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from mkrpc.client import Client, apic
from mkrpc.cluster import Cluster
from mkrpc.errors import InstanceBusyError, InvalidArgumentError, UnavailableError
from mkrpc.fault import Fault, FaultKind
from mkrpc.outcome import Outcome
from mkrpc.topology import Topology

LEASE_S = 60
MOVED = 2
"""The APIC id of instance 1's second CPU: 0 is the host's, 1 and 2 are its, 3 and 4 the next's."""

pytestmark = pytest.mark.e2e


@pytest.fixture
def cluster():
    topology = Topology.from_dict(
        {
            "lease_s": LEASE_S,
            "instances": [
                {"id": 0, "cpus": [0]},
                {"id": 1, "name": "web", "cpus": [1, 2]},
                {"id": 2, "name": "db", "cpus": [3, 4]},
            ],
        }
    )
    with Cluster.start(topology, name=f"moving-{os.getpid()}") as made:
        yield made


def ring(client: Client) -> Counter[tuple[int | None, str]]:
    """What became of one IPI to the id, and who got it."""
    done = client.inject(to=apic(MOVED))
    return Counter({(leg.instance_id, leg.outcome.text): leg.count for leg in done.legs})


def owners(client: Client) -> dict[int, list[int]]:
    """The CPUs of each instance that runs, as `mkrpc show` has them."""
    return {
        each.id: sorted(cpu.apic_id for cpu in each.cpus) for each in client.cluster().instances
    }


def restart_interconnect(client: Client) -> None:
    view = client.cluster()
    os.kill(view.interconnect_pid, signal.SIGKILL)
    while (now := client.cluster()).epoch == view.epoch or now.recovery is not None:
        continue


def test_a_cpu_moves_between_two_kernels_and_over_a_killed_interconnect(
    cluster, assert_mirrors
) -> None:
    client = cluster.client
    delivered, nobody = Outcome.DELIVERED.text, Outcome.REJECTED_NO_SUCH_APIC.text
    assert ring(client) == {(1, delivered): 1}
    with pytest.raises(InvalidArgumentError, match=r"EINVAL: .* APIC id 1 is the boot CPU"):
        client.update_instance(1, [2])
    with pytest.raises(InstanceBusyError, match=r"EBUSY: .* APIC id 2 belongs to instance 1"):
        client.update_instance(2, [3, 4, 2])

    client.update_instance(1, [1])
    assert (client.cluster().pool, owners(client)) == ((2,), {0: [0], 1: [1], 2: [3, 4]})
    assert ring(client) == {(None, nobody): 1}
    restart_interconnect(client)
    assert (client.cluster().pool, ring(client)) == ((2,), {(None, nobody): 1})

    client.update_instance(2, [3, 4, 2])
    assert (client.cluster().pool, owners(client)) == ((), {0: [0], 1: [1], 2: [2, 3, 4]})
    assert ring(client) == {(2, delivered): 1}
    restart_interconnect(client)
    assert ring(client) == {(2, delivered): 1}
    assert "CPU2" in client.interrupts(2).splitlines()[0]
    assert "Multikernel hotplug: Adding CPU 2 (CPU 2 of this kernel)" in [
        record.text for record in client.log(2).records
    ]

    client.update_instance(2, [3, 4])
    client.update_instance(1, [1, 2])
    assert ring(client) == {(1, delivered): 1}
    assert client.cpu(MOVED).view.account.cpu == 1  # the number that it had
    assert_mirrors(cluster)
    assert client.kill_instance(2) == 0
    assert client.kill_instance(1, force=True) == 0  # its second CPU is parked by NMI too
    assert ring(client) == {(None, nobody): 1}
    client.exec_instance(1)
    assert ring(client) == {(1, delivered): 1}
    assert client.ledger().balanced


@pytest.mark.full
def test_a_cpu_on_its_way_is_the_pools_when_the_interconnect_dies(cluster) -> None:
    """Its host agent has acknowledged that it comes, its kernel was never told."""
    client = cluster.client
    client.update_instance(1, [1])
    client.set_fault(Fault(kind=FaultKind.PARTITION, instance=2))
    with ThreadPoolExecutor(1) as other, Client(cluster.address) as another:
        asked = other.submit(another.update_instance, 2, [3, 4, MOVED])
        while client.cluster().pool:
            assert not asked.done()
        restart_interconnect(client)
        with pytest.raises(UnavailableError):
            asked.result()
    while client.cluster().pool != (MOVED,):
        assert owners(client)[2] == [3, 4]
    client.update_instance(2, [3, 4, MOVED])
    assert (client.cluster().pool, owners(client)[2]) == ((), [MOVED, 3, 4])
    assert ring(client) == {(2, Outcome.DELIVERED.text): 1}
