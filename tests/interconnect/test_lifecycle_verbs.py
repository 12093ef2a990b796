"""The verbs of the lifecycle where they are done: orders to a host agent, and every refusal."""

import asyncio
from typing import Any

import pytest

from mkrpc.errors import (
    AlreadyExistsError,
    ClusterStateError,
    InstanceBusyError,
    InvalidArgumentError,
    MkrpcError,
    NoCpuError,
    NotFoundError,
    PermissionDeniedError,
    StuckError,
    UnavailableError,
)
from mkrpc.interconnect import parking
from mkrpc.lifecycle import TABLE, InstanceState, Refusal, Verb
from mkrpc.v1 import interconnect_pb2 as pb
from mkrpc.v1 import types_pb2 as types

from .host_by_hand import Machine, hosted, turns

S = InstanceState


@pytest.fixture
def hosting() -> Machine:
    return Machine()


async def test_create_tells_the_host_agent_and_takes_from_the_pool(hosting):
    made = await hosting.do(hosting.create("web", 6, 4))
    assert (made.instance_id, made.name, made.apic_ids) == (2, "web", (6, 4))
    assert hosting.orders[-1].keep == pb.KeepInstance(instance_id=2, name="web", apic_ids=[6, 4])
    assert hosting.registry.pool == {5, 7}
    assert hosting.verbs.states()[2] is S.READY
    made = await hosting.do(hosting.create())
    assert (made.name, hosting.verbs.states()[3]) == ("mk3", S.EMPTY)


async def test_two_that_are_created_at_a_time_share_nothing(hosting):
    first = asyncio.ensure_future(hosting.create(count=2))
    second = asyncio.ensure_future(hosting.create(count=2))
    await turns()
    for order in hosting.orders:
        hosting.host.say(
            report=pb.HostReport(instance_id=order.keep.instance_id, order=order.order)
        )
    one, other = await first, await second
    assert one.instance_id != other.instance_id
    assert sorted(one.apic_ids + other.apic_ids) == [4, 5, 6, 7]


@pytest.mark.parametrize(
    ("second", "error", "what"),
    [
        ({"name": "web"}, AlreadyExistsError, "EEXIST: instance 2 is called web"),
        ({"wanted": 2}, InstanceBusyError, "EBUSY: create of instance 2 is under way"),
        ({"apic_id": 5}, InstanceBusyError, "EBUSY: the CPU with APIC id 5 belongs to instance 2"),
    ],
)
async def test_what_a_create_that_is_under_way_has_is_taken(hosting, second, error, what):
    first = asyncio.ensure_future(hosting.create("web", 5))
    await turns()
    apic_ids = [second["apic_id"]] if "apic_id" in second else []
    with pytest.raises(error) as caught:
        await hosting.create(second.get("name", "db"), *apic_ids, wanted=second.get("wanted"))
    assert str(caught.value) == what
    hosting.answer()
    await first
    assert len(hosting.orders) == 1


async def test_what_an_update_that_is_under_way_takes_is_taken(hosting):
    first = asyncio.ensure_future(hosting.verbs.update(1, [5]))
    await turns()
    with pytest.raises(InstanceBusyError, match="APIC id 5 belongs to instance 1"):
        await hosting.create("web", 5)
    # What it had before is not free either, until it is done.
    with pytest.raises(InstanceBusyError, match="APIC id 1 belongs to instance 1"):
        await hosting.create("web", 1)
    hosting.answer()
    assert await first is S.READY
    assert (await hosting.do(hosting.create("web", 1))).apic_ids == (1,)


async def test_what_the_host_agent_refuses_leaves_everything_free(hosting):
    first = asyncio.ensure_future(hosting.create("web", 5))
    await turns()
    hosting.answer(error="EINVAL: not that one", reason="INVALID_ARGUMENT", advice="another")
    with pytest.raises(InvalidArgumentError, match="EINVAL: not that one"):
        await first
    assert hosting.registry.pool == {4, 5, 6, 7}
    assert (await hosting.do(hosting.create("web", 5))).instance_id == 2


async def test_a_host_agent_that_goes_away_meanwhile(hosting):
    first = asyncio.ensure_future(hosting.create("web", 5))
    await turns()
    hosting.host.vanish()
    with pytest.raises(UnavailableError, match="went away"):
        await first
    with pytest.raises(ClusterStateError, match="no host agent is attached"):
        await hosting.create("web", 5)


