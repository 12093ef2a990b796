"""What one interrupt costs does not depend on how many instances there are.

Costs are counted in lines of Python that run, which no other load of the machine changes.
"""

import gc
import sys
from collections.abc import Callable
from itertools import count
from types import FrameType
from typing import Any

import pytest

from mkrpc.interconnect.floors import Floors, Publications
from mkrpc.link.frames import DownFrame, ResolvedRun
from mkrpc.link.memory import MAX_SOURCES
from mkrpc.x86.icr import fixed

BEAT_US = 10_000
WARM_UP = 40
"""Rounds after which every row and every memo is there."""


def lines_of(work: Callable[[], object]) -> int:
    """Lines that run in ``work``, in whatever it calls."""
    lines = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    gc.disable()  # a collection runs lines of others, hypothesis's among them
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
        gc.enable()
    return lines


def round_trips(machine, instances: int) -> Callable[[], None]:
    """One write of a client and one of an instance, each to a single CPU, until all is resolved."""
    wire = machine(*((apic_id,) for apic_id in range(instances)))
    source, destination = wire.peers[0], wire.peers[1]
    numbers = count(1)
    now_us = 0

    def exchange() -> None:
        while (session := wire.bus.take_ready()) is not None:
            peer = wire.peers[session.instance_id]
            while peer.pull():
                if peer.inbox:
                    peer.answer()
                    peer.push()

    def round_trip() -> None:
        nonlocal now_us
        number = next(numbers)
        now_us += 100
        wire.bus.advance(now_us)
        wire.inject(fixed(1, 0xEA), seq=number, resolved_below=number)
        exchange()
        source.write(fixed(1, 0xEA))
        source.push()
        exchange()
        wire.bus.hear(destination.session, 0, destination.session.generation)
        source.resolved.clear()

    exchange()
    return round_trip


@pytest.mark.pure
def test_a_unicast_write_costs_the_same_among_two_and_among_511(machine):
    costs = {}
    for instances in (2, 128, 511):
        round_trip = round_trips(machine, instances)
        for _ in range(WARM_UP):
            round_trip()
        costs[instances] = [lines_of(round_trip) for _ in range(3)]
    assert costs[2] == costs[128] == costs[511]
    assert min(costs[2]) > 100, "it does count"


def runs(last: int) -> tuple[ResolvedRun, ...]:
    return (ResolvedRun(1, last),)


def test_a_publication_goes_to_those_who_had_legs_of_its_source_and_to_nobody_else():
    publications = Publications()
    had, had_not, taken_over = (
        Floors(publications, taken_over=False),
        Floors(publications, taken_over=False),
        Floors(publications, taken_over=True),
    )
    had.hear(b"source")
    had_not.hear(b"another")
    publications.publish(b"source", runs(7))
    publications.publish(b"source", runs(9))
    told = []
    for floors in (had, had_not, taken_over):
        frame = DownFrame()
        floors.take(frame, room=1)
        told.append([(floor.source, floor.runs) for floor in frame.floors])
    assert told == [[(b"source", runs(9))], [], [(b"source", runs(9))]]


@pytest.mark.parametrize("taken_over", [False, True])
def test_who_is_over_is_kept_nowhere(taken_over):
    publications = Publications()
    floors = Floors(publications, taken_over=taken_over)
    for number in range(MAX_SOURCES + 3):
        floors.hear(number.to_bytes(16, "big"))
    floors.end()
    assert not publications._heard_by
    assert not publications._taken_over


def test_of_a_source_that_was_silent_for_longest_nothing_is_relayed_any_more():
    publications = Publications()
    floors = Floors(publications, taken_over=False)
    for number in range(MAX_SOURCES + 1):
        floors.hear(number.to_bytes(16, "big"))
    for number in range(2):
        publications.publish(number.to_bytes(16, "big"), runs(1))
    frame = DownFrame()
    floors.take(frame, room=MAX_SOURCES)
    assert [floor.source for floor in frame.floors] == [(1).to_bytes(16, "big")]


def test_what_does_not_fit_waits_for_the_next_frame():
    publications = Publications()
    floors = Floors(publications, taken_over=False)
    for source in (b"one", b"two"):
        floors.hear(source)
        publications.publish(source, (ResolvedRun(1, 1), ResolvedRun(3, 3)))
    first, second = DownFrame(), DownFrame()
    floors.take(first, room=3)
    floors.take(second, room=3)
    assert [floor.source for floor in first.floors + second.floors] == [b"one", b"two"]
    assert len(first.floors) == 1
