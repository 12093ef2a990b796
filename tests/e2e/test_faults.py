"""Every kind of fault once on real processes, and the books after it (docs/faults.md)."""

import pytest

from mkrpc.client import Client, apic
from mkrpc.errors import ClusterStateError
from mkrpc.fault import Direction, Fault, FaultKind
from mkrpc.outcome import Outcome
from mkrpc.topology import Topology

pytestmark = pytest.mark.e2e

COUNT = 3_000


def kind(name: str, **fields) -> Fault:
    return Fault(kind=FaultKind(name), **fields)


def lives(client: Client) -> dict[int, bytes]:
    return {instance.id: instance.incarnation for instance in client.cluster().instances}


def ring(client: Client) -> None:
    """From outside and between instances, there and back."""
    results = [
        client.inject(to=apic(2), count=COUNT),
        client.write_icr(0, to=apic(3), vector=0x41, count=COUNT),
        client.write_icr(2, to=apic(1), vector=0x42, count=COUNT),
    ]
    for result in results:
        assert {leg.outcome for leg in result.legs} == {Outcome.DELIVERED}
        assert sum(leg.count for leg in result.legs) == COUNT


LINK_FAULTS = (
    kind("delay", delay_us=30_000, jitter_us=20_000),
    kind("duplicate", share=0.5, seed=1),
    kind("reorder", every=4),
    kind("reorder", every=3, direction=Direction.DOWN, instance=1),
    kind("partition", for_us=700_000, instance=1),
    kind("partition", for_us=700_000, direction=Direction.UP),
    kind("partition", for_us=700_000, direction=Direction.DOWN),
    kind("flap", period_us=150_000),
)


@pytest.mark.mk_topology(lease_s=60)
def test_link_faults_change_nothing_but_time(mk_cluster, assert_mirrors):
    client = mk_cluster.client
    before = lives(client)
    rings = 0
    for fault in LINK_FAULTS:
        injected = client.set_fault(fault)
        assert client.cluster().faults[0].number == injected.number
        while True:
            ring(client)
            rings += 1
            found = client.faults()
            if fault.kind is FaultKind.PARTITION or found[0].struck:
                break
        client.clear_faults()
        assert lives(client) == before
        assert_mirrors(mk_cluster)
        totals = client.ledger().totals
        assert totals.delivered == totals.written == rings * 3 * COUNT


def test_a_drop_is_in_the_books_by_name(mk_cluster, assert_mirrors, shell):
    client = mk_cluster.client
    line = shell(mk_cluster).run(
        "fault", "drop", "--source", "mk0", "--destination", "1", "--vector", "0x41", "--every", "3"
    )
    assert line.stdout == ("fault 1 (drop from 0 to 1, vector 0x41, 1 in 3) until it is cleared\n")
    result = client.write_icr(0, to=apic(2), vector=0x41, count=300)
    assert {leg.outcome: leg.count for leg in result.legs} == {
        Outcome.DELIVERED: 200,
        Outcome.REJECTED_INJECTED_FAULT: 100,
    }
    assert client.write_icr(0, to=apic(2), vector=0x42).all_arrived
    assert_mirrors(mk_cluster)
    shown = shell(mk_cluster)
    assert "rejected(injected_fault) 100" in shown.run("ledger").stdout
    assert "faults 1 (drop from 0 to 1" in shown.run("show").stdout
    (cleared,) = shown.json("fault", "clear", "1")["faults"]
    assert cleared["struck"] == 100
    assert client.write_icr(0, to=apic(2), vector=0x41, count=9).all_arrived


def test_faults_are_in_the_stream_of_events(mk_cluster):
    client = mk_cluster.client
    events = client.watch()
    client.set_fault(kind("drop", limit=2))
    client.inject(to=apic(2), count=5)
    seen = []
    for batch in events:
        seen += batch.events
        if any(event.kind == "fault_ended" for event in seen):
            break
    events.close()
    began = next(event for event in seen if event.kind == "fault_began")
    assert began.fields["what"] == "drop from any to any, 2 at most"
    ended = next(event for event in seen if event.kind == "fault_ended")
    assert (ended.fields["struck"], ended.fields["number"]) == ("2", "1")
    dropped = [e for e in seen if e.fields.get("outcome") == "rejected(injected_fault)"]
    assert sum(int(event.fields["count"]) for event in dropped) == 2


