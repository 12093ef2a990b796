"""One link: windows, limits with their named outcomes, and what a peer may not say."""

from dataclasses import replace
from typing import Any

import pytest

from mkrpc.errors import ProtocolError
from mkrpc.interconnect import floors as floors_module
from mkrpc.interconnect.session import LEG_WINDOW
from mkrpc.link import endpoint, source
from mkrpc.link.frames import (
    MAX_FRAME_WORDS,
    CpuAccount,
    CpuAddress,
    OutcomeRun,
    Reply,
    ResolvedRun,
    SettledWrite,
    UpFrame,
    Writes,
)
from mkrpc.outcome import Outcome
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.destination import x2apic_ldr
from mkrpc.x86.icr import Shorthand, fixed, shorthand_word

RING = fixed(1, 0xEA)


def test_a_frame_holds_a_bounded_number_of_legs_and_a_window_bounds_all(machine: Any) -> None:
    wire = machine((0,), (1,))
    peer = wire.peers[1]
    for n in range(5):
        wire.inject(RING, count=4096, seq=1 + 4096 * n)
    sizes = []
    while peer.pull():
        sizes.append(len(peer.inbox) - sum(sizes))
    assert all(size <= MAX_FRAME_WORDS for size in sizes)
    assert len(peer.inbox) == LEG_WINDOW
    peer.answer(100)
    peer.push()
    peer.pull()
    assert len(peer.inbox) == LEG_WINDOW
    wire.settle()
    assert [leg[1] for leg in peer.legs] == list(range(1, 5 * 4096 + 1))
    assert wire.bus.totals().delivered == 5 * 4096
    assert wire.bus.balance() == []


def test_a_source_is_told_when_it_is_worth_a_frame_or_one_goes_anyway(machine: Any) -> None:
    wire = machine((0,), (1,))
    alice, bob = wire.peers
    alice.write(RING, count=10)
    alice.push()
    bob.pull()
    bob.answer()
    bob.push()
    assert not alice.pull(), "ten resolved writes are not worth a frame of their own"
    wire.inject(fixed(0, 0xEA))
    alice.pull()
    assert alice.resolved == [ResolvedRun(1, 10)]


def test_a_source_at_rest_is_told_with_the_answer_to_its_next_beat(machine: Any) -> None:
    """Else another interconnect would ask for all that had long been resolved again."""
    wire = machine((0,))
    (bob,) = wire.peers
    alice = type(bob)(wire.bus, wire.hello(1, (1,)))
    alice.write(fixed(0, 0xEA))
    alice.push()
    bob.pull()
    bob.answer()
    bob.push()
    wire.bus.receive(alice.session, UpFrame(beat=1))
    assert alice.pull()
    assert alice.resolved == [ResolvedRun(1, 1)]
    wire.bus.receive(alice.session, UpFrame(beat=2))
    answer = wire.bus.next_frame(alice.session)
    assert (answer.frame, answer.beat, len(answer.resolved)) == (0, 2, 0), "once"


@pytest.mark.rule("R20")
def test_a_source_whose_programs_wait_for_delivery_status_is_told_at_once(machine: Any) -> None:
    wire = machine((0,))
    (bob,) = wire.peers
    alice = type(bob)(wire.bus, wire.hello(1, (1,), tell_resolved=True))
    alice.write(fixed(0, 0xEA))
    alice.push()
    bob.pull()
    assert not alice.pull(), "nothing is resolved yet"
    bob.answer()
    bob.push()
    assert alice.pull()
    assert alice.resolved == [ResolvedRun(1, 1)]
    assert not alice.pull(), "once"


def test_a_source_near_its_window_is_told_at_once(machine: Any) -> None:
    """What a hung destination holds must not keep the rest of the window shut."""
    wire = machine((0,), (1,), (2,))
    alice, _hung, quick = wire.peers
    alice.write(RING, count=source.WRITE_WINDOW - 3)
    alice.push()
    alice.write(fixed(2, 0xEA), count=3)
    alice.push()
    quick.pull()
    quick.answer()
    quick.push()
    assert alice.pull()
    assert alice.resolved == [ResolvedRun(source.WRITE_WINDOW - 2, source.WRITE_WINDOW)]


def test_the_frame_window_closes_without_acknowledgements(machine: Any) -> None:
    wire = machine((0,), (1,))
    for n in range(endpoint.FRAME_WINDOW + 5):
        wire.inject(RING, seq=n + 1)
        wire.bus.next_frame(wire.peers[1].session)
    assert not wire.peers[1].session.link.may_send
    assert wire.bus.next_frame(wire.peers[1].session) is None
    wire.peers[1].session.link.receive(UpFrame(ack=1))
    assert wire.bus.next_frame(wire.peers[1].session) is not None


