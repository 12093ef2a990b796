"""Legs that may have come before: answered, lost by name, or applied (design 3.3, rules 2 to 4)."""

import pytest

from mkrpc.instance.arrivals import Arrivals
from mkrpc.link.frames import Legs, OutcomeRun, UpFrame
from mkrpc.link.recovery import Arbitrated, Resent
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import fixed, nmi

ALICE = b"a" * 16
WORD = fixed(0, 0x41)
NEW, IN_ORDER, LATER, ANY = Resent.NO, Resent.IN_ORDER, Resent.BORN_LATER, Resent.ANY_ORDER
DELIVERED = Outcome.DELIVERED
RESTART = Outcome.LOST_INTERCONNECT_RESTART
DEAD = Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED


def come(arrivals: Arrivals, seqs: list[int], resent: Resent, cpu: int = 0) -> list[Outcome]:
    """Legs come; how they ended."""
    count = len(seqs)
    arrivals.apply(Legs(ALICE, seqs, [WORD] * count, [cpu] * count, resent))
    frame = UpFrame()
    arrivals.take(frame)
    ended = [DELIVERED] * count
    for run in frame.outcomes:
        for number in range(run.count):
            ended[run.first + number - (frame.applied - count) - 1] = run.outcome
    return ended


@pytest.mark.parametrize(
    ("resent", "before", "seq", "expected"),
    [
        (IN_ORDER, [], 5, DELIVERED),
        (IN_ORDER, [4], 5, DELIVERED),
        (IN_ORDER, [6], 5, RESTART),
        (LATER, [], 5, DEAD),
        (LATER, [4], 5, DEAD),
        (LATER, [6], 5, DEAD),
        (ANY, [], 5, DELIVERED),
        (ANY, [6], 5, DELIVERED),
    ],
)
def test_without_a_recorded_outcome(kernel, resent, before, seq, expected):
    arrivals = Arrivals(kernel)
    come(arrivals, before, NEW)
    assert come(arrivals, [seq], resent) == [expected]
    counts = kernel.cpus[0].books.delivered[0x41] + kernel.cpus[0].books.coalesced[0x41]
    assert counts == len(before) + (expected is DELIVERED)


@pytest.mark.parametrize("resent", list(Resent))
def test_a_recorded_outcome_is_the_answer_however_it_comes_again(kernel, resent):
    kernel.cpus[0].interrupts_enabled = False
    arrivals = Arrivals(kernel)
    first = come(arrivals, [1, 2, 3], NEW)
    assert first == [DELIVERED, Outcome.COALESCED, Outcome.COALESCED]
    assert come(arrivals, [1, 2, 3], resent) == first
    assert kernel.cpus[0].books.coalesced[0x41] == 2


def test_order_is_that_of_one_cpu(kernel):
    """A later write to another CPU of the instance overtakes nothing."""
    arrivals = Arrivals(kernel)
    come(arrivals, [9], NEW, cpu=1)
    assert come(arrivals, [5], IN_ORDER, cpu=0) == [DELIVERED]
    assert come(arrivals, [5], IN_ORDER, cpu=1) == [RESTART]


def test_lost_legs_are_not_remembered_and_lost_again_the_next_time(kernel):
    arrivals = Arrivals(kernel)
    come(arrivals, [5], LATER)
    assert kernel.outcomes.remembered(ALICE) == 0
    assert come(arrivals, [5], LATER) == [DEAD]


def test_an_arbitrated_leg_is_noted_with_its_outcome(kernel):
    arrivals = Arrivals(kernel)
    arrivals.apply(Legs(ALICE, [7, 8], [WORD] * 2, [1, 0], arbitrated=True))
    come(arrivals, [9], NEW)
    assert list(kernel.outcomes.arbitrated()) == [Arbitrated(ALICE, 7, 1), Arbitrated(ALICE, 8, 0)]


def test_a_cpu_that_is_not_there_is_malformed_however_it_comes(kernel):
    arrivals = Arrivals(kernel)
    for resent in Resent:
        assert come(arrivals, [5], resent, cpu=99) == [Outcome.REJECTED_MALFORMED]


def test_a_new_link_owes_no_answers_of_the_old_one(kernel):
    kernel.cpus[0].interrupts_enabled = False
    arrivals = Arrivals(kernel)
    arrivals.apply(Legs(ALICE, [1, 2], [WORD] * 2, [0, 0]))
    assert arrivals.pending
    arrivals.begin_again()
    assert (arrivals.applied, arrivals.pending) == (0, False)
    arrivals.apply(Legs(ALICE, [2], [WORD], [0], IN_ORDER))
    arrivals.take(frame := UpFrame())
    assert frame.outcomes == [OutcomeRun(1, 1, Outcome.COALESCED)]


def test_a_long_row_ends_as_its_legs_do_one_by_one(kernel):
    """CPU 0 takes each, CPU 1 merges all but the first; one vector is illegal,
    and one write is an NMI."""
    kernel.cpus[1].interrupts_enabled = False
    arrivals, alone = Arrivals(kernel), Arrivals(kernel)
    words = [WORD] * 8 + [fixed(0, 3)] + [WORD] * 4 + [nmi(0)] + [WORD] * 7
    cpus = [0] * 4 + [1] * 4 + [0, 1, 1, 0, 0, 0, 1, 1] + [0] * 5
    seqs = list(range(1, 22))
    row, one_by_one = UpFrame(), UpFrame()
    arrivals.apply(Legs(ALICE, seqs, words, cpus))
    arrivals.take(row)
    kernel.cpus[1].interrupts_enabled = True
    kernel.cpus[1].boundary()
    kernel.cpus[1].interrupts_enabled = False
    for seq, word, cpu in zip(seqs, words, cpus, strict=True):
        alone.apply(Legs(b"b" * 16, [seq], [word], [cpu]))
    alone.take(one_by_one)
    assert row.applied == one_by_one.applied == len(seqs)
    assert row.outcomes == one_by_one.outcomes
    assert [(run.first, run.count) for run in row.outcomes] == [(6, 3), (9, 1), (10, 2), (15, 2)]
    for seq, cpu in zip(seqs, cpus, strict=True):
        recalled = kernel.outcomes.recall(ALICE, seq, cpu)
        assert recalled is kernel.outcomes.recall(b"b" * 16, seq, cpu) is not None


def test_a_long_row_to_a_cpu_that_is_not_there_is_malformed_leg_by_leg(kernel):
    arrivals, frame = Arrivals(kernel), UpFrame()
    cpus = [0] * 19 + [2]
    arrivals.apply(Legs(ALICE, list(range(1, 21)), [WORD] * 20, cpus))
    arrivals.take(frame)
    assert frame.outcomes == [OutcomeRun(20, 1, Outcome.REJECTED_MALFORMED)]
    assert kernel.outcomes.remembered(ALICE) == 19
