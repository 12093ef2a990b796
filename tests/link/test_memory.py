"""The destination remembers outcomes, not only numbers (design 3.3, rule 2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.limits import MAX_CPUS
from mkrpc.link import memory as memory_module
from mkrpc.link.frames import ResolvedRun
from mkrpc.link.memory import OutcomeMemory
from mkrpc.link.recovery import Arbitrated
from mkrpc.link.source import SourceWindow
from mkrpc.outcome import Outcome

A, B = b"A" * 16, b"B" * 16


def test_a_repeated_write_is_answered_with_the_recorded_outcome() -> None:
    memory = OutcomeMemory()
    memory.record(A, 1, 0, Outcome.COALESCED)
    memory.record(A, 1, 3, Outcome.REJECTED_SOFTWARE_DISABLED)
    memory.record(B, 1, 0, Outcome.DELIVERED)
    assert memory.recall(A, 1, 0) is Outcome.COALESCED
    assert memory.recall(A, 1, 3) is Outcome.REJECTED_SOFTWARE_DISABLED
    assert memory.recall(B, 1, 0) is Outcome.DELIVERED
    for unseen in ((A, 1, 1), (A, 2, 0), (b"C" * 16, 1, 0)):
        assert memory.recall(*unseen) is None


def test_a_leg_is_recorded_once() -> None:
    memory = OutcomeMemory()
    memory.record(A, 1, 0, Outcome.DELIVERED)
    memory.record(A, 1, 1, Outcome.DELIVERED)
    for cpu in (0, 1):
        with pytest.raises(AssertionError):
            memory.record(A, 1, cpu, Outcome.DELIVERED)


class HighWaterMark:
    """What a destination must not be: it forgets all below the highest number it has seen."""

    def __init__(self) -> None:
        self.highest: dict[bytes, int] = {}
        self.outcome: dict[bytes, Outcome] = {}

    def recall(self, source: bytes, seq: int, cpu: int) -> Outcome | None:
        highest = self.highest.get(source, 0)
        return self.outcome[source] if seq == highest else None

    def record(self, source: bytes, seq: int, cpu: int, outcome: Outcome) -> None:
        self.highest[source], self.outcome[source] = seq, outcome

    def forget(self, source: bytes, runs: tuple[ResolvedRun, ...]) -> None:
        """It forgets by itself."""


def resend_after_a_million(memory: OutcomeMemory | HighWaterMark, *, many: int) -> Outcome | None:
    """Write 1, a broadcast, is settled here and stuck elsewhere; ``many`` more follow here.

    The source publishes as it goes; then it resends write 1. What does this destination say?
    """
    source = SourceWindow()
    stuck = source.next_seq(0, 0)
    memory.record(A, stuck, 0, Outcome.COALESCED)
    for _ in range(many):
        seq = source.next_seq(0, 0)
        memory.record(A, seq, 0, Outcome.DELIVERED)
        source.resolve([ResolvedRun(seq, seq)])
        published = source.take_publication()
        if published:
            memory.forget(A, published)
    return memory.recall(A, stuck, 0)


@pytest.mark.parametrize(
    "many", [50_000, pytest.param(1_000_000, marks=pytest.mark.full)], ids=["quick", "million"]
)
def test_a_stuck_broadcast_is_remembered_however_many_writes_follow(many: int) -> None:
    memory = OutcomeMemory()
    assert resend_after_a_million(memory, many=many) is Outcome.COALESCED
    assert memory.remembered(A) <= 1025, "and the rest was forgotten as it was published"


def test_a_plain_high_water_mark_forgets_too_much() -> None:
    assert resend_after_a_million(HighWaterMark(), many=10) is None, (
        "the resend would be applied again"
    )


def test_a_floor_alone_would_remember_too_much() -> None:
    """With write 1 stuck, the floor stays at 0; exact runs let go of all the others."""
    memory = OutcomeMemory()
    for seq in range(1, 5001):
        memory.record(A, seq, 0, Outcome.DELIVERED)
    memory.forget(A, [ResolvedRun(2, 5000)])
    assert memory.remembered(A) == 1


LEGS = st.lists(
    st.tuples(st.sampled_from([A, B]), st.integers(1, 5), st.integers(0, 2)), unique=True
)


@given(
    LEGS,
    st.lists(st.tuples(st.sampled_from([A, B]), st.integers(1, 5), st.integers(0, 6))),
)
def test_it_is_a_dictionary_from_which_published_runs_are_removed(
    legs: list[tuple[bytes, int, int]], publications: list[tuple[bytes, int, int]]
) -> None:
    memory = OutcomeMemory()
    plain: dict[tuple[bytes, int, int], Outcome] = {}
    for index, leg in enumerate(legs):
        plain[leg] = list(Outcome)[index % len(Outcome)]
        memory.record(*leg, plain[leg])
    for source, first, more in publications:
        for _ in range(2):  # a repeated publication does no harm
            memory.forget(source, [ResolvedRun(first, first + more)])
        gone = range(first, first + more + 1)
        plain = {leg: o for leg, o in plain.items() if leg[0] != source or leg[1] not in gone}
    assert len(memory) == len({(source, seq) for source, seq, _ in plain})
    recorded = {source for source, _, _ in legs}
    gone_of = {
        (source, seq)
        for source, first, more in publications
        for seq in range(first, first + more + 1)
        if source in recorded
    }
    for source in (A, B):
        assert memory.remembered(source) == sum(leg[0] == source for leg in plain)
        for seq in range(1, 13):
            for cpu in range(3):
                unknown = Outcome.REJECTED_MALFORMED if (source, seq) in gone_of else None
                assert memory.recall(source, seq, cpu) is plain.get((source, seq, cpu), unknown)


def test_a_source_that_never_publishes_is_refused_at_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory_module, "MAX_REMEMBERED_PER_SOURCE", 3)
    memory = OutcomeMemory()
    for seq in (1, 2, 3):
        assert memory.may_record(A)
        memory.record(A, seq, 0, Outcome.DELIVERED)
    assert not memory.may_record(A)
    assert memory.may_record(B), "others are not affected"
    memory.forget(A, [ResolvedRun(1, 1)])
    assert memory.may_record(A)


def test_the_source_silent_for_longest_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "MAX_SOURCES", 2)
    memory = OutcomeMemory()
    memory.record(A, 1, 0, Outcome.DELIVERED)
    memory.record(B, 1, 0, Outcome.DELIVERED)
    memory.record(A, 2, 0, Outcome.DELIVERED)
    memory.record(b"C" * 16, 1, 0, Outcome.DELIVERED)
    assert memory.recall(A, 1, 0) is Outcome.DELIVERED
    assert memory.recall(B, 1, 0) is None


def test_a_broadcast_is_one_write_however_many_cpus_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publications come by writes, so a limit in legs would be reached between two of them."""
    monkeypatch.setattr(memory_module, "MAX_REMEMBERED_PER_SOURCE", 2)
    memory = OutcomeMemory()
    outcomes = (Outcome.DELIVERED, Outcome.COALESCED, Outcome.REJECTED_SOFTWARE_DISABLED)
    for seq in (1, 2):
        for cpu in range(MAX_CPUS):
            assert memory.may_record(A, seq)
            memory.record(A, seq, cpu, outcomes[cpu % 3])
    assert (len(memory), memory.remembered(A)) == (2, 2 * MAX_CPUS)
    for cpu in range(MAX_CPUS):
        assert memory.recall(A, 2, cpu) is outcomes[cpu % 3]
    assert not memory.may_record(A, 3)
    memory.forget(A, [ResolvedRun(2, 2)])
    assert (len(memory), memory.remembered(A)) == (1, MAX_CPUS)
    assert memory.may_record(A, 3)


