"""The instance's view of its lease: it runs from when an answered beat was sent (3.3, rule 5)."""

import pytest

from mkrpc.errors import ProtocolError
from mkrpc.link.lease import BEATS_PER_LEASE, SILENT_LEASES, HeldLease

LEASE_US = 600


def held(at_us: int = 1000) -> HeldLease:
    """A lease whose hello went out at ``at_us`` and whose welcome came 50 µs later."""
    lease = HeldLease()
    lease.advance(at_us)
    lease.hello()
    lease.advance(at_us + 50)
    lease.grant(LEASE_US)
    return lease


def test_there_is_no_end_before_a_grant_or_with_a_lease_of_nothing() -> None:
    lease = HeldLease()
    lease.advance(10**12)
    assert (lease.over, lease.end_us, lease.beat_due) == (False, None, False)
    lease.grant(0)
    assert not lease.over


def test_it_runs_from_when_the_hello_was_sent() -> None:
    lease = held(1000)
    assert lease.end_us == 1600
    lease.advance(1599)
    assert (lease.over, lease.left_us) == (False, 1)
    lease.advance(1600)
    assert lease.over


def test_an_answer_renews_it_from_when_the_beat_was_sent_not_from_when_the_answer_came() -> None:
    lease = held(1000)
    lease.advance(1100)
    beat = lease.beat()
    lease.advance(1550)
    lease.answered(beat)
    assert lease.end_us == 1100 + LEASE_US


def test_beats_of_a_lease_before_are_forgotten_with_it() -> None:
    """They were answered by another way, and the link's end of that never came; the next lease, of
    an interconnect that was started with another one, is longer than all of them."""
    lease = held()
    while len(lease._unanswered) < BEATS_PER_LEASE:
        lease.advance(lease._due_us)
        lease.beat()
        lease.answered_elsewhere(lease.now_us)
    lease.hello()
    lease.grant(100 * LEASE_US)
    hello_us = lease.now_us
    lease.advance(lease._due_us)
    last = lease.beat()
    lease.answered(last - 1)
    assert lease.since_us == hello_us
    lease.answered(last)
    assert lease.since_us == lease.now_us


def test_a_link_over_which_nothing_comes_is_given_up_after_half_a_lease() -> None:
    """Not the lease: another link, whose hello counts as much, has the other half."""
    lease = held(1000)
    assert lease.give_up_us == 1050 + LEASE_US // 2
    lease.advance(1250)
    lease.hello()
    assert (lease.give_up_us, lease.end_us) == (1250 + LEASE_US // 2, 1000 + LEASE_US)


def test_what_comes_over_a_link_is_a_reason_to_keep_it() -> None:
    lease = held(1000)
    lease.advance(1200)
    lease.came()
    assert (lease.give_up_us, lease.end_us) == (1200 + LEASE_US // 2, 1000 + LEASE_US)


def test_a_link_gets_more_patience_while_beats_are_answered_by_another_way() -> None:
    lease = held(1000)
    for now_us in range(1100, 5000, 100):
        lease.advance(now_us)
        if lease.stalled:
            break
        lease.answered_elsewhere(now_us)
        assert lease.end_us == now_us + LEASE_US
    assert lease.now_us == pytest.approx(1050 + SILENT_LEASES * LEASE_US, abs=100)


def test_an_answer_stands_for_every_beat_before_it() -> None:
    lease = held(1000)
    for now_us in (1100, 1200, 1300):
        lease.advance(now_us)
        lease.beat()
    lease.answered(2)
    assert lease.end_us == 1200 + LEASE_US
    lease.answered(1)
    assert lease.end_us == 1200 + LEASE_US, "a late answer takes nothing back"


def test_an_answer_to_what_was_never_sent_is_refused() -> None:
    with pytest.raises(ProtocolError, match="beat 1 is answered, 0 were sent"):
        held().answered(1)


def test_beats_are_due_so_many_times_a_lease() -> None:
    lease = held(1000)
    interval = LEASE_US // BEATS_PER_LEASE
    assert lease._due_us == 1000 + interval
    lease.advance(1000 + interval - 1)
    assert not lease.beat_due
    lease.advance(1000 + interval)
    assert lease.beat_due
    assert lease.beat() == 1
    assert not lease.beat_due


@pytest.mark.parametrize("lease_us", [1, 5, 7, 11, 600, 2_906_250])
def test_beats_without_an_answer_are_bounded(lease_us: int) -> None:
    """What is older than a lease could renew nothing, and is forgotten."""
    lease = HeldLease()
    lease.hello()
    lease.grant(lease_us)
    for _ in range(100):
        lease.advance(lease._due_us)
        lease.beat()
    lease.answered(100)
    assert lease.end_us == lease.now_us + lease_us


def test_time_never_runs_backwards() -> None:
    lease = held(1000)
    with pytest.raises(AssertionError):
        lease.advance(999)