async def leave(task: "asyncio.Future[Any]") -> None:
    """Whoever asked has gone, once the host agent was told."""
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_the_host_agent_was_told_is_known_also_if_whoever_asked_has_gone(hosting):
    await leave(asyncio.ensure_future(hosting.create("web", 5)))
    with pytest.raises(InstanceBusyError, match="EBUSY: create of instance 2 is under way"):
        await hosting.create("db", wanted=2)
    hosting.answer()
    await turns()
    assert hosting.registry.processes[2].name == "web"
    assert hosting.registry.pool == {4, 6, 7}
    image = types.Image(cmdline="quiet")
    await leave(asyncio.ensure_future(hosting.verbs.load(2, image)))
    hosting.answer()
    await turns()
    assert (hosting.registry.processes[2].image, hosting.verbs.states()[2]) == (image, S.LOADED)


async def test_load_takes_what_is_given_or_what_it_began_with():
    first = types.Image(cmdline="first", callables=3)
    machine = Machine(hosted(1, first_image=first), hosted(2))
    assert await machine.do(machine.verbs.load(1, None)) == first
    assert machine.orders[-1].load.image == first
    assert machine.verbs.states()[1] is S.LOADED
    given = types.Image(cmdline="given")
    assert await machine.do(machine.verbs.load(1, given)) == given
    assert await machine.do(machine.verbs.load(2, None)) == types.Image()
    with pytest.raises(InvalidArgumentError, match="EINVAL: a program on CPU 1"):
        await machine.verbs.load(2, types.Image(programs=[types.ImageProgram(cpu=1, entry="a:b")]))
    assert await machine.do(machine.verbs.unload(1)) is S.READY
    assert await machine.do(machine.verbs.delete(1)) == (1,)
    assert machine.registry.pool == {1, 4, 5, 6, 7}
    assert 1 not in machine.verbs.states()


AS_HOSTED: dict[InstanceState, pb.HostedInstance] = {
    S.EMPTY: hosted(1),
    S.READY: hosted(1),
    S.LOADED: hosted(1, image=types.Image()),
    S.FAILED: hosted(1, image=types.Image(), pid=9, exit_code=-9),
}
CALLS: dict[Verb, Any] = {
    Verb.CREATE: lambda m: m.create("web", 4, wanted=1),
    Verb.CREATE_WITHOUT_CPUS: lambda m: m.create("web", wanted=1),
    Verb.UPDATE: lambda m: m.verbs.update(1, [4]),
    Verb.UPDATE_TO_NO_CPUS: lambda m: m.verbs.update(1, []),
    Verb.LOAD: lambda m: m.verbs.load(1, None),
    Verb.EXEC: lambda m: m.verbs.exec(1, direct=False, apic_id=None),
    Verb.KILL: lambda m: m.verbs.kill(1, force=False, signal=False),
    Verb.UNLOAD: lambda m: m.verbs.unload(1),
    Verb.DELETE: lambda m: m.verbs.delete(1),
}
REFUSED = [
    (state, verb, result)
    for state in (None, *AS_HOSTED)
    for verb, result in TABLE[state].items()
    if isinstance(result, Refusal)
]


@pytest.mark.parametrize(("state", "verb", "result"), REFUSED)
async def test_what_the_table_refuses_is_refused_before_anybody_is_told(state, verb, result):
    machine = Machine(AS_HOSTED[state]) if state is not None else Machine(hosted(2))
    if state is S.EMPTY:
        machine.registry.processes[1].apic_ids = ()
    assert machine.verbs.states().get(1) == state
    with pytest.raises(result.error) as caught:
        await CALLS[verb](machine)
    assert str(caught.value).startswith(f"{result.errno}: instance 1 (mk1) {result.why}")
    assert caught.value.advice
    assert machine.orders == []


@pytest.mark.parametrize("verb", ["update", "unload", "delete"])
async def test_the_host_refuses(hosting, verb):
    arguments = ([],) if verb == "update" else ()
    with pytest.raises(PermissionDeniedError, match=r"^EPERM: instance 0 \(mk0\) is the host"):
        await getattr(hosting.verbs, verb)(0, *arguments)
    assert hosting.orders == []


