"""What clients ask of instances, and what becomes of it when an instance goes away."""

from typing import Any

import pytest

from mkrpc.errors import (
    InvalidArgumentError,
    LimitReachedError,
    NotFoundError,
    ProtocolError,
    UnavailableError,
)
from mkrpc.interconnect import session as session_module
from mkrpc.interconnect.commands import MAX_ACTION
from mkrpc.link.frames import CommandKind, Reply, SettledWrite, Writes
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import Shorthand, fixed, shorthand_word

RING = fixed(1, 0xEA)


def ask(wire: Any, instance_id: int, kind: CommandKind, **changes: Any) -> list[Reply]:
    replies: list[Reply] = []
    wire.bus.command(instance_id, kind=kind, on_reply=replies.append, **changes)
    return replies


def test_a_command_gets_its_one_answer(machine: Any) -> None:
    wire = machine(
        (0, 1),
    )
    replies = ask(wire, 0, CommandKind.READ_PROC, cpu=1, action="interrupts")
    peer = wire.peers[0]
    peer.pull()
    (command,) = peer.commands
    assert (command.kind, command.cpu, command.action) == (CommandKind.READ_PROC, 1, "interrupts")
    peer.send(replies=[Reply(command=command.number, text="done")])
    assert [reply.text for reply in replies] == ["done"]
    with pytest.raises(ProtocolError):
        peer.send(replies=[Reply(command=command.number, text="done")])
    assert len(replies) == 1


def test_commands_come_in_order_and_in_bounded_frames(machine: Any) -> None:
    wire = machine((0,))
    for n in range(150):
        ask(wire, 0, CommandKind.READ_LOG, count=n)
    sizes = []
    while wire.peers[0].pull():
        sizes.append(len(wire.peers[0].commands) - sum(sizes))
    assert sizes == [64, 64, 22]
    assert [command.count for command in wire.peers[0].commands] == list(range(150))


@pytest.mark.parametrize(
    ("instance_id", "changes", "error"),
    [
        (7, {}, NotFoundError),
        (0, {"cpu": 1}, InvalidArgumentError),
        (0, {"cpu": -1}, InvalidArgumentError),
        (0, {"word": 1 << 64}, InvalidArgumentError),
        (0, {"count": -1}, InvalidArgumentError),
        (0, {"action": "x" * (MAX_ACTION + 1)}, InvalidArgumentError),
    ],
)
def test_a_command_that_cannot_be_is_refused(
    machine: Any, instance_id: int, changes: dict[str, Any], error: type[Exception]
) -> None:
    wire = machine((0,))
    with pytest.raises(error):
        ask(wire, instance_id, CommandKind.READ_CPU, **changes)
    assert not wire.peers[0].pull()


def test_an_instance_owes_a_bounded_number_of_answers(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "MAX_PENDING_COMMANDS", 1)
    wire = machine((0,))
    ask(wire, 0, CommandKind.FENCE)
    with pytest.raises(LimitReachedError):
        ask(wire, 0, CommandKind.FENCE)


def test_when_an_instance_goes_away_its_commands_are_answered_with_an_error(machine: Any) -> None:
    wire = machine((0,))
    replies = ask(wire, 0, CommandKind.FENCE)
    wire.peers[0].die("killed by signal 9")
    assert [(r.reason, r.error) for r in replies] == [
        ("UNAVAILABLE", "instance 0 went away: killed by signal 9")
    ]


def test_a_write_icr_is_done_when_answered_and_resolved_whatever_comes_last(machine: Any) -> None:
    done: list[Any] = []
    wire = machine((0, 4), (1,))
    alice, bob = wire.peers
    tally = wire.bus.write_icr(apic_id=4, word=RING, count=3, on_done=done.append)
    alice.pull()
    (command,) = alice.commands
    assert (command.kind, command.cpu, command.count) == (CommandKind.WRITE_ICR, 1, 3)
    alice.write(RING, cpu=1, count=2, command=command.number)
    alice.push()
    bob.pull()
    bob.answer()
    bob.push()
    assert (tally.written, tally.resolved, tally.done) == (2, 2, False)
    alice.write(fixed(0, 0x41))
    alice.write(RING, cpu=1, command=command.number)
    alice.replies.append(Reply(command=command.number, written=3))
    alice.push()
    assert done == []
    wire.settle()
    assert done == [tally]
    assert tally.legs == {(1, 1, Outcome.DELIVERED): 3}, "the write without the number is not its"


def test_a_write_icr_that_stays_within_the_apic_is_counted_too(machine: Any) -> None:
    wire = machine((0,))
    word = shorthand_word(Shorthand.SELF, 0x41)
    tally = wire.bus.write_icr(apic_id=0, word=word, count=1, on_done=lambda _: None)
    wire.peers[0].pull()
    number = wire.peers[0].commands[0].number
    settled = SettledWrite(0, 1, word, Outcome.DELIVERED, number)
    wire.peers[0].send(events=[settled], replies=[Reply(command=number, written=1)])
    assert tally.done
    assert tally.legs == {(0, 0, Outcome.DELIVERED): 1}


def test_an_error_reply_ends_a_write_icr_with_its_typed_error(machine: Any) -> None:
    wire = machine((0,))
    tally = wire.bus.write_icr(apic_id=0, word=RING, count=1, on_done=lambda _: None)
    wire.peers[0].pull()
    number = wire.peers[0].commands[0].number
    reply = Reply(command=number, error="#GP", reason="INVALID_ARGUMENT", advice="clear bit 13")
    wire.peers[0].send(replies=[reply])
    assert tally.done
    assert isinstance(tally.error, InvalidArgumentError)
    assert (str(tally.error), tally.error.advice) == ("#GP", "clear bit 13")


