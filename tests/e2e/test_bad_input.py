"""Bad input gets a clear error and harms nothing (design, sections 3.5 and 8)."""

import os
import subprocess
import sys

import grpc
import pytest

from mkrpc.client import apic, icr, instance
from mkrpc.cluster import Cluster
from mkrpc.errors import (
    AddressInUseError,
    ClusterStateError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    TopologyError,
)
from mkrpc.frame_codec import ATTACH
from mkrpc.topology import Topology
from mkrpc.transport.address import parse
from mkrpc.transport.stream import MAX_FRAME_BYTES
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import control_pb2_grpc

pytestmark = pytest.mark.e2e


@pytest.fixture
def unharmed(mk_cluster, assert_mirrors):
    """The cluster answers as before, whatever the test did to it."""
    yield mk_cluster
    assert mk_cluster.client.inject(to=apic(1)).all_arrived
    assert {i.state for i in mk_cluster.client.cluster().instances} == {"active"}
    assert_mirrors(mk_cluster)


def test_requests_that_cannot_be(unharmed):
    client = unharmed.client
    with pytest.raises(NotFoundError, match="no instance 7"):
        client.inject(to=instance(7))
    with pytest.raises(NotFoundError, match="'web'"):
        client.inject(to=instance("web"))
    with pytest.raises(NotFoundError, match="APIC id 99"):
        client.cpu(99)
    with pytest.raises(InvalidArgumentError, match="reserved bits 0x100000 "):
        client.inject(to=icr(1 << 32 | 1 << 20 | 0xEA))
    with pytest.raises(InvalidArgumentError, match="reserved bits"):
        client.write_icr(0, to=icr(1 << 32 | 1 << 13 | 0xEA))
    with pytest.raises(InvalidArgumentError, match="vector 0x12c"):
        client.inject(to=apic(1), vector=300)
    with pytest.raises(InvalidArgumentError, match="no APIC of its own"):
        client.inject(to=icr(0x000C00EA))


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (pb.InjectRequest(), grpc.StatusCode.INVALID_ARGUMENT),
        (
            pb.InjectRequest(destination=pb.Destination(apic_id=1), vector=300),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
        (
            pb.InjectRequest(destination=pb.Destination(apic_id=1), count=10**7),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
        (
            pb.InjectRequest(destination=pb.Destination(apic_id=1), client_id=b"short"),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
        (
            pb.InjectRequest(destination=pb.Destination(instance_name="x" * 2 * MAX_FRAME_BYTES)),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        ),
    ],
    ids=["empty", "vector 300", "ten million", "short client id", "over the size limit"],
)
def test_raw_grpc_requests_that_cannot_be(unharmed, request_, code):
    target = parse(unharmed.address).connect_target
    with grpc.insecure_channel(target) as channel, pytest.raises(grpc.RpcError) as refused:
        control_pb2_grpc.ControlStub(channel).Inject(request_, timeout=10)
    assert refused.value.code() is code


@pytest.mark.parametrize(
    "junk",
    [b"", b"\xff\xff\xff", b"\x12\x00", bytes(2 * MAX_FRAME_BYTES)],
    ids=["an empty message", "no message at all", "a frame before the hello", "too large"],
)
def test_a_stream_that_makes_no_sense_is_closed(unharmed, junk):
    with grpc.insecure_channel(parse(unharmed.address).connect_target) as channel:
        stream = channel.stream_stream(ATTACH)(iter([junk]), timeout=10)
        with pytest.raises(grpc.RpcError) as refused:
            list(stream)
    assert refused.value.code() in {
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }


def run_instance(address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """An instance by hand, which is going to be refused."""
    command = [sys.executable, "-m", "mkrpc.instance", "--connect", address, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_an_instance_that_claims_anothers_id_is_refused(unharmed):
    done = run_instance(unharmed.address, "--id", "1", "--apic-ids", "40")
    assert done.returncode == 3
    assert "instance id 1 belongs to 'mk1'" in done.stderr
    done = run_instance(unharmed.address, "--id", "9", "--apic-ids", "40,2")
    assert done.returncode == 3
    assert "APIC id 2 belongs to CPU 0 of instance 1 ('mk1')" in done.stderr


def test_a_second_interconnect_on_the_same_address_is_refused(unharmed):
    command = [sys.executable, "-m", "mkrpc.interconnect", "--listen", unharmed.address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 3
    assert "is served by process" in done.stderr


def test_a_second_cluster_of_the_same_name_is_refused(unharmed):
    with pytest.raises(ClusterStateError, match="runs already"):
        Cluster.start(Topology.of(instances=1, cpus=1), name=unharmed.name)


def test_a_port_in_use(mk_cluster_factory):
    first = mk_cluster_factory(address="127.0.0.1:0")
    with pytest.raises(AddressInUseError, match="in use"):
        mk_cluster_factory(address=first.address)
    assert first.client.inject(to=apic(1)).all_arrived


def test_beyond_loopback_only_if_insecure(mk_cluster_factory):
    with pytest.raises(PermissionDeniedError, match="other hosts"):
        mk_cluster_factory(address="0.0.0.0:0")
    assert os.listdir(os.environ["MKRPC_STATE_DIR"]) == []


def test_a_topology_with_overlapping_apic_ids(tmp_path, shell):
    path = tmp_path / "bad.toml"
    path.write_text(
        "[[instances]]\nid = 0\ncpus = [0, 1]\n\n[[instances]]\nid = 1\ncpus = [1, 2]\n"
    )
    with pytest.raises(TopologyError, match="APIC id 1"):
        Topology.load(path)
    command = [sys.executable, "-m", "mkrpc", "up", "--detach", "--topology", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert str(path) in done.stderr
    assert "APIC id 1" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_entry_that_names_nothing_keeps_the_cluster_from_starting(mk_cluster_factory):
    topology = Topology.from_dict(
        {"instances": [{"id": 0, "cpus": [0], "handlers": ["no.such.module:handler"]}]}
    )
    with pytest.raises(TopologyError, match=r"mk0: cannot import 'no\.such\.module'"):
        mk_cluster_factory(topology)
    assert os.listdir(os.environ["MKRPC_STATE_DIR"]) == []
