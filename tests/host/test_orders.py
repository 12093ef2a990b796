"""What a host agent keeps by order fits what it tells the next interconnect."""

import json
from pathlib import Path

import pytest

from mkrpc.errors import LimitReachedError
from mkrpc.host.agent import HostAgent
from mkrpc.host.hello import check_start, describe
from mkrpc.host.orders import change
from mkrpc.limits import MAX_ENTRY, MAX_HANDLERS
from mkrpc.topology import Topology
from mkrpc.transport.stream import MAX_FRAME_BYTES
from mkrpc.v1 import interconnect_pb2 as pb


class Died:
    """A process with the longest state there is."""

    state = (1 << 22, False, -9)
    paused = True
    ended_by_order = True


def test_what_would_not_fit_the_hello_is_refused_and_nothing_of_it_is_kept(tmp_path: Path):
    topology = Topology.of(instances=128, cpus=1)
    agent = agent_of(topology, tmp_path)
    refused = []
    for spec in topology.instances:
        order = pb.AttachHostResponse(order=1 + spec.id)
        order.load.instance_id = spec.id
        name = "a" * (MAX_ENTRY - 2)
        order.load.image.handlers.extend([f"{name}:b"] * MAX_HANDLERS)
        _, _, error = change(agent, order)
        if error is not None:
            refused.append(error)
            assert not agent.kept.images[spec.id].handlers
    assert refused
    assert all(isinstance(error, LimitReachedError) for error in refused)
    hello = pb.AttachHostRequest()
    describe(agent, hello.hello)
    assert MAX_FRAME_BYTES // 2 < hello.ByteSize() <= MAX_FRAME_BYTES
    agent.stop()


def agent_of(topology: Topology, directory: Path) -> HostAgent:
    config = {"address": "unix:/x", "insecure": False, "topology": topology.to_dict()}
    (directory / "memory").write_bytes(bytes(4096))
    (directory / "config.json").write_text(json.dumps(config))
    return HostAgent(directory)


def handlers(*counts: int) -> Topology:
    name = "a" * (MAX_ENTRY - 2)
    return Topology.from_dict(
        {
            "instances": [
                {"id": number, "cpus": [number], "handlers": [f"{name}:b"] * count}
                for number, count in enumerate(counts)
            ]
        }
    )


def test_a_topology_that_would_not_fit_the_hello_is_refused_before_anything_is_started(
    tmp_path: Path,
):
    agent = agent_of(handlers(*[MAX_HANDLERS] * 40), tmp_path)
    with pytest.raises(LimitReachedError, match=f"40 instances .*{MAX_FRAME_BYTES} are the most"):
        agent.start()
    assert agent.interconnect is None
    assert not agent.instances
    agent.stop()


def test_a_topology_that_just_fits_still_does_when_all_its_processes_have_died(tmp_path: Path):
    most = MAX_FRAME_BYTES // (2 * MAX_HANDLERS * (MAX_ENTRY + 3))
    agent = agent_of(handlers(*[MAX_HANDLERS] * most), tmp_path)
    check_start(agent)
    for number in range(most):
        agent.instances[number] = Died()
    hello = pb.AttachHostRequest()
    hello.hello.wire_version, hello.hello.pid, hello.hello.host_name = 1 << 16, 1 << 22, "h" * 255
    describe(agent, hello.hello)
    assert MAX_FRAME_BYTES * 9 // 10 < hello.ByteSize() <= MAX_FRAME_BYTES
    agent.instances.clear()
    agent.stop()


def test_what_it_tells_of_an_instance_names_its_spare_cpus(tmp_path: Path):
    topology = Topology.from_dict(
        {"instances": [{"id": 0, "cpus": [0]}, {"id": 1, "cpus": [1, 2], "spare_cpus": 1}]}
    )
    agent = agent_of(topology, tmp_path)
    hello = pb.HostHello()
    describe(agent, hello)
    assert [instance.spare_cpus for instance in hello.instances] == [0, 1]
    agent.stop()
