"""External agents: no APIC of their own, and each call happens once (design 3.3, rule 6)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.errors import InvalidArgumentError, LimitReachedError, ProtocolError
from mkrpc.interconnect import injected_words, known_clients
from mkrpc.interconnect.clients import KEPT_WRITES
from mkrpc.interconnect.injection import INJECTION_WINDOW, MAX_WAITERS
from mkrpc.link.frames import ResolvedRun
from mkrpc.link.memory import OutcomeMemory
from mkrpc.outcome import Outcome
from mkrpc.trace import ClientInjected
from mkrpc.x86.icr import Shorthand, fixed, shorthand_word

RING = fixed(1, 0xEA)


def test_a_tally_is_done_when_every_leg_has_ended_and_says_so_once(machine: Any) -> None:
    done: list[Any] = []
    wire = machine((0,), (1, 2))
    word = shorthand_word(Shorthand.ALL_INCLUDING_SELF, 0xEA)
    tally = wire.inject(word, count=5, on_done=done.append)
    wire.peers[0].pull()
    wire.peers[0].answer()
    wire.peers[0].push()
    assert (tally.done, done) == (False, [])
    wire.settle()
    assert done == [tally]
    assert (tally.written, tally.resolved, tally.repeated) == (5, 5, False)
    assert tally.legs == {(n, min(n, 1), Outcome.DELIVERED): 5 for n in range(3)}


def test_a_repeated_call_happens_once_and_gets_the_same_outcomes(machine: Any) -> None:
    done: list[Any] = []
    wire = machine((0,), (1,))
    wire.peers[1].cpus[0].interrupts_enabled = False
    first = wire.inject(RING, count=3, on_done=done.append)
    early = wire.inject(RING, count=3, on_done=done.append)
    assert (early.repeated, early.done) == (True, False)
    wire.settle()
    late = wire.inject(RING, count=3, on_done=done.append)
    assert done == [first, early, late]
    assert [t.repeated for t in done] == [False, True, True]
    expected = {(1, 1, Outcome.DELIVERED): 1, (1, 1, Outcome.COALESCED): 2}
    assert [t.legs for t in done] == [expected] * 3
    assert wire.bus.totals().written == 3
    assert len(wire.peers[1].legs) == 3


@pytest.mark.parametrize(
    ("word", "count", "seq"),
    [(fixed(1, 0x41), 3, 1), (RING, 2, 1), (RING, 1, 2), (RING, 9, 3), (RING, 1, 3)],
)
def test_numbers_used_for_something_else_are_refused(
    machine: Any, word: int, count: int, seq: int
) -> None:
    wire = machine((0,), (1,))
    wire.inject(RING, count=3)
    with pytest.raises(InvalidArgumentError):
        wire.inject(word, count=count, seq=seq)
    assert wire.bus.totals().written == 3


@pytest.mark.parametrize("too_few", [1, 0])
def test_what_is_called_resolved_is_forgotten_and_published_once_there_is_enough_of_it(
    machine: Any, too_few: int
) -> None:
    count = known_clients.TOLD_TOGETHER - too_few
    wire = machine((0,), (1,))
    wire.inject(RING, count=count)
    wire.settle()
    for seq in (count + 1, count + 2):  # what it says counts once it has its answer
        wire.inject(RING, seq=seq, resolved_below=count + 1)
        wire.settle()  # and goes with the next legs
    told = {b"client----------": (ResolvedRun(1, count),)}
    assert wire.peers[1].floors == ({} if too_few else told)
    with pytest.raises(InvalidArgumentError, match="forgotten"):
        wire.inject(RING, count=count)
    wire.bus.forget_client(b"client----------")
    wire.inject(RING, client_id=b"another client--")
    wire.settle()
    everything = (ResolvedRun(1, count + 2),)
    assert wire.peers[1].floors == {b"client----------": everything}, "whoever is forgotten is told"


def test_what_is_called_resolved_and_is_not_stays(machine: Any) -> None:
    wire = machine((0,), (1,))
    wire.inject(RING, count=3)
    wire.inject(RING, seq=4, resolved_below=4)
    assert wire.inject(RING, count=3).repeated


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"client_id": b""}, "client id of 0 bytes"),
        ({"count": 0}, "0 writes"),
        ({"count": injected_words.MAX_COUNT + 1}, "1000001 writes"),
        ({"first_seq": 0}, "sequence number 0"),
        ({"first_seq": 1 << 63}, "out of range"),
        ({"first_seq": (1 << 62) - injected_words.MAX_COUNT}, "out of range"),
        ({"resolved_below": 2}, "called resolved"),
        ({"word": 1 << 64}, "does not fit 64 bits"),
        ({"word": RING | 1 << 20}, "malformed ICR 0x00000001001000ea"),
        ({"word": shorthand_word(Shorthand.SELF, 0xEA)}, "no self to send to"),
        ({"word": shorthand_word(Shorthand.ALL_EXCLUDING_SELF, 0xEA)}, "no self to leave out"),
    ],
)
def test_a_call_that_cannot_be_is_refused_before_anything_is_booked(
    machine: Any, changes: dict[str, Any], words: str
) -> None:
    wire = machine((0,), (1,))
    with pytest.raises(InvalidArgumentError, match=words) as caught:
        wire.inject(**({"word": RING} | changes))
    assert caught.value.advice
    assert (len(wire.bus.ledger), wire.bus.latest_call(b"client----------")) == (0, 0)
    assert not wire.peers[1].pull()


def test_a_client_cannot_speak_as_an_instance_nor_an_instance_as_a_client(machine: Any) -> None:
    """Its numbers would be taken for the instance's, whose own writes were then swallowed."""
    wire = machine((0,), (1,))
    with pytest.raises(InvalidArgumentError, match="incarnation of an instance"):
        wire.inject(RING, client_id=wire.peers[0].incarnation)
    wire.inject(RING)
    with pytest.raises(ProtocolError, match="id of a client"):
        wire.bus.attach(wire.hello(5, (50,), incarnation=b"client----------"))


