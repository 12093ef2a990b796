"""The source's window: numbers without a gap, and publications that repeat everything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.errors import ProtocolError
from mkrpc.link.frames import ResolvedRun
from mkrpc.link.source import (
    HARD_WRITE_WINDOW,
    MAX_PUBLISHED_RUNS,
    PUBLISH_EVERY,
    WRITE_WINDOW,
    SourceWindow,
)


def written(count: int) -> SourceWindow:
    window = SourceWindow()
    assert [window.next_seq() for _ in range(count)] == list(range(1, count + 1))
    return window


def test_the_window_closes_at_its_limit_and_opens_as_writes_are_resolved() -> None:
    window = written(WRITE_WINDOW - 1)
    assert (window.may_write, window.room) == (True, 1)
    window.next_seq()
    assert (window.may_write, window.room) == (False, 0)
    assert window.may_write_without_waiting
    window.resolve([ResolvedRun(5, 6)])
    assert (window.may_write, window.room, window.unresolved) == (True, 2, WRITE_WINDOW - 2)


def test_one_that_cannot_wait_is_refused_at_the_hard_limit() -> None:
    window = written(HARD_WRITE_WINDOW)
    assert not window.may_write_without_waiting
    window.resolve([ResolvedRun(1, 1)])
    assert window.may_write_without_waiting


@pytest.mark.parametrize("run", [ResolvedRun(3, 11), ResolvedRun(11, 11), ResolvedRun(0, 1)])
def test_resolving_what_was_never_written_is_the_peers_error(run: ResolvedRun) -> None:
    window = written(10)
    with pytest.raises(ProtocolError):
        window.resolve([run])


def test_a_publication_is_due_after_enough_and_repeats_everything() -> None:
    window = written(3 * PUBLISH_EVERY)
    window.resolve([ResolvedRun(2, PUBLISH_EVERY)])
    assert window.take_publication() == ()
    window.resolve([ResolvedRun(2000, 2000)])
    runs = (ResolvedRun(2, PUBLISH_EVERY), ResolvedRun(2000, 2000))
    assert window.take_publication() == runs
    assert window.take_publication() == (), "nothing new"
    window.resolve([ResolvedRun(1, 2 * PUBLISH_EVERY)])
    assert window.take_publication() == (ResolvedRun(1, 2 * PUBLISH_EVERY),)


def test_a_publication_keeps_the_longest_runs() -> None:
    window = written(10_000)
    window.resolve(ResolvedRun(n, n) for n in range(1, 4 * MAX_PUBLISHED_RUNS, 2))
    window.resolve([ResolvedRun(5000, 10_000)])
    published = window.take_publication()
    assert len(published) == MAX_PUBLISHED_RUNS
    assert published[-1] == ResolvedRun(5000, 10_000)
    assert list(published) == sorted(published, key=lambda run: run.first)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9)), max_size=20))
def test_repeated_resolution_changes_nothing(runs: list[tuple[int, int]]) -> None:
    window, plain = written(60), set[int]()
    for first, more in runs:
        new = set(range(first, first + more + 1)) - plain
        run = ResolvedRun(first, first + more)
        assert window.resolve([run]) == len(new)
        assert window.resolve([run]) == 0
        plain |= new
    assert window.unresolved == 60 - len(plain)
    assert window.written == 60
