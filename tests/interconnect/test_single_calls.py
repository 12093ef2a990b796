"""Calls of one word each that are made together: each is one by itself, whatever becomes of it."""

from array import array
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkrpc.errors import InvalidArgumentError, LimitReachedError
from mkrpc.interconnect import clients, known_clients
from mkrpc.interconnect.bucket import CLIENTS, Rate
from mkrpc.interconnect.injection import MAX_WAITERS
from mkrpc.link.frames import ResolvedRun
from mkrpc.outcome import Outcome
from mkrpc.trace import ClientInjected, IcrWritten
from mkrpc.x86.icr import Shorthand, fixed, nmi, shorthand_word

CLIENT = b"client----------"
ALL = shorthand_word(Shorthand.ALL_INCLUDING_SELF, 0xEA)
NOBODYS = fixed(9, 0xEA)
RING = fixed(1, 0x41)


def wire_of(words: list[int]) -> bytes:
    return array("Q", words).tobytes()


def together(wire: Any, words: list[int], **changes: Any) -> tuple[Any, list[Any]]:
    """What is made, and the answers as they come."""
    told: list[Any] = []
    values: dict[str, Any] = {
        "client_id": CLIENT,
        "first_seq": 1,
        "words": wire_of(words),
        "resolved_below": 1,
        "on_done": told.append,
    }
    return wire.bus.inject_singles(**(values | changes)), told


def alone(wire: Any, word: int, seq: int, **changes: Any) -> Any:
    values: dict[str, Any] = {
        "client_id": CLIENT,
        "first_seq": seq,
        "words": wire_of([word]),
        "resolved_below": 1,
        "on_done": lambda tally: None,
    }
    return wire.bus.inject_words(**(values | changes))


def by_number(told: list[Any]) -> dict[int, tuple[int, dict[Any, int]]]:
    """The outcome of every word: the byte, and the legs of one that had several."""
    found: dict[int, tuple[int, dict[Any, int]]] = {}
    for answer in told:
        for index, outcome in enumerate(answer.each.outcomes):
            seq = answer.first + index
            assert seq not in found, "answered twice"
            found[seq] = outcome, dict(answer.each.several.get(seq, {}))
        assert seq == answer.last
    return found


def books(wire: Any) -> Counter[Any]:
    return Counter(
        {
            (row.key.apic_id, row.key.mode, row.key.vector, outcome): count
            for row in wire.bus.ledger
            for outcome, count in row.outcomes.items()
        }
    )


WORDS = st.lists(
    st.one_of(
        st.builds(fixed, st.integers(0, 4), st.sampled_from([0xEA, 0x41, 0x05])),
        st.sampled_from([ALL, NOBODYS, nmi(1), fixed(0xFFFF_FFFF, 0x41)]),
    ),
    min_size=1,
    max_size=40,
)


