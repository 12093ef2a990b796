"""Bursts: what becomes of a word does not depend on how many others came with it.

Two machines live through the same; one of them takes no burst as a burst. That every word ends as
the specification of destinations says is shown of the general path elsewhere.
"""

from array import array
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkrpc.fault import Fault, FaultKind
from mkrpc.interconnect import places, word_routing
from mkrpc.interconnect.equal_legs import EqualLegs
from mkrpc.interconnect.fan_legs import FanLegs
from mkrpc.interconnect.ledger import MAX_FINISHED_CLIENTS
from mkrpc.interconnect.leg_block import LegBlock
from mkrpc.interconnect.legs import QUEUE_PER_SOURCE, LegRun
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.session import QUEUE_LIMIT
from mkrpc.interconnect.standing import standing
from mkrpc.interconnect.word_routing import WordRouter
from mkrpc.link.frames import CpuAddress, Writes
from mkrpc.outcome import Outcome
from mkrpc.trace import IcrWritten, LegEnded
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.icr import (
    DeliveryMode,
    DestinationMode,
    Icr,
    Shorthand,
    encode,
    fixed,
    nmi,
    shorthand_word,
)

CLIENT = b"client----------"
NEVER = 1 << 30

OTHERS = shorthand_word(Shorthand.ALL_EXCLUDING_SELF, 0xEA)
LOGICAL = encode(
    Icr(
        vector=0x41,
        delivery_mode=DeliveryMode.FIXED,
        destination=0x0000_0003,
        destination_mode=DestinationMode.LOGICAL,
    )
)
LOWEST = encode(
    Icr(
        vector=0x42,
        delivery_mode=DeliveryMode.LOWEST_PRIORITY,
        destination=0x0000_0003,
        destination_mode=DestinationMode.LOGICAL,
    )
)
SIMPLE = st.builds(fixed, st.integers(0, 5), st.sampled_from([0xEA, 0x41, 0x05]))
ANY = st.one_of(
    SIMPLE,
    SIMPLE,
    SIMPLE,
    st.sampled_from([OTHERS, LOGICAL, LOWEST, nmi(2), fixed(99, 0xEA), fixed(0xFF, 0x41)]),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("burst"), st.integers(0, 1), st.lists(ANY, min_size=1, max_size=30)),
        st.tuples(st.just("words"), st.just(0), st.lists(ANY, min_size=1, max_size=30)),
        st.tuples(st.just("pull"), st.integers(0, 2), st.none()),
        st.tuples(st.just("answer"), st.integers(0, 2), st.integers(0, 20)),
        st.tuples(st.just("mask"), st.integers(0, 2), st.integers(0, 1)),
        st.tuples(st.just("die"), st.integers(1, 2), st.none()),
        st.tuples(st.just("move"), st.integers(0, 2), st.integers(0, 1)),
        st.tuples(st.just("watch"), st.just(0), st.booleans()),
    ),
    max_size=25,
)


class Life:
    """A machine of three instances with two CPUs each, and what is seen of it."""

    def __init__(self, machine: Any, policy: Policy) -> None:
        self.wire = machine((0, 1), (2, 3), (4, 5), policy=policy)
        self.seen: list[Any] = []
        self.tallies: list[Any] = []
        self.seq = 1

    def step(self, what: str, number: int, detail: Any) -> None:
        peer = self.wire.peers[number]
        if what == "watch":
            self.wire.bus.watch(self.seen.append if detail else None)
        elif what == "words":
            words = array("Q", [word for word in detail if word != OTHERS] or [fixed(1, 0xEA)])
            self.tallies.append(
                self.wire.bus.inject_words(
                    client_id=CLIENT,
                    first_seq=self.seq,
                    words=words.tobytes(),
                    resolved_below=1,
                    each=True,
                    on_done=lambda tally: None,
                )
            )
            self.seq += len(words)
        elif not peer.session.alive:
            return
        elif what == "burst":
            peer.events.append(Writes(number, peer.seq + 1, list(detail)))
            peer.seq += len(detail)
            peer.push()
        elif what == "pull":
            peer.pull()
        elif what == "answer":
            peer.answer(detail)
            peer.push()
        elif what == "mask":
            peer.cpus[detail].interrupts_enabled = False
        elif what == "die":
            peer.die()
        elif what == "move":
            known = peer.session.addresses[detail]
            self.change(peer, known, ApicMode.DISABLED if known.mode else ApicMode.X2APIC)

    def change(self, peer: Any, known: CpuAddress, mode: ApicMode) -> None:
        ldr = 0 if mode is ApicMode.DISABLED else known.ldr
        address = CpuAddress(
            known.cpu, known.apic_id, mode, known.xapic_id, ldr, known.dfr, mode > 0
        )
        peer.send(events=[address])

    def told(self) -> Any:
        """All that anybody can see of it."""
        bus = self.wire.bus
        assert bus.balance() == []
        events = Counter()
        for event in self.seen:
            if isinstance(event, IcrWritten | LegEnded):
                shared = tuple(
                    getattr(event, name) for name in event.__slots__ if name not in ("seq", "count")
                )
                for seq in range(event.seq, event.seq + event.count):
                    events[(type(event).__name__, seq, *shared)] += 1
        return (
            {row.key: (row.written, dict(row.outcomes)) for row in bus.ledger},
            [(list(peer.legs), list(peer.inbox)) for peer in self.wire.peers],
            [set(numbers(peer.resolved)) for peer in self.wire.peers],
            [(tally.legs, tally.each.outcomes, tally.each.several) for tally in self.tallies],
            [tally.done for tally in self.tallies],
            bus.totals(),
            events,
            [standing(bus, apic_id, 0xEA).in_flight for apic_id in range(6)],
        )