def test_a_large_call_is_admitted_as_its_legs_settle(machine: Any) -> None:
    wire = machine((0,), (1,))
    peer = wire.peers[1]
    tally = wire.inject(RING, count=3 * INJECTION_WINDOW)
    assert wire.bus.in_flight() == tally.written == INJECTION_WINDOW
    peer.pull()
    peer.answer(10)
    peer.push()
    assert wire.bus.in_flight() == INJECTION_WINDOW - 10, "refilled in parts worth a frame"
    peer.answer()
    peer.push()
    assert wire.bus.in_flight() == INJECTION_WINDOW
    wire.settle()
    assert tally.legs == {(1, 1, Outcome.DELIVERED): 3 * INJECTION_WINDOW}
    assert [leg[1] for leg in peer.legs] == list(range(1, 3 * INJECTION_WINDOW + 1))


@pytest.mark.parametrize(
    ("word", "count"),
    [(RING, 100_000), (shorthand_word(Shorthand.ALL_INCLUDING_SELF, 0xEA), 40_000)],
)
def test_a_large_call_never_overfills_the_memory_of_its_destinations(
    machine: Any, word: int, count: int
) -> None:
    wire = machine((0,), (1, 2, 3))
    memory, peer = OutcomeMemory(), wire.peers[1]
    tally = wire.inject(word, count=count)
    while not tally.done:
        wire.peers[0].pull()
        wire.peers[0].answer()
        wire.peers[0].push()
        peer.pull()
        for source, runs in peer.floors.items():
            memory.forget(source, runs)
        for source, seq, _, cpu in peer.inbox:
            assert memory.may_record(source)
            memory.record(source, seq, cpu, Outcome.DELIVERED)
        peer.answer()
        peer.push()
    assert memory.remembered(b"client----------") >= KEPT_WRITES, "the newest are still known"


def test_many_calls_together_never_overfill_the_memory_of_their_destination(machine: Any) -> None:
    """None of them is large; the client says of none that it has the answer."""
    wire = machine((0,), (1,))
    memory, peer = OutcomeMemory(), wire.peers[1]
    for call in range(10):
        wire.inject(RING, count=10_000, seq=1 + 10_000 * call)
        while not memory_keeps_up(wire, peer, memory):
            kept = memory.remembered(b"client----------")
            assert kept <= 2 * KEPT_WRITES + INJECTION_WINDOW
    assert memory.remembered(b"client----------") >= KEPT_WRITES, "the newest are still known"
    assert wire.bus.totals().delivered == 100_000
    wire.inject(RING, count=2, seq=100_001, resolved_below=100_001)
    memory_keeps_up(wire, peer, memory)
    assert memory.remembered(b"client----------") == 2, "all but the new ones have their answers"


def memory_keeps_up(wire: Any, peer: Any, memory: OutcomeMemory) -> bool:
    """One exchange of frames, the outcomes remembered; whether there was nothing left to do."""
    moved = peer.pull()
    for source, runs in peer.floors.items():
        memory.forget(source, runs)
    for source, seq, _, cpu in peer.inbox:
        assert memory.may_record(source)
        memory.record(source, seq, cpu, Outcome.DELIVERED)
    peer.answer()
    peer.push()
    return not moved


def test_a_call_of_moderate_size_is_remembered_whole(machine: Any) -> None:
    wire = machine((0,), (1,))
    wire.inject(RING, count=KEPT_WRITES)
    wire.settle()
    wire.inject(RING, seq=KEPT_WRITES + 1)
    wire.settle()
    assert wire.peers[1].floors == {}


def test_a_client_that_nobody_will_repeat_is_forgotten_on_request(machine: Any) -> None:
    wire = machine((0,), (1,))
    wire.inject(RING, count=3)
    wire.bus.forget_client(b"client----------")
    assert wire.inject(RING, count=3).repeated, "not while it waits for an answer"
    wire.settle()
    wire.bus.forget_client(b"client----------")
    wire.inject(RING, client_id=b"another---------")
    wire.settle()
    assert wire.peers[1].floors == {b"client----------": (ResolvedRun(1, 3),)}
    wire.bus.forget_client(b"unknown")


