"""Who is silent for too long is dead, and its legs end by name (design 3.3, rule 5)."""

from random import Random
from typing import Any

import pytest

from mkrpc.interconnect.lease import (
    CLOCK_DRIFT_SHARE,
    LEASE_US,
    Leases,
    granted_us,
    lease_us_for,
)
from mkrpc.link.frames import DownFrame, UpFrame
from mkrpc.link.lease import BEATS_PER_LEASE
from mkrpc.outcome import Outcome
from mkrpc.trace import InstanceDetached, LeaseExpired
from mkrpc.x86.icr import fixed

TO_BOB = fixed(1, 0xEA)


def hear(peer: Any) -> None:
    peer.bus.receive(peer.session, UpFrame())


def test_nobody_is_detached_before_and_everybody_at_the_end_of_the_lease(machine: Any) -> None:
    wire = machine((0,), (1,))
    wire.wait_until(LEASE_US - 1)
    assert wire.bus.deadline_us == LEASE_US
    assert wire.bus.attached_ids() == [0, 1]
    wire.wait_until(LEASE_US)
    assert wire.bus.attached_ids() == []
    assert wire.bus.deadline_us is None
    assert wire.bus.ended == 2


def test_anything_that_is_received_renews_the_lease(machine: Any) -> None:
    wire = machine((0,), (1,))
    alice, bob = wire.peers
    wire.wait_until(1000)
    hear(alice)
    assert (wire.bus.lease_left_us(alice.session), wire.bus.lease_left_us(bob.session)) == (
        LEASE_US,
        LEASE_US - 1000,
    )
    wire.wait_until(LEASE_US)
    assert wire.bus.attached_ids() == [0]
    assert wire.bus.lease_left_us(alice.session) == 1000


def test_a_frame_of_a_link_that_is_no_more_renews_nothing(machine: Any) -> None:
    wire = machine((0,))
    alice = wire.peers[0]
    wire.bus.disconnect(alice.session, 1)
    wire.wait_until(1000)
    wire.bus.receive(alice.session, UpFrame(), generation=1)
    wire.bus.hear(alice.session, 1, 1)
    assert wire.bus.lease_left_us(alice.session) == LEASE_US - 1000


def test_legs_of_one_whose_lease_ended_are_lost_those_in_its_hands_perhaps_delivered(
    machine: Any,
) -> None:
    events: list[Any] = []
    wire = machine((0,), (1,), sink=events.append)
    alice, bob = wire.peers
    handed = wire.inject(TO_BOB, count=2)
    bob.pull()
    wire.bus.disconnect(bob.session, 1)
    waiting = wire.inject(TO_BOB, count=3, seq=3)
    wire.wait_until(1)
    hear(alice)
    wire.wait_until(LEASE_US)
    assert handed.legs == {(1, 1, Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED): 2}
    assert waiting.legs == {(1, 1, Outcome.LOST_TARGET_DEAD): 3}
    assert wire.bus.instances()[1].reason == "lease expired: silent for 3 s, its link broken"
    assert wire.bus.balance() == []
    expired = [event for event in events if isinstance(event, LeaseExpired | InstanceDetached)]
    assert expired[0] == LeaseExpired(1, "kernel1", bob.incarnation, LEASE_US)
    assert isinstance(expired[1], InstanceDetached)


def test_one_that_is_silent_over_a_standing_stream_expires_too(machine: Any) -> None:
    """A stopped process: its stream stands, and nothing comes."""
    wire = machine((0,))
    wire.wait_until(LEASE_US)
    assert wire.bus.instances()[0].reason == "lease expired: silent for 3 s"
    assert not wire.peers[0].session.connected


def test_a_goodbye_or_a_death_needs_no_lease(machine: Any) -> None:
    wire = machine((0,), (1,))
    wire.peers[0].die()
    assert wire.bus.attached_ids() == [1]
    wire.wait_until(LEASE_US)
    assert wire.bus.instances()[0].reason == "killed"


def test_a_new_incarnation_has_a_lease_of_its_own(machine: Any) -> None:
    wire = machine((0,))
    wire.wait_until(1000)
    wire.peers[0].die()
    wire.peers[0] = wire.attach(0, (0,))
    assert wire.bus.lease_left_us(wire.peers[0].session) == LEASE_US


