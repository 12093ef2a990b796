"""The source's window: numbers without a gap, and publications that repeat everything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.errors import ProtocolError
from mkrpc.limits import MAX_CPUS
from mkrpc.link.frames import ResolvedRun
from mkrpc.link.source import (
    HARD_WRITE_WINDOW,
    MAX_PUBLISHED_RUNS,
    PUBLISH_EVERY,
    RESERVED_WRITES,
    WRITE_WINDOW,
    SourceWindow,
)
from mkrpc.outcome import Outcome

WORD = 0x1234


def written(count: int) -> SourceWindow:
    window = SourceWindow()
    assert [window.next_seq(0, WORD) for _ in range(count)] == list(range(1, count + 1))
    return window


def fill(window: SourceWindow, cpu: int, *, waiting: bool) -> int:
    """Write until the window is closed to this CPU; how many writes that were."""
    may = window.may_write if waiting else window.may_write_without_waiting
    count = 0
    while may(cpu):
        window.next_seq(cpu, WORD)
        count += 1
    return count


@pytest.mark.rule("R20")
def test_the_window_closes_at_its_limit_and_opens_as_writes_are_resolved() -> None:
    window = written(WRITE_WINDOW - 1)
    assert window.may_write(0)
    window.next_seq(0, WORD)
    assert not window.may_write(0)
    assert window.may_write_without_waiting(0)
    window.resolve([ResolvedRun(5, 6)])
    assert (window.outstanding, window.held(0)) == (WRITE_WINDOW - 2, WRITE_WINDOW - 2)
    assert fill(window, 0, waiting=True) == 2


def test_one_that_cannot_wait_may_hold_as_much_as_it_leaves() -> None:
    window = SourceWindow()
    count = fill(window, 0, waiting=False)
    assert 2 * WRITE_WINDOW < count < HARD_WRITE_WINDOW // 2
    window.resolve([ResolvedRun(1, 1)])
    assert window.may_write_without_waiting(0)


@pytest.mark.parametrize("waiting", [True, False])
def test_no_number_of_cpus_takes_the_places_of_another(waiting: bool) -> None:
    """Each rings a destination that hangs, for as long as it may; the hard window still holds."""
    window = SourceWindow()
    counts = [fill(window, cpu, waiting=waiting) for cpu in range(MAX_CPUS)]
    assert counts == sorted(counts, reverse=True)
    assert min(counts) >= RESERVED_WRITES
    assert window.outstanding == sum(counts) <= HARD_WRITE_WINDOW
    window.resolve([ResolvedRun(1, window.written)])
    assert window.outstanding == 0
    assert fill(window, 7, waiting=True) == WRITE_WINDOW, "every place has come back"


def test_one_hung_destination_leaves_the_other_cpus_most_of_their_window() -> None:
    window = SourceWindow()
    assert fill(window, 0, waiting=True) == WRITE_WINDOW
    assert fill(window, 1, waiting=True) > WRITE_WINDOW * 3 // 4


def test_a_write_settled_inside_its_apic_holds_a_place_until_it_is_reported() -> None:
    window = written(WRITE_WINDOW)
    window.reported(17)
    assert window.may_write(0)
    window.reported(17)
    window.resolve([ResolvedRun(17, 17)])
    assert window.outstanding == WRITE_WINDOW - 1, "a place comes back once"


def test_what_travels_is_what_was_not_settled_inside_its_apic() -> None:
    window = SourceWindow()
    travels, settled = window.next_seq(3, WORD), window.next_settled_seq(3, WORD, Outcome.DELIVERED)
    assert (window.held(3), window.travelling(3), window.travelling(4)) == (2, 1, 0)
    window.reported(settled)
    window.reported(settled)
    assert (window.held(3), window.travelling(3)) == (1, 1)
    window.resolve([ResolvedRun(travels, travels)])
    assert (window.held(3), window.travelling(3)) == (0, 0)


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
    window.resolve([ResolvedRun(n, n) for n in range(1, 4 * MAX_PUBLISHED_RUNS, 2)])
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
    assert window.outstanding == window.held(0) == 60 - len(plain)
    assert window.written == 60
