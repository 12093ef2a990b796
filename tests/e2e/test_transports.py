"""A cluster on either transport, forced: both ring, restart, answer and add up."""

import pytest

from mkrpc.client import apic
from mkrpc.cluster import Cluster
from mkrpc.transport.choice import TRANSPORT_VARIABLE

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("name", ["aio", "reactor"])
def test_a_cluster_on_a_transport_that_is_forced(mk_cluster_factory, monkeypatch, read_cal, name):
    monkeypatch.setenv(TRANSPORT_VARIABLE, name)
    cluster: Cluster = mk_cluster_factory(instances=3, cpus=1)
    log = (cluster.state_dir / "logs" / "interconnect.log").read_text()
    assert f'"transport": "{name}"' in log
    client = cluster.client
    assert client.inject(to=apic(2), count=1000).all_arrived
    client.kill_instance(2, force=True)
    client.exec_instance(2)
    client.quiesce()
    before = client.ledger(totals_only=True).totals.written
    assert before > 1000, "INIT and SIPI of its boot are writes, too"
    assert client.inject(to=apic(2)).all_arrived
    client.quiesce()
    assert read_cal(cluster, 2) == [1]
    totals = client.ledger(totals_only=True).totals
    assert (totals.written, totals.in_flight) == (before + 1, 0)
