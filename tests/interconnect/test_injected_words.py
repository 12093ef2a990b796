"""Many words in one call: each ends as if it had been injected alone, and happens once."""

from array import array
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkrpc.errors import InvalidArgumentError
from mkrpc.interconnect import tally
from mkrpc.interconnect.bucket import CLIENTS, Rate
from mkrpc.interconnect.injected_words import MAX_REQUEST_WORDS
from mkrpc.outcome import Outcome
from mkrpc.trace import ClientInjected, IcrWritten
from mkrpc.x86.icr import Shorthand, fixed, nmi, shorthand_word

CLIENT = b"client----------"
ALL = shorthand_word(Shorthand.ALL_INCLUDING_SELF, 0xEA)
NOBODYS = fixed(9, 0xEA)


def inject(wire: Any, given_words: list[int], **changes: Any) -> Any:
    values: dict[str, Any] = {
        "client_id": CLIENT,
        "first_seq": 1,
        "words": array("Q", given_words).tobytes(),
        "resolved_below": 1,
        "on_done": lambda tally: None,
    }
    return wire.bus.inject_words(**(values | changes))


def books(wire: Any) -> Counter[Any]:
    return Counter(
        {
            (row.key.apic_id, row.key.mode, row.key.vector, outcome): count
            for row in wire.bus.ledger
            for outcome, count in row.outcomes.items()
        }
    )


def arrived(peer: Any, cpu: int) -> list[Any]:
    """What came to a CPU, in order (3.2)."""
    return [(seq, word) for _, seq, word, where in peer.legs if where == cpu]


WORDS = st.lists(
    st.one_of(
        st.builds(fixed, st.integers(0, 4), st.sampled_from([0xEA, 0x41, 0x05])),
        st.sampled_from([ALL, NOBODYS, nmi(1), fixed(0xFFFF_FFFF, 0x41)]),
    ),
    min_size=1,
    max_size=60,
)