@given(
    words=WORDS,
    masked=st.sets(st.integers(0, 3)),
    tokens=st.one_of(st.none(), st.integers(0, 30)),
    answered=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 9)), max_size=6),
)
@settings(max_examples=80)
def test_each_ends_as_if_it_had_been_made_by_itself(
    machine: Any,
    words: list[int],
    masked: set[int],
    tokens: int | None,
    answered: list[tuple[int, int]],
) -> None:
    one, other = machine((0, 1), (2, 3)), machine((0, 1), (2, 3))
    for wire in (one, other):
        for number in masked:
            wire.peers[number // 2].cpus[number % 2].interrupts_enabled = False
        if tokens is not None:
            wire.bus.buckets.change(CLIENTS, Rate(writes_per_s=1, burst=max(1, tokens)))
    made, told = together(one, words, each=True)
    tallies = [alone(other, word, seq, each=True) for seq, word in enumerate(words, 1)]
    for wire in (one, other):
        for number, count in answered:  # in parts, and one instance before the other
            wire.peers[number].pull()
            wire.peers[number].answer(count)
            wire.peers[number].push()
        wire.settle()
    assert not made.unanswered
    assert by_number(told) == {
        seq: (tally.each.outcomes[0], dict(tally.each.several.get(seq, {})))
        for seq, tally in enumerate(tallies, 1)
    }
    assert sum((answer.legs for answer in told), Counter()) == sum(
        (Counter(tally.legs) for tally in tallies), Counter()
    )
    assert books(one) == books(other)
    assert one.bus.balance() == []
    for seq, (word, tally) in enumerate(zip(words, tallies, strict=True), 1):
        again = alone(one, word, seq)
        assert again.repeated
        assert again.done
        assert again.legs == tally.legs
        assert again.each.outcomes == tally.each.outcomes
    assert one.bus.totals() == other.bus.totals()


@given(words=WORDS, told_at=st.integers(0, 40), floor=st.integers(1, 41))
@settings(max_examples=60)
def test_a_successor_is_told_of_each(
    machine: Any, words: list[int], told_at: int, floor: int
) -> None:
    """What is kept, and the rows of what is acknowledged, are as of calls by themselves."""
    kept: list[Any] = []
    for way in ("together", "alone"):
        wire = machine((0, 1), (2, 3))
        wire.bus.take_changes(rows=True)
        calls: dict[Any, Any] = {}
        rows: Counter[Any] = Counter()

        def keep(wire: Any = wire, calls: dict[Any, Any] = calls, rows: Any = rows) -> None:
            changes = wire.bus.take_changes(rows=True)
            for row in changes.client_rows:
                rows.update({(row.key, outcome): count for outcome, count in row.outcomes})
            for key in changes.acknowledged:
                for row in calls.pop(key).booked:
                    rows.update({(row.key, outcome): count for outcome, count in row.outcomes})
            for call in changes.calls:
                assert call.key not in calls
                calls[call.key] = call

        if way == "together":
            together(wire, words)
        else:
            for seq, word in enumerate(words, 1):
                alone(wire, word, seq)
        for number in range(2):
            wire.peers[number].pull()
            wire.peers[number].answer(told_at)
            wire.peers[number].push()
        keep()
        wire.settle()
        alone(wire, RING, len(words) + 1, resolved_below=min(floor, len(words) + 1))
        wire.settle()
        keep()
        still = [calls[key] for key in sorted(calls) if key[1] >= floor]
        alone(wire, RING, len(words) + 2, resolved_below=len(words) + 2)
        wire.settle()
        keep()
        assert {seq for _, seq in calls} <= {len(words) + 2}, "the rest is acknowledged"
        kept.append((rows, still))
    assert kept[0][0] == kept[1][0]
    assert [(c.first_seq, c.word, dict(c.legs)) for c in kept[0][1]] == [
        (c.first_seq, c.word, dict(c.legs)) for c in kept[1][1]
    ]


def test_answers_come_as_they_are_known_and_in_as_few_runs_as_can_be(machine: Any) -> None:
    wire = machine((0,), (1,))
    _, told = together(wire, [RING, fixed(0, 0x41), RING, ALL, RING, RING])
    for peer in wire.peers:
        peer.pull()
    wire.peers[1].answer(2)  # words 1 and 3
    wire.peers[1].push()
    assert [(answer.first, answer.last) for answer in told] == [(1, 1), (3, 3)]
    wire.settle()
    runs = [(answer.first, answer.last) for answer in told[2:]]
    assert sorted(runs) == [(2, 2), (4, 4), (5, 6)]
    assert all(answer.each is None for answer in told)


def test_of_words_to_one_instance_one_answer_tells(machine: Any) -> None:
    wire = machine((0, 1), (2,))
    _, told = together(wire, [fixed(n % 2, 0xEA) for n in range(10)], first_seq=5, each=True)
    wire.settle()
    (answer,) = told
    assert (answer.first, answer.last) == (5, 14)
    assert answer.legs == {(cpu, 0, Outcome.DELIVERED): 5 for cpu in (0, 1)}
    assert bytes(answer.each.outcomes) == bytes([Outcome.DELIVERED] * 10)


def test_one_that_is_repeated_before_it_has_an_answer_gets_it_too(machine: Any) -> None:
    wire = machine((0,), (1,))
    together(wire, [RING, NOBODYS, RING], each=True)
    told: list[Any] = []
    waiting = [alone(wire, RING, 3, on_done=told.append) for _ in range(MAX_WAITERS)]
    with pytest.raises(LimitReachedError, match="wait for the answer"):
        alone(wire, RING, 3)
    wire.bus.abandon(waiting[7])
    wire.settle()
    assert len(told) == MAX_WAITERS - 1
    for tally in told:
        assert tally.repeated
        assert tally.legs == {(1, 1, Outcome.DELIVERED): 1}
        assert bytes(tally.each.outcomes) == bytes([Outcome.DELIVERED])
    assert wire.bus.totals().written == 3


@pytest.mark.parametrize("words", [[fixed(0, 0x41)], [RING, RING]])
def test_one_is_repeated_exactly_or_not_at_all(machine: Any, words: list[int]) -> None:
    wire = machine((0,), (1,))
    together(wire, [RING, RING, RING])
    with pytest.raises(InvalidArgumentError, match=r"write 2 was the word \w+, now"):
        alone(wire, 0, 2, words=wire_of(words))


def test_who_goes_away_is_told_nothing_and_the_calls_go_on(machine: Any) -> None:
    wire = machine((0,), (1,))
    made, told = together(wire, [RING, RING])
    wire.bus.abandon(made)
    wire.settle()
    assert told == []
    assert alone(wire, RING, 2).legs == {(1, 1, Outcome.DELIVERED): 1}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"words": []}, "no ICR words"),
        ({"words": [RING, 1 << 20]}, "reserved bits"),
        ({"first_seq": 3}, "used by another call"),
        ({"first_seq": 5, "resolved_below": 6}, "called resolved"),
        ({"client_id": b"short"}, "a client id of 5 bytes"),
    ],
)
def test_what_cannot_be_changes_nothing(machine: Any, changes: Any, says: str) -> None:
    wire = machine((0,), (1,))
    together(wire, [RING] * 3)
    with pytest.raises(InvalidArgumentError, match=says):
        together(wire, **({"words": [RING, RING], "first_seq": 4} | changes))
    assert wire.bus.totals().written == 3
    assert together(wire, [RING], first_seq=4)[0].count == 1


