"""What the kinds of faults do to a simulated machine, one at a time."""

import random
from dataclasses import replace
from typing import Any

import pytest

from mkrpc.link.frames import DownFrame, UpFrame
from mkrpc.simulation.faults import HUB_LEAP_SHARE, Faults
from mkrpc.simulation.node import Life
from mkrpc.simulation.options import FaultKind
from mkrpc.simulation.plan import Fault, Plan
from mkrpc.simulation.run import draw
from mkrpc.simulation.world import World


@pytest.fixture
def world() -> World:
    """One at rest: the time of its faults and steps has just passed without any."""
    drawn, _, rng_of = draw(1, random.Random)
    # Nothing that comes by chance, but for what a cut does.
    options = replace(
        drawn, faults=(), duplicate_share=0.0, late_share=0.0, half_open_share=0.0, own_beats=False
    )
    made = World(options, Plan((), ()), rng_of, without=frozenset(), tell=None)
    assert made.run().unsettled == []
    return made


def life_of(world: World) -> Life:
    life = world.nodes[0].life
    assert life is not None
    return life


def perform(world: World, kind: FaultKind, **fields: Any) -> None:
    fault = Fault(
        number=1,
        at_us=0,
        kind=kind,
        instance_id=0,
        **({"for_us": 1, "upward": False, "whole": False} | fields),
    )
    Faults(world).perform(fault)


def play(world: World, until_us: int) -> None:
    while world._heap and world._heap[0][0] <= until_us:
        world._next()


@pytest.mark.parametrize(("leases", "fenced"), [(0.01, False), (1.0, True)])
def test_a_leap_is_seen_on_the_clock_and_may_end_the_lease(
    world: World, leases: float, fenced: bool
) -> None:
    life = life_of(world)
    before_us = life.kernel.now_us()
    by_us = int(leases * world.options.lease_us)
    perform(world, "leap", for_us=by_us)
    assert life.kernel.now_us() == before_us + by_us
    assert life.over is fenced


def test_a_clock_leaps_while_its_process_is_stopped(world: World) -> None:
    life = life_of(world)
    world.nodes[0].stop(beats=False)
    perform(world, "leap", for_us=world.options.lease_us)
    assert not life.over, "it cannot see that"
    world.nodes[0].wake()
    assert life.over


def test_the_interconnect_s_clock_leaps_a_little_and_not_often(world: World) -> None:
    faults = Faults(world)
    ahead_us = [world.hub.now_us - world.now_us]
    for _ in range(2):
        faults.perform(
            Fault(
                number=1,
                at_us=0,
                kind="hub-leap",
                instance_id=0,
                for_us=world.options.lease_us,
                upward=False,
                whole=False,
            )
        )
        ahead_us.append(world.hub.now_us - world.now_us)
    once_us = world.options.lease_us // HUB_LEAP_SHARE
    assert ahead_us == [ahead_us[0], ahead_us[0] + once_us, ahead_us[0] + once_us]
    assert len(world.hub.bus.sessions()) == len(world.nodes)


@pytest.mark.parametrize("upward", [True, False])
def test_a_slow_reader_takes_its_time_for_each_message(world: World, upward: bool) -> None:
    life = life_of(world)
    perform(world, "slow", for_us=world.options.lease_us, upward=upward)
    stream = world.network.open(life)
    for pipe in (stream.up, stream.down):
        make_frame = UpFrame if pipe.upward else DownFrame
        for number in (1, 2, 3):
            world.network.send(stream, pipe, make_frame(frame=number))
    slow, other = (stream.up, stream.down) if upward else (stream.down, stream.up)
    assert slow.last_us - world.now_us >= 2 * world.options.lease_us // 20
    assert other.last_us - world.now_us < world.options.lease_us // 20


@pytest.mark.parametrize(("kind", "lost"), [("cut", True), ("reorder", False)])
def test_of_a_cut_all_is_lost_or_all_comes_late(world: World, kind: FaultKind, lost: bool) -> None:
    stream = life_of(world).stream
    assert stream is not None
    for number in (1, 2):
        world.network.send(stream, stream.up, UpFrame(frame=number, ack=0))
    before = world.network.caught.copy()
    perform(world, kind)
    play(world, world.now_us + 3 * world.options.lease_us)
    caught = world.network.caught - before
    assert (caught["late"] == 0) is lost
    assert caught["late" if not lost else "lost"] >= 2


@pytest.mark.parametrize("kind", ["leap", "crash", "cut", "slow", "reorder"])
def test_a_fault_meets_nobody_where_nobody_runs(world: World, kind: FaultKind) -> None:
    life_of(world).crash(whole=True)
    before = world.faults.copy()
    perform(world, kind)
    assert world.faults == before
