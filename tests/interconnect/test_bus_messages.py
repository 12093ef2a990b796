"""Messages that instances send each other through the interconnect, and the limits of both."""

from typing import Any

import pytest

from mkrpc.errors import ProtocolError
from mkrpc.interconnect import messages
from mkrpc.limits import MAX_INSTANCE_ID
from mkrpc.link.messages import (
    MAX_MESSAGES_OF_ONE,
    MAX_QUEUED_MESSAGES,
    MESSAGE_WINDOW,
    Message,
    SettledMessages,
    Taken,
)
from mkrpc.outcome import Outcome


def message(seq: int, target: int = 1) -> Message:
    return Message(target, seq, 0x4000, b"data")


def told(peer: Any) -> list[SettledMessages]:
    """What became of its messages, as far as it is told now."""
    found: list[SettledMessages] = []
    while (frame := peer.bus.next_frame(peer.session)) is not None:
        found += frame.settled
    return found


def test_what_an_instance_has_in_hand_counts_towards_its_limit_though_its_senders_have_died(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "MAX_MESSAGES_OF_ONE", 3)
    wire = machine((0,), (1,))
    receiver = wire.peers[1]
    lives = [wire.attach(2, (2,))]
    for _ in range(3):
        lives[-1].send(events=[message(1)])
        wire.bus.next_frame(receiver.session)  # handed over, and not taken
        lives[-1].die()
        lives.append(wire.attach(2, (2,)))
    refused = Outcome.REJECTED_BACKPRESSURE
    lives[-1].send(events=[message(1)])
    assert told(lives[-1]) == [SettledMessages(1, 1, 1, refused)]
    receiver.send(taken=[Taken(lives[0].incarnation, 1)])
    lives[-1].send(events=[message(2), message(3)])
    assert told(lives[-1]) == [SettledMessages(1, 3, 3, refused)]


def test_lives_of_one_sender_take_up_its_own_room_and_nobody_elses(machine: Any) -> None:
    """The receiver hangs, and a sender lives again and again, each time filling its window."""
    wire = machine((0,), (1,))
    other, receiver = wire.peers
    refused = Outcome.REJECTED_BACKPRESSURE
    ends = []
    for _ in range(600):
        life = wire.attach(2, (2,))
        life.send(events=[message(seq) for seq in range(1, MESSAGE_WINDOW + 1)])
        ends.append(told(life))
        wire.bus.next_frame(receiver.session)
        life.die()
    assert ends[:2] == [[], []]
    assert ends[2:] == [[SettledMessages(1, 1, MESSAGE_WINDOW, refused)]] * 598
    other.send(events=[message(seq) for seq in range(1, MESSAGE_WINDOW + 1)])
    assert told(other) == []
    assert receiver.session.box.holds == {2: MAX_MESSAGES_OF_ONE, 0: MESSAGE_WINDOW}


def test_what_is_taken_of_a_dead_life_is_room_for_the_next_one(machine: Any) -> None:
    wire = machine((0,), (1,))
    receiver = wire.peers[1]
    dead = []
    for _ in range(2):
        dead.append(wire.attach(2, (2,)))
        dead[-1].send(events=[message(seq) for seq in range(1, MESSAGE_WINDOW + 1)])
        dead[-1].die()
    life = wire.attach(2, (2,))
    receiver.send(taken=[Taken(dead[0].incarnation, 3)])
    life.send(events=[message(seq) for seq in range(1, 5)])
    assert told(life) == [SettledMessages(1, 4, 4, Outcome.REJECTED_BACKPRESSURE)]
    receiver.send(taken=[Taken(each.incarnation, MESSAGE_WINDOW) for each in dead])
    receiver.send(taken=[Taken(life.incarnation, 3)])
    assert not receiver.session.box.holds


def test_every_other_instance_has_its_room() -> None:
    assert MAX_INSTANCE_ID * MAX_MESSAGES_OF_ONE <= MAX_QUEUED_MESSAGES


def test_the_window_has_room_once_the_sender_is_told_and_not_before(machine: Any) -> None:
    """Messages to two that are not there end at once: what waits to be told has a limit too."""
    wire = machine((0,))
    sender = wire.peers[0]
    for seq in range(1, MESSAGE_WINDOW + 1):
        sender.send(events=[message(seq, 10), message(seq, 11)])
    assert len(told(sender)) == 2 * MESSAGE_WINDOW
    beyond = range(MESSAGE_WINDOW + 1, 2 * MESSAGE_WINDOW + 2)
    with pytest.raises(ProtocolError, match="more than 16 messages"):
        sender.send(events=[message(seq, 10) for seq in beyond])