def test_a_target_that_dies_ends_a_large_call(machine: Any) -> None:
    wire = machine((0,), (1,))
    tally = wire.inject(RING, count=2 * INJECTION_WINDOW)
    wire.peers[1].pull()
    wire.peers[1].die()
    assert tally.done
    assert tally.legs == {
        (1, 1, Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED): INJECTION_WINDOW,
        (0xFFFF_FFFF, None, Outcome.REJECTED_NO_SUCH_APIC): INJECTION_WINDOW,
    }


def test_the_client_silent_for_longest_is_forgotten_and_busy_ones_never(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_clients, "MAX_CLIENTS", 2)
    wire = machine((0,), (1,))
    a, b, c = (bytes([n]) * 16 for n in (0x61, 0x62, 0x63))
    wire.inject(RING, client_id=a)
    wire.inject(fixed(9, 0xEA), client_id=b)
    wire.inject(RING, client_id=c)
    assert wire.inject(RING, client_id=a).repeated
    with pytest.raises(LimitReachedError):
        wire.inject(RING, client_id=b)
    wire.settle()
    assert not wire.inject(RING, client_id=b).repeated, "a named departure: it happens again"


def test_a_client_has_a_limit_of_calls_that_are_remembered(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_clients, "MAX_CALLS_PER_CLIENT", 2)
    wire = machine((0,), (1,))
    wire.inject(RING, seq=1)
    wire.inject(RING, seq=2)
    wire.settle()
    with pytest.raises(LimitReachedError):
        wire.inject(RING, seq=3)
    wire.inject(RING, seq=3, resolved_below=3)


def test_a_callback_may_call_the_bus(machine: Any) -> None:
    wire = machine((0,), (1,))
    done: list[Any] = []
    wire.inject(RING, on_done=lambda _: wire.inject(RING, seq=2, on_done=done.append))
    wire.settle()
    assert len(done) == 1
    assert wire.bus.totals().delivered == 2


def test_a_call_has_a_limit_of_repetitions_that_wait(machine: Any) -> None:
    done: list[Any] = []
    wire = machine((0,), (1,))
    tallies = [wire.inject(RING, on_done=done.append) for _ in range(MAX_WAITERS)]
    with pytest.raises(LimitReachedError, match="wait for the answer to this call"):
        wire.inject(RING, on_done=done.append)
    wire.bus.abandon(tallies[5])
    tallies[5] = wire.inject(RING, on_done=done.append)
    wire.settle()
    assert len(done) == MAX_WAITERS
    assert set(done) == set(tallies)
    assert wire.inject(RING).done, "an answer that is there is given to any number"


@pytest.mark.parametrize("given_up", [0, 1])
def test_who_abandons_a_call_is_not_called_and_the_call_goes_on(
    machine: Any, given_up: int
) -> None:
    done: list[Any] = []
    wire = machine((0,), (1,))
    tallies = [wire.inject(RING, count=3, on_done=done.append) for _ in range(2)]
    wire.bus.abandon(tallies[given_up])
    wire.bus.abandon(tallies[given_up])
    wire.settle()
    assert done == [tallies[1 - given_up]]
    assert done[0].legs == {(1, 1, Outcome.DELIVERED): 3}
    assert wire.inject(RING, count=3).legs == done[0].legs, "a repetition gets the answer"
    wire.bus.abandon(tallies[1 - given_up])
    assert wire.bus._injections._waiting == {}


def test_watching_begins_and_ends_while_the_bus_runs(machine: Any) -> None:
    events: list[Any] = []
    wire = machine((0,), (1,))
    wire.inject(RING)
    wire.bus.watch(events.append)
    wire.inject(RING, seq=2)
    wire.settle()
    wire.peers.append(wire.attach(2, (2,)))
    kinds = [type(event).__name__ for event in events]
    assert kinds == ["ClientInjected", "IcrWritten", "LegEnded", "LegEnded", "InstanceAttached"]
    wire.bus.watch(None)
    wire.inject(RING, seq=3)
    wire.settle()
    wire.peers[2].die()
    assert len(events) == 5


def test_an_injection_is_traced(machine: Any) -> None:
    events: list[Any] = []
    wire = machine((0,), sink=events.append)
    wire.inject(fixed(0, 0xEA), count=3)
    injected = [event for event in events if isinstance(event, ClientInjected)]
    assert injected == [ClientInjected(b"client----------", 1, 3, fixed(0, 0xEA))]


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3)), max_size=30))
def test_any_repetition_of_calls_writes_each_number_once(
    machine: Any, calls: list[tuple[int, int]]
) -> None:
    """Call n has numbers 10n+1 to 10n+n; between calls, some legs are answered."""
    wire = machine((0,), (1,))
    peer = wire.peers[1]
    tallies = []
    for number, answered in calls:
        tallies.append(wire.inject(RING, count=number, seq=10 * number + 1))
        peer.pull()
        peer.answer(answered)
        peer.push()
    wire.settle()
    expected = {10 * n + 1 + i for n, _ in calls for i in range(n)}
    assert sorted(leg[1] for leg in peer.legs) == sorted(expected)
    assert all(t.done and t.written == sum(t.legs.values()) for t in tallies)
    assert wire.bus.balance() == []