def test_a_machine_that_is_never_told_the_time_has_no_end(machine: Any) -> None:
    wire = machine((0,), (1,))
    wire.inject(TO_BOB, count=1000)
    wire.settle()
    assert wire.bus.attached_ids() == [0, 1]


def test_the_bus_asks_to_look_as_often_as_an_instance_beats(machine: Any) -> None:
    wire = machine((0,))
    assert wire.bus.deadline_us == LEASE_US // BEATS_PER_LEASE
    wire.bus.advance(1000)
    assert wire.bus.deadline_us == 1000 + LEASE_US // BEATS_PER_LEASE


def test_time_in_which_the_bus_did_not_look_is_nobody_s_silence(machine: Any) -> None:
    """An interconnect that was stopped finds the beats of all in its sockets when it wakes."""
    wire = machine((0,), (1,))
    wire.wait_until(1_000_000)
    wire.bus.advance(60_000_000)
    assert wire.bus.attached_ids() == [0, 1]
    left_us = LEASE_US - 1_000_000 - LEASE_US // BEATS_PER_LEASE
    assert wire.bus.lease_left_us(wire.peers[0].session) == left_us
    hear(wire.peers[0])
    wire.wait_until(60_000_000 + left_us)
    assert wire.bus.attached_ids() == [0], "the other one is silent now that the bus looks"


def test_a_frame_that_waits_for_its_turn_is_heard_already(machine: Any) -> None:
    wire = machine((0,))
    alice = wire.peers[0]
    wire.wait_until(1000)
    wire.bus.hear(alice.session, 7, alice.session.generation)
    assert wire.bus.lease_left_us(alice.session) == LEASE_US
    assert wire.bus.take_ready() is alice.session
    assert wire.bus.next_frame(alice.session) == DownFrame(beat=7)


def test_time_never_runs_backwards(machine: Any) -> None:
    wire = machine((0,))
    wire.bus.advance(5)
    wire.bus.advance(5)
    with pytest.raises(AssertionError):
        wire.bus.advance(4)


@pytest.mark.parametrize("seed", range(50))
def test_who_looks_only_when_something_may_be_due_finds_what_one_does_who_always_looks(
    machine: Any, seed: int
) -> None:
    random = Random(seed)
    sessions = [peer.session for peer in machine((0,), (1,), (2,)).peers]
    leases, always = Leases(300), Leases(300)
    alive: set[int] = set()
    for _ in range(200):
        now_us = leases.now_us + random.choice((0, 1, 5, 20, 60, 299, 1000))
        if random.random() < 0.05:
            leases.also_us = always.also_us = random.choice((None, leases.looked_us + 40))
        always.also_us = always.also_us  # which has it look
        for each in (leases, always):
            each.advance(now_us)
        assert leases.looked_us == always.looked_us
        while (expired := always.first_expired()) is not None:
            assert leases.first_expired() is expired
            leases.end(expired)
            always.end(expired)
            alive.discard(sessions.index(expired))
        assert leases.first_expired() is None
        assert leases.deadline_us == always.deadline_us
        if random.random() < 0.4:
            number = random.randrange(3)
            alive.add(number)
            leases.hear(sessions[number])
            always.hear(sessions[number])
        if alive and random.random() < 0.05:
            number = alive.pop()
            leases.end(sessions[number])
            always.end(sessions[number])


@pytest.mark.parametrize("lease_us", [1, 1000, LEASE_US])
def test_an_instance_is_never_granted_more_than_the_lease(lease_us: int) -> None:
    assert lease_us * (1 - 1 / CLOCK_DRIFT_SHARE) <= granted_us(lease_us) <= lease_us


@pytest.mark.parametrize(
    ("instances", "cores", "leases"), [(1, 1, 1), (16, 1, 1), (32, 2, 1), (48, 2, 1.5), (160, 2, 5)]
)
def test_a_machine_that_is_too_small_gets_longer_leases(
    instances: int, cores: int, leases: float
) -> None:
    """Processes that wait for a core for seconds have not stopped."""
    assert lease_us_for(instances, cores) == leases * LEASE_US
