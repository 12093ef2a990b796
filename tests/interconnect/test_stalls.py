"""Interrupts that nobody takes are found and told, in virtual time (design 3.5)."""

from typing import Any

import pytest

from mkrpc.interconnect.stall_report import StallKind
from mkrpc.interconnect.stalls import LOOKS, MAX_STALLS, STALL_US
from mkrpc.link.frames import CpuAccount, UpFrame, VectorCount
from mkrpc.trace import InterruptStalled, StallEnded
from mkrpc.x86.icr import icr_word
from mkrpc.x86.pending import CoreState, HoldKind

VECTOR = 0xEA
RING = icr_word(vector=VECTOR, destination=2)
BEAT_US = 500_000
LATE_US = STALL_US // LOOKS + BEAT_US
"""What a stall may be found late by."""


def beats_until(wire: Any, now_us: int, *peers: int) -> None:
    """Time passes; these peers, all by default, beat over their streams."""
    chosen = [wire.peers[number] for number in peers] if peers else wire.peers
    while wire.bus.now_us < now_us:
        wire.wait_until(min(now_us, wire.bus.now_us + BEAT_US))
        for peer in chosen:
            if peer.session.alive:
                frame = UpFrame(beat=peer.session.beat + 1)
                wire.bus.receive(peer.session, peer.link.stamp_ack(frame))


def beats_past_its_stream(wire: Any, now_us: int, number: int, *cores: CoreState) -> None:
    """One peer's event loop is held; only its thread beats."""
    incarnation = wire.peers[number].incarnation
    while wire.bus.now_us < now_us:
        wire.bus.late.hear(incarnation, cores, "handlers.py:7 in hang")
        wire.bus.advance(min(now_us, wire.bus.now_us + BEAT_US), [incarnation])


def told(wire: Any) -> list[InterruptStalled | StallEnded]:
    reports = list(wire.bus.stalls.reports)
    wire.bus.stalls.reports.clear()
    return reports


def in_service(wire: Any, number: int, *, handled: int, eoi: int) -> None:
    """A peer's report of a handler that runs, or has run, on its CPU 0."""
    peer = wire.peers[number]
    account = CpuAccount(
        cpu=0,
        irr=0,
        isr=(1 << VECTOR) * (handled - eoi),
        tpr=0x10,
        ppr=0xE0,
        interrupts_enabled=handled == eoi,
        activity="running",
        multikernel=0,
        vectors=[VectorCount(VECTOR, handled, 0, handled, eoi, 0)],
    )
    peer.send(accounts=[account])


@pytest.fixture
def masked(machine: Any) -> Any:
    """Instance 1 (APIC id 2) has IF = 0; instance 0 (APIC ids 0 and 1) has rung it once, at 1 s."""
    wire = machine((0, 1), (2,))
    wire.peers[1].cpus[0].interrupts_enabled = False
    beats_until(wire, 1_000_000)
    wire.peers[0].write(RING, cpu=1)
    wire.settle()
    return wire


def test_an_interrupt_that_stays_in_irr_is_told_once_the_limit_has_passed(masked: Any) -> None:
    beats_until(masked, 1_000_000 + STALL_US - 1)
    assert told(masked) == []
    beats_until(masked, 1_000_000 + STALL_US + LATE_US)
    (report,) = told(masked)
    assert isinstance(report, InterruptStalled)
    source, victim = masked.peers[0], masked.peers[1]
    assert (report.stall, report.source, report.sources) == (
        "pending",
        source.incarnation,
        "instance 0 (kernel0)",
    )
    assert (report.incarnation, report.apic_id, report.vector) == (victim.incarnation, 2, VECTOR)
    assert STALL_US <= report.age_us <= STALL_US + LATE_US
    assert "IF = 0" in report.reason


def test_it_is_told_again_each_time_its_age_has_doubled(masked: Any) -> None:
    beats_until(masked, 1_000_000 + 17 * STALL_US)
    ages = [report.age_us / STALL_US for report in told(masked)]
    assert [round(age) for age in ages] == [1, 2, 4, 8, 16]
    (open_now,) = masked.bus.stalls.open()
    assert open_now.reports == 5
    assert 16 <= open_now.age_us / STALL_US <= 17


def test_when_it_is_handled_that_is_told_once(masked: Any) -> None:
    beats_until(masked, 8_000_000)
    told(masked)
    masked.peers[1].cpus[0].sti()
    masked.peers[1].push()
    beats_until(masked, 20_000_000)
    (report,) = told(masked)
    assert isinstance(report, StallEnded)
    assert (report.how, report.stall, report.apic_id) == ("handled", "pending", 2)
    assert 7_000_000 <= report.lasted_us <= 7_000_000 + LATE_US
    assert masked.bus.stalls.open() == []


def test_one_that_comes_again_and_again_is_not_stalled(masked: Any) -> None:
    """The bit is set in every report, and each time it is another interrupt."""
    for second in range(2, 20):
        beats_until(masked, second * 1_000_000)
        masked.peers[1].cpus[0].sti()
        masked.peers[1].cpus[0].interrupts_enabled = False
        masked.peers[0].write(RING)
        masked.settle()
    assert told(masked) == []


def test_a_handler_that_stays_in_service_is_told_with_its_isr_bit(machine: Any) -> None:
    wire = machine((0,), (2,))
    in_service(wire, 1, handled=1, eoi=0)
    beats_until(wire, STALL_US + LATE_US)
    (report,) = told(wire)
    assert (report.stall, report.vector) == ("in-service", VECTOR)
    assert "ISR bit 0xea" in report.reason
    in_service(wire, 1, handled=1, eoi=1)
    beats_until(wire, 2 * STALL_US)
    (ended,) = told(wire)
    assert (ended.stall, ended.how) == ("in-service", "EOI")


