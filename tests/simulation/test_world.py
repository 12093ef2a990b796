"""Virtual time: one total order of what happens, clocks that drift, streams in order."""

import random
from dataclasses import replace
from typing import Any

import pytest

from mkrpc.link.frames import DownFrame, UpFrame
from mkrpc.simulation.network import Stream
from mkrpc.simulation.options import Options
from mkrpc.simulation.plan import Plan
from mkrpc.simulation.run import draw
from mkrpc.simulation.world import World


def rng_of(name: str) -> random.Random:
    return random.Random(f"1/{name}")


@pytest.fixture
def options() -> Options:
    """Those of a seed, without faults."""
    drawn, _, _ = draw(1, random.Random)
    return replace(drawn, faults=(), duplicate_share=0.0, late_share=0.0, own_beats=False)


def make(options: Options) -> World:
    return World(options, Plan((), ()), rng_of, without=frozenset(), tell=None)


def test_what_is_due_at_one_time_happens_in_the_order_in_which_it_was_put(options: Options) -> None:
    world = make(options)
    happened: list[tuple[int, str]] = []
    for when, what in ((30, "c"), (10, "a"), (30, "d"), (10, "b"), (30, "e")):
        world.at(when, lambda what=what: happened.append((world.now_us, what)))
    world.run()
    assert happened == [(10, "a"), (10, "b"), (30, "c"), (30, "d"), (30, "e")]


def test_nothing_can_be_put_into_the_past(options: Options) -> None:
    world = make(options)
    world.run()
    with pytest.raises(AssertionError, match="the past is over"):
        world.at(world.now_us - 1, lambda: None)


def test_a_machine_without_faults_comes_to_rest_at_once(options: Options) -> None:
    world = make(options)
    standing = world.run()
    assert standing.unsettled == []
    assert set(standing.kernels) == {each.instance_id for each in options.instances}
    assert world.now_us < options.busy_us + options.lease_us


@pytest.mark.parametrize("drift_ppm", [-20_000, 0, 15_000])
def test_the_clock_of_an_instance_drifts_from_its_offset_on(
    options: Options, drift_ppm: int
) -> None:
    first = replace(options.instances[0], drift_ppm=drift_ppm, offset_us=7)
    world = make(replace(options, instances=(first, *options.instances[1:])))
    world.run()
    life = world.nodes[first.instance_id].life
    assert life is not None
    assert life.kernel.now_us() == 7 + world.now_us * (1_000_000 + drift_ppm) // 1_000_000


class Ears:
    """At both ends of a stream of its own, beside those of the machine: what arrives, and when."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        life = world.nodes[0].life
        assert life is not None
        self.stream = world.network.open(life)
        self.heard: list[tuple[int, int]] = []
        deliver = world.network._deliver

        def hear(stream: Stream, pipe: Any, message: Any) -> None:
            if stream is self.stream:
                self.heard.append((world.now_us, message.frame))
            else:
                deliver(stream, pipe, message)

        monkeypatch.setattr(world.network, "_deliver", hear)


@pytest.mark.parametrize("upward", [True, False])
def test_a_partition_holds_up_one_direction_and_keeps_the_order(
    options: Options, upward: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make(options)
    world.run()
    node = world.nodes[0]
    ears = Ears(world, monkeypatch)
    stream = ears.stream
    pipe, other = (stream.up, stream.down) if upward else (stream.down, stream.up)
    begin_us = world.now_us
    make_frame = UpFrame if upward else DownFrame
    for number in (1, 2):
        world.network.send(stream, pipe, make_frame(frame=number))
    node.stall(begin_us + 50_000, upward=upward)
    world.network.send(stream, other, make_frame(frame=9))
    world.at(begin_us + 20_000, lambda: node.stall(begin_us + 90_000, upward=upward))
    for number in (3, 4):
        world.at(
            begin_us + 30_000 + number, world.network.send, stream, pipe, make_frame(frame=number)
        )
    _play(world, begin_us + 200_000)
    frames = [frame for _, frame in ears.heard]
    assert [frame for frame in frames if frame < 9] == [1, 2, 3, 4]
    assert all(when >= begin_us + 50_000 for when, frame in ears.heard if frame < 9)
    assert min(when for when, frame in ears.heard if frame == 9) < begin_us + 50_000


def test_a_cut_loses_what_is_on_its_way(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make(options)
    world.run()
    ears = Ears(world, monkeypatch)
    world.network.send(ears.stream, ears.stream.up, UpFrame(frame=1))
    world.network.cut(ears.stream)
    _play(world, world.now_us + 100_000)
    assert ears.heard == []
    assert world.network.caught["lost"] >= 1


def _play(world: World, until_us: int) -> None:
    while world._heap and world._heap[0][0] <= until_us:
        world._next()
