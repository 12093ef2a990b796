"""Host agents: what they may say, whose orders are whose, and what becomes of orders in the end."""

import asyncio
from typing import Any

import pytest

from mkrpc.errors import (
    AlreadyExistsError,
    ClusterStateError,
    InvalidArgumentError,
    LimitReachedError,
    NotFoundError,
    ProtocolError,
    StartUpError,
    UnavailableError,
)
from mkrpc.interconnect.host_hello import MAX_HOST_NAME
from mkrpc.interconnect.hosts import MAX_HOSTS, MAX_ORDERS, HostRegistry
from mkrpc.v1 import interconnect_pb2 as pb

from .host_by_hand import Host, Timer, hosted


@pytest.fixture
def registry() -> HostRegistry:
    return HostRegistry(epoch=7, limit_silence=lambda _connection: Timer())


@pytest.fixture
def pair(registry) -> tuple[Host, Host]:
    """Host a with instance 1, host b with instance 2, neither running."""
    a, b = Host(registry), Host(registry)
    a.hello(hosted(1))
    b.hello(hosted(2))
    return a, b


async def begin(coroutine: Any) -> "asyncio.Task[Any]":
    """Run it up to where it waits for an answer."""
    task = asyncio.ensure_future(coroutine)
    await asyncio.sleep(0)
    return task


def test_a_hello_is_welcomed_and_says_how_each_process_is(registry):
    host = Host(registry)
    host.hello(
        hosted(0, pid=10, running=True),
        hosted(1, pid=11, exit_code=-9, spare_cpus=3),
        hosted(511, name="x" * 64),
    )
    assert host.wire.sent[0].welcome.epoch == 7
    known = {i: (p.pid, p.running, p.exit_code) for i, p in registry.processes.items()}
    assert known == {0: (10, True, 0), 1: (11, False, -9), 511: (0, False, 0)}
    assert [p.spare_cpus for p in registry.processes.values()] == [0, 3, 0]


def test_an_instance_without_cpus_is_known_to_the_next_interconnect(registry):
    """It was created so; a host agent that were refused for it would end its cluster."""
    host = Host(registry)
    host.hello(hosted(1, apic_ids=[]))
    assert host.wire.closed_with is None
    assert registry.processes[1].apic_ids == ()


def test_a_hello_tells_of_processes_that_ended_while_no_interconnect_looked():
    """Nobody then waits for the lease of an instance whose process is gone."""
    ended = []
    registry = HostRegistry(
        epoch=7,
        limit_silence=lambda _connection: Timer(),
        on_ended=lambda instance_id, pid: ended.append((instance_id, pid)),
    )
    Host(registry).hello(
        hosted(0, pid=10, running=True), hosted(1, pid=11, exit_code=-9), hosted(2)
    )
    assert ended == [(1, 11)]


@pytest.mark.parametrize(
    ("instances", "fields", "error", "match"),
    [
        ([], {"wire_version": 99}, ProtocolError, "99"),
        ([], {"host_name": "x" * (MAX_HOST_NAME + 1)}, InvalidArgumentError, "256 characters"),
        ([], {"host_name": "\x1b[31m"}, InvalidArgumentError, "host name"),
        ([hosted(512)], {}, InvalidArgumentError, "id 512"),
        ([hosted(1), hosted(1)], {}, InvalidArgumentError, "given twice"),
        ([hosted(n) for n in range(513)], {}, InvalidArgumentError, "514 instances"),
        ([hosted(1, name="")], {}, InvalidArgumentError, "name ''"),
        ([hosted(1, name="x" * 65)], {}, InvalidArgumentError, "name 'x"),
        ([hosted(1, name="\x1b[31mevil")], {}, InvalidArgumentError, r"\\x1b"),
        ([hosted(1, apic_ids=[5, 5])], {}, InvalidArgumentError, "2 CPUs, 1 APIC"),
        ([hosted(1, apic_ids=range(513))], {}, InvalidArgumentError, "513 CPUs"),
        ([hosted(1, apic_ids=[0xFFFFFFFF])], {}, InvalidArgumentError, "broadcast"),
        ([hosted(1, running=True)], {}, InvalidArgumentError, "no process"),
        ([hosted(1, pid=3, running=True, exit_code=1)], {}, InvalidArgumentError, "exit code"),
    ],
)
def test_a_hello_that_cannot_be_is_refused_whole(registry, instances, fields, error, match):
    host = Host(registry)
    host.hello(hosted(3), *instances, **fields)
    with pytest.raises(error, match=match):
        raise host.wire.closed_with
    assert (registry.hosts, registry.processes, host.wire.sent) == ([], {}, [])


def test_one_hello_per_stream(registry):
    host = Host(registry)
    host.hello(hosted(1))
    host.hello(hosted(2))
    assert isinstance(host.wire.closed_with, ProtocolError)
    assert list(registry.processes) == [1]
    assert registry.hosts == [host.link]


def test_an_instance_has_one_host_agent(registry, pair):
    thief = Host(registry)
    thief.hello(hosted(2), hosted(3))
    assert isinstance(thief.wire.closed_with, AlreadyExistsError)
    assert sorted(registry.processes) == [1, 2]


def test_the_number_of_host_agents_is_bounded_by_those_that_said_hello(registry):
    hosts = [Host(registry) for _ in range(MAX_HOSTS + 1)]
    for number, host in enumerate(hosts):
        host.hello(hosted(number))
    assert [host.wire.closed_with for host in hosts[:-1]] == [None] * MAX_HOSTS
    assert isinstance(hosts[-1].wire.closed_with, LimitReachedError)
    assert len(registry.hosts) == MAX_HOSTS


