"""Calls that need a host agent, while it is still on its way to an interconnect that has begun."""

import asyncio
from typing import Any

import pytest

from mkrpc.errors import ClusterStateError
from mkrpc.interconnect import process_control
from mkrpc.interconnect.attachments import Pump
from mkrpc.interconnect.hosts import HostRegistry
from mkrpc.interconnect.process_control import ProcessControl
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import types_pb2 as types

from .host_by_hand import Host, Timer, hosted, turns

CALLS = {
    "pause": lambda control: control.PauseInstance(pb.PauseInstanceRequest(instance_id=1), None),
    "load": lambda control: control.LoadInstance(pb.LoadInstanceRequest(instance_id=1), None),
    "kill": lambda control: control.KillInstance(
        pb.KillInstanceRequest(instance_id=1, signal=True), None
    ),
    "stop": lambda control: control.Shutdown(pb.ShutdownRequest(), None),
}
"""By the order that the host agent gets."""


def control_of(wire: Any, *, expected: bool) -> tuple[HostRegistry, ProcessControl]:
    hosts = HostRegistry(epoch=7, limit_silence=lambda _connection: Timer(), expected=expected)
    pump = Pump(wire.bus)
    pump.begin()
    return hosts, ProcessControl(hosts, pump)


@pytest.mark.parametrize("order", CALLS)
async def test_a_call_waits_for_the_host_agent_that_comes_by_itself(
    machine: Any, order: str
) -> None:
    hosts, control = control_of(machine(), expected=True)
    call = asyncio.ensure_future(CALLS[order](control))
    await turns()
    assert not call.done()
    host = Host(hosts)
    runs = order != "load"
    host.hello(hosted(1, image=types.Image() if runs else None, pid=6 * runs, running=runs))
    while len(host.wire.sent) < 2 and not call.done():
        await turns()
    assert [each.WhichOneof("message") for each in host.wire.sent] == ["welcome", order]
    call.cancel()


@pytest.mark.parametrize("order", CALLS)
@pytest.mark.parametrize("expected", [True, False], ids=["has not come", "by hand"])
async def test_without_one_it_is_refused(
    machine: Any, monkeypatch: pytest.MonkeyPatch, order: str, expected: bool
) -> None:
    monkeypatch.setattr(process_control, "HOST_PATIENCE_S", 0.0 if expected else 3600.0)
    _, control = control_of(machine(), expected=expected)
    with pytest.raises(ClusterStateError, match="no host agent is attached"):
        await CALLS[order](control)
