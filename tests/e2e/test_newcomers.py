"""Messages between instances that run and one that is created after them, in processes."""

import os
from pathlib import Path

import messengers
import pytest

from mkrpc.client.lifecycle import Image
from mkrpc.topology import Topology

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Instances find the programs by their names."""
    paths = [str(Path(messengers.__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))


def wait_for(cluster, instance_id: int, *texts: str) -> None:
    while not set(texts) <= {record.text for record in cluster.client.log(instance_id).records}:
        continue


def test_those_who_run_and_a_newcomer_send_to_each_other(mk_cluster_factory) -> None:
    """Instance 1 calls first; the host, which was never told of it by hand, answers."""

    def caller(cpu):
        yield from messengers.tell(cpu, 2, "are you there")

    instances = [
        {"id": 0, "cpu_count": 1, "programs": [{"cpu": 0, "entry": "messengers:answer_everybody"}]},
        {"id": 1, "cpu_count": 1},
    ]
    topology = Topology.from_dict({"instances": instances, "pool": [2, 3]})
    cluster = mk_cluster_factory(topology, programs={1: caller})
    client = cluster.client
    made = client.create_instance("web", cpu_count=2)
    client.load_instance(made.id, Image(programs={0: "messengers:call_the_host"}))
    client.exec_instance(made.id, apic_id=3)  # not the CPU that comes first
    wait_for(cluster, made.id, "0 says instance 2 was heard", "1 says are you there")
    wait_for(cluster, 0, "2 says here I am")
    client.quiesce()
    assert client.ledger().balanced
    assert [cpu.apic_id for cpu in client.find_instance(made.id).cpus] == [3, 2]
