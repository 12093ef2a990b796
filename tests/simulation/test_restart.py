"""An interconnect dies and another one takes over (design 3.3, rule 4; 3.4)."""

from typing import Any

import pytest
from simulation.restart_machine import (
    ALL_BUT_SELF,
    TO_BOB,
    TO_BOB_1,
    TO_CAROL,
    RestartMachine,
    play,
)

from mkrpc.errors import FencedError, UnavailableError
from mkrpc.interconnect.lease import LEASE_US
from mkrpc.interconnect.recovery import DID_NOT_COME_BACK
from mkrpc.link.lease import BEATS_PER_LEASE
from mkrpc.outcome import Outcome
from mkrpc.trace import BarrierClosed, BarrierOpened, InstanceDetached, InstanceTakenOver
from mkrpc.x86.icr import fixed


def machine(**options: Any) -> RestartMachine:
    return RestartMachine(**options)


def test_a_quiet_machine_is_taken_over_whole() -> None:
    m = machine()
    m.nodes[0].ring(TO_BOB, 5)
    m.nodes[1].ring(TO_CAROL, 3)
    m.settle()
    m.tell_all()
    before = {number: m.outcomes(number) for number in m.nodes}
    m.restart()
    m.settle()
    m.check()
    assert {number: m.outcomes(number) for number in m.nodes} == before
    assert m.nodes[1].delivered() == 5
    assert [
        type(event) for event in m.events if isinstance(event, BarrierClosed | BarrierOpened)
    ] == [
        BarrierClosed,
        BarrierOpened,
    ]
    assert sum(isinstance(event, InstanceTakenOver) for event in m.events) == 3


# What had become of the writes when the interconnect died: frames of the source that had arrived,
# then legs that the destination had fetched, then answers of the destination that had arrived, and
# what the source had learned.
STAGES = {
    "not sent": "",
    "on its way to the interconnect": "U",
    "at the interconnect": "u",
    "on its way to the destination": "uD",
    "applied": "ud",
    "its answer on the way": "udA",
    "answered": "uda",
    "the source being told": "udaT",
    "told": "udat",
}


@pytest.mark.parametrize("restarts", [1, 2])
@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_no_leg_is_lost_or_applied_twice_wherever_it_was(stage: str, restarts: int) -> None:
    m = machine()
    m.nodes[0].ring(TO_BOB, 4)
    m.nodes[0].ring(TO_BOB_1, 2, cpu=1)
    play(m, stage)
    for _ in range(restarts):
        m.restart()
    m.nodes[0].ring(TO_BOB, 1)
    m.settle()
    m.check()
    m.tell_all()
    m.check()
    bob = m.nodes[1]
    assert len(bob.applied) == 7, "each once"
    assert [cpu for cpu, _, _ in bob.applied] == [0, 0, 0, 0, 1, 1, 0], "in the order of the source"
    found = m.outcomes(0)
    assert sum(found.values()) == 7
    assert found[Outcome.DELIVERED] == bob.delivered()
    assert m.nodes[0].kernel.source.outstanding == 0


def test_what_the_source_had_been_told_is_not_sent_again() -> None:
    """And what was told between is a gap that the next interconnect takes for resolved."""
    m = machine()
    alice, bob, carol = m.nodes.values()
    alice.ring(TO_BOB, 2)
    alice.ring(TO_CAROL, 1)
    alice.ring(TO_BOB, 2)
    play(m, "udat")
    alice.ring(TO_CAROL, 1)
    assert [write.seq for write in alice.kernel.source.unresolved(6)] == [3, 6]
    m.restart()
    m.settle()
    m.check()
    assert (len(bob.applied), len(carol.applied)) == (4, 2)
    assert alice.session.last_seq == 6


def test_settled_writes_are_booked_once() -> None:
    m = machine()
    alice = m.nodes[0]
    for _ in range(3):
        alice.kernel.publish_settled(0, 0x0004_0041, Outcome.REJECTED_ICR_BUSY)
    alice.lose_a_frame()
    m.restart()
    m.settle()
    m.tell_all()
    m.check()
    assert m.outcomes(0) == {Outcome.REJECTED_ICR_BUSY: 3}


def test_a_broadcast_that_half_its_destinations_have_had_reaches_the_others() -> None:
    m = machine()
    alice, bob, carol = m.nodes.values()
    alice.ring(ALL_BUT_SELF, 3)
    play(m, "uda")  # bob's share; carol has not fetched hers
    m.restart()
    m.settle()
    m.tell_all()
    m.check()
    assert [len(node.applied) for node in (bob, carol)] == [6, 6]
    assert sum(m.outcomes(0).values()) == 3 * 5, "three writes to bob, carol and alice's other CPU"


