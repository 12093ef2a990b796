"""A stream that breaks is not a death: the incarnation comes back and all goes on (design 3.3)."""

from dataclasses import replace
from typing import Any

import pytest

from mkrpc.errors import AlreadyExistsError, FencedError, ProtocolError
from mkrpc.link.frames import DownFrame, Hello, UpFrame, Writes
from mkrpc.outcome import Outcome
from mkrpc.trace import InstanceDisconnected, InstanceRefused, InstanceResumed
from mkrpc.x86.icr import fixed

EPOCH = 7
TO_BOB = fixed(1, 0xEA)


def back(peer: Any, **changes: Any) -> Hello:
    """The hello of a peer that comes back over its next link."""
    values = {
        "epoch": EPOCH,
        "generation": peer.session.generation,
        "received": peer.link.received,
    }
    return replace(peer.hello, **(values | changes))


def cut(peer: Any) -> None:
    peer.bus.disconnect(peer.session, peer.session.generation)


def resume(peer: Any) -> None:
    """Cut or not, the peer comes back, and lets go of what it hears has arrived."""
    assert peer.bus.attach(back(peer)) is peer.session
    peer.link.resume(peer.bus.welcome(peer.session).received)


def test_a_disconnected_instance_keeps_its_cpus_and_legs_wait_for_it(machine: Any) -> None:
    wire = machine((0,), (1,))
    bob = wire.peers[1]
    cut(bob)
    tally = wire.inject(TO_BOB, count=3)
    assert wire.bus.attached_ids() == [0, 1]
    assert (bob.session.connected, tally.done) == (False, False)
    assert wire.bus.next_frame(bob.session) is None
    resume(bob)
    wire.settle()
    assert tally.legs == {(1, 1, Outcome.DELIVERED): 3}
    assert wire.bus.balance() == []


def test_frames_that_the_cut_lost_are_sent_again_before_new_ones(machine: Any) -> None:
    wire = machine((0,), (1,))
    bob = wire.peers[1]
    for seq in range(1, 4):
        wire.inject(TO_BOB, seq=seq)
        assert wire.bus.next_frame(bob.session) is not None  # lost in the cut
    cut(bob)
    wire.inject(TO_BOB, seq=4)
    resume(bob)
    frames = list(iter(lambda: wire.bus.next_frame(bob.session), None))
    assert [frame.frame for frame in frames] == [1, 2, 3, 4]
    assert [legs.seqs for frame in frames for legs in frame.legs] == [[1], [2], [3], [4]]


def test_what_the_instance_has_is_not_sent_again(machine: Any) -> None:
    wire = machine((0,), (1,))
    bob = wire.peers[1]
    wire.inject(TO_BOB)
    bob.pull()  # received, and its answer lost
    bob.answer()
    cut(bob)
    resume(bob)
    assert wire.bus.next_frame(bob.session) is None
    bob.push()
    assert wire.bus.totals().delivered == 1
    assert wire.bus.in_flight() == 0


def test_the_welcome_says_how_far_the_interconnect_got(machine: Any) -> None:
    wire = machine((0,), (1,))
    alice = wire.peers[0]
    alice.write(TO_BOB)
    alice.push()
    lost = alice.link.stamp(UpFrame(events=[Writes(0, 2, [TO_BOB])]))
    cut(alice)
    assert wire.bus.attach(back(alice)) is alice.session
    welcome = wire.bus.welcome(alice.session)
    assert (welcome.generation, welcome.received, welcome.resumed) == (2, 1, True)
    alice.link.resume(welcome.received)
    again = alice.link.next_again()
    assert again.frame == lost.frame == 2
    wire.bus.receive(alice.session, again, generation=2)
    assert wire.bus.totals().written == 2


