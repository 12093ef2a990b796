"""Calls that need a host agent, while it is still on its way to an interconnect that has begun."""

import asyncio
from collections.abc import Callable
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

EMPTY: dict[str, Any] = {}
LOADED: dict[str, Any] = {"image": types.Image()}
RUNS: dict[str, Any] = {**LOADED, "pid": 6, "running": True}

Call = tuple[Callable[[ProcessControl], Any], dict[str, Any], str]

CALLS: dict[str, Call] = {
    "create": (lambda c: c.CreateInstance(pb.CreateInstanceRequest(), None), EMPTY, "keep"),
    "update": (lambda c: c.UpdateInstance(pb.UpdateInstanceRequest(**ONE), None), EMPTY, "keep"),
    "load": (lambda c: c.LoadInstance(pb.LoadInstanceRequest(**ONE), None), EMPTY, "load"),
    "unload": (lambda c: c.UnloadInstance(pb.UnloadInstanceRequest(**ONE), None), LOADED, "unload"),
    "delete": (lambda c: c.DeleteInstance(pb.DeleteInstanceRequest(**ONE), None), EMPTY, "drop"),
    "exec": (
        lambda c: c.ExecInstance(pb.ExecInstanceRequest(direct=True, **ONE), None),
        LOADED,
        "start",
    ),
    "kill": (
        lambda c: c.KillInstance(pb.KillInstanceRequest(signal=True, **ONE), None),
        RUNS,
        "kill",
    ),
    "pause": (lambda c: c.PauseInstance(pb.PauseInstanceRequest(**ONE), None), RUNS, "pause"),
    "resume": (
        lambda c: c.ResumeInstance(pb.ResumeInstanceRequest(**ONE), None),
        {**RUNS, "paused": True},
        "resume",
    ),
    "down": (lambda c: c.Shutdown(pb.ShutdownRequest(), None), RUNS, "stop"),
}
"""The call, the instance that it is about, and the order that its host agent gets."""

ONE = {"instance_id": 1}


def control_of(wire: Any, *, by_itself: bool) -> tuple[HostRegistry, ProcessControl]:
    hosts = HostRegistry(epoch=7, limit_silence=lambda _connection: Timer(), hosted=by_itself)
    pump = Pump(wire.bus)
    pump.begin()
    return hosts, ProcessControl(hosts, pump)


@pytest.mark.parametrize("call", CALLS)
async def test_a_call_waits_for_the_host_agent_that_comes_by_itself(
    machine: Any, call: str
) -> None:
    ask, instance, order = CALLS[call]
    hosts, control = control_of(machine(), by_itself=True)
    asked = asyncio.ensure_future(ask(control))
    await turns()
    assert not asked.done()
    host = Host(hosts)
    host.hello(hosted(1, **instance), pool=[4, 5])
    while len(host.wire.sent) < 2 and not asked.done():
        await turns()
    assert [each.WhichOneof("message") for each in host.wire.sent] == ["welcome", order]
    asked.cancel()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("by_itself", [True, False], ids=["has not come", "by hand"])
async def test_without_one_it_is_refused(
    machine: Any, monkeypatch: pytest.MonkeyPatch, call: str, by_itself: bool
) -> None:
    """At once where none comes by itself."""
    monkeypatch.setattr(process_control, "HOST_PATIENCE_S", 0.0 if by_itself else 3600.0)
    ask, _, _ = CALLS[call]
    _, control = control_of(machine(), by_itself=by_itself)
    with pytest.raises(ClusterStateError, match="no host agent is attached"):
        await ask(control)
