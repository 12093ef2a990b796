"""What a host agent keeps by order fits what it tells the next interconnect."""

import json
from pathlib import Path

from mkrpc.errors import LimitReachedError
from mkrpc.host.agent import HostAgent
from mkrpc.host.orders import change, describe
from mkrpc.limits import MAX_ENTRY, MAX_HANDLERS
from mkrpc.topology import Topology
from mkrpc.transport.stream import MAX_FRAME_BYTES
from mkrpc.v1 import interconnect_pb2 as pb


def test_what_would_not_fit_the_hello_is_refused_and_nothing_of_it_is_kept(tmp_path: Path):
    topology = Topology.of(instances=128, cpus=1)
    config = {"address": "unix:/x", "insecure": False, "topology": topology.to_dict()}
    (tmp_path / "memory").write_bytes(bytes(4096))
    (tmp_path / "config.json").write_text(json.dumps(config))
    agent = HostAgent(tmp_path)
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


def test_what_it_tells_of_an_instance_names_its_spare_cpus(tmp_path: Path):
    topology = Topology.from_dict(
        {"instances": [{"id": 0, "cpus": [0]}, {"id": 1, "cpus": [1, 2], "spare_cpus": 1}]}
    )
    config = {"address": "unix:/x", "insecure": False, "topology": topology.to_dict()}
    (tmp_path / "config.json").write_text(json.dumps(config))
    agent = HostAgent(tmp_path)
    hello = pb.HostHello()
    describe(agent, hello)
    assert [instance.spare_cpus for instance in hello.instances] == [0, 1]
    agent.stop()
