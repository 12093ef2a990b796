"""Instances that are created, loaded, booted by INIT and SIPI, parked and deleted, in processes."""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from mkrpc import Topology, apic
from mkrpc.client.lifecycle import Image
from mkrpc.cluster import Cluster
from mkrpc.errors import (
    AlreadyExistsError,
    InstanceBusyError,
    InvalidArgumentError,
    NotFoundError,
    NothingLoadedError,
    PermissionDeniedError,
    StuckError,
)
from mkrpc.fault import Fault, FaultKind
from mkrpc.state_dir import cluster_dir

pytestmark = pytest.mark.e2e

RESPAWNS = 50
QUICK_RESPAWNS = 4


def texts(client, instance_id: int) -> list[str]:
    return [record.text for record in client.log(instance_id).records]


def legs_to(client, name: str) -> Counter:
    """How many legs from the host's kernel, by mode and outcome."""
    found: Counter = Counter()
    for row in client.ledger().rows:
        if row.destination is not None and row.destination.name == name:
            for outcome, count in row.outcomes:
                found[row.delivery_mode, outcome.name] += count
    return found


@pytest.fixture
def cluster():
    """A host and one more, and four CPUs that nobody has."""
    topology = Topology.of(instances=2, cpus=1, pool=4)
    with Cluster.start(topology, name=f"life-{os.getpid()}") as made:
        yield made


def test_a_life_from_create_to_delete(cluster, assert_mirrors):
    client = cluster.client
    with pytest.raises(InvalidArgumentError, match="EINVAL: the machine has no CPU with APIC id 9"):
        client.create_instance("web", apic_ids=[2, 9])
    with pytest.raises(InstanceBusyError, match="EBUSY: the CPU with APIC id 1 belongs to"):
        client.create_instance("web", apic_ids=[1])
    made = client.create_instance("web", apic_ids=[3, 2])
    assert (made.id, made.name, made.apic_ids) == (2, "web", (3, 2))
    assert client.cluster().pool == (4, 5)
    with pytest.raises(AlreadyExistsError, match="EEXIST"):
        client.create_instance("other", instance_id=2)
    with pytest.raises(AlreadyExistsError, match="EEXIST"):
        client.create_instance("web")
    with pytest.raises(NothingLoadedError, match=r"EINVAL: instance 2 .web. has nothing loaded"):
        client.exec_instance(2)
    client.load_instance(2, Image(cmdline="quiet"))
    assert client.find_instance("web").state == "loaded"
    with pytest.raises(InvalidArgumentError, match=r"EINVAL: instance 2 .* no CPU with APIC id 9"):
        client.exec_instance(2, apic_id=9)
    with pytest.raises(InstanceBusyError, match="EBUSY: the CPU with APIC id 1 is currently"):
        client.exec_instance(2, apic_id=1)

    client.exec_instance(2, apic_id=2)
    found = client.find_instance(2)
    assert found.state == "active"
    assert [cpu.apic_id for cpu in found.cpus] == [2, 3]  # it booted on the one that was named
    assert "smp: Brought up 1 node, 2 CPUs" in texts(client, 2)
    assert client.proc(2, "cmdline") == "quiet\n"
    assert legs_to(client, "web") == {
        ("init", "DELIVERED"): 2,
        ("startup", "DELIVERED"): 2,
        ("startup", "REJECTED_NOT_WAITING_FOR_SIPI"): 2,
    }
    assert client.inject(to=apic(3)).all_arrived
    assert_mirrors(cluster)
    with pytest.raises(InstanceBusyError, match="EBUSY"):
        client.delete_instance(2)

    assert client.kill_instance(2) == 0
    # SHUTDOWN went from kernel to kernel: a doorbell there, and one back with the acknowledgement.
    assert legs_to(client, "web")["fixed", "DELIVERED"] == 2  # and one from outside, above
    assert legs_to(client, "mk0")["fixed", "DELIVERED"] == 2  # the work for it, and the ACK
    assert client.find_instance(2).state == "loaded"
    assert client.proc(0, "multikernel").count("multikernel  0x000000008000") == 2
    assert client.kernfs("instances").entries == ("mk1/", "web/")
    assert client.kernfs("instances/web/status").text == "loaded\n"
    client.unload_instance(2)
    assert client.delete_instance(2) == (3, 2)
    assert client.cluster().pool == (2, 3, 4, 5)
    with pytest.raises(NotFoundError, match="ENOENT"):
        client.exec_instance(2)
    with pytest.raises(NotFoundError):
        client.find_instance("web")
    assert client.ledger().balanced


def test_the_host_stays_what_the_machine_booted(cluster):
    with pytest.raises(PermissionDeniedError, match="EPERM"):
        cluster.client.delete_instance(0)


