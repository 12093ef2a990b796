"""Orders that change which instances a host agent has: not of what runs."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from mkrpc.errors import InstanceBusyError
from mkrpc.host.agent import HostAgent
from mkrpc.host.child import Child
from mkrpc.host.orders import change
from mkrpc.topology import Topology
from mkrpc.v1 import interconnect_pb2 as pb
from mkrpc.v1 import types_pb2 as types

ORDERS = {
    "keep": {"keep": pb.KeepInstance(instance_id=1, name="mk1")},
    "load": {"load": pb.LoadImage(instance_id=1, image=types.Image(cmdline="quiet"))},
    "unload": {"unload": pb.UnloadImage(instance_id=1)},
    "drop": {"drop": pb.DropInstance(instance_id=1)},
}


@pytest.fixture
def agent(tmp_path: Path):
    config = {
        "address": f"unix:{tmp_path}/s",
        "insecure": False,
        "topology": Topology.of(instances=2, cpus=1).to_dict(),
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    made = HostAgent(tmp_path)
    yield made
    made.instances.clear()  # they never were processes
    made.stop()


def state(agent: HostAgent) -> tuple:
    kept = agent.kept
    return dict(kept.specs), dict(kept.images), set(kept.pool), set(kept.deleted)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("how", ["runs", "is being started"])
def test_what_runs_is_busy_and_stays_what_it_is(agent, order, how):
    """Dropped, its process would be nobody's: it outlives the cluster, and its end is reported of
    an instance that the interconnect does not know."""
    child = Child("mk1", SimpleNamespace(pid=6), agent.state_dir / "log")
    if how == "runs":
        agent.instances[1] = child
    else:
        agent.starting.add(1)
    before = state(agent)
    number, answered, error = change(agent, pb.AttachHostResponse(order=7, **ORDERS[order]))
    assert (number, answered) == (1, 7)
    assert isinstance(error, InstanceBusyError)
    assert str(error) == "EBUSY: the process of instance 1 (mk1) runs"
    assert state(agent) == before
    assert agent.instances == ({1: child} if how == "runs" else {})


@pytest.mark.parametrize("order", ORDERS)
def test_what_has_ended_may_be_changed(agent, order):
    agent.instances[1] = Child("mk1", SimpleNamespace(pid=6), agent.state_dir / "log", exit_code=-9)
    before = state(agent)
    assert change(agent, pb.AttachHostResponse(order=7, **ORDERS[order])) == (1, 7, None)
    assert state(agent) != before