async def test_an_order_is_answered_by_its_host(registry, pair):
    waiting = await begin(registry.start(1))
    order = pair[0].last_order
    pair[0].say(report=pb.HostReport(instance_id=1, order=order, pid=5, running=True))
    assert (await waiting).pid == 5
    assert registry.processes[1].running
    with pytest.raises(ClusterStateError, match="runs already, as process 5"):
        await registry.start(1)


async def test_an_order_that_fails_keeps_the_hosts_own_error(registry, pair):
    for reason, kind in (("WRONG_STATE", ClusterStateError), ("", StartUpError)):
        waiting = await begin(registry.start(1))
        report = pb.HostReport(
            instance_id=1, order=pair[0].last_order, error="no", reason=reason, advice="wait"
        )
        pair[0].say(report=report)
        with pytest.raises(kind, match="no") as raised:
            await waiting
        assert raised.value.advice == "wait"


async def test_nobody_answers_for_another(registry, pair):
    a, b = pair
    waiting = await begin(registry.start(1))
    b.say(report=pb.HostReport(instance_id=2, order=a.last_order, pid=6, running=True))
    assert isinstance(b.wire.closed_with, ProtocolError)
    assert not registry.processes[2].running
    assert not waiting.done()
    a.say(report=pb.HostReport(instance_id=1, order=a.last_order, pid=5, running=True))
    assert (await waiting).pid == 5


@pytest.mark.parametrize(
    "report",
    [
        pb.HostReport(instance_id=2, pid=6, running=True),
        pb.HostReport(instance_id=9),
        pb.HostReport(instance_id=1, order=77),
        pb.HostReport(instance_id=1, running=True),
    ],
    ids=["another's instance", "nobody's instance", "no such order", "running as nothing"],
)
def test_a_report_that_cannot_be_closes_the_stream_and_changes_nothing(registry, pair, report):
    pair[0].say(report=report)
    assert isinstance(pair[0].wire.closed_with, ProtocolError)
    assert [p.running for p in registry.processes.values()] == [False, False]


def test_a_report_before_the_hello(registry):
    host = Host(registry)
    host.say(report=pb.HostReport(instance_id=1))
    assert isinstance(host.wire.closed_with, ProtocolError)


async def test_the_orders_of_a_host_that_vanished_fail_at_once_and_only_those(registry, pair):
    a, b = pair
    of_a, of_b = await begin(registry.start(1)), await begin(registry.start(2))
    a.vanish()
    with pytest.raises(UnavailableError, match="instance 1 went away"):
        await of_a
    b.say(report=pb.HostReport(instance_id=2, order=b.last_order, pid=6, running=True))
    assert (await of_b).pid == 6
    with pytest.raises(NotFoundError, match="instance 1 belongs to no host agent"):
        await registry.start(1)
    b.vanish()
    with pytest.raises(ClusterStateError, match="no host agent is attached"):
        await registry.start(2)


async def test_an_order_whose_asker_has_left_is_answered_in_silence(registry, pair):
    waiting = await begin(registry.start(1))
    waiting.cancel()
    await asyncio.wait({waiting})
    pair[0].say(report=pb.HostReport(instance_id=1, order=pair[0].last_order, pid=5, running=True))
    assert pair[0].wire.closed_with is None
    assert registry.processes[1].running


async def test_unanswered_orders_are_bounded_per_host(registry, pair):
    waiting = [await begin(registry.start(1)) for _ in range(MAX_ORDERS)]
    with pytest.raises(LimitReachedError, match=f"{MAX_ORDERS} orders"):
        await registry.start(1)
    other = await begin(registry.start(2))
    pair[0].vanish()
    assert {type(e) for e in await asyncio.gather(*waiting, return_exceptions=True)} == {
        UnavailableError
    }
    pair[1].vanish()
    with pytest.raises(UnavailableError):
        await other


async def test_a_process_is_paused_and_goes_on_by_order(registry):
    told: list[tuple[int, bool]] = []
    registry.on_paused = lambda instance_id, paused: told.append((instance_id, paused))
    host = Host(registry)
    host.hello(hosted(1, pid=5, running=True))
    with pytest.raises(ClusterStateError, match="instance 1 is not paused"):
        await registry.resume(1)

    task = await begin(registry.pause(1, for_us=500))
    assert host.wire.sent[-1].pause == pb.PauseProcess(instance_id=1, for_us=500)
    host.say(
        report=pb.HostReport(instance_id=1, pid=5, running=True, paused=True, order=host.last_order)
    )
    assert (await task).pid == 5
    with pytest.raises(ClusterStateError, match="instance 1 is paused already"):
        await registry.pause(1, for_us=0)

    task = await begin(registry.resume(1))
    assert host.wire.sent[-1].resume == pb.ResumeProcess(instance_id=1)
    host.say(report=pb.HostReport(instance_id=1, pid=5, running=True, order=host.last_order))
    await task
    assert told == [(1, True), (1, False)]


def test_a_paused_process_that_ends_is_paused_no_more(registry):
    told: list[tuple[int, bool]] = []
    registry.on_paused = lambda instance_id, paused: told.append((instance_id, paused))
    host = Host(registry)
    host.hello(hosted(1, pid=5, running=True, paused=True))
    host.say(report=pb.HostReport(instance_id=1, pid=5, exit_code=-9, paused=True))
    assert told == [(1, True), (1, False)]
    assert not registry.processes[1].paused


async def test_nobody_pauses_what_does_not_run_or_has_no_host_agent(registry):
    with pytest.raises(ClusterStateError, match="no host agent is attached"):
        await registry.pause(1, for_us=0)
    Host(registry).hello(hosted(1))
    for order in (registry.pause(1, for_us=0), registry.resume(1)):
        with pytest.raises(ClusterStateError, match="instance 1 does not run"):
            await order
    with pytest.raises(NotFoundError):
        await registry.resume(2)
