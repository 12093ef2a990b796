"""The fence at the destination, and the link that comes again (design 3.3, rule 5)."""

from collections.abc import Iterator

import pytest

from mkrpc.errors import FencedError, ProtocolError
from mkrpc.instance import instructions as ins
from mkrpc.instance.attachment import Attachment
from mkrpc.link.endpoint import FRAME_WINDOW
from mkrpc.link.frames import WIRE_VERSION, DownFrame, Legs, Welcome
from mkrpc.link.lease import BEATS_PER_LEASE
from mkrpc.x86.icr import fixed

LEASE_US = 600_000
EPOCH = 77
RING = fixed(1, 0xEA)


def welcome(attachment, **changes):
    values = {
        "wire_version": WIRE_VERSION,
        "epoch": EPOCH,
        "generation": attachment.generation,
        "lease_us": LEASE_US,
    }
    attachment.welcome(Welcome(**(values | changes)))


@pytest.fixture
def attachment(kernel):
    """Attached at 1,000 µs with nothing left to say."""
    attachment = Attachment(kernel)
    attachment.advance(1000)
    attachment.hello(1)
    welcome(attachment)
    while attachment.next_frame():
        pass
    return attachment


def leg(number, seq=1):
    return DownFrame(frame=number, legs=[Legs(b"s" * 16, [seq], [RING], [1])])


def frames(attachment):
    return list(iter(attachment.next_frame, None))


# The lease.


def test_beats_go_out_alone_if_there_is_nothing_else_to_say(attachment):
    assert attachment.deadline_us == 1000 + LEASE_US // BEATS_PER_LEASE
    attachment.advance(attachment.deadline_us)
    assert attachment.deadline_us > 1000 + LEASE_US // BEATS_PER_LEASE, "it waits for the driver"
    (beat,) = frames(attachment)
    assert (beat.frame, beat.beat, len(beat.events)) == (0, 1, 0)


def test_a_beat_rides_on_a_frame_that_goes_anyway(attachment):
    attachment.advance(attachment.deadline_us)
    attachment.receive(leg(1))
    (frame,) = frames(attachment)
    assert (frame.beat, frame.applied) == (1, 1)


def test_a_link_without_answers_is_stalled_after_half_a_lease(attachment):
    while attachment.deadline_us < 1000 + LEASE_US:
        assert not attachment.stalled
        attachment.advance(attachment.deadline_us)
        if not attachment.stalled:
            frames(attachment)
    frames(attachment)  # the beat that is due at the same moment
    attachment.disconnected()
    assert (attachment.stalled, attachment.deadline_us) == (True, 1000 + LEASE_US)
    attachment.hello(1)
    assert not attachment.stalled
    welcome(attachment, resumed=True, received=1)
    assert attachment.deadline_us == 1000 + LEASE_US // 2 + LEASE_US // BEATS_PER_LEASE


def test_a_closed_frame_window_does_not_hold_a_beat_back(attachment):
    """A peer that takes long to acknowledge is no reason to be taken for dead."""
    for number in range(1, FRAME_WINDOW + 10):
        attachment.receive(leg(number, number))
        attachment.next_frame()
    attachment.advance(attachment.deadline_us)
    assert attachment.next_frame().beat == 1


def test_an_answered_beat_renews_the_lease(attachment):
    attachment.advance(attachment.deadline_us)
    sent_us = 1000 + LEASE_US // BEATS_PER_LEASE
    frames(attachment)
    attachment.advance(sent_us + 1000)
    attachment.receive(DownFrame(beat=1))
    attachment.advance(sent_us + LEASE_US - 1)
    with pytest.raises(FencedError):
        attachment.advance(sent_us + LEASE_US)


def test_an_answer_to_a_beat_that_was_never_sent_is_refused(attachment):
    with pytest.raises(ProtocolError, match="beat 1 is answered"):
        attachment.receive(DownFrame(beat=1))


CALLS = {
    "advance": lambda attachment: attachment.advance(10**9),
    "receive": lambda attachment: attachment.receive(leg(1)),
    "receive a renewal": lambda attachment: attachment.receive(DownFrame(beat=1)),
    "run": lambda attachment: attachment.run(1),
    "send": Attachment.next_frame,
    "come back": lambda attachment: attachment.hello(1),
}
"""All that an instance could do after its lease."""


@pytest.mark.parametrize("call", CALLS)
def test_after_its_lease_an_instance_does_nothing_more(kernel, attachment, call):
    ran = []

    def program(cpu) -> Iterator:
        ran.append(1)
        yield ins.Hlt()

    kernel.start_program(0, program)
    attachment.advance(attachment.deadline_us)
    frames(attachment)  # beat 1, whose answer would come too late
    before = kernel.cpus[1].apic.irr
    with pytest.raises(FencedError, match="lease of instance 1 ended"):
        attachment.advance(1000 + LEASE_US)
    with pytest.raises(FencedError, match="lease of instance 1 ended"):
        CALLS[call](attachment)
    assert (kernel.cpus[1].apic.irr, ran) == (before, [])
    assert attachment.deadline_us is None


