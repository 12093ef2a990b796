"""What `kerf dump` writes starts a cluster."""

import subprocess
import sys

import pytest
from device_trees import D4_POOL, dump

from mkrpc.client import apic, instance
from mkrpc.client.lifecycle import Created
from mkrpc.cluster import find
from mkrpc.errors import AlreadyExistsError
from mkrpc.topology import Topology

pytestmark = pytest.mark.e2e


def test_what_a_pool_is_given_a_dump_creates(tmp_path, mk_cluster_factory):
    """As kerf init, create, load and exec."""
    pool, web = tmp_path / "pool.dts", tmp_path / "web.dtb"
    pool.write_text(D4_POOL)
    web.write_bytes(dump("web", 4, 3, 2))
    client = mk_cluster_factory(Topology.load(pool)).client
    assert client.cluster().pool == (1, 2, 3)
    assert client.create_described(web) == [Created(4, "web", (3, 2))]
    assert client.cluster().pool == (1,)
    client.load_instance(4)
    client.exec_instance(4)
    assert client.write_icr(0, to=apic(2)).all_arrived
    with pytest.raises(AlreadyExistsError, match="EEXIST: instance 4"):
        client.create_described(web)


@pytest.mark.usefixtures("mk_cluster_factory")
def test_the_dumps_of_a_pool_and_of_an_instance_start_a_cluster(tmp_path, read_cal):
    """The host rings the spawned kernel, and is rung; /proc/interrupts has it on both sides."""
    pool, web = tmp_path / "pool.dts", tmp_path / "web.dtb"
    pool.write_text(D4_POOL)
    web.write_bytes(dump("web", 1, 2, 3))
    command = [sys.executable, "-m", "mkrpc", "up", "--detach", "--name", "dumped"]
    files = ["--topology", str(pool), "--topology", str(web)]
    done = subprocess.run(
        [*command, *files], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    cluster = find("dumped")
    try:
        assert "cluster dumped is up: 2 instances, 3 CPUs" in done.stdout
        assert cluster.client.write_icr(0, to=apic(3)).all_arrived
        assert cluster.client.write_icr(2, to=instance("host")).all_arrived
        cluster.client.quiesce()
        assert (read_cal(cluster, 0), read_cal(cluster, 1)) == ([1], [0, 1])
        assert cluster.client.ledger().balanced
    finally:
        cluster.stop()