async def test_of_an_instance_one_thing_is_done_at_a_time():
    machine = Machine(hosted(1, image=types.Image()))
    first = asyncio.ensure_future(machine.verbs.unload(1))
    await turns()
    for verb in (Verb.LOAD, Verb.EXEC, Verb.UNLOAD):
        with pytest.raises(InstanceBusyError, match=r"^EBUSY: unload of instance 1 is under way$"):
            await CALLS[verb](machine)
    assert len(machine.orders) == 1
    machine.answer()
    await first
    await machine.do(machine.verbs.load(1, None))


async def test_it_boots_on_a_cpu_of_its_own():
    machine = Machine(hosted(1, image=types.Image()))
    with pytest.raises(InvalidArgumentError) as caught:
        await machine.verbs.exec(1, direct=True, apic_id=5)
    assert str(caught.value) == "EINVAL: instance 1 (mk1) has no CPU with APIC id 5"
    assert caught.value.advice == "boot on one of 1"
    assert machine.orders == []


async def test_a_start_that_fails_is_told_and_leaves_it_failed(machine):
    machine = Machine(hosted(1, image=types.Image()), bus=machine((0,)).bus)
    task = asyncio.ensure_future(machine.verbs.exec(1, direct=False, apic_id=None))
    await turns()
    assert machine.orders[-1].start == pb.StartProcess(instance_id=1, wait_for_sipi=True)
    machine.answer(error="no module named nothing", reason="NOT_FOUND")
    with pytest.raises(MkrpcError, match="no module named nothing"):
        await task
    assert machine.verbs.states()[1] is S.FAILED
    assert machine.registry.processes[1].failure == "no module named nothing"
    await machine.do(machine.verbs.unload(1))
    assert machine.verbs.states()[1] is S.READY


async def test_without_a_host_to_send_sipis_nothing_is_started():
    hosting = Machine(hosted(1, image=types.Image()))
    with pytest.raises(NoCpuError, match=r"^ENODEV: the host instance is not active"):
        await hosting.verbs.exec(1, direct=False, apic_id=None)
    assert hosting.orders == []
    assert hosting.verbs.states()[1] is S.LOADED


async def test_whoever_is_unknown_to_every_host_agent(hosting):
    with pytest.raises(NotFoundError, match=r"^ENOENT: instance 9 \(mk9\) does not exist$"):
        await hosting.verbs.load(9, None)


async def test_a_cpu_that_runs_another_kernel_is_ebusy(machine):
    wire = machine((0,))
    hosting = Machine(hosted(1, image=types.Image()), bus=wire.bus)
    with pytest.raises(InstanceBusyError) as caught:
        await hosting.verbs.exec(1, direct=True, apic_id=0)
    said = "EBUSY: the CPU with APIC id 0 is currently running instance 0 (kernel0)"
    assert str(caught.value) == said
    assert caught.value.advice == "boot on one of 1"
    assert hosting.orders == []


async def test_a_shutdown_that_is_not_acknowledged_ends_nothing(machine, monkeypatch):
    monkeypatch.setattr(parking, "SHUTDOWN_TIMEOUT_S", 0.05)
    wire = machine((0,), (1,))
    hosting = Machine(hosted(1, image=types.Image(), pid=11, running=True), bus=wire.bus)
    assert hosting.verbs.states()[1] is S.ACTIVE
    with pytest.raises(StuckError) as caught:
        await hosting.verbs.kill(1, force=False, signal=False)
    said = "ETIMEDOUT: instance 1 (mk1) did not acknowledge its shutdown within 0.05 s"
    assert str(caught.value) == said
    assert caught.value.advice.endswith("mkrpc kill --force mk1")
    assert hosting.orders == []
    assert hosting.verbs.states()[1] is S.ACTIVE


@pytest.mark.parametrize(
    ("asked", "order"),
    [
        ({"force": False, "signal": True}, pb.KillProcess(instance_id=1)),
        ({"force": True, "signal": True}, pb.KillProcess(instance_id=1, force=True)),
    ],
)
async def test_a_signal_asks_no_kernel(machine, asked, order):
    wire = machine((0,), (1,))
    hosting = Machine(hosted(1, image=types.Image(), pid=11, running=True), bus=wire.bus)
    killing = asyncio.ensure_future(hosting.verbs.kill(1, **asked))
    await turns()
    assert hosting.orders[-1].kill == order
    wire.settle()
    assert [peer.commands for peer in wire.peers] == [[], []]
    hosting.answer(pid=11, exit_code=-15, ended_by_order=True)
    assert await killing == (-15, 0)