def test_a_write_that_was_published_as_resolved_is_never_applied_again() -> None:
    """Neither one that was here nor one that was not; and nothing of it is kept."""
    memory = OutcomeMemory()
    memory.record(A, 1, 0, Outcome.DELIVERED)
    memory.forget(A, [ResolvedRun(1, 10)])
    for seq in (1, 7, 10):
        assert memory.recall(A, seq, 0) is Outcome.REJECTED_MALFORMED
    with pytest.raises(AssertionError):
        memory.record(A, 1, 0, Outcome.DELIVERED)
    assert memory.recall(A, 11, 0) is None
    assert (len(memory), memory.remembered(A)) == (0, 0)


def test_all_sources_together_have_a_limit_and_the_silent_go_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory_module, "MAX_REMEMBERED", 5)
    memory = OutcomeMemory()
    for source, seqs in ((A, (1, 2, 3)), (B, (1, 2)), (A, (4,))):
        for seq in seqs:
            memory.record(source, seq, 0, Outcome.COALESCED)
    assert memory.recall(B, 1, 0) is None, "A wrote last, so B goes, though A has more"
    assert memory.recall(A, 1, 0) is Outcome.COALESCED
    assert len(memory) == 4
    memory.record(A, 5, 0, Outcome.COALESCED)
    for number in range(6):
        memory.record(b"%016d" % number, 1, 0, Outcome.DELIVERED)
    assert memory.recall(A, 1, 0) is None
    assert len(memory) == 5


def test_the_highest_number_of_each_cpu_outlives_what_is_forgotten() -> None:
    """By CPU, since the legs of one write to several come one CPU after another."""
    memory = OutcomeMemory()
    memory.record(A, 3, 0, Outcome.DELIVERED)
    memory.record(A, 1, 1, Outcome.DELIVERED)
    memory.record(A, 3, 2, Outcome.DELIVERED)
    memory.record(A, 2, 0, Outcome.DELIVERED)
    assert [memory.highest(A, cpu) for cpu in range(4)] == [3, 1, 3, 0]
    memory.forget(A, [ResolvedRun(1, 3)])
    assert [memory.highest(A, cpu) for cpu in range(4)] == [3, 1, 3, 0]
    assert memory.highest(B, 0) == 0


def test_arbitrated_writes_are_known_as_long_as_their_outcomes() -> None:
    memory = OutcomeMemory()
    for seq in (1, 2):
        memory.record(A, seq, 5, Outcome.DELIVERED)
        memory.note_arbitrated(A, seq, 5)
    memory.record(A, 3, 5, Outcome.DELIVERED)
    assert list(memory.arbitrated()) == [Arbitrated(A, 1, 5), Arbitrated(A, 2, 5)]
    memory.forget(A, [ResolvedRun(1, 1)])
    assert list(memory.arbitrated()) == [Arbitrated(A, 2, 5)]
