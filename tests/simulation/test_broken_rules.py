"""Each rule of resume, lease and fence, and what goes wrong without it (design 3.3).

Every run is played twice: with the rule, when all is well, and with the rule switched off in a
subclass, when the wrong that it is there to prevent happens.
"""

from collections import deque
from dataclasses import replace
from typing import Any

import pytest
from compiled_model import skip_if_compiled

from mkrpc.errors import FencedError, ProtocolError
from mkrpc.instance.attachment import Attachment
from mkrpc.interconnect.lease import LEASE_US, Leases
from mkrpc.link.endpoint import LinkEnd
from mkrpc.link.lease import HeldLease
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import fixed

TO_BOB = fixed(2, 0xEA)
"""CPU 0 of instance 1."""


def switch_off(subject: Any, **instead: Any) -> None:
    """From now on ``subject`` is of a class that is like its own save for some methods."""
    skip_if_compiled(type(subject))
    subject.__class__ = type("Broken", (type(subject),), {"__slots__": ()} | instead)


both = pytest.mark.parametrize("rule", [True, False], ids=["with the rule", "without"])


def resume_with_nothing(end: LinkEnd[Any, Any], peer_received: int) -> None:
    """Instead of keeping frames until they are acknowledged, to send them again."""
    end._unacknowledged.clear()
    end._sent = peer_received
    end._again = peer_received + 1


@both
def test_a_resume_sends_again_what_was_on_its_way(cut_machine: Any, rule: bool) -> None:
    """Else legs are lost: the books wait for an answer that nobody will ever give."""
    machine = cut_machine()
    bob = machine.nodes[1]
    if not rule:
        switch_off(bob.session.link, resume=resume_with_nothing)
    machine.inject(TO_BOB, 3)
    bob.send_down()
    bob.break_off("both")
    machine.heal()
    assert machine.bus.totals().delivered == (3 if rule else 0)
    assert machine.bus.in_flight() == (0 if rule else 3)
    if rule:
        machine.check()


def receive_anything(attachment: Attachment, frame: Any, generation: int) -> None:
    """Instead of ignoring what comes over a link that is no more."""
    Attachment.receive(attachment, frame)


@both
def test_frames_of_an_older_link_are_ignored(cut_machine: Any, rule: bool) -> None:
    """Else one that comes late leaves a gap in front of what is sent again, and an instance with
    which nothing was wrong is closed, its legs lost."""
    machine = cut_machine()
    bob = machine.nodes[1]
    if not rule:
        switch_off(bob.attachment, receive=receive_anything)
    for _ in range(2):
        machine.inject(TO_BOB, 1)
        bob.send_down()
    bob.reconnect("whole")
    assert [generation for generation, _ in bob.late_down] == [1, 1]
    if rule:
        bob.arrive_down(bob.late_down)  # the second of the two
        machine.heal()
        machine.check()
        assert bob.attachment.stale_frames == 1
    else:
        with pytest.raises(ProtocolError, match="frame 2 came after frame 0"):
            bob.arrive_down(bob.late_down)


def number_anew(end: LinkEnd[Any, Any], peer_received: int) -> None:
    """Instead of numbers that go on over the links of an incarnation."""
    for number, frame in enumerate(end._unacknowledged, 1):
        frame.frame = number
    end._sent = len(end._unacknowledged)
    end._received, end._again = 0, 1


@both
def test_numbers_go_on_over_every_link(cut_machine: Any, rule: bool) -> None:
    """Else what arrived, but was not acknowledged before the cut, is applied twice: here it is the
    memory of outcomes, and the count of answers, that stop it, and the instance is lost."""
    machine = cut_machine()
    alice = machine.nodes[0]
    machine.heal()
    if not rule:
        switch_off(alice.attachment._link, resume=number_anew)
        switch_off(alice.session.link, resume=number_anew)
    alice.kernel.publish_write(0, TO_BOB, 0)
    alice.send_up()
    alice.arrive_up(alice.up)
    assert machine.bus.totals().written == 1
    alice.reconnect("whole")
    if rule:
        machine.heal()
        machine.check()
        assert machine.bus.totals().written == 1
    else:
        with pytest.raises(ProtocolError, match="write 1 came after write 1"):
            machine.heal()


def renew_from_now(lease: HeldLease, sent_us: int) -> None:
    """Instead of from when the beat was sent."""
    lease.since_us = lease.now_us


def tell(machine: Any, now_us: int, *nodes: Any) -> None:
    machine.wait_until(now_us)
    for node in nodes:
        node.attachment.advance(now_us)


