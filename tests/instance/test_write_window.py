"""The window of unresolved ICR writes: who waits, who is refused (R20)."""

import pytest

from mkrpc.errors import (
    LimitReachedError,
)
from mkrpc.instance import instructions as ins
from mkrpc.instance.apic_access import MAX_UNRESOLVED_WRITES
from mkrpc.link.frames import MAX_FRAME_WORDS, ResolvedRun, SettledWrite, Writes
from mkrpc.link.source import HARD_WRITE_WINDOW, RESERVED_WRITES, WRITE_WINDOW
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import fixed

RING = fixed(1, 0xEA)


def run(kernel, program, cpu=0, budget=10_000):
    """Start a program and run it as far as it goes."""
    kernel.start_program(cpu, program)
    kernel.advance(budget)


@pytest.mark.rule("R20")
def test_a_program_waits_at_the_write_window_and_loses_nothing(kernel):
    def program(cpu):
        for _ in range(WRITE_WINDOW + 3):
            yield ins.WriteIcr(RING)

    run(kernel, program, budget=100_000)
    assert kernel.source.written == WRITE_WINDOW
    assert not kernel.runnable
    assert kernel.advance(100) == 0
    kernel.source.resolve([ResolvedRun(1, 2)])
    assert kernel.runnable
    kernel.advance(100)
    assert kernel.source.written == WRITE_WINDOW + 2
    kernel.source.resolve([ResolvedRun(3, 4)])
    kernel.advance(100)
    assert kernel.source.written == WRITE_WINDOW + 3
    assert kernel.cpus[0].activity == "idle"


@pytest.mark.rule("R20")
def test_a_cpu_that_waits_at_the_window_takes_interrupts(kernel):
    def program(cpu):
        for _ in range(WRITE_WINDOW + 1):
            yield ins.WriteIcr(RING)

    run(kernel, program, budget=100_000)
    kernel.accept(0, fixed(0, 0xEA))
    assert kernel.cpus[0].multikernel_count == 1
    assert kernel.source.written == WRITE_WINDOW


@pytest.mark.rule("R20", "R57")
def test_a_write_that_waits_behind_sti_keeps_the_shadow(kernel):
    """It has not been executed, so the instruction after STI is still to come."""

    def program(cpu):
        for _ in range(WRITE_WINDOW):
            yield ins.WriteIcr(RING)
        yield ins.Cli()
        yield ins.Sti()
        yield ins.WriteIcr(RING)
        yield ins.Hlt()

    run(kernel, program, budget=100_000)
    kernel.accept(0, fixed(0, 0xEA))
    assert kernel.cpus[0].multikernel_count == 0
    kernel.source.resolve([ResolvedRun(1, 1)])
    kernel.advance(1)
    assert kernel.source.written == WRITE_WINDOW + 1
    assert kernel.cpus[0].multikernel_count == 1


def hang(cpu):
    """A program that rings a destination which never answers."""
    while True:
        yield ins.WriteIcr(fixed(9, 0x41))


@pytest.mark.rule("R20")
def test_a_hung_destination_stops_the_cpus_that_ring_it_and_no_other(make_kernel):
    kernel = make_kernel(64)
    for number in range(1, 64):
        kernel.start_program(number, hang)
        while kernel.advance(10_000):
            kernel.take_events(MAX_FRAME_WORDS)
    stuck = kernel.source.written
    answered = []

    def program(cpu):
        for _ in range(5 * RESERVED_WRITES):
            answered.append((yield ins.WriteIcr(RING)))

    kernel.start_program(0, program)
    for turn in range(1, 6):
        kernel.advance(10_000)
        kernel.take_events(MAX_FRAME_WORDS)
        assert len(answered) >= turn * RESERVED_WRITES
        kernel.source.resolve([ResolvedRun(stuck + 1, kernel.source.written)])
    kernel.advance(10_000)
    assert len(answered) == 5 * RESERVED_WRITES
    assert kernel.cpus[0].activity == "idle"


def test_a_handler_that_floods_a_hung_destination_leaves_the_others_their_window(kernel):
    def handler(cpu):
        if cpu.number == 1:
            for _ in range(2 * WRITE_WINDOW):
                cpu.write_icr(fixed(9, 0x41))

    kernel.register_handler(handler)
    for _ in range(3):
        kernel.accept(1, RING)
    got = []

    def program(cpu):
        got.append((yield ins.WriteIcr(RING)))

    run(kernel, program)
    assert got == [kernel.source.written]


def test_a_function_handler_cannot_wait_and_is_refused_beyond_the_hard_limit(kernel):
    raised = []

    def handler(cpu):
        try:
            while True:
                cpu.write_icr(RING)
        except LimitReachedError as error:
            raised.append(error)

    kernel.register_handler(handler)
    kernel.accept(1, RING)
    travels = sum(len(event.words) for event in kernel.events if isinstance(event, Writes))
    refused = {event.outcome for event in kernel.events if isinstance(event, SettledWrite)}
    assert WRITE_WINDOW < travels < HARD_WRITE_WINDOW
    assert refused == {Outcome.REJECTED_BACKPRESSURE}
    assert kernel.source.written == MAX_UNRESOLVED_WRITES // 2
    assert len(raised) == 1
    assert kernel.cpus[0].write_icr(RING) > MAX_UNRESOLVED_WRITES // 2, "others still can"
    assert kernel.events[-1] == Writes(0, kernel.source.written, [RING])