def test_a_welcome_that_comes_after_the_lease_does_not_undo_its_end(attachment):
    attachment.hello(1)
    with pytest.raises(FencedError):
        attachment.advance(1000 + LEASE_US)
    with pytest.raises(FencedError):
        welcome(attachment, resumed=True)


def test_without_a_lease_there_is_no_fence(kernel):
    attachment = Attachment(kernel)
    attachment.hello(1)
    welcome(attachment, lease_us=0)
    attachment.advance(10**12)
    assert attachment.deadline_us is None


# The link.


def test_a_first_hello_asks_for_nothing_and_the_next_ones_say_how_far_it_got(kernel, attachment):
    assert Attachment(kernel).hello(1).generation == 0
    attachment.receive(leg(1))
    attachment.disconnected()
    hello = attachment.hello(1)
    assert (hello.epoch, hello.generation, hello.received) == (EPOCH, 1, 1)
    assert attachment.hello(1).generation == 2, "every try has a number of its own"


def test_nothing_is_sent_while_the_link_is_down_and_the_kernel_goes_on(kernel, attachment):
    ran = []

    def program(cpu) -> Iterator:
        yield ins.WriteIcr(fixed(9, 0xEA))
        ran.append(1)

    attachment.disconnected()
    kernel.start_program(0, program)
    assert attachment.run(100) > 0
    assert ran == [1]
    assert attachment.next_frame() is None
    attachment.hello(1)
    assert attachment.next_frame() is None
    welcome(attachment, resumed=True, received=1)
    assert [frame.frame for frame in frames(attachment)] == [2]


def test_what_the_interconnect_lacks_goes_again_before_what_is_new(kernel, attachment):
    attachment.receive(leg(1))
    lost = attachment.next_frame()
    attachment.disconnected()
    kernel.publish_write(0, fixed(9, 0xEA), 0)
    attachment.hello(1)
    welcome(attachment, resumed=True, received=1)
    again, new = frames(attachment)
    assert (again.frame, again.applied, again.accounts) == (lost.frame, 1, lost.accounts)
    assert (new.frame, len(new.events)) == (lost.frame + 1, 1)


def test_a_resume_renews_the_lease_from_when_its_hello_was_sent(attachment):
    attachment.advance(500_000)
    attachment.hello(1)
    attachment.advance(550_000)
    welcome(attachment, resumed=True, received=1)
    assert attachment.lease_left_us == 500_000 + LEASE_US - 550_000


def test_frames_and_the_end_of_an_older_link_mean_nothing(kernel, attachment):
    attachment.hello(1)
    attachment.receive(leg(1), generation=1)
    attachment.receive(leg(1), generation=2)
    welcome(attachment, resumed=True, received=1)
    attachment.receive(leg(1), generation=1)
    assert attachment.stale_frames == 3
    attachment.disconnected(generation=1)
    assert attachment.connected
    attachment.receive(leg(1), generation=2)
    assert kernel.cpus[1].apic is not None
    assert frames(attachment)[-1].applied == 1


def test_a_late_welcome_to_an_older_hello_is_ignored(attachment):
    attachment.hello(1)
    attachment.hello(1)
    welcome(attachment, generation=2, resumed=True, received=1)
    assert (attachment.connected, attachment.stale_frames) == (False, 1)
    welcome(attachment, generation=3, resumed=True, received=1)
    assert attachment.connected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resumed": False}, "takes an attached instance for a new one"),
        ({"epoch": EPOCH + 1}, "does not know that it takes over"),
        ({"received": 9}, "has received 9 frames"),
        ({"wire_version": 1}, "wire version 1"),
    ],
    ids=str,
)
def test_a_welcome_that_does_not_fit_is_refused(attachment, changes, words):
    attachment.hello(1)
    with pytest.raises(ProtocolError, match=words):
        welcome(attachment, **({"resumed": True, "received": 1} | changes))
    assert not attachment.connected


def test_a_first_welcome_that_took_longer_than_its_lease_is_as_good_as_lost(kernel):
    attachment = Attachment(kernel)
    attachment.hello(1)
    attachment.advance(LEASE_US)
    welcome(attachment)
    assert (attachment.connected, attachment.epoch) == (False, 0)
    attachment.hello(1)
    welcome(attachment, resumed=True)
    assert (attachment.connected, attachment.lease_left_us) == (True, LEASE_US)


def test_a_first_welcome_that_was_lost_is_made_up_for(kernel):
    attachment = Attachment(kernel)
    attachment.hello(1)
    hello = attachment.hello(1)
    assert (hello.epoch, hello.generation) == (0, 1)
    welcome(attachment, resumed=True)
    assert (attachment.epoch, attachment.connected) == (EPOCH, True)


@pytest.mark.parametrize("resumed", [False, True], ids=["first", "resume"])
def test_a_welcome_of_a_link_that_has_broken_since_is_ignored(kernel, resumed):
    attachment = Attachment(kernel)
    if resumed:
        attachment.hello(1)
        welcome(attachment)
        attachment.disconnected()
    attachment.hello(1)
    welcome(attachment, generation=attachment.generation, resumed=resumed)
    attachment.disconnected()
    welcome(attachment, generation=attachment.generation, resumed=resumed)
    assert (attachment.connected, attachment.stale_frames) == (False, 1)
