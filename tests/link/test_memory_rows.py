"""Legs that come in long rows are remembered as rows, and nobody can tell."""

from array import array
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.link import memory as memory_module
from mkrpc.link.frames import ResolvedRun
from mkrpc.link.memory import OutcomeMemory
from mkrpc.link.remembered import MIN_ROW, in_bytes
from mkrpc.outcome import Outcome

A = b"A" * 16
CPUS = 3
ENDS = (Outcome.DELIVERED, Outcome.COALESCED, Outcome.REJECTED_SOFTWARE_DISABLED)


def may_record_row(memory: OutcomeMemory, seqs: Sequence[int], cpus: Sequence[int]) -> bool:
    found = memory.row_cpus(A, seqs, cpus, cpus_below=CPUS)
    assert list(found) in ([], list(cpus))
    return bool(found)


def row(first: int, length: int = MIN_ROW) -> tuple[range, list[int], list[Outcome]]:
    seqs = range(first, first + length)
    return seqs, [seq % CPUS for seq in seqs], [ENDS[seq % 2] for seq in seqs]


ROWS = st.tuples(
    st.just("row"),
    st.integers(-30, 20),
    st.lists(st.integers(1, 3), min_size=MIN_ROW, max_size=2 * MIN_ROW),
    st.booleans(),
    st.booleans(),
)
SINGLE = st.tuples(st.just("single"), st.integers(1, 120), st.integers(0, CPUS - 1))
FORGET = st.tuples(st.just("forget"), st.integers(1, 120), st.integers(0, 60))


@given(st.lists(st.one_of(ROWS, ROWS, SINGLE, FORGET), max_size=12))
def test_rows_are_remembered_as_if_each_leg_had_come_alone(steps: list[tuple]) -> None:
    memory, plain = OutcomeMemory(), OutcomeMemory()
    end = 1
    for step in steps:
        if step[0] == "row":
            _, gap, steps_between, delivered, dense = step
            first = max(1, end + gap)
            seqs = [first + sum(steps_between[:index]) for index in range(len(steps_between))]
            cpus = [seq % CPUS for seq in seqs]
            if dense:  # as a frame may bring them
                seqs, cpus = array("Q", seqs), array("I", cpus)
            if not may_record_row(memory, seqs, cpus):
                continue
            assert all(
                plain.recall(A, seq, cpu) is None for seq, cpu in zip(seqs, cpus, strict=True)
            )
            outcomes = [ENDS[0 if delivered else seq % len(ENDS)] for seq in seqs]
            memory.record_row(A, seqs, bytes(list(cpus)), outcomes)
            for leg in zip(seqs, cpus, outcomes, strict=True):
                plain.record(A, *leg)
            end = seqs[-1] + 1
        elif step[0] == "single":
            _, seq, cpu = step
            known = memory.recall(A, seq, cpu)
            assert known is plain.recall(A, seq, cpu)
            assert memory.may_record(A, seq) is plain.may_record(A, seq)
            if known is None:
                memory.record(A, seq, cpu, Outcome.COALESCED)
                plain.record(A, seq, cpu, Outcome.COALESCED)
        else:
            _, first, more = step
            memory.forget(A, [ResolvedRun(first, first + more)])
            plain.forget(A, [ResolvedRun(first, first + more)])
        assert len(memory) == len(plain)
        assert memory.remembered(A) == plain.remembered(A)
    for cpu in range(CPUS):
        assert memory.highest(A, cpu) == plain.highest(A, cpu)
        for seq in range(1, end + 30):
            assert memory.recall(A, seq, cpu) is plain.recall(A, seq, cpu), (seq, cpu)


