"""The window of unresolved ICR writes: who waits, who is refused (R20)."""

import pytest

from mkrpc.errors import (
    LimitReachedError,
)
from mkrpc.instance import instructions as ins
from mkrpc.instance.apic_access import MAX_UNRESOLVED_WRITES
from mkrpc.link.frames import ResolvedRun, SettledWrite, Writes
from mkrpc.link.source import HARD_WRITE_WINDOW, WRITE_WINDOW
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
    assert travels == HARD_WRITE_WINDOW
    assert refused == {Outcome.REJECTED_BACKPRESSURE}
    assert kernel.source.written == MAX_UNRESOLVED_WRITES
    assert len(raised) == 1
