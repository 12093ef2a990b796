"""The verbs of the lifecycle where something else happens meanwhile: ends, goings, odd answers."""

import asyncio
from typing import Any

import pytest

from mkrpc.errors import (
    AlreadyExistsError,
    ClusterStateError,
    InstanceBusyError,
    MkrpcError,
    NotFoundError,
)
from mkrpc.interconnect import parking
from mkrpc.interconnect.parking import halt
from mkrpc.lifecycle import InstanceState
from mkrpc.link.frames import Reply
from mkrpc.v1 import interconnect_pb2 as pb
from mkrpc.v1 import types_pb2 as types

from .host_by_hand import Host, Machine, hosted, turns

S = InstanceState

RUNS = {"image": types.Image(), "pid": 6, "running": True}

VERBS = {
    "load": lambda verbs: verbs.load(1, None),
    "unload": lambda verbs: verbs.unload(1),
    "drop": lambda verbs: verbs.delete(1),
    "start": lambda verbs: verbs.exec(1, direct=True, apic_id=None),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_what_has_failed_and_still_runs_is_ended_before_anything_is_done_of_it(machine, verb):
    """It is paused, hangs or was fenced. Its end, later, would be taken for that of the next one,
    or of an instance that nobody knows."""
    wire = machine()
    hosting = Machine(hosted(1, **RUNS), bus=wire.bus)
    wire.attach(1, (1,)).die("lease expired: silent for 3 s")
    assert hosting.verbs.states()[1] is S.FAILED
    doing = asyncio.ensure_future(VERBS[verb](hosting.verbs))
    await turns()
    assert hosting.orders[-1].kill == pb.KillProcess(instance_id=1, force=True)
    hosting.answer(pid=6, exit_code=-9, ended_by_order=True)
    await turns()
    assert [order.WhichOneof("message") for order in hosting.orders] == ["kill", verb]
    hosting.answer(**({"pid": 7, "running": True} if verb == "start" else {}))
    await doing
    assert hosting.host.wire.closed_with is None


async def test_what_said_goodbye_is_let_end_by_itself_before_its_kernel_is_unloaded(machine):
    wire = machine()
    hosting = Machine(hosted(1, **RUNS), bus=wire.bus)
    wire.attach(1, (1,)).die("left: asked to")
    assert hosting.verbs.states()[1] is S.LOADED
    unloading = asyncio.ensure_future(hosting.verbs.unload(1))
    await turns()
    assert hosting.orders[-1].kill == pb.KillProcess(instance_id=1)
    hosting.answer(pid=6, ended_by_order=True)
    await turns()
    hosting.answer()
    assert await unloading is S.READY


async def test_a_kill_of_what_ends_by_itself_meanwhile_tells_its_exit_code(machine):
    wire = machine()
    hosting = Machine(hosted(1, **RUNS), bus=wire.bus)
    peer = wire.attach(1, (1,))
    killing = asyncio.ensure_future(hosting.verbs.kill(1, force=False, signal=False))
    await turns()
    peer.die("left: of its own will")
    hosting.host.say(report=pb.HostReport(instance_id=1, pid=6, exit_code=3))
    assert await killing == (3, 0)
    assert hosting.orders == []


async def test_a_kill_that_the_host_agent_cannot_give_any_more_tells_the_exit_code(machine):
    hosting = Machine(hosted(1, **RUNS))
    killing = asyncio.ensure_future(hosting.verbs.kill(1, force=True, signal=True))
    await turns()
    hosting.host.say(report=pb.HostReport(instance_id=1, pid=6, exit_code=3))
    hosting.answer(pid=6, exit_code=3, error="does not run", reason=ClusterStateError.reason)
    assert await killing == (3, 0)


@pytest.mark.parametrize(
    ("text", "parked"),
    [("1", 1), ("9" * 5000, 0), (str(1 << 40), 1), ("²", 0), ("-4", 0), ("two", 0), ("", 0)],
)
async def test_no_more_cpus_have_parked_than_there_are_whatever_a_kernel_says(
    machine, text, parked
):
    wire = machine()
    hosting = Machine(hosted(1, **RUNS), bus=wire.bus)
    peer = wire.attach(1, (1,))
    killing = asyncio.ensure_future(hosting.verbs.kill(1, force=False, signal=False))
    await turns()
    peer.pull()
    peer.replies.append(Reply(peer.commands[0].number, text=text))
    peer.push()
    await turns()
    hosting.answer(pid=6, ended_by_order=True)
    assert await killing == (0, parked)


async def test_the_nmis_of_a_forced_end_never_reach_the_next_incarnation(machine, monkeypatch):
    """The host's kernel is out of reach meanwhile: it must not be told later to send them."""
    monkeypatch.setattr(parking, "FORCE_TIMEOUT_S", 0.02)
    wire = machine((0,), (1,))
    host, old = wire.peers
    hosting = Machine(hosted(1, **RUNS), bus=wire.bus)
    assert await halt(wire.bus, lambda: None, hosting.registry.processes[1]) == 0
    old.die("killed")
    new = wire.attach(1, (1,))
    wire.peers.append(new)
    while host.pull():
        pass
    assert host.commands == []
    wire.settle()
    assert new.legs == []


async def test_an_exec_that_is_given_up_before_the_start_is_answered_leaves_nothing(machine):
    """Its process would run for ever, its CPUs waiting for a SIPI that nobody sends."""
    wire = machine((0,))
    hosting = Machine(hosted(1, image=types.Image()), bus=wire.bus)
    task = asyncio.ensure_future(hosting.verbs.exec(1, direct=False, apic_id=None))
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(InstanceBusyError, match="EBUSY: exec of instance 1 is under way"):
        await hosting.verbs.unload(1)
    peer = wire.attach(1, (1,))
    hosting.answer(pid=6, running=True)
    await turns()
    assert hosting.verbs.states()[1] is S.FAILED, "it is attached, and no kernel has come up"
    assert hosting.orders[-1].kill == pb.KillProcess(instance_id=1, force=True)
    peer.die("vanished")
    hosting.answer(pid=6, exit_code=-9, ended_by_order=True)
    await turns()
    assert hosting.registry.processes[1].failure == "its start-up was given up"
    await hosting.do(hosting.verbs.unload(1))
    assert hosting.verbs.states()[1] is S.READY


async def test_an_exec_that_is_given_up_and_whose_start_fails_leaves_nothing_either(machine):
    hosting = Machine(hosted(1, image=types.Image()), bus=machine((0,)).bus)
    task = asyncio.ensure_future(hosting.verbs.exec(1, direct=False, apic_id=None))
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hosting.answer(error="no module named nothing", reason="NOT_FOUND")
    await turns()
    assert len(hosting.orders) == 1
    await hosting.do(hosting.verbs.unload(1))


@pytest.mark.parametrize("verb", ["create", "update", "load", "unload", "delete"])
async def test_a_host_agent_that_goes_right_after_its_answer_can_come_back(verb):
    """Answer and end come in one turn of the loop: what was done is known before the end is."""
    given: dict[str, Any] = {"image": types.Image()} if verb in ("load", "unload") else {}
    hosting = Machine(hosted(1, **given))
    asked = {
        "create": lambda: hosting.create("web", 5),
        "update": lambda: hosting.verbs.update(1, [5]),
        "load": lambda: hosting.verbs.load(1, None),
        "unload": lambda: hosting.verbs.unload(1),
        "delete": lambda: hosting.verbs.delete(1),
    }
    task = asyncio.ensure_future(asked[verb]())
    await turns()
    hosting.answer()
    hosting.host.vanish()
    (ended,) = await asyncio.gather(task, return_exceptions=True)
    assert not isinstance(ended, BaseException) or isinstance(ended, MkrpcError)
    assert hosting.registry.processes == {}
    again = Host(hosting.registry)
    again.hello(hosted(0), hosted(1), hosted(2, name="web", apic_ids=[5]))
    assert again.wire.closed_with is None


async def test_an_instance_started_by_hand_that_has_gone_can_be_deleted(machine):
    """No host agent has it; its id would be taken for ever."""
    wire = machine((0,))
    hosting = Machine(bus=wire.bus)
    stranger = wire.attach(2, (9,))
    with pytest.raises(NotFoundError, match="belongs to no host agent"):
        await hosting.verbs.delete(2)
    stranger.die("left: bye")
    with pytest.raises(AlreadyExistsError, match="EEXIST"):
        await hosting.create("web", wanted=2)
    assert await hosting.verbs.delete(2) == ()
    assert hosting.orders == []
    assert 2 not in hosting.verbs.states()
    stranger = wire.attach(2, (9,))
    assert hosting.verbs.states()[2] is S.ACTIVE
    stranger.die("killed")
    assert hosting.verbs.states()[2] is S.FAILED, "that is another one, which nobody has deleted"
    await hosting.verbs.delete(2)
    assert (await hosting.do(hosting.create("web", 5))).instance_id == 2
    assert hosting.verbs.states()[2] is S.READY