def test_legs_that_nobody_answers_are_told_once_for_all_with_the_oldest(machine: Any) -> None:
    wire = machine((0, 1), (2, 3))
    wire.peers[0].write(RING, cpu=1)
    wire.peers[0].write(icr_word(vector=0x41, destination=3), count=6)
    wire.peers[0].push()
    wire.peers[1].pull()
    beats_until(wire, STALL_US + LATE_US)
    (report,) = told(wire)
    assert isinstance(report, InterruptStalled)
    assert (report.stall, report.apic_id, report.vector, report.count) == (
        "unanswered",
        2,
        VECTOR,
        7,
    )
    assert (report.source, report.source_apic_id) == (wire.peers[0].incarnation, 1)
    assert "has not answered" in report.reason
    wire.settle()
    beats_until(wire, 2 * STALL_US)
    (ended,) = told(wire)
    assert (ended.stall, ended.how) == ("unanswered", "answered")


def test_a_client_that_waits_is_the_source(machine: Any) -> None:
    wire = machine((2,))
    wire.inject(RING)
    beats_until(wire, STALL_US + LATE_US)
    (report,) = told(wire)
    assert (report.source, report.sources) == (b"client----------", "client 636c6965")


def test_a_loop_that_is_held_is_told_by_the_thread_that_beats(machine: Any) -> None:
    """A plain function that never returns: nothing comes over the stream any more."""
    wire = machine((2, 3))
    wire.inject(RING)
    wire.peers[0].pull()
    held = CoreState(
        cpu=1,
        irr=0,
        isr=1 << 0x52,
        tpr=0,
        ppr=0x50,
        interrupts_enabled=False,
        activity="running",
        handlers=(0x52,),
        entered=True,
    )
    waits = CoreState(
        cpu=0, irr=0, isr=0, tpr=0xF0, ppr=0xF0, interrupts_enabled=True, activity="idle"
    )
    beats_past_its_stream(wire, STALL_US + LATE_US, 0, held, waits)
    assert wire.peers[0].session.alive
    (report,) = told(wire)
    assert "handler of vector 0x52 on CPU 1" in report.reason
    assert "handlers.py:7 in hang" in report.reason
    (stall,) = wire.bus.stalls.open()
    assert [hold.kind for hold in stall.holds] == [HoldKind.LOOP, HoldKind.TPR]


def test_once_the_loop_beats_again_what_the_thread_said_is_forgotten(machine: Any) -> None:
    wire = machine((2,))
    state = CoreState(
        cpu=0, irr=0, isr=0, tpr=0, ppr=0, interrupts_enabled=False, activity="running"
    )
    beats_past_its_stream(wire, 2_000_000, 0, state)
    incarnation = wire.peers[0].incarnation
    assert wire.bus.late.of(incarnation) is not None
    beats_until(wire, 3_000_000)
    assert wire.bus.late.of(incarnation) is None


def test_a_broken_link_is_the_reason_while_the_lease_runs(machine: Any) -> None:
    """Kept alive by its thread, an instance whose stream is gone leaves legs waiting."""
    wire = machine((2,))
    wire.bus.disconnect(wire.peers[0].session, 1)
    wire.inject(RING)
    beats_past_its_stream(wire, STALL_US + LATE_US, 0)
    (report,) = told(wire)
    assert "its instance is disconnected for" in report.reason
    assert "its lease ends in" in report.reason


def test_a_stall_ends_with_its_instance(masked: Any) -> None:
    beats_until(masked, 8_000_000)
    told(masked)
    masked.peers[1].die("killed")
    beats_until(masked, 9_000_000, 0)
    (ended,) = told(masked)
    assert ended.how == "its instance ended: killed"


def test_whoever_watches_sees_the_same(machine: Any) -> None:
    seen: list[Any] = []
    wire = machine((2,), sink=seen.append)
    wire.inject(RING)
    beats_until(wire, STALL_US + LATE_US)
    assert [event for event in seen if isinstance(event, InterruptStalled)] == told(wire)


def test_several_who_may_have_set_a_bit_are_all_named(machine: Any) -> None:
    wire = machine((0,), (1,), (2,))
    wire.peers[2].cpus[0].interrupts_enabled = False
    for number in (0, 1):
        wire.peers[number].write(RING)
    wire.settle()
    beats_until(wire, STALL_US + LATE_US)
    (report,) = told(wire)
    assert (report.source, report.sources) == (
        b"",
        "one of instance 0 (kernel0), instance 1 (kernel1)",
    )


def test_a_limit_of_0_finds_nothing(masked: Any) -> None:
    masked.bus.stalls.limit_us = 0
    beats_until(masked, 20_000_000)
    assert told(masked) == []


def test_no_more_than_so_many_are_followed(machine: Any) -> None:
    wire = machine(tuple(range(2)))
    for cpu in wire.peers[0].cpus:
        cpu.interrupts_enabled = False
    for seq, vector in enumerate(range(0x10, 0x10 + 200), start=1):
        for number in range(2):
            word = icr_word(vector=vector, destination=number)
            wire.inject(word, seq=2 * seq - 1 + number)
    wire.settle()
    beats_until(wire, 3 * STALL_US)
    assert len(wire.bus.stalls.open()) == MAX_STALLS
    assert {stall.kind for stall in wire.bus.stalls.open()} == {StallKind.PENDING}