@pytest.mark.parametrize(
    ("seqs", "cpus", "may"),
    [
        (range(101, 101 + MIN_ROW), [0] * MIN_ROW, True),
        (list(range(101, 101 + 2 * MIN_ROW, 2)), [1] * MIN_ROW, True),
        (range(101, 100 + MIN_ROW), [0] * (MIN_ROW - 1), False),
        (range(100, 100 + MIN_ROW), [0] * MIN_ROW, False),
        ([101, 101, *range(103, 101 + MIN_ROW)], [0, 1] + [0] * (MIN_ROW - 2), False),
        ([102, 101, *range(103, 101 + MIN_ROW)], [0] * MIN_ROW, False),
        (range(101, 101 + MIN_ROW), [0] * (MIN_ROW - 1) + [CPUS], False),
        (range(101, 101 + MIN_ROW), [-1] + [0] * (MIN_ROW - 1), False),
        (range(101, 101 + MIN_ROW), [256, 512] + [0] * (MIN_ROW - 2), False),
        (range(151, 151 + MIN_ROW), [0] * MIN_ROW, False),
        (range(133, 133 + MIN_ROW), [0] * MIN_ROW, False),
        (range(153, 153 + MIN_ROW), [0] * MIN_ROW, True),
    ],
    ids=[
        *("next", "gaps", "short", "known", "broadcast", "backwards", "no-such-cpu", "negative"),
        *("no-byte", "forgotten", "reaches-forgotten", "above-forgotten"),
    ],
)
def test_a_row_is_new_ascends_and_has_one_leg_to_a_write(
    seqs: Sequence[int], cpus: list[int], may: bool
) -> None:
    memory = OutcomeMemory()
    memory.record(A, 100, 0, Outcome.DELIVERED)
    memory.forget(A, [ResolvedRun(148, 152)])
    assert may_record_row(memory, seqs, cpus) is may
    if min(cpus) >= 0:  # as a frame may bring them
        assert may_record_row(memory, seqs, array("I", cpus)) is may


@pytest.mark.parametrize("number", [0, 255, 256, 1 << 16, 1 << 24])
@pytest.mark.parametrize("kind", [list, partial(array, "I")], ids=["list", "array"])
def test_a_column_goes_into_bytes_if_each_number_does(kind: Any, number: int) -> None:
    column = [1, number, 0]
    assert in_bytes(kind(column)) == (bytes(column) if number < 256 else b"")


def test_a_row_does_not_go_beyond_the_limit_of_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "MAX_REMEMBERED_PER_SOURCE", MIN_ROW)
    memory = OutcomeMemory()
    seqs, cpus, outcomes = row(1)
    assert may_record_row(memory, seqs, cpus)
    memory.record_row(A, seqs, bytes(list(cpus)), outcomes)
    assert not memory.may_record(A)
    assert memory.may_record(A, 1), "a further leg of a write that is remembered"
    assert not may_record_row(memory, *row(100)[:2])
    memory.forget(A, [ResolvedRun(1, MIN_ROW)])
    assert may_record_row(memory, *row(100)[:2])


def test_a_row_makes_room_for_itself_among_all_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "MAX_REMEMBERED", MIN_ROW + 2)
    memory = OutcomeMemory()
    for source in (b"1" * 16, b"2" * 16, b"3" * 16):
        memory.record(source, 1, 0, Outcome.DELIVERED)
    seqs, cpus, outcomes = row(1)
    memory.record_row(A, seqs, bytes(list(cpus)), outcomes)
    assert [memory.remembered(source * 16) for source in (b"1", b"2", b"3", b"A")] == [
        *(0, 1, 1),
        MIN_ROW,
    ]


def test_what_is_left_of_a_row_takes_little_memory() -> None:
    """One write of each row is stuck elsewhere: the rest of the row does not stay with it."""
    memory = OutcomeMemory()
    for first in range(1, 64 * 1000, 1000):
        seqs, cpus, outcomes = row(first, 1000)
        memory.record_row(A, seqs, bytes(list(cpus)), outcomes)
        memory.forget(A, [ResolvedRun(first + 1, first + 999)])
    known = memory._sources[A]
    assert len(memory) == memory.remembered(A) == 64
    assert not known._rows
    assert [memory.recall(A, first, first % CPUS) for first in (1, 1001)] == [ENDS[1], ENDS[1]]
