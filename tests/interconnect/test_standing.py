"""What the interconnect knows by itself of one vector of one CPU."""

from typing import Any

import pytest

from mkrpc.errors import NotFoundError
from mkrpc.interconnect.standing import MAX_IN_FLIGHT_SOURCES, standing
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode, icr_word
from mkrpc.x86.pending import HoldKind

VECTOR = 0x41
RING = icr_word(vector=VECTOR, destination=2)
NMI = icr_word(vector=0, destination=2, delivery_mode=DeliveryMode.NMI)


def test_a_cpu_that_nobody_has_heard_of_is_told_as_such(machine: Any) -> None:
    wire = machine((2,))
    known = standing(wire.bus, 2, VECTOR)
    assert (known.attached, known.told, known.in_flight, known.rows) == (True, None, (), ())


def test_a_cpu_that_nobody_has_is_not_found(machine: Any) -> None:
    with pytest.raises(NotFoundError, match="no CPU has APIC id 9"):
        standing(machine((2,)).bus, 9, VECTOR)


def test_ages_are_those_of_the_reports(machine: Any) -> None:
    wire = machine((0,), (2,))
    victim = wire.peers[1].cpus[0]
    wire.bus.advance(100_000)
    wire.peers[0].write(RING)
    wire.settle()
    wire.bus.advance(300_000)
    victim.interrupts_enabled = False
    wire.peers[0].write(RING)
    wire.settle()
    wire.bus.advance(450_000)
    wire.peers[0].write(RING)  # coalesces with the one that waits, which is none the younger
    wire.settle()
    wire.bus.advance(600_000)
    known = standing(wire.bus, 2, VECTOR)
    assert known.ages.pending == 300_000
    assert known.ages.handled == 500_000
    assert known.ages.enabled == 300_000
    assert known.ages.in_service is None
    assert known.told is not None
    assert (known.told.by, known.told.age_us) == ("report", 150_000)
    assert (known.counts.delivered, known.counts.coalesced, known.counts.handled) == (2, 1, 1)


def test_if_has_not_been_clear_while_something_was_handled(machine: Any) -> None:
    """Every report says IF = 0, and in between it was set: a handler has been entered."""
    wire = machine((0,), (2,))
    victim = wire.peers[1]
    for time_us, handled in ((100_000, 0), (200_000, 0), (300_000, 1), (450_000, 1)):
        wire.bus.advance(time_us)
        victim.cpus[0].interrupts_enabled = False
        victim.cpus[0].delivered[VECTOR] = victim.cpus[0].handled[VECTOR] = handled
        victim.push()
    assert standing(wire.bus, 2, VECTOR).ages.enabled == 150_000


def test_legs_in_flight_are_told_by_their_source_and_by_where_they_are(machine: Any) -> None:
    wire = machine((0, 1), (2, 3))
    wire.bus.advance(100_000)
    wire.peers[0].write(icr_word(vector=0x51, destination=2), count=4)
    wire.peers[0].write(RING, cpu=1, count=2)
    wire.peers[0].push()
    wire.peers[1].pull()
    wire.bus.advance(250_000)
    wire.peers[0].write(RING, cpu=1, count=3)
    wire.peers[0].write(icr_word(vector=VECTOR, destination=3))
    wire.peers[0].push()
    wire.inject(RING)
    wire.bus.advance(400_000)
    known = standing(wire.bus, 2, VECTOR)
    first, second = known.in_flight
    assert (first.source.instance_id, first.apic_id) == (0, 1)
    assert (first.handed, first.waiting, first.first_seq, first.age_us) == (2, 3, 5, 300_000)
    assert (second.apic_id, second.waiting, second.age_us) == (None, 1, 150_000)
    assert known.legs_ahead == 4
    assert [hold.kind for hold in known.delay] == [HoldKind.LINK]


def test_no_more_than_so_many_sources_are_named(machine: Any) -> None:
    wire = machine(tuple(range(10, 10 + MAX_IN_FLIGHT_SOURCES + 5)), (2,))
    for cpu in range(MAX_IN_FLIGHT_SOURCES + 5):
        wire.peers[0].write(RING, cpu=cpu)
    wire.peers[0].push()
    assert len(standing(wire.bus, 2, VECTOR).in_flight) == MAX_IN_FLIGHT_SOURCES


def test_nmis_are_asked_for_by_their_vector(machine: Any) -> None:
    wire = machine((0,), (2,))
    wire.peers[0].write(NMI, count=3)
    wire.peers[0].write(icr_word(vector=0x51, destination=2))
    wire.peers[0].push()
    (legs,) = standing(wire.bus, 2, 2).in_flight
    assert legs.waiting == 3
    (row,) = standing(wire.bus, 2, 2).rows
    assert row.key.mode is DeliveryMode.NMI
    assert standing(wire.bus, 2, VECTOR).in_flight == ()


def test_what_became_of_earlier_ones_is_told_of_every_life(machine: Any) -> None:
    wire = machine((0,), (2,))
    wire.peers[0].write(RING, count=2)
    wire.settle()
    wire.peers[0].write(RING)
    wire.peers[0].push()
    wire.peers[1].die("killed")
    known = standing(wire.bus, 2, VECTOR)
    assert (known.attached, known.detail) == (False, "killed")
    assert known.counts.handled == 2
    (row,) = known.rows
    assert row.outcomes == {Outcome.DELIVERED: 2, Outcome.LOST_TARGET_DEAD: 1}
    wire.peers[1] = wire.attach(1, (2,))
    known = standing(wire.bus, 2, VECTOR)
    assert (known.attached, known.incarnation) == (True, wire.peers[1].incarnation)
    assert [row.outcomes for row in known.rows] == [row.outcomes]