def test_a_write_icr_of_an_instance_that_dies_ends_with_what_it_wrote(machine: Any) -> None:
    wire = machine((0,), (1,))
    alice, bob = wire.peers
    tally = wire.bus.write_icr(apic_id=0, word=RING, count=5, on_done=lambda _: None)
    alice.pull()
    alice.write(RING, count=2, command=alice.commands[0].number)
    alice.push()
    alice.die()
    assert (tally.done, tally.written) == (False, 2), "its writes are on their way"
    bob.pull()
    bob.answer()
    bob.push()
    assert tally.done
    assert isinstance(tally.error, UnavailableError)
    assert tally.legs == {(1, 1, Outcome.DELIVERED): 2}


@pytest.mark.parametrize("claimed", [1, 3])
def test_a_reply_that_miscounts_its_writes_is_refused(machine: Any, claimed: int) -> None:
    wire = machine((0,), (1,))
    tally = wire.bus.write_icr(apic_id=0, word=RING, count=2, on_done=lambda _: None)
    alice = wire.peers[0]
    alice.pull()
    number = alice.commands[0].number
    with pytest.raises(ProtocolError, match=f"{claimed} writes, 2 came"):
        alice.send(
            events=[Writes(0, 1, [RING] * 2, number)],
            replies=[Reply(command=number, written=claimed)],
        )
    alice.die("protocol error")
    wire.settle()
    assert tally.done
    assert wire.bus.balance() == []


def test_writes_bear_only_the_number_of_a_command_that_asked_for_them(machine: Any) -> None:
    wire = machine((0,), (1,))
    ask(wire, 0, CommandKind.FENCE)
    alice = wire.peers[0]
    alice.pull()
    with pytest.raises(ProtocolError, match="did not ask"):
        alice.send(events=[Writes(0, 1, [RING], alice.commands[0].number)])
    alice.die("protocol error")
    assert wire.bus.balance() == []


@pytest.mark.parametrize("count", [0, 1_000_001])
def test_a_write_icr_has_a_limit(machine: Any, count: int) -> None:
    wire = machine((0,))
    with pytest.raises(InvalidArgumentError):
        wire.bus.write_icr(apic_id=0, word=RING, count=count, on_done=lambda _: None)
    with pytest.raises(NotFoundError):
        wire.bus.write_icr(apic_id=3, word=RING, count=1, on_done=lambda _: None)


def test_a_command_that_is_abandoned_before_it_is_sent_is_never_sent(machine: Any) -> None:
    replies: list[Reply] = []
    wire = machine((0,))
    ask(wire, 0, CommandKind.FENCE)
    token = wire.bus.command(0, kind=CommandKind.READ_PROC, on_reply=replies.append)
    ask(wire, 0, CommandKind.FENCE)
    wire.bus.abandon(token)
    wire.bus.abandon(token)
    wire.peers[0].pull()
    assert [c.kind for c in wire.peers[0].commands] == [CommandKind.FENCE] * 2
    assert len(wire.peers[0].session.asked) == 2
    wire.peers[0].die()
    assert replies == []


@pytest.mark.parametrize("dies", [False, True])
def test_the_answer_to_an_abandoned_command_is_ignored_when_it_comes(
    machine: Any, dies: bool
) -> None:
    replies: list[Reply] = []
    wire = machine((0,))
    token = wire.bus.command(0, kind=CommandKind.READ_PROC, on_reply=replies.append)
    peer = wire.peers[0]
    peer.pull()
    wire.bus.abandon(token)
    if dies:
        peer.die()
    else:
        peer.send(replies=[Reply(command=peer.commands[0].number, text="CAL")])
        assert peer.session.asked == {}, "it owes nothing any more"
    wire.bus.abandon(token)
    assert replies == []


def test_a_command_is_abandoned_without_harm_after_its_instance_has_gone(machine: Any) -> None:
    wire = machine((0,))
    replies: list[Reply] = []
    token = wire.bus.command(0, kind=CommandKind.FENCE, on_reply=replies.append)
    wire.peers[0].die()
    wire.bus.abandon(token)
    assert [reply.reason for reply in replies] == ["UNAVAILABLE"], "told once, at the death"
    assert wire.bus.quiet()


def test_a_write_icr_that_is_abandoned_unsent_writes_nothing(machine: Any) -> None:
    done: list[Any] = []
    wire = machine((0,), (1,))
    tally = wire.bus.write_icr(apic_id=0, word=RING, count=3, on_done=done.append)
    wire.bus.abandon(tally)
    assert not wire.peers[0].pull()
    assert done == []


def test_the_writes_of_an_abandoned_write_icr_are_booked_all_the_same(machine: Any) -> None:
    done: list[Any] = []
    wire = machine((0,), (1,))
    alice = wire.peers[0]
    tally = wire.bus.write_icr(apic_id=0, word=RING, count=3, on_done=done.append)
    alice.pull()
    wire.bus.abandon(tally)
    number = alice.commands[0].number
    alice.write(RING, count=3, command=number)
    alice.replies.append(Reply(command=number, written=3))
    wire.settle()
    assert done == []
    assert wire.bus.totals().delivered == 3
    assert wire.bus.balance() == []


def test_a_callback_may_abandon_what_is_answered_with_it(machine: Any) -> None:
    """Both are answered in one frame; the first one's waiter gives up the second's."""
    wire = machine((0,))
    late: list[Reply] = []
    tokens: list[Any] = []
    wire.bus.command(0, kind=CommandKind.FENCE, on_reply=lambda _: wire.bus.abandon(tokens[0]))
    tokens.append(wire.bus.command(0, kind=CommandKind.FENCE, on_reply=late.append))
    peer = wire.peers[0]
    peer.pull()
    peer.send(replies=[Reply(command=command.number) for command in peer.commands])
    assert late == []