def test_a_partition_beyond_the_lease_fences_and_is_booked(
    mk_cluster, assert_mirrors, wait_for_state
):
    client = mk_cluster.client
    before = lives(client)
    client.set_fault(kind("partition", instance=1))
    result = client.inject(to=apic(2), count=10)
    assert {leg.outcome for leg in result.legs} <= {
        Outcome.LOST_TARGET_DEAD,
        Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED,
    }
    wait_for_state(client, 1, "failed")
    while "exit code 7" not in client.find_instance(1).detail:
        continue
    client.clear_faults()
    client.exec_instance(1)
    after = lives(client)
    assert (after[0], after[1] == before[1]) == (before[0], False)
    assert client.inject(to=apic(2), count=10).all_arrived
    assert_mirrors(mk_cluster)


@pytest.mark.mk_topology(lease_s=60)
def test_a_pause_within_the_lease_loses_nothing(mk_cluster, assert_mirrors):
    client = mk_cluster.client
    before = lives(client)
    assert client.pause_instance(1) == client.find_instance(1).pid
    (fault,) = client.faults()
    assert fault.text == "pause instance 1"
    assert client.find_instance(1).detail.startswith("paused")
    with pytest.raises(ClusterStateError, match="paused already"):
        client.pause_instance(1)
    client.resume_instance(1)
    client.pause_instance(1, for_s=0.5)
    assert client.inject(to=apic(2), count=100).all_arrived, "once it goes on"
    while client.faults():
        continue  # its host agent says so after it has gone on
    with pytest.raises(ClusterStateError, match="is not paused"):
        client.resume_instance(1)
    client.pause_instance(1)
    client.resume_instance(1)
    client.pause_instance(1)
    assert [each.text for each in client.clear_faults()] == ["pause instance 1"]
    assert client.inject(to=apic(2), count=100).all_arrived
    assert lives(client) == before
    assert_mirrors(mk_cluster)


def test_a_pause_beyond_the_lease_ends_the_incarnation(mk_cluster, assert_mirrors):
    client = mk_cluster.client
    client.pause_instance(1)
    result = client.inject(to=apic(2), count=10)
    assert not result.all_arrived
    assert client.find_instance(1).detail.startswith("lease expired")
    client.resume_instance(1)
    while "exit code 7" not in client.find_instance(1).detail:
        continue
    client.exec_instance(1)
    assert client.inject(to=apic(2)).all_arrived
    assert client.faults() == ()
    client.pause_instance(1)
    assert client.kill_instance(1, force=True) == -9
    assert client.faults() == ()
    assert_mirrors(mk_cluster)


def test_faults_of_a_topology_are_there_from_the_start(mk_cluster_factory, assert_mirrors):
    topology = Topology.from_dict(
        {
            "instances": [{"id": 0, "cpu_count": 2}, {"id": 1, "cpu_count": 2}],
            "faults": [
                {"kind": "drop", "destination": "mk1", "vector": 0xEA, "every": 2},
                {"kind": "delay", "instance": 1, "delay_ms": 5},
                {"kind": "partition", "instance": 0, "for_s": 0.5},
            ],
        }
    )
    cluster = mk_cluster_factory(topology)
    client = cluster.client
    texts = [fault.text for fault in client.faults()]
    assert texts[:2] == ["drop from any to 1, vector 0xea, 1 in 2", "delay link of 1, 5 ms"]
    result = client.inject(to=apic(2), count=10)
    assert {leg.outcome: leg.count for leg in result.legs} == {
        Outcome.DELIVERED: 5,
        Outcome.REJECTED_INJECTED_FAULT: 5,
    }
    assert_mirrors(cluster)