def test_the_barrier_is_closed_until_all_have_said_what_they_know() -> None:
    m = machine()
    alice, bob, carol = m.nodes.values()
    alice.ring(TO_BOB, 1)
    m.restart(back=False)
    assert m.bus.recovering == (0, 3, LEASE_US)
    for node in (alice, bob):
        node.come()
    m.settle()
    assert m.bus.recovering == (2, 3, LEASE_US)
    assert not bob.applied
    assert not m.bus.quiet()
    with pytest.raises(UnavailableError, match="2 of 3 instances are back"):
        m.boot(7, 1)
    del m.nodes[7]
    carol.come()
    assert m.bus.recovering == (3, 3, LEASE_US), "she has not said what she knows"
    m.settle()
    m.check()
    assert len(bob.applied) == 1


def test_who_does_not_come_back_is_booked_as_ended_and_fenced() -> None:
    m = machine()
    alice, bob, carol = m.nodes.values()
    alice.ring(TO_CAROL, 2)
    play(m, "u")
    alice.ring(ALL_BUT_SELF, 1)
    m.settle()
    m.tell_all()
    number = m.bus.roster_number
    alice.ring(TO_CAROL, 2)
    alice.ring(ALL_BUT_SELF, 1)
    alice.lose_a_frame()
    m.restart(back=False)
    del m.nodes[2]
    began_us = m.now_us
    alice.come()
    bob.come()
    m.settle()
    for _ in range(BEATS_PER_LEASE - 1):
        m.beat()
    m.wait(began_us + LEASE_US - 1)
    assert m.bus.recovering == (2, 3, 1)
    m.wait(began_us + LEASE_US)
    m.settle()
    m.check()
    assert m.bus.roster_number > number
    assert InstanceDetached(2, "kernel2", carol.kernel.incarnation, DID_NOT_COME_BACK) in m.events
    assert m.bus.instances()[2].reason == DID_NOT_COME_BACK
    # Two to her alone, and one that stands for her in the broadcast.
    assert m.outcomes(0)[Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED] == 3
    with pytest.raises(FencedError):
        m.bus.attach(carol.attachment.hello(1))


def test_one_whose_process_is_known_to_have_ended_is_not_waited_for() -> None:
    m = machine()
    m.restart(back=False)
    del m.nodes[2]
    for node in m.nodes.values():
        node.come()
    m.settle()
    assert m.bus.recovering is not None
    m.bus.process_ended(2, 1, "killed by signal 9")
    assert m.bus.recovering is None
    assert m.bus.instances()[2].reason == "killed by signal 9"
    m.settle()
    m.check()


def test_a_welcome_that_is_lost_is_asked_for_again() -> None:
    m = machine()
    alice, bob, _ = m.nodes.values()
    alice.ring(TO_BOB, 2)
    alice.lose_a_frame()
    m.restart()
    alice.come(welcome=False)
    bob.ring(fixed(0, 0x41), 3)
    m.settle()
    m.wait(m.now_us + LEASE_US // 2)
    alice.come(welcome=False)
    alice.come()
    m.settle()
    m.tell_all()
    m.check()
    assert len(bob.applied) == 2
    assert len(alice.applied) == 3


def test_one_that_was_never_welcomed_is_attached_behind_the_barrier() -> None:
    m = machine()
    late = m.nodes[3] = type(m.nodes[0])(m, 3)
    late.come(welcome=False)
    born = late.session.born
    late.ring(TO_BOB, 1)
    m.restart()
    m.settle()
    m.check()
    assert late.session.born == born
    assert len(m.nodes[1].applied) == 1


def test_newcomers_have_higher_roster_numbers_than_anybody_has_heard_of() -> None:
    m = machine()
    takeover_without_the_last = m.keeper.roster
    m.boot(3, 1)
    m.settle()
    m.nodes[0].ring(TO_BOB, 1)
    m.settle()
    m.keeper.roster = takeover_without_the_last - 2  # an old copy
    m.restart()
    m.settle()
    assert m.bus.roster_number >= m.nodes[3].session.born
    newcomer = m.boot(4, 1)
    assert newcomer.session.born > max(m.nodes[n].kernel.source.roster for n in (0, 1, 2, 3))
    assert newcomer.session.born > m.nodes[3].session.born


def test_a_takeover_takes_over_from_several_epochs_and_books_of_all_of_them() -> None:
    m = machine()
    for round_ in range(4):
        m.nodes[0].ring(TO_BOB, 2)
        m.nodes[1].ring(TO_CAROL, 2)
        if round_ % 2:
            m.settle()
        m.restart()
        if round_ < 2:
            m.settle()
    m.settle()
    m.tell_all()
    m.check()
    assert len(m.nodes[1].applied) == len(m.nodes[2].applied) == 8