@given(words=WORDS, masked=st.sets(st.integers(0, 3)))
@settings(max_examples=60)
def test_words_end_as_they_do_one_by_one(machine: Any, words: list[int], masked: set[int]) -> None:
    together, alone = machine((0, 1), (2, 3)), machine((0, 1), (2, 3))
    for wire in (together, alone):
        for number in masked:
            wire.peers[number // 2].cpus[number % 2].interrupts_enabled = False
    done: list[Any] = []
    answer = inject(together, words, on_done=done.append)
    tallies = [alone.inject(word, seq=seq) for seq, word in enumerate(words, 1)]
    for wire in (together, alone):
        wire.settle()
    assert done == [answer]
    assert (answer.written, answer.resolved) == (len(words), len(words))
    assert answer.legs == sum((Counter(tally.legs) for tally in tallies), Counter())
    assert books(together) == books(alone)
    assert together.bus.balance() == []
    for one, other in zip(together.peers, alone.peers, strict=True):
        for cpu in range(2):
            assert arrived(one, cpu) == arrived(other, cpu)


def test_the_outcome_of_every_word_on_request(machine: Any) -> None:
    wire = machine((0,), (1,))
    wire.peers[1].cpus[0].interrupts_enabled = False
    words = [fixed(1, 0x41), fixed(1, 0x41), NOBODYS, ALL, fixed(1, 0x05), fixed(0, 0xEA)]
    answer = inject(wire, words, each=True, first_seq=10)
    wire.settle()
    delivered, coalesced = Outcome.DELIVERED, Outcome.COALESCED
    nobody = Outcome.REJECTED_NO_SUCH_APIC
    assert list(answer.each.outcomes) == [delivered, coalesced, nobody, 0, delivered, delivered]
    assert answer.each.several == {13: {(0, 0, delivered): 1, (1, 1, delivered): 1}}
    assert not answer.each.too_many


def test_a_repetition_learns_the_outcomes_too(machine: Any) -> None:
    wire = machine((0,), (1,))
    first = inject(wire, [fixed(1, 0x41)], each=True)
    wire.settle()
    again = inject(wire, [fixed(1, 0x41)], each=True)
    assert again.repeated
    assert again.each is first.each


def test_words_with_more_legs_than_are_kept_are_counted(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "MAX_EACH_LEGS", 5)
    wire = machine((0, 1), (2, 3))
    answer = inject(wire, [ALL, fixed(1, 0x41), ALL], each=True)
    wire.settle()
    assert answer.each.too_many
    assert answer.each.several == {}
    assert list(answer.each.outcomes) == [0, Outcome.DELIVERED, 0]
    assert sum(answer.legs.values()) == 9


def test_a_call_happens_once(machine: Any) -> None:
    wire = machine((0,), (1,))
    words = [fixed(1, 0x41), fixed(0, 0x42)]
    answers = [inject(wire, words), inject(wire, words)]
    wire.settle()
    answers.append(inject(wire, words))
    assert [answer.repeated for answer in answers] == [False, True, True]
    assert [answer.legs for answer in answers] == [answers[0].legs] * 3
    assert wire.bus.totals().written == 2


def test_an_answered_call_keeps_no_more_than_a_repetition_is_compared_with(machine: Any) -> None:
    wire = machine((0,), (1,))
    words = [fixed(0, 0xEA), fixed(1, 0x41), NOBODYS]
    legs = inject(wire, words)
    wire.settle()
    kept = wire.bus._injections.clients.get(CLIENT).calls[1].words
    assert (len(kept.words), kept.kinds) == (1, None)
    assert inject(wire, words).legs == legs.legs
    with pytest.raises(InvalidArgumentError, match="was 3 words from 0x00000000000000ea on"):
        inject(wire, words[:2])


@pytest.mark.parametrize("other", [[fixed(0, 0x42), fixed(1, 0x41)], [fixed(1, 0x41)]])
def test_other_words_under_the_same_number_are_refused(machine: Any, other: list[int]) -> None:
    wire = machine((0,), (1,))
    inject(wire, [fixed(1, 0x41), fixed(0, 0x42)])
    with pytest.raises(
        InvalidArgumentError, match=r"write 1 was 2 words from 0x0+100000041 on, now"
    ):
        inject(wire, other)
    assert wire.bus.totals().written == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"words": b""}, "no ICR words"),
        ({"words": bytes(12)}, "12 bytes are no ICR words"),
        ({"words": bytes(8 * (MAX_REQUEST_WORDS + 1))}, "4097 words in one request"),
        ({"words": array("Q", [fixed(1, 0x41), 1 << 20]).tobytes()}, "reserved bits 0x100000"),
        ({"words": array("Q", [1 << 18]).tobytes()}, "no self to send to"),
        ({"words": array("Q", [3 << 18]).tobytes()}, "no self to leave out"),
        ({"client_id": b"short"}, "a client id of 5 bytes"),
        ({"first_seq": 0}, "sequence number 0"),
    ],
)
def test_what_cannot_be_injected_changes_nothing(machine: Any, changes: Any, says: str) -> None:
    wire = machine((0,), (1,))
    with pytest.raises(InvalidArgumentError, match=says):
        inject(wire, [], **changes)
    assert wire.bus.totals().written == 0


def test_the_clients_bucket_lets_the_first_words_pass(machine: Any) -> None:
    wire = machine((0,), (1,))
    wire.bus.buckets.change(CLIENTS, Rate(writes_per_s=1, burst=3))
    answer = inject(wire, [fixed(n % 2, 0x41) for n in range(5)], each=True)
    wire.settle()
    assert (
        list(answer.each.outcomes) == [Outcome.DELIVERED] * 3 + [Outcome.REJECTED_RATE_LIMITED] * 2
    )
    assert wire.bus.balance() == []


def test_a_trace_has_the_call_and_every_word(machine: Any) -> None:
    seen: list[Any] = []
    wire = machine((0,), (1,), sink=seen.append)
    inject(wire, [fixed(1, 0x41)] * 2 + [fixed(0, 0x41)], first_seq=5)
    assert [e for e in seen if isinstance(e, ClientInjected)] == [
        ClientInjected(client=CLIENT, seq=5, count=3, word=fixed(1, 0x41))
    ]
    assert [(e.seq, e.count, e.word) for e in seen if isinstance(e, IcrWritten)] == [
        (5, 2, fixed(1, 0x41)),
        (7, 1, fixed(0, 0x41)),
    ]