def told_of(life: Life, steps: list[Any]) -> list[Any]:
    """What can be seen of a life after each step, and at its end."""
    told = []
    for step in steps:
        life.step(*step)
        told.append(life.told())
    life.wire.settle()
    return [*told, life.told()]


def numbers(runs: Any) -> Any:
    for run in runs:
        yield from range(run.first, run.last + 1)


@pytest.mark.parametrize("policy", [Policy.bare_metal(), Policy.filtered()], ids=["bare", "filter"])
@given(steps=STEPS)
@settings(max_examples=150, deadline=None)
def test_a_burst_is_its_words(machine: Any, policy: Policy, steps: list[Any]) -> None:
    lives = []
    for spread_from in (2, NEVER):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(word_routing, "SPREAD_FROM", spread_from)
            lives.append(told_of(Life(machine, policy), steps))
    for one, other in zip(*lives, strict=True):
        assert one == other


@pytest.mark.pure
@pytest.mark.parametrize("policy", [Policy.bare_metal(), Policy.filtered()], ids=["bare", "filter"])
@given(steps=STEPS)
@settings(max_examples=50, deadline=None)
def test_a_write_whose_place_is_known_ends_as_on_the_general_path(
    machine: Any, policy: Policy, steps: list[Any]
) -> None:
    lives = []
    for knows_places in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(word_routing, "SPREAD_FROM", NEVER)
            if not knows_places:
                patch.setattr(WordRouter, "route_equal", lambda *_source, **_write: False)
            lives.append(told_of(Life(machine, policy), steps))
    for one, other in zip(*lives, strict=True):
        assert one == other


def burst(wire: Any, words: list[int], source: int = 0) -> None:
    peer = wire.peers[source]
    peer.events.append(Writes(0, peer.seq + 1, words))
    peer.seq += len(words)
    peer.push()


def numbers_of(peer: Any) -> set[int]:
    return set(numbers(peer.resolved))


def pieces(peer: Any) -> list[Any]:
    return list(peer.session.legs._waiting)


def test_a_burst_is_one_entry_of_the_queue_of_each_instance(machine: Any) -> None:
    wire = machine((0, 1), (2, 3), (4, 5))
    burst(wire, [fixed(2 + number % 4, 0xEA) for number in range(100)])
    assert [[type(each) for each in pieces(peer)] for peer in wire.peers] == [
        [],
        [LegBlock],
        [LegBlock],
    ]
    frame = wire.bus.next_frame(wire.peers[1].session)
    (legs,) = frame.legs
    assert legs.dense
    assert list(legs.seqs) == [n + 1 for n in range(100) if n % 4 < 2]


def test_equal_writes_are_one_entry_of_the_queue(machine: Any) -> None:
    """However many they are; those that others must look at take the general path."""
    wire = machine((0, 1), (2, 3))
    burst(wire, [fixed(2, 0xEA)])
    burst(wire, [fixed(2, 0xEA)] * 4096)
    burst(wire, [nmi(2)])
    wire.peers[1].pull()
    kinds = [(type(each), each.count) for each in wire.peers[1].session.legs._handed]
    assert kinds == [(EqualLegs, 1), (EqualLegs, 4095)]
    assert [(type(each), each.count) for each in pieces(wire.peers[1])] == [
        (EqualLegs, 1),
        (LegRun, 1),
    ]
    wire.settle()
    assert [seq for _, seq, _, _ in wire.peers[1].legs] == list(range(1, 4099))
    assert numbers_of(wire.peers[0]) == set(range(1, 4099))


