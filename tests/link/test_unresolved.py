"""What a source keeps of its unresolved writes, so that it can send them again (3.3, rule 4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.link import source as source_module
from mkrpc.link.frames import ResolvedRun
from mkrpc.link.source import SourceWindow, Unresolved
from mkrpc.outcome import Outcome


def test_of_a_write_everything_that_sending_it_again_takes() -> None:
    window = SourceWindow()
    window.told(5)
    window.next_seq(0, 0x41)
    window.next_settled_seq(1, 0x42, Outcome.COALESCED)
    window.next_seq(1, 0x43)
    assert window.unresolved(3) == [
        Unresolved(1, 0, 0x41, None, 5),
        Unresolved(2, 1, 0x42, Outcome.COALESCED, 5),
        Unresolved(3, 1, 0x43, None, 5),
    ]
    assert [write.seq for write in window.unresolved(2)] == [1, 2], "those up to a number"


def test_one_that_was_settled_is_kept_until_it_is_resolved_though_it_holds_no_place() -> None:
    window = SourceWindow()
    window.next_settled_seq(0, 0x42, Outcome.DELIVERED)
    window.reported(1)
    assert (window.outstanding, window.travelling(0)) == (0, 0)
    assert [write.seq for write in window.unresolved(1)] == [1]
    window.resolve([ResolvedRun(1, 1)])
    assert window.unresolved(1) == []
    window.reported(1)
    assert window.outstanding == 0


def test_a_stamp_is_what_was_known_when_the_write_was_made() -> None:
    window = SourceWindow()
    for roster in (0, 3, 3, 2, 7):
        window.told(roster)
        window.next_seq(0, 0)
    assert window.roster == 7
    assert [write.stamp for write in window.unresolved(5)] == [0, 3, 3, 3, 7]


def test_stamps_of_what_is_resolved_are_forgotten() -> None:
    window = SourceWindow()
    for roster in range(1, 101):
        window.told(roster)
        window.next_seq(0, 0)
        window.resolve([ResolvedRun(roster, roster)])
    window.told(101)
    assert len(window._stamps) <= 2
    window.next_seq(0, 0)
    assert [write.stamp for write in window.unresolved(101)] == [101]


def test_beyond_the_limit_older_writes_pass_for_still_older_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Never for younger: that would let them reach who was born later."""
    monkeypatch.setattr(source_module, "MAX_STAMPS", 4)
    window = SourceWindow()
    for roster in range(1, 11):
        window.told(roster)
        window.next_seq(0, 0)
    stamps = [write.stamp for write in window.unresolved(10)]
    assert all(stamp <= number for number, stamp in enumerate(stamps, 1)), stamps
    assert stamps[-1] == 10
    assert len(window._stamps) == 4


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 3), st.integers(0, 99)),
        st.tuples(st.just("settle"), st.integers(0, 3), st.integers(0, 99)),
        st.tuples(st.just("told"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("resolve"), st.integers(1, 40), st.integers(0, 5)),
    ),
    max_size=40,
)


@given(ACTIONS)
def test_it_is_a_list_of_writes_from_which_the_resolved_are_removed(
    actions: list[tuple[str, int, int]],
) -> None:
    window, plain, roster = SourceWindow(), dict[int, Unresolved](), 0
    for kind, number, more in actions:
        match kind:
            case "write":
                seq = window.next_seq(number, more)
                plain[seq] = Unresolved(seq, number, more, None, roster)
            case "settle":
                seq = window.next_settled_seq(number, more, Outcome.COALESCED)
                plain[seq] = Unresolved(seq, number, more, Outcome.COALESCED, roster)
                window.reported(seq)
            case "told":
                window.told(number)
                roster = max(roster, number)
            case "resolve" if number + more <= window.written:
                window.resolve([ResolvedRun(number, number + more)])
                for seq in range(number, number + more + 1):
                    plain.pop(seq, None)
    assert window.unresolved(window.written) == list(plain.values())
    assert window.resolved_below == min(plain, default=window.written + 1)