def test_a_forced_end_parks_by_nmi_and_what_died_has_failed(cluster, wait_for_state):
    client = cluster.client
    client.create_instance("web", cpu_count=2)
    client.load_instance(2)
    pid = client.exec_instance(2)
    assert client.kill_instance(2, force=True) == 0  # parked: no SIGKILL was needed
    assert client.find_instance(2).state == "loaded"
    assert legs_to(client, "web")["nmi", "DELIVERED"] == 2
    again = client.exec_instance(2)
    assert again != pid
    os.kill(again, signal.SIGKILL)
    wait_for_state(client, 2, "failed")
    client.unload_instance(2)
    assert client.find_instance(2).state == "ready"
    client.update_instance(2, [])
    assert client.find_instance(2).state == "empty"
    client.delete_instance(2)
    assert client.ledger().balanced


def test_a_cpu_that_does_not_answer_is_told_by_name(cluster):
    client = cluster.client
    client.kill_instance(1)
    client.set_fault(Fault(kind=FaultKind.DROP, destination=1))
    with pytest.raises(StuckError) as caught:
        client.exec_instance(1)
    assert "CPU 0 of instance 1 (mk1), APIC id 1, is not responding" in str(caught.value)
    assert "SIPI: rejected(injected_fault)" in str(caught.value)
    found = client.find_instance(1)
    assert (found.state, found.detail) == ("failed", str(caught.value))
    client.clear_faults()
    client.exec_instance(1)
    assert client.find_instance(1).state == "active"


def test_what_was_created_is_known_to_the_next_interconnect(cluster):
    client = cluster.client
    client.create_instance("web", cpu_count=1)
    client.load_instance(2, Image(cmdline="quiet"))
    client.create_instance("gone", cpu_count=1)
    client.delete_instance(3)
    before = client.cluster()
    os.kill(before.interconnect_pid, signal.SIGKILL)
    while (after := client.cluster()).epoch == before.epoch or after.recovery is not None:
        continue
    assert after.pool == before.pool
    found = client.find_instance("web")
    assert (found.state, found.apic_ids, found.image) == ("loaded", (2,), Image(cmdline="quiet"))
    assert [instance.name for instance in after.instances] == ["mk0", "mk1", "web"]
    client.exec_instance(2)
    assert client.find_instance(2).state == "active"


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def family(pid: int) -> int:
    """A process and all that come from it."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return len(found)


SPARE_DESCRIPTORS = 4
"""Of the host agent, for the spare interconnect that it starts some seconds after the first."""
SPARE = 1
GROWTH_KIB = 8192
"""The rows of dead incarnations, which are kept up to a limit, take some 20 KiB for each life."""


@pytest.mark.parametrize("times", [QUICK_RESPAWNS, pytest.param(RESPAWNS, marks=pytest.mark.full)])
def test_the_same_id_lives_again_and_again_without_a_leak_or_a_stale_message(cluster, times):
    """Half of the lives end asked, half forced. A message of an earlier life would be one count too
    many in the next, whose counters begin at 0."""
    client = cluster.client
    client.create_instance("web", cpu_count=1)
    client.load_instance(2)
    servers = (client.cluster().interconnect_pid, cluster.host_pid)
    lives = set()
    sizes = []
    families = []
    folder = cluster_dir(cluster.name)
    for life in range(times):
        client.exec_instance(2)
        lives.add(client.find_instance(2).incarnation)
        client.inject(to=apic(2), count=life + 1)
        client.quiesce()
        (account,) = client.accounts(2, from_instance=True).instance
        counts = {count.vector: count.delivered for count in account.vectors}
        assert counts[0xEA] == life + 1
        client.kill_instance(2, force=life % 2 == 1)
        client.quiesce()
        sizes.append([(descriptors(pid), threads(pid), resident_kib(pid)) for pid in servers])
        families.append((family(cluster.host_pid), sum(1 for _ in folder.rglob("*"))))
    assert len(lives) == times
    assert client.find_instance(2).incarnations == times
    # The first two lives warm up: pools of threads, sockets of the client.
    for first, last in zip(sizes[1], sizes[-1], strict=True):
        assert last[0] <= first[0] + SPARE_DESCRIPTORS
        assert last[1] <= first[1] + 4
        assert last[2] <= first[2] + GROWTH_KIB
    processes, files = zip(*families[1:], strict=True)
    assert max(processes) <= processes[0] + SPARE
    assert max(files) <= files[0] + 2
    ledger = client.ledger()
    assert ledger.balanced, ledger.discrepancies
    assert ledger.totals.in_flight == 0
