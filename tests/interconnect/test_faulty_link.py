"""What faults do to one stream: hold, repeat, hold back, cut; never lose in silence."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.fault import Direction, Fault, FaultKind
from mkrpc.interconnect.faults import Faults
from mkrpc.interconnect.faulty_link import MAX_HELD, MAX_LATE, FaultyLink, Late

UP, DOWN = Direction.UP, Direction.DOWN


class Rig:
    """A table, and the stream of instance 1."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = Faults()
        self.late = Late()
        for fault in faults:
            self.faults.begin(fault)
        self.stream = self.open()

    def open(self) -> FaultyLink:
        self.stream = FaultyLink(self.faults, 1, self.late)
        return self.stream

    def put(self, *numbers: int, direction: Direction = UP) -> None:
        for number in numbers:
            self.stream.put(direction, b"%d" % number, number)

    def take(self, now_us: int | None = None, direction: Direction = UP) -> list[int]:
        if now_us is not None:
            self.faults.advance(now_us)
            self.stream.advance()
        found = []
        while (message := self.stream.take(direction)) is not None:
            found.append(int(message))
        return found


def fault(kind: str, **fields: Any) -> Fault:
    return Fault(kind=FaultKind(kind), **fields)


def test_a_delay_holds_each_message_for_its_time() -> None:
    rig = Rig(fault("delay", delay_us=100))
    rig.put(1)
    rig.faults.advance(40)
    rig.put(2)
    assert (rig.take(99), rig.stream.deadline_us) == ([], 100)
    assert (rig.take(100), rig.stream.deadline_us) == ([1], 140)
    assert (rig.take(140), rig.stream.holds) == ([2], False)


@given(seed=st.integers(0, 1 << 63), jitter_us=st.integers(1, 1_000))
def test_jitter_keeps_the_order_and_its_bound(seed: int, jitter_us: int) -> None:
    rig = Rig(fault("delay", delay_us=10, jitter_us=jitter_us, seed=seed))
    rig.put(*range(1, 50))
    seen = []
    while (due_us := rig.stream.deadline_us) is not None:
        assert due_us <= 10 + jitter_us
        seen += rig.take(due_us)
    assert seen == list(range(1, 50))


def test_a_delay_of_one_direction_is_of_that_one() -> None:
    rig = Rig(fault("delay", delay_us=100, direction=DOWN))
    rig.put(1)
    rig.put(7, direction=DOWN)
    assert rig.take() == [1]
    assert rig.take(direction=DOWN) == []


@pytest.mark.parametrize(("instance", "struck"), [(None, True), (1, True), (2, False)])
def test_a_fault_of_a_link_is_of_its_instance(instance: int | None, struck: bool) -> None:
    rig = Rig(fault("delay", delay_us=100, instance=instance))
    rig.put(1)
    assert rig.take() == [] if struck else [1]


def test_a_delay_that_ends_lets_out_what_it_holds_in_its_time() -> None:
    rig = Rig(fault("delay", delay_us=100))
    rig.put(1)
    rig.faults.end(1, "cleared")
    rig.put(2)
    assert rig.take() == [], "the order holds"
    assert rig.take(100) == [1, 2]


def test_frames_with_content_come_twice_and_others_once() -> None:
    rig = Rig(fault("duplicate", every=2))
    rig.put(1, 2, 0, 0, 3, 4)
    assert rig.take() == [1, 2, 2, 0, 0, 3, 4, 4]


def test_a_reordered_frame_cuts_its_stream_and_comes_late_over_the_next() -> None:
    rig = Rig(fault("reorder", every=3, limit=1))
    rig.put(1, 2)
    assert rig.take() == [1, 2]
    rig.put(3, 4)
    assert rig.stream.cut == "cut by fault 1: reorder link of any, 1 in 3, 1 at most"
    assert rig.take() == []
    rig.open()
    rig.put(3, 4)
    assert rig.take() == [3, 3, 4], "sent again, and then late"