def test_a_broadcast_is_one_entry_of_the_queue_of_each_instance(machine: Any) -> None:
    """However many CPUs it has: one that hangs, rung by many, must not fill the memory."""
    wire = machine((0,), tuple(range(1, 33)), (40, 41))
    for _ in range(20):
        burst(wire, [OTHERS, OTHERS])
    kinds = [[(type(each), each.count) for each in pieces(peer)] for peer in wire.peers]
    assert kinds == [[], [(FanLegs, 64)] * 20, [(FanLegs, 4)] * 20]
    assert sum(each.waiting for each in standing(wire.bus, 7, 0xEA).in_flight) == 40
    wire.peers[1].pull()
    wire.peers[1].answer(100)
    wire.peers[1].push()
    assert wire.bus.balance() == []
    assert wire.bus.in_flight() == 20 * 68 - 100
    wire.settle()
    assert [seq for _, seq, _, cpu in wire.peers[1].legs if cpu == 31] == list(range(1, 41))
    assert wire.peers[0].session.unsettled == 0
    assert wire.bus.balance() == []


def test_other_words_keep_their_place_among_them(machine: Any) -> None:
    wire = machine((0,), (1, 2))
    words = [fixed(1 + n % 2, 0x41) for n in range(10)]
    burst(wire, [*words, nmi(1), *words])
    wire.settle()
    assert [(seq, word) for _, seq, word, cpu in wire.peers[1].legs if cpu == 0] == [
        (seq, word)
        for seq, word in enumerate([*words, nmi(1), *words], 1)
        if word in (fixed(1, 0x41), nmi(1))
    ]


def test_what_finds_no_room_is_refused_by_name(machine: Any) -> None:
    """The general path takes a burst for which a queue has no room."""
    wire = machine((0,), (1, 2))
    seq = 1
    while wire.peers[1].session.legs.waiting < QUEUE_LIMIT:
        wire.inject(fixed(1, 0xEA), 4096, seq=seq, client_id=(seq + 1000).to_bytes(16, "big"))
        seq += 4096
    for _ in range(QUEUE_PER_SOURCE // 512):
        burst(wire, [fixed(1 + n % 2, 0x41) for n in range(512)])
    assert wire.bus.totals().rejected == 0
    burst(wire, [fixed(1 + n % 2, 0x41) for n in range(512)])
    assert wire.bus.totals().rejected == 512
    assert wire.bus.balance() == []


def test_an_injected_fault_strikes_each_by_itself(machine: Any) -> None:
    wire = machine((0,), (1, 2))
    wire.bus.set_fault(Fault(kind=FaultKind.DROP, every=10))
    burst(wire, [fixed(1 + n % 2, 0x41) for n in range(100)])
    wire.settle()
    counts = Counter()
    for row in wire.bus.ledger:
        counts.update(row.outcomes)
    assert counts[Outcome.REJECTED_INJECTED_FAULT] == 10


def test_a_row_that_was_folded_is_not_written_to(machine: Any) -> None:
    """A client whose rows were folded with those of other finished ones rings again."""
    wire = machine((0,), (1, 2))
    words = array("Q", [fixed(n % 3, 0x41) for n in range(9)]).tobytes()

    def inject(client: int, seq: int) -> None:
        wire.bus.inject_words(
            client_id=client.to_bytes(16, "big"),
            first_seq=seq,
            words=words,
            resolved_below=seq,
            on_done=lambda tally: None,
        )
        wire.settle()

    inject(1000, 1)
    for client in range(1001, 1001 + MAX_FINISHED_CLIENTS):
        inject(client, 1)
    inject(1000, 10)
    assert wire.bus.balance() == []
    assert wire.bus.totals().written == 9 * (MAX_FINISHED_CLIENTS + 2)


def test_places_are_looked_up_again_when_there_are_too_many(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "MAX_PLACES", 8)
    wire = machine((0,), (1, 2))
    for vector in range(0x20, 0x60):
        burst(wire, [fixed(1 + n % 2, vector) for n in range(6)])
    wire.settle()
    assert wire.bus.balance() == []
    assert wire.bus.totals().delivered == 6 * 64
    assert wire.bus._words._places._known <= 8 + 2