def test_an_open_command_survives_the_cut(machine: Any) -> None:
    from mkrpc.link.frames import CommandKind, Reply

    wire = machine((0,))
    alice = wire.peers[0]
    replies: list[Reply] = []
    wire.bus.command(0, kind=CommandKind.FENCE, on_reply=replies.append)
    assert wire.bus.next_frame(alice.session).commands  # lost
    cut(alice)
    resume(alice)
    assert replies == []
    alice.pull()
    alice.replies.append(Reply(command=alice.commands[0].number))
    alice.push()
    assert len(replies) == 1


def test_a_newer_link_wins_though_the_older_still_stands(machine: Any) -> None:
    wire = machine((0,), (1,))
    alice = wire.peers[0]
    late = alice.link.stamp(UpFrame(events=[Writes(0, 1, [TO_BOB])]))
    resume(alice)
    wire.bus.receive(alice.session, late, generation=1)
    assert (wire.bus.totals().written, wire.bus.stale_frames) == (0, 1)
    wire.bus.disconnect(alice.session, 1)
    assert alice.session.connected, "the end of an older stream means nothing"
    wire.bus.receive(alice.session, alice.link.next_again(), generation=2)
    assert wire.bus.totals().written == 1


def test_a_frame_after_the_break_of_its_link_is_ignored(machine: Any) -> None:
    wire = machine((0,), (1,))
    alice = wire.peers[0]
    late = alice.link.stamp(UpFrame(events=[Writes(0, 1, [TO_BOB])]))
    cut(alice)
    wire.bus.receive(alice.session, late, generation=1)
    assert (wire.bus.totals().written, wire.bus.stale_frames) == (0, 1)


def test_a_frame_of_a_session_that_is_over_is_ignored(machine: Any) -> None:
    wire = machine((0,), (1,))
    alice = wire.peers[0]
    alice.die()
    wire.bus.receive(alice.session, UpFrame(frame=1), generation=1)
    wire.bus.disconnect(alice.session, 1)
    assert wire.bus.stale_frames == 1


def test_a_hello_that_was_overtaken_by_a_newer_one_is_refused(machine: Any) -> None:
    wire = machine((0,))
    alice = wire.peers[0]
    overtaken = back(alice)
    wire.bus.attach(back(alice, generation=5))
    assert wire.bus.welcome(alice.session).generation == 6
    with pytest.raises(ProtocolError, match="link 2 of instance 0 comes after link 6"):
        wire.bus.attach(overtaken)
    assert alice.session.connected


def test_an_instance_whose_first_welcome_was_lost_comes_back(machine: Any) -> None:
    """It knows no epoch yet, but that it has tried before."""
    wire = machine((0,))
    alice = wire.peers[0]
    assert wire.bus.attach(back(alice, epoch=0, generation=1)) is alice.session
    assert wire.bus.welcome(alice.session).resumed


