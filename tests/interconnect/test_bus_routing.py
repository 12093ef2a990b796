"""From a write to its legs: destinations, lowest priority, policy, order (design 3.1, 3.2)."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.interconnect.policy import Policy
from mkrpc.link.frames import NOBODY, SettledWrite
from mkrpc.outcome import Outcome
from mkrpc.trace import IcrWritten, LegEnded
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.icr import (
    DeliveryMode,
    DestinationMode,
    Shorthand,
    fixed,
    icr_word,
    init_assert,
    nmi,
    shorthand_word,
    startup,
)


def cpus_hit(wire: Any) -> list[tuple[int, int]]:
    """(instance, CPU) of every leg that arrived, in order of instances."""
    return [(n, leg[3]) for n, peer in enumerate(wire.peers) for leg in peer.legs]


@pytest.mark.parametrize(
    ("word", "hit"),
    [
        (fixed(2, 0xEA), [(1, 0)]),
        (fixed(NOBODY, 0xEA), [(0, 0), (0, 1), (1, 0), (1, 1)]),
        (shorthand_word(Shorthand.ALL_INCLUDING_SELF, 0xEA), [(0, 0), (0, 1), (1, 0), (1, 1)]),
        (shorthand_word(Shorthand.ALL_EXCLUDING_SELF, 0xEA), [(0, 0), (1, 0), (1, 1)]),
        (fixed(0b0110, 0xEA, logical=True), [(0, 1), (1, 0)]),
        (nmi(3), [(1, 1)]),
        (fixed(77, 0xEA), []),
    ],
)
def test_a_write_becomes_one_leg_for_each_cpu_that_matches(
    machine: Any, word: int, hit: list[tuple[int, int]]
) -> None:
    wire = machine((0, 1), (2, 3))
    wire.peers[0].write(word, cpu=1)
    wire.settle()
    assert cpus_hit(wire) == hit
    totals = wire.bus.totals()
    assert totals.written == max(1, len(hit)), "a write that matches nobody is one leg to nobody"
    assert totals.rejected == (0 if hit else 1)
    assert wire.bus.balance() == []
    assert wire.peers[0].session.unsettled == 0


@pytest.mark.rule("R41")
def test_a_write_that_matches_nobody_is_rejected_to_nobody(machine: Any) -> None:
    events: list[Any] = []
    wire = machine((0,), sink=events.append)
    tally = wire.inject(fixed(77, 0xEA), count=3)
    assert tally.done
    assert tally.legs == {(NOBODY, None, Outcome.REJECTED_NO_SUCH_APIC): 3}
    ends = [event for event in events if isinstance(event, LegEnded)]
    assert [(e.apic_id, e.seq, e.count) for e in ends] == [(NOBODY, 1, 3)]


def test_a_change_of_routing_registers_takes_effect_between_the_writes(machine: Any) -> None:
    """Program order: a write before the change goes by the old address, one after by the new."""
    wire = machine((0, 1), (2,))
    address = wire.peers[0].hello.cpus[1]
    by_low_byte = replace(address, mode=int(ApicMode.XAPIC), xapic_id=0x55)
    wire.peers[0].write(fixed(0x55, 0x41))
    wire.peers[0].events.append(by_low_byte)
    wire.peers[0].write(fixed(0x55, 0x42))
    wire.settle()
    assert [leg[2] & 0xFF for leg in wire.peers[0].legs] == [0x42]
    assert wire.bus.totals().rejected == 1


def test_a_disabled_apic_leaves_the_map(machine: Any) -> None:
    wire = machine((0,), (1,))
    off = replace(wire.peers[1].hello.cpus[0], mode=int(ApicMode.DISABLED))
    wire.peers[1].events.append(off)
    wire.settle()
    tally = wire.inject(shorthand_word(Shorthand.ALL_INCLUDING_SELF, 0xEA))
    wire.settle()
    assert tally.legs == {(0, 0, Outcome.DELIVERED): 1}


LOWEST = icr_word(
    vector=0x51,
    destination=0b1111,
    delivery_mode=DeliveryMode.LOWEST_PRIORITY,
    destination_mode=DestinationMode.LOGICAL,
)


@pytest.mark.rule("R32")
def test_lowest_priority_takes_one_and_ties_go_in_turn(machine: Any) -> None:
    wire = machine((0, 1), (2, 3))
    tally = wire.inject(LOWEST, count=8)
    wire.settle()
    assert tally.legs == {(n, n // 2, Outcome.DELIVERED): 2 for n in range(4)}
    assert wire.bus.balance() == []


@pytest.mark.rule("R32")
def test_lowest_priority_goes_to_the_lowest_reported_ppr(machine: Any) -> None:
    wire = machine((0, 1), (2, 3))
    for peer, cpu, ppr in ((0, 0, 0x40), (0, 1, 0x30), (1, 0, 0x10), (1, 1, 0x20)):
        wire.peers[peer].cpus[cpu].ppr = ppr
    for peer in wire.peers:
        peer.push()
    tally = wire.inject(LOWEST, count=5)
    wire.settle()
    assert tally.legs == {(2, 1, Outcome.DELIVERED): 5}


@pytest.mark.rule("R32")
@pytest.mark.parametrize("vector", [0x50, 0x51, 0x52, 0x53, 0x54, 0xFF])
def test_hashing_takes_the_nth_candidate_whatever_the_ppr(machine: Any, vector: int) -> None:
    """n = vector mod count, in ascending order of APIC ids, as KVM's vector hashing."""
    wire = machine((0, 3), (1, 2), arbitration="hash")
    wire.peers[0].cpus[1].ppr = 0xF0
    wire.peers[0].push()
    tally = wire.inject(LOWEST & ~0xFF | vector, count=5)
    wire.settle()
    chosen = vector % 4
    assert tally.legs == {(chosen, 0 if chosen in (0, 3) else 1, Outcome.DELIVERED): 5}
    assert wire.bus.balance() == []