def test_a_bare_acknowledgement_is_sent_when_it_is_due(machine: Any) -> None:
    wire = machine((0,))
    peer = wire.peers[0]
    for n in range(endpoint.ACK_EVERY):
        assert wire.bus.next_frame(peer.session) is None
        peer.seq = n + 1
        peer.send(events=[Writes(0, n + 1, [fixed(77, 0xEA)])])
    frame = wire.bus.next_frame(peer.session)
    assert (frame.frame, frame.ack) == (0, endpoint.ACK_EVERY)
    assert wire.bus.next_frame(peer.session) is None


def test_ready_names_each_session_that_has_something_once(machine: Any) -> None:
    wire = machine((0,), (1,), (2,))
    wire.inject(RING, count=3)
    wire.inject(fixed(2, 0xEA), seq=4)
    assert wire.bus.take_ready() is wire.peers[1].session
    assert wire.bus.take_ready() is wire.peers[2].session
    assert wire.bus.take_ready() is None
    wire.peers[1].pull()
    assert wire.bus.take_ready() is wire.peers[1].session, "there may be more"
    assert not wire.peers[1].pull()
    assert wire.bus.take_ready() is None
    wire.inject(RING, seq=5)
    wire.peers[1].die()
    assert wire.bus.take_ready() is None


def test_publications_reach_those_who_have_had_legs_and_come_before_new_ones(machine: Any) -> None:
    wire = machine((0,), (1,), (2,))
    alice, bob, carol = wire.peers
    alice.write(RING, count=1500)
    wire.settle()
    alice.send(resolved=[ResolvedRun(1, 1400)])
    assert not bob.pull(), "forgetting is never urgent"
    alice.write(RING)
    alice.write(fixed(2, 0xEA))
    wire.settle()
    assert bob.floors == {alice.incarnation: (ResolvedRun(1, 1400),)}
    assert carol.floors == {}


