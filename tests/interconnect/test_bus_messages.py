"""Messages that instances send each other through the interconnect, and the limits of both."""

from typing import Any

import pytest

from mkrpc.errors import ProtocolError
from mkrpc.interconnect import messages
from mkrpc.link.messages import MESSAGE_WINDOW, Message, SettledMessages, Taken
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
    monkeypatch.setattr(messages, "MAX_QUEUED_MESSAGES", 3)
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