@both
def test_a_lease_runs_from_when_the_beat_was_sent(cut_machine: Any, rule: bool) -> None:
    """Else an answer that was long on its way makes the instance outlive its legs: it applies what
    has been booked as lost."""
    machine = cut_machine()
    bob = machine.nodes[1]
    if not rule:
        switch_off(bob.attachment._lease, _renew=renew_from_now)
    beat_us = bob.attachment.deadline_us
    tell(machine, beat_us, bob)
    bob.exchange()
    bob.arrive_up(bob.up)
    bob.send_down()
    answer, bob.down = bob.down, deque()  # it takes long, and nothing comes up from here on
    tell(machine, LEASE_US - 200_000, bob)
    bob.arrive_down(answer)
    machine.inject(TO_BOB, 1)
    bob.send_down()
    machine.wait_until(beat_us + LEASE_US)
    assert not bob.session.alive
    assert machine.bus.totals().lost == 1, "the leg is booked"
    if rule:
        with pytest.raises(FencedError):
            bob.attachment.advance(beat_us + LEASE_US)
    else:
        bob.attachment.advance(beat_us + LEASE_US)
        bob.arrive_down(bob.down)
    assert len(bob.attachment.legs) == (0 if rule else 1)


@both
def test_a_stopped_instance_that_wakes_after_its_lease_applies_nothing(
    cut_machine: Any, rule: bool
) -> None:
    """Else it applies what has been booked as lost, beside a new incarnation with the same CPUs."""
    machine = cut_machine()
    bob = machine.nodes[1]
    if not rule:
        switch_off(bob.attachment, _check_lease=lambda attachment: None)
    machine.inject(TO_BOB, 1)
    bob.send_down()  # and here the process is stopped
    machine.wait_until(LEASE_US)
    assert machine.bus.totals().lost == 1
    if rule:
        with pytest.raises(FencedError):
            bob.attachment.advance(LEASE_US)
        with pytest.raises(FencedError):
            bob.arrive_down(bob.down)
    else:
        bob.attachment.advance(LEASE_US)
        bob.arrive_down(bob.down)
    assert bob.kernel.outcomes.remembered(b"c" * 16) == (0 if rule else 1)


def test_a_resume_proves_itself_by_its_incarnation(cut_machine: Any) -> None:
    """Whoever names only an instance id takes nobody's session over."""
    machine = cut_machine()
    bob = machine.nodes[1]
    stranger = replace(bob.attachment.hello(1), incarnation=b"stranger" * 2)
    with pytest.raises(FencedError):
        machine.bus.attach(stranger)
    assert bob.session.generation == 1


def test_legs_that_were_lost_with_the_lease_are_named(cut_machine: Any) -> None:
    machine = cut_machine()
    bob = machine.nodes[1]
    ended = []
    machine.bus.watch(lambda event: ended.append(getattr(event, "outcome", None)))
    machine.inject(TO_BOB, 1)
    bob.send_down()
    bob.break_off("bus")
    machine.inject(TO_BOB, 1)
    machine.wait_until(LEASE_US)
    assert [outcome for outcome in ended if outcome is not None] == [
        Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED,
        Outcome.LOST_TARGET_DEAD,
    ]


@both
def test_a_slow_clock_makes_no_instance_the_later_one(cut_machine: Any, rule: bool) -> None:
    """It is granted less than the interconnect waits; else it goes on when its legs are booked."""
    machine = cut_machine()
    bob = machine.nodes[1]
    if not rule:
        bob.attachment._lease.lease_us = LEASE_US
    machine.inject(TO_BOB, 1)
    bob.send_down()
    machine.wait_until(LEASE_US)
    assert machine.bus.totals().lost == 1
    its_time_us = LEASE_US * 97 // 100
    if rule:
        with pytest.raises(FencedError):
            bob.attachment.advance(its_time_us)
    else:
        bob.attachment.advance(its_time_us)
        bob.arrive_down(bob.down)
    assert len(bob.attachment.legs) == (0 if rule else 1)


@both
def test_time_in_which_the_interconnect_did_not_look_is_nobody_s_silence(
    cut_machine: Any, rule: bool
) -> None:
    """Else an interconnect that was stopped ends everybody when it wakes, whose beats it has."""
    machine = cut_machine()
    if not rule:
        switch_off(machine.bus._leases, advance=advance_blindly)
    machine.bus.advance(10 * LEASE_US)
    assert len(machine.bus.sessions()) == (len(machine.nodes) if rule else 0)


def advance_blindly(leases: Leases, now_us: int) -> None:
    """Instead of asking how late it was told."""
    leases.looked_us += now_us - leases.now_us
    leases.now_us = now_us