def test_a_late_frame_waits_for_its_copy() -> None:
    """Before it, it would leave a gap."""
    rig = Rig(fault("reorder", every=3, limit=1))
    rig.put(1, 2, 3)
    rig.open()
    rig.put(0, 1, 2)
    assert rig.take() == [0, 1, 2]
    rig.put(3)
    assert rig.take() == [3, 3]


def test_late_frames_are_bounded() -> None:
    rig = Rig(fault("reorder", every=2))
    for number in range(2 * MAX_LATE):
        rig.open()
        rig.put(0, number + 1, number + 1)
    assert len(rig.late.frames[UP]) == MAX_LATE


def test_a_partition_lets_nothing_through_until_it_ends() -> None:
    rig = Rig(fault("partition", for_us=50, direction=UP))
    rig.put(1, 2)
    rig.put(8, direction=DOWN)
    assert (rig.take(49), rig.take(direction=DOWN)) == ([], [8])
    assert rig.stream.deadline_us is None, "nothing but its end helps"
    assert rig.faults.deadline_us == 50
    assert rig.take(50) == [1, 2]


def test_a_partition_holds_what_is_on_its_way() -> None:
    rig = Rig(fault("delay", delay_us=100))
    rig.put(1)
    rig.faults.begin(fault("partition", for_us=500))
    assert (rig.take(499), rig.take(500)) == ([], [1])


def test_a_flap_cuts_at_each_multiple_of_its_period() -> None:
    rig = Rig(fault("flap", period_us=50_000, limit=2))
    assert (rig.stream.deadline_us, rig.take(49_999), rig.stream.cut) == (50_000, [], "")
    rig.take(50_000)
    assert rig.stream.cut.startswith("cut by fault 1")
    rig.put(1)
    assert (rig.stream.take(UP), rig.stream.deadline_us) == (None, None)
    rig.faults.advance(120_000)
    rig.open()
    assert rig.stream.deadline_us == 150_000
    rig.take(150_000)
    assert rig.stream.cut
    assert list(rig.faults) == [], "its limit is reached"


def test_beyond_what_is_held_the_stream_is_cut() -> None:
    rig = Rig(fault("partition"))
    rig.put(*[0] * MAX_HELD)
    assert rig.stream.cut == ""
    rig.put(0)
    assert str(MAX_HELD + 1) in rig.stream.cut


KINDS = {
    "delay": fault("delay", delay_us=30, jitter_us=50, seed=3),
    "duplicate": fault("duplicate", share=0.5, seed=4),
    "reorder": fault("reorder", share=0.2, seed=5),
    "partition": fault("partition", for_us=400),
    "flap": fault("flap", period_us=50_000),
}


@given(
    kinds=st.sets(st.sampled_from(sorted(KINDS)), min_size=1),
    seed=st.integers(0, 1 << 60),
    steps=st.lists(st.integers(0, 30_000), max_size=80),
)
def test_a_reader_that_ignores_what_it_has_sees_every_frame_once_and_in_order(
    kinds: set[str], seed: int, steps: list[int]
) -> None:
    """The law of the link (3.3) over any mixture of faults: a writer that sends again from what
    the reader has, as after a hello, and no frame that leaves a gap."""
    rig = Rig(*(replace(KINDS[kind], seed=seed if KINDS[kind].seed else 0) for kind in kinds))
    received = sent = 0
    now_us = 0

    def read() -> None:
        nonlocal received
        for number in rig.take(now_us):
            assert number <= received + 1, "a gap"
            received = max(received, number)

    for step in steps:
        now_us += step
        if rig.stream.cut:
            rig.faults.advance(now_us)
            rig.open()
            rig.put(*range(received + 1, sent + 1))
        sent += not rig.stream.cut
        rig.put(*[sent] * (not rig.stream.cut))
        read()
    for active in rig.faults:
        rig.faults.end(active.number, "cleared")
    now_us += 10_000_000
    rig.faults.advance(now_us)
    if rig.stream.cut:
        rig.open()
        rig.put(*range(received + 1, sent + 1))
    read()
    assert received == sent