def test_publications_of_those_silent_for_longest_are_not_relayed(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The destination has forgotten them by the same rule."""
    monkeypatch.setattr(floors_module, "MAX_SOURCES", 2)
    wire = machine((0,), (1,), (2,), (3,))
    alice, bob, carol, target = wire.peers
    for peer in (alice, bob, alice, carol):
        peer.write(fixed(3, 0xEA))
        wire.settle()
    for peer in (alice, bob, carol):
        peer.send(resolved=[ResolvedRun(1, 1)])
    carol.write(fixed(3, 0xEA))
    wire.settle()
    assert set(target.floors) == {alice.incarnation, carol.incarnation}


def test_a_dead_source_is_forgotten_by_all_once_its_last_write_is_resolved(machine: Any) -> None:
    wire = machine((0,), (1,))
    alice, bob = wire.peers
    alice.write(RING, count=3)
    alice.push()
    bob.pull()
    alice.die()
    assert bob.floors == {}
    wire.settle()
    wire.inject(RING)
    wire.settle()
    assert bob.floors == {alice.incarnation: (ResolvedRun(1, 3),)}


SELF = shorthand_word(Shorthand.SELF, 0x41)
ADDRESS = CpuAddress(0, 1, int(ApicMode.X2APIC), 1, x2apic_ldr(1), 0, True)

WRONG_FRAMES = {
    "answers what was never handed over": {"applied": 4},
    "answers fewer than before": {"applied": 1},
    "an outcome beyond what is answered": {
        "applied": 3,
        "outcomes": [OutcomeRun(3, 2, Outcome.COALESCED)],
    },
    "an outcome of a leg answered before": {
        "applied": 3,
        "outcomes": [OutcomeRun(2, 1, Outcome.COALESCED)],
    },
    "an outcome twice": {
        "applied": 3,
        "outcomes": [OutcomeRun(3, 1, Outcome.COALESCED), OutcomeRun(3, 1, Outcome.COALESCED)],
    },
    "an empty outcome run": {"applied": 3, "outcomes": [OutcomeRun(3, 0, Outcome.COALESCED)]},
    "a gap in its sequence numbers": {"events": [Writes(0, 8, [RING])]},
    "a sequence number again": {"events": [Writes(0, 5, [RING])]},
    "a CPU that it does not have": {"events": [Writes(1, 6, [RING])]},
    "no words": {"events": [Writes(0, 6, [])]},
    "a word of 65 bits": {"events": [Writes(0, 6, [RING, 1 << 64])]},
    "more words than a frame holds": {"events": [Writes(0, 6, [RING] * (MAX_FRAME_WORDS + 1))]},
    "more settled writes than a frame holds": {
        "events": [
            SettledWrite(0, 6 + n, SELF, Outcome.COALESCED) for n in range(MAX_FRAME_WORDS + 1)
        ]
    },
    "more changes of address than a frame holds": {"events": [ADDRESS] * (MAX_FRAME_WORDS + 1)},
    "a command that is not open": {"events": [Writes(0, 6, [RING], 99)]},
    "a delivery within its APIC that is no self IPI": {
        "events": [SettledWrite(0, 6, RING, Outcome.DELIVERED)]
    },
    "a loss within its own APIC": {"events": [SettledWrite(0, 6, RING, Outcome.LOST_SOURCE_DEAD)]},
    "an account that falls": {
        "accounts": [CpuAccount(0, 0, 0, 0, 0, True, "idle", 0, [], {0: 1})] * 1
        + [CpuAccount(0, 0, 0, 0, 0, True, "idle", 0, [], {0: 0})]
    },
    "publishes what is not resolved": {"resolved": [ResolvedRun(1, 6)]},
    "publishes too many runs": {"resolved": [ResolvedRun(1, 1)] * (source.MAX_PUBLISHED_RUNS + 1)},
    "a reply to nothing": {"replies": [Reply(command=12)]},
}


@pytest.mark.parametrize("wrong", WRONG_FRAMES, ids=str)
def test_a_peer_that_says_what_cannot_be_is_refused_and_the_books_stay_sound(
    machine: Any, wrong: str
) -> None:
    wire = machine((0,), (1,))
    bob = wire.peers[1]
    tally = wire.inject(RING, count=3)
    bob.write(fixed(0, 0x41), count=5)
    bob.pull()
    bob.answer(2)
    bob.push()
    with pytest.raises(ProtocolError):
        bob.send(**WRONG_FRAMES[wrong])
    bob.die("protocol error")
    assert wire.bus.balance() == []
    wire.settle()
    assert wire.bus.in_flight() == 0
    assert wire.bus.balance() == []
    assert tally.done
    assert sum(tally.legs.values()) == 3


GIVEN_BY_A_DESTINATION = {
    Outcome.DELIVERED,
    Outcome.COALESCED,
    Outcome.REJECTED_APIC_DISABLED,
    Outcome.REJECTED_SOFTWARE_DISABLED,
    Outcome.REJECTED_ILLEGAL_VECTOR,
    Outcome.REJECTED_RESERVED_MODE,
    Outcome.REJECTED_NOT_WAITING_FOR_SIPI,
    Outcome.REJECTED_INIT_DEASSERT,
    Outcome.REJECTED_BLOCKED,
    Outcome.REJECTED_BACKPRESSURE,
    Outcome.REJECTED_MALFORMED,
    Outcome.REJECTED_NO_SUCH_APIC,
}


@pytest.mark.parametrize("outcome", Outcome, ids=lambda outcome: outcome.text)
def test_a_destination_gives_only_outcomes_that_are_its_to_give(
    machine: Any, outcome: Outcome
) -> None:
    wire = machine((0,), (1,))
    tally = wire.inject(RING)
    bob = wire.peers[1]
    bob.pull()
    answer = {"applied": 1, "outcomes": [OutcomeRun(1, 1, outcome)]}
    if outcome in GIVEN_BY_A_DESTINATION:
        bob.send(**answer)
        assert tally.legs == {(1, 1, outcome): 1}
        return
    with pytest.raises(ProtocolError, match="calls a leg"):
        bob.send(**answer)
    bob.die("protocol error")
    assert tally.legs == {(1, 1, Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED): 1}


@pytest.mark.parametrize(
    "change", [{"apic_id": 9}, {"cpu": 1}, {"mode": 7}, {"xapic_id": 300}], ids=str
)
def test_an_address_that_cannot_be_is_refused(machine: Any, change: dict[str, int]) -> None:
    wire = machine((0,))
    with pytest.raises(ProtocolError):
        wire.peers[0].send(events=[replace(wire.peers[0].hello.cpus[0], **change)])


def test_a_source_beyond_its_window_is_refused_here_too(machine: Any) -> None:
    wire = machine((0,), (1,))
    alice = wire.peers[0]
    for _ in range(source.HARD_WRITE_WINDOW // MAX_FRAME_WORDS):
        alice.write(RING, count=MAX_FRAME_WORDS)
        alice.push()
    alice.write(RING)
    with pytest.raises(ProtocolError, match="outstanding"):
        alice.push()
    alice.die("protocol error")
    assert wire.bus.balance() == []


def test_a_repeated_frame_is_applied_once(machine: Any) -> None:
    wire = machine((0,), (1,))
    alice = wire.peers[0]
    frame = alice.link.stamp(UpFrame(events=[Writes(0, 1, [RING] * 3)]))
    wire.bus.receive(alice.session, frame)
    wire.bus.receive(alice.session, frame)
    assert wire.bus.totals().written == 3