def test_each_counts_as_a_call_until_it_is_resolved(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_clients, "MAX_CALLS_PER_CLIENT", 3)
    wire = machine((0,), (1,))
    together(wire, [RING] * 2)
    with pytest.raises(LimitReachedError, match="3 calls of this client are remembered"):
        together(wire, [RING] * 2, first_seq=3)
    wire.settle()
    together(wire, [RING] * 3, first_seq=3, resolved_below=3)
    assert wire.bus.totals().written == 5


def test_what_is_resolved_is_forgotten_and_what_has_no_answer_is_not(machine: Any) -> None:
    wire = machine((0,), (1,))
    together(wire, [RING] * 4)
    wire.peers[1].pull()
    wire.peers[1].answer(2)
    wire.peers[1].push()
    together(wire, [RING] * 2, first_seq=5, resolved_below=5)
    known = wire.bus._injections.clients.get(CLIENT)
    assert known.floor == 3, "3 and 4 have no answer, whatever the client says"
    wire.settle()
    alone(wire, RING, 7, resolved_below=7)
    wire.settle()
    assert known.floor == 7, "once that one has its answer"
    assert known.publication() == (ResolvedRun(1, 6),)
    assert list(known.singles) == []
    with pytest.raises(InvalidArgumentError, match="answered and forgotten"):
        alone(wire, RING, 2)
    wire.settle()
    wire.bus.forget_client(CLIENT)
    assert CLIENT not in wire.bus._injections.clients


def test_destinations_keep_the_outcomes_of_so_many_and_no_more(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "KEPT_WRITES", 10)
    wire = machine((0,), (1,))
    together(wire, [RING] * 30)
    wire.settle()
    together(wire, [RING], first_seq=31)  # forgetting is never urgent: it goes with what comes
    wire.settle()
    assert wire.peers[1].floors == {CLIENT: (ResolvedRun(1, 20),)}


def test_a_client_is_not_idle_while_one_has_no_answer(machine: Any) -> None:
    wire = machine((0,), (1,))
    together(wire, [RING] * 2)
    wire.bus.forget_client(CLIENT)
    assert alone(wire, RING, 1).repeated
    wire.settle()
    wire.bus.forget_client(CLIENT)
    assert not alone(wire, RING, 1).repeated, "nobody remembers it: it is another call"


def test_who_dies_leaves_each_with_a_name(machine: Any) -> None:
    wire = machine((0,), (1,))
    _, told = together(wire, [RING, fixed(0, 0x41)] * 2, each=True)
    wire.peers[1].pull()
    wire.bus.detach(wire.peers[1].session, "killed")
    wire.settle()
    lost, delivered = Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED, Outcome.DELIVERED
    assert [by_number(told)[seq][0] for seq in range(1, 5)] == [lost, delivered] * 2
    assert wire.bus.balance() == []


def test_a_trace_has_a_call_for_each(machine: Any) -> None:
    seen: list[Any] = []
    wire = machine((0,), (1,), sink=seen.append)
    together(wire, [RING, RING, fixed(0, 0x41)], first_seq=5)
    assert [e for e in seen if isinstance(e, ClientInjected)] == [
        ClientInjected(client=CLIENT, seq=seq, count=1, word=word)
        for seq, word in ((5, RING), (6, RING), (7, fixed(0, 0x41)))
    ]
    assert sum(e.count for e in seen if isinstance(e, IcrWritten)) == 3