def test_an_instance_whose_first_hello_was_lost_begins(machine: Any) -> None:
    wire = machine((0,))
    session = wire.bus.attach(replace(wire.hello(1, (1,)), generation=3))
    assert (session.generation, wire.bus.welcome(session).resumed) == (4, False)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"received": 2}, ProtocolError, "has received 2 frames, it says; 1 were sent"),
        ({"received": 0}, ProtocolError, "1 acknowledged"),
        ({"epoch": 8}, FencedError, "attached to another interconnect"),
        ({"incarnation": b"x" * 16}, FencedError, "ended too long ago"),
        ({"incarnation": b"x" * 16, "epoch": 0}, AlreadyExistsError, "instance id 1 belongs to"),
        ({"instance_id": 0}, FencedError, "incarnation of instance 0 is over"),
        ({"instance_id": 5}, FencedError, "incarnation of instance 5 is over"),
        ({"epoch": 0, "generation": 0}, ProtocolError, "was used before"),
    ],
    ids=str,
)
def test_a_resume_that_cannot_be_is_refused_and_harms_nobody(
    machine: Any, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    events: list[Any] = []
    wire = machine((0,), (1,), sink=events.append)
    bob = wire.peers[1]
    wire.inject(TO_BOB)
    wire.settle()
    bob.push()
    with pytest.raises(error, match=words):
        wire.bus.attach(back(bob, **changes))
    assert isinstance(events[-1], InstanceRefused)
    assert (bob.session.connected, bob.session.generation) == (True, 1)
    wire.inject(TO_BOB, seq=2)
    wire.settle()
    assert wire.bus.totals().delivered == 2


def test_other_cpus_cannot_come_back(machine: Any) -> None:
    wire = machine((0, 1))
    alice = wire.peers[0]
    with pytest.raises(ProtocolError, match="with other CPUs"):
        wire.bus.attach(back(alice, cpus=alice.hello.cpus[:1]))


def test_the_dead_are_refused_by_name_with_the_reason_of_their_end(machine: Any) -> None:
    wire = machine((0,))
    alice = wire.peers[0]
    alice.die("killed by signal 9")
    with pytest.raises(FencedError, match=r"instance 0 is over: killed by signal 9"):
        wire.bus.attach(back(alice))
    wire.peers[0] = wire.attach(0, (0,))
    with pytest.raises(FencedError, match="instance 0 is over"):
        wire.bus.attach(back(alice))


def test_the_id_of_the_disconnected_is_not_free(machine: Any) -> None:
    wire = machine((0,))
    cut(wire.peers[0])
    with pytest.raises(AlreadyExistsError, match="is disconnected and may come back"):
        wire.attach(0, (0,))


def test_cut_and_return_are_traced_and_the_books_untouched(machine: Any) -> None:
    events: list[Any] = []
    wire = machine((0,), (1,), sink=events.append)
    bob = wire.peers[1]
    wire.inject(TO_BOB)
    wire.bus.next_frame(bob.session)
    before = wire.bus.totals()
    events.clear()
    cut(bob)
    cut(bob)
    resume(bob)
    assert wire.bus.totals() == before
    assert events == [
        InstanceDisconnected(1, "kernel1", bob.incarnation, 1),
        InstanceResumed(1, "kernel1", bob.incarnation, 2, 1),
    ]


def test_a_process_known_to_be_dead_is_detached_at_once(machine: Any) -> None:
    wire = machine((0,), (1,))
    bob = wire.peers[1]
    tally = wire.inject(TO_BOB)
    bob.pull()
    cut(bob)
    wire.bus.process_ended(1, bob.hello.pid + 1, "an older process")
    wire.bus.process_ended(9, bob.hello.pid, "nobody")
    assert bob.session.alive
    wire.bus.process_ended(1, bob.hello.pid, "killed by signal 9")
    assert tally.legs == {(1, 1, Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED): 1}
    assert wire.bus.instances()[1].reason == "killed by signal 9"
    assert wire.bus.ended == 1
    wire.bus.process_ended(1, bob.hello.pid, "again")
    assert wire.bus.instances()[1].reason == "killed by signal 9"


def test_the_last_words_of_a_process_that_ended_are_heard_first(machine: Any) -> None:
    """Its end is seen by its host agent, over another stream than what it said before."""
    wire = machine((0,), (1,))
    bob = wire.peers[1]
    tally = wire.inject(TO_BOB)
    bob.pull()
    wire.bus.process_ended(1, bob.hello.pid, "ended by signal 9")
    assert bob.session.alive
    bob.answer()
    bob.push()
    cut(bob)
    assert tally.legs == {(1, 1, Outcome.DELIVERED): 1}
    assert not bob.session.alive
    assert wire.bus.instances()[1].reason == "ended by signal 9"


def test_a_bare_frame_answers_a_beat_and_a_resume_answers_again(machine: Any) -> None:
    wire = machine((0,))
    alice = wire.peers[0]
    wire.bus.receive(alice.session, UpFrame(beat=1))
    wire.bus.receive(alice.session, UpFrame(beat=3))
    assert wire.bus.next_frame(alice.session) == DownFrame(beat=3)
    assert wire.bus.next_frame(alice.session) is None
    resume(alice)
    assert wire.bus.next_frame(alice.session) == DownFrame(beat=3)
