"""RunSet against a plain set: whatever is added, both hold the same numbers."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.errors import LimitReachedError
from mkrpc.link import runs as runs_module
from mkrpc.link.frames import ResolvedRun
from mkrpc.link.runs import RunSet

RUNS = st.lists(
    st.tuples(st.integers(1, 60), st.integers(0, 8)).map(lambda run: (run[0], run[0] + run[1])),
    max_size=30,
)


def numbers(runs: object) -> set[int]:
    return {n for run in runs for n in range(run.first, run.last + 1)}  # type: ignore[attr-defined]


@given(RUNS, st.tuples(st.integers(1, 70), st.integers(0, 70)))
def test_it_is_a_set_of_numbers(added: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    ours, plain = RunSet(), set[int]()
    for first, last in added:
        fresh = set(range(first, last + 1)) - plain
        assert ours.add_run(first, last) == len(fresh)
        plain |= fresh
    assert numbers(ours) == plain
    assert len(ours) == len(plain)
    assert bool(ours) == bool(plain)
    assert all((n in ours) == (n in plain) for n in range(80))
    assert ours.highest == max(plain, default=0)
    assert ours.floor == next(n for n in range(100) if n + 1 not in plain)
    first, last = asked[0], asked[0] + asked[1]
    wanted = set(range(first, last + 1))
    assert numbers(ours.missing(first, last)) == wanted - plain
    assert ours.covers(first, last) == (wanted <= plain)


@given(RUNS)
def test_its_runs_neither_touch_nor_overlap(added: list[tuple[int, int]]) -> None:
    runs = RunSet(ResolvedRun(first, last) for first, last in added).runs()
    assert all(run.first <= run.last for run in runs)
    assert all(a.last + 1 < b.first for a, b in pairwise(runs))


@given(RUNS, st.integers(1, 5))
def test_take_removes_the_lowest_runs(added: list[tuple[int, int]], limit: int) -> None:
    ours = RunSet(ResolvedRun(first, last) for first, last in added)
    before = ours.runs()
    assert ours.take(limit) == before[:limit]
    assert ours.runs() == before[limit:]
    assert len(ours) == len(numbers(before[limit:]))


def test_growth_in_order_is_one_run() -> None:
    ours = RunSet()
    for number in range(1, 10_001):
        assert ours.add(number) == 1
    assert ours.runs() == (ResolvedRun(1, 10_000),)


def test_listing_the_runs_costs_by_runs_and_not_by_numbers() -> None:
    """Room for so many numbers could not even be asked for."""
    long = ResolvedRun(1, (1 << 62) - 2), ResolvedRun(1 << 62, 1 << 63)
    assert RunSet(long).runs() == long


def test_more_than_the_limit_of_runs_is_refused_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs_module, "MAX_RUNS", 3)
    ours = RunSet(ResolvedRun(n, n) for n in (1, 3, 5))
    with pytest.raises(LimitReachedError):
        ours.add(9)
    assert ours.runs() == tuple(ResolvedRun(n, n) for n in (1, 3, 5))
    assert ours.add(4) == 1, "closing a gap needs no new run"
    assert ours.runs() == (ResolvedRun(1, 1), ResolvedRun(3, 5))
