"""Machine faults: a drop is judged by its numbers and booked by name (design 3.5)."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.errors import InvalidArgumentError, LimitReachedError, NotFoundError
from mkrpc.fault import Fault, FaultKind
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.faults import ActiveFault, Faults
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.takeover import Takeover
from mkrpc.limits import MAX_FAULTS
from mkrpc.link.frames import NOBODY
from mkrpc.outcome import Outcome
from mkrpc.trace import FaultBegan, FaultEnded, LegEnded
from mkrpc.x86.icr import Shorthand, fixed, init_assert, shorthand_word

DROPPED = Outcome.REJECTED_INJECTED_FAULT
DROP = Fault(kind=FaultKind.DROP)


def write(wire: Any, peer: int, word: int, count: int = 1) -> None:
    wire.peers[peer].write(word, count=count)
    wire.peers[peer].push()
    wire.settle()


def outcomes(wire: Any) -> dict[tuple[int | None, int], dict[Outcome, int]]:
    """By source instance (None: a client) and APIC id."""
    found: dict[tuple[int | None, int], Counter[Outcome]] = {}
    for row in wire.bus.ledger:
        key = row.key.source.instance_id, row.key.apic_id
        found.setdefault(key, Counter()).update(row.outcomes)
    return {key: dict(counts) for key, counts in found.items()}


def test_every_so_manieth_is_dropped_and_booked_and_the_rest_keeps_its_order(machine: Any) -> None:
    wire = machine((0,), (1,))
    wire.bus.set_fault(replace(DROP, every=3))
    write(wire, 0, fixed(1, 0xEA), count=10)
    assert outcomes(wire) == {(0, 1): {Outcome.DELIVERED: 7, DROPPED: 3}}
    assert [seq for _, seq, _, _ in wire.peers[1].legs] == [1, 2, 4, 5, 7, 8, 10]
    assert wire.peers[0].session.unsettled == 0, "the source learns of each"
    assert wire.bus.balance() == []


@pytest.mark.parametrize(
    ("change", "struck"),
    [
        ({}, {(0, 1), (0, 2), (1, 0), (None, 1)}),
        ({"source": 0}, {(0, 1), (0, 2)}),
        ({"destination": 1}, {(0, 1), (None, 1)}),
        ({"source": 0, "destination": 2}, {(0, 2)}),
        ({"vector": 0x41}, {(0, 2)}),
        ({"vector": 0xEA, "source": 1}, {(1, 0)}),
    ],
)
def test_a_drop_strikes_what_it_names(
    machine: Any, change: dict[str, int], struck: set[tuple[int | None, int]]
) -> None:
    wire = machine((0,), (1,), (2,))
    wire.bus.set_fault(replace(DROP, **change))
    write(wire, 0, fixed(1, 0xEA))
    write(wire, 0, fixed(2, 0x41))
    write(wire, 1, fixed(0, 0xEA))
    wire.inject(fixed(1, 0xEA))
    wire.settle()
    found = outcomes(wire)
    assert len(found) == 4
    assert {key for key, counts in found.items() if counts == {DROPPED: 1}} == struck


def test_a_vector_is_that_of_an_interrupt_alone(machine: Any) -> None:
    wire = machine((0,), (1,))
    wire.bus.set_fault(replace(DROP, vector=0))
    write(wire, 0, init_assert(1))
    assert outcomes(wire) == {(0, 1): {Outcome.DELIVERED: 1}}


@pytest.mark.parametrize("every", [1, 2, 4, 7])
def test_of_a_broadcast_each_leg_is_judged(machine: Any, every: int) -> None:
    wire = machine((0,), (1,), (2,), (3,))
    fault = wire.bus.set_fault(replace(DROP, every=every))
    write(wire, 0, shorthand_word(Shorthand.ALL_EXCLUDING_SELF, 0xEA), count=5)
    assert (fault.seen, fault.struck) == (15, 15 // every)
    found = outcomes(wire)
    assert sum(counts.get(DROPPED, 0) for counts in found.values()) == 15 // every
    for leg in range(15):  # to CPU 1, 2, 3, and again
        key, dropped = (0, leg % 3 + 1), leg % every == every - 1
        found[key][DROPPED if dropped else Outcome.DELIVERED] -= 1
    assert not any(count for counts in found.values() for count in counts.values())
    assert wire.bus.balance() == []


def test_what_may_have_been_accepted_before_is_not_struck(machine: Any) -> None:
    """A call that is repeated to an interconnect that has taken over (3.3, rule 6)."""
    wire = machine()
    wire.bus = ApicBus(epoch=7, policy=Policy.bare_metal(), takeover=Takeover(epochs=(1,)))
    wire.peers = [wire.attach(0, (0,)), wire.attach(1, (1,))]
    fault = wire.bus.set_fault(DROP)
    wire.inject(fixed(1, 0xEA), 3, roster=1, again=True)
    wire.settle()
    assert fault.struck == 0
    assert DROPPED not in outcomes(wire)[None, 1]
    wire.inject(fixed(1, 0xEA), 3, seq=4)
    assert outcomes(wire)[None, 1][DROPPED] == 3, "what is new is"


def test_a_limit_ends_it_in_the_midst_of_a_burst(machine: Any) -> None:
    events: list[Any] = []
    wire = machine((0,), (1,), sink=events.append)
    wire.bus.set_fault(replace(DROP, limit=4))
    write(wire, 0, fixed(1, 0xEA), count=10)
    assert outcomes(wire) == {(0, 1): {DROPPED: 4, Outcome.DELIVERED: 6}}
    assert list(wire.bus.faults) == []
    told = [event for event in events if isinstance(event, FaultBegan | FaultEnded)]
    assert told == [
        FaultBegan(1, "drop", "drop from any to any, 4 at most", 0),
        FaultEnded(1, "drop", "it has struck 4 times", 4),
    ]
    legs = [event for event in events if isinstance(event, LegEnded)]
    assert (legs[0].outcome, legs[0].count) == (DROPPED, 4), "runs stay runs"


def test_bus_time_ends_it(machine: Any) -> None:
    wire = machine((0,), (1,))
    wire.bus.advance(1_000)
    wire.bus.set_fault(replace(DROP, for_us=500))
    assert wire.bus.deadline_us == 1_500
    wire.bus.advance(1_499)
    write(wire, 0, fixed(1, 0xEA))
    wire.bus.advance(1_500)
    write(wire, 0, fixed(1, 0xEA))
    assert outcomes(wire) == {(0, 1): {DROPPED: 1, Outcome.DELIVERED: 1}}
    assert list(wire.bus.faults) == []


def test_what_is_refused_already_or_reaches_nobody_is_not_struck(machine: Any) -> None:
    wire = machine((0,), (1,), policy=Policy.filtered())
    fault = wire.bus.set_fault(DROP)
    write(wire, 1, fixed(0, 0x41))
    write(wire, 0, fixed(77, 0xEA))
    assert outcomes(wire) == {
        (1, 0): {Outcome.REJECTED_NOT_PERMITTED: 1},
        (0, NOBODY): {Outcome.REJECTED_NO_SUCH_APIC: 1},
    }
    assert fault.struck == 0


def test_the_first_that_matches_judges_alone(machine: Any) -> None:
    wire = machine((0,), (1,))
    first = wire.bus.set_fault(replace(DROP, every=2))
    second = wire.bus.set_fault(DROP)
    write(wire, 0, fixed(1, 0xEA), count=4)
    assert (first.struck, second.struck) == (2, 0)
    wire.bus.clear_fault(first.number)
    write(wire, 0, fixed(1, 0xEA), count=4)
    assert second.struck == 4


def test_a_seed_is_its_luck(machine: Any) -> None:
    def run(seed: int) -> list[int]:
        wire = machine((0,), (1,))
        wire.bus.set_fault(replace(DROP, share=0.3, seed=seed))
        write(wire, 0, fixed(1, 0xEA), count=200)
        assert wire.bus.balance() == []
        return [seq for _, seq, _, _ in wire.peers[1].legs]

    assert run(5) == run(5)
    assert run(5) != run(6)
    assert 120 <= len(run(5)) <= 160


@given(seed=st.integers(0, (1 << 64) - 1), share=st.floats(0.01, 0.99))
def test_chance_is_evenly_spread(seed: int, share: float) -> None:
    active = ActiveFault(1, replace(DROP, share=share, seed=seed), 0, None)
    struck = sum(active.strike()[0] for _ in range(2_000))
    assert active.struck == struck
    assert abs(struck / 2_000 - share) < 0.08


@given(every=st.integers(1, 9), bursts=st.lists(st.integers(1, 30), max_size=8))
def test_runs_are_judged_as_one_by_one(every: int, bursts: list[int]) -> None:
    at_once, singly = (ActiveFault(1, replace(DROP, every=every), 0, None) for _ in range(2))
    for burst in bursts:
        fates: list[bool] = []
        while len(fates) < burst:
            struck, part = at_once.strike(burst - len(fates))
            fates += [struck] * part
        assert fates == [singly.strike()[0] for _ in range(burst)]


def test_numbers_are_never_given_twice_and_there_is_a_limit() -> None:
    faults = Faults()
    numbers = [faults.begin(DROP).number for _ in range(MAX_FAULTS)]
    with pytest.raises(LimitReachedError, match=str(MAX_FAULTS)):
        faults.begin(DROP)
    faults.begin(Fault(kind=FaultKind.PAUSE, instance=1))
    faults.end(numbers[0], "cleared")
    assert faults.begin(DROP).number == MAX_FAULTS + 2
    with pytest.raises(NotFoundError, match="no fault 1"):
        faults.end(1, "cleared")


def test_a_delay_beyond_a_third_of_the_lease_is_refused(machine: Any) -> None:
    bus = machine().bus
    bus.set_fault(Fault(kind=FaultKind.DELAY, delay_us=bus.lease_us // 3))
    bus.faults.end(1, "cleared")
    with pytest.raises(InvalidArgumentError, match="a third of the lease"):
        bus.set_fault(Fault(kind=FaultKind.DELAY, delay_us=600_000, jitter_us=bus.lease_us // 3))