@pytest.mark.rule("R32", "R37")
def test_hashing_counts_the_software_enabled_alone(machine: Any) -> None:
    wire = machine((0, 1), (2, 3), arbitration="hash")
    wire.peers[0].events.append(replace(wire.peers[0].hello.cpus[1], software_enabled=False))
    wire.settle()
    for seq, (vector, chosen) in enumerate([(0x51, 0), (0x52, 2), (0x53, 3), (0x54, 0)], 1):
        tally = wire.inject(LOWEST & ~0xFF | vector, seq=seq)
        wire.settle()
        assert tally.legs == {(chosen, chosen // 2, Outcome.DELIVERED): 1}


@pytest.mark.rule("R32", "R37")
def test_lowest_priority_passes_over_software_disabled_cpus(machine: Any) -> None:
    """In order with the writes: SVR bit 8 counts as it was when the write was made."""
    wire = machine((0, 1), (2, 3))
    off = [replace(address, software_enabled=False) for address in wire.peers[0].hello.cpus]
    wire.peers[0].events += off
    wire.peers[0].write(LOWEST, count=4)
    wire.settle()
    assert Counter(cpus_hit(wire)) == {(1, 0): 2, (1, 1): 2}
    wire.peers[0].events += [wire.peers[0].hello.cpus[1]]
    wire.peers[0].write(LOWEST, count=3)
    wire.settle()
    assert Counter(cpus_hit(wire)) == {(0, 1): 1, (1, 0): 3, (1, 1): 3}


@pytest.mark.rule("R37")
def test_lowest_priority_among_software_disabled_cpus_alone_reaches_one_of_them(
    machine: Any,
) -> None:
    """Its APIC then says what it does with it."""
    wire = machine((0,), (1,))
    for peer in wire.peers:
        peer.events.append(replace(peer.hello.cpus[0], software_enabled=False))
    wire.settle()
    tally = wire.inject(LOWEST)
    wire.settle()
    assert sum(tally.legs.values()) == 1
    assert len(cpus_hit(wire)) == 1


def test_the_policy_decides_per_leg(machine: Any) -> None:
    """All-but-self leaks into other kernels on bare metal; filtered, those legs are refused."""
    wire = machine((0, 1), (2,), policy=Policy.filtered())
    wire.peers[0].write(shorthand_word(Shorthand.ALL_EXCLUDING_SELF, 0x41))
    wire.peers[0].write(shorthand_word(Shorthand.ALL_EXCLUDING_SELF, 0xEA))
    wire.settle()
    assert cpus_hit(wire) == [(0, 1), (0, 1), (1, 0)]
    refused = [row for row in wire.bus.ledger if Outcome.REJECTED_NOT_PERMITTED in row.outcomes]
    assert [(row.key.apic_id, row.key.vector) for row in refused] == [(2, 0x41)]
    assert wire.bus.balance() == []


def test_lowest_priority_arbitrates_among_those_permitted(machine: Any) -> None:
    wire = machine((0, 1), (2, 3), policy=Policy.filtered())
    wire.peers[1].write(LOWEST, count=4)
    wire.settle()
    assert Counter(cpus_hit(wire)) == {(1, 0): 2, (1, 1): 2}


def test_hashing_counts_those_permitted_alone(machine: Any) -> None:
    wire = machine((0, 1), (2, 3), policy=Policy.filtered(), arbitration="hash")
    wire.peers[1].write(LOWEST, count=4)  # 0x51 is odd: the second of two
    wire.settle()
    assert Counter(cpus_hit(wire)) == {(1, 1): 4}


@pytest.mark.parametrize(
    ("word", "outcome", "apic_id"),
    [
        (shorthand_word(Shorthand.SELF, 0x41), Outcome.COALESCED, 1),
        (shorthand_word(Shorthand.SELF, 0x41), Outcome.REJECTED_SOFTWARE_DISABLED, 1),
        (shorthand_word(Shorthand.SELF, 0x05), Outcome.REJECTED_ILLEGAL_VECTOR, NOBODY),
        (fixed(2, 0x05), Outcome.REJECTED_ILLEGAL_VECTOR, NOBODY),
        (fixed(2, 0x41), Outcome.REJECTED_APIC_DISABLED, NOBODY),
        (fixed(2, 0x41), Outcome.REJECTED_BACKPRESSURE, NOBODY),
    ],
)
def test_a_write_settled_in_its_own_apic_is_a_leg_to_itself_or_to_nobody(
    machine: Any, word: int, outcome: Outcome, apic_id: int
) -> None:
    wire = machine((0, 1), (2,))
    peer = wire.peers[0]
    peer.seq += 1
    peer.send(events=[SettledWrite(1, 1, word, outcome)])
    (row,) = wire.bus.ledger
    assert (row.key.apic_id, row.written, row.outcomes) == (apic_id, 1, {outcome: 1})
    assert peer.session.unsettled == 0
    assert wire.peers[1].pull() is False


def test_equal_writes_are_one_event_and_one_row(machine: Any) -> None:
    events: list[Any] = []
    wire = machine((0,), (1,), sink=events.append)
    wire.peers[0].write(fixed(1, 0xEA), count=100)
    wire.settle()
    written = [event for event in events if isinstance(event, IcrWritten)]
    assert [(e.apic_id, e.seq, e.count) for e in written] == [(0, 1, 100)]
    assert sum(event.count for event in events if isinstance(event, LegEnded)) == 100
    assert len(wire.bus.ledger) == 1


MODES = [
    *(fixed(apic_id, vector) for apic_id in (2, 3) for vector in (0x41, 0x42)),
    nmi(2),
    init_assert(2),
    startup(2, 8),
    startup(3, 8),
    fixed(NOBODY, 0x43),
    shorthand_word(Shorthand.ALL_EXCLUDING_SELF, 0x44),
]


@pytest.mark.rule("R36")
@given(
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from(MODES), st.integers(1, 3)), max_size=30),
    st.lists(st.integers(0, 3), max_size=40),
)
def test_acceptance_is_fifo_per_source_cpu_and_destination_cpu_over_all_modes(
    machine: Any, writes: list[tuple[int, int, int]], schedule: list[int]
) -> None:
    """A SIPI never overtakes its INIT, however frames fall (design 3.2)."""
    wire = machine((0, 1), (2, 3))
    source, target = wire.peers
    pending = list(writes)
    for step in schedule:
        if step == 0 and pending:
            cpu, word, count = pending.pop(0)
            source.write(word, cpu=cpu, count=count)
        elif step == 1:
            source.push()
        elif step == 2:
            target.pull()
        else:
            target.answer(len(target.inbox) // 2)
            target.push()
    for cpu, word, count in pending:
        source.write(word, cpu=cpu, count=count)
    wire.settle()
    for target_cpu in (0, 1):
        seqs = [leg[1] for leg in target.legs if leg[3] == target_cpu]
        by_source_cpu: dict[int, list[int]] = {0: [], 1: []}
        owner = [cpu for cpu, _, count in writes for _ in range(count)]
        for seq in seqs:
            by_source_cpu[owner[seq - 1]].append(seq)
        assert all(seqs == sorted(seqs) for seqs in by_source_cpu.values())
    assert wire.bus.balance() == []
