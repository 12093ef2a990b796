"""A handler or a program that raises: trace, counter, panic (design, section 6)."""

import pytest

from mkrpc.errors import (
    ClusterStateError,
)
from mkrpc.instance import instructions as ins
from mkrpc.instance.accounting import assert_books
from mkrpc.instance.execution import MAX_NESTED_HANDLERS
from mkrpc.instance.memory import SharedMemory
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import fixed, init_assert, startup

RING = fixed(1, 0xEA)


def run(kernel, program, cpu=0, budget=10_000):
    """Start a program and run it as far as it goes."""
    kernel.start_program(cpu, program)
    kernel.advance(budget)


def texts(kernel):
    return [record.text for record in kernel.log.since(1)]


def test_a_handler_that_raises_is_an_oops_and_the_program_goes_on(kernel):
    log = []

    def handler(cpu):
        raise ValueError("bad message")

    def program(cpu):
        yield ins.SelfIpi(0xEA)
        log.append("goes on")

    kernel.register_handler(handler)
    run(kernel, program)
    assert log == ["goes on"]
    assert kernel.oops_count == 1
    assert kernel.failed is None
    lines = texts(kernel)[1:]
    assert lines[0] == "Oops: ValueError: bad message [#1]"
    assert lines[1] == "CPU: 0 APIC: 0x0 Comm: one (interrupt 0xea)"
    assert lines[2] == "Call Trace:"
    assert lines[3].startswith(" handler ")
    assert lines[-1] == "---[ end trace ]---"
    assert kernel.cpus[0].interrupts_enabled
    assert_books(kernel)


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit()])
def test_code_of_the_instance_does_not_end_the_process_that_runs_it(kernel, error):
    def handler(cpu):
        raise error

    def program(cpu):
        yield ins.Nop()
        raise error

    def starts_nothing(cpu, vector):
        raise error

    kernel.register_handler(handler)
    kernel.accept(0, RING)
    run(kernel, program)
    kernel.on_startup = starts_nothing
    kernel.accept(1, init_assert(1))
    kernel.accept(1, startup(1, 8))
    assert [text for text in texts(kernel) if text.startswith("Oops: ")] == [
        f"Oops: {type(error).__name__}: {error} [#{number}]" for number in (1, 2, 3)
    ]


def test_a_generator_handler_that_raises_has_its_iret_all_the_same(kernel):
    def handler(cpu):
        yield ins.Nop()
        raise ValueError

    kernel.register_handler(handler)
    kernel.accept(1, RING)
    kernel.advance(10)
    assert kernel.oops_count == 1
    assert kernel.cpus[1].activity == "idle"


def test_a_program_that_raises_ends_and_its_cpu_idles(kernel):
    def program(cpu):
        yield ins.Cli()
        yield ins.WriteIcr(1 << 20)

    run(kernel, program)
    assert texts(kernel)[0] == "Oops: GeneralProtection: ICR: reserved bits 0x100000 [#1]"
    assert kernel.cpus[0].activity == "idle"


@pytest.mark.parametrize(
    "instruction", [ins.WriteTpr("x"), ins.Store(0, "text"), ins.WriteIcr(None), ins.Instruction()]
)
def test_a_wrong_operand_is_an_oops_of_its_program_alone(make_kernel, instruction):
    kernel = make_kernel(memory=SharedMemory(bytearray(64)))
    ran = []

    def program(cpu):
        yield instruction
        ran.append("after it")

    def other(cpu):
        yield ins.Nop()
        ran.append("the other")

    kernel.start_program(1, other)
    run(kernel, program)
    assert ran == ["the other"]
    assert kernel.oops_count == 1
    assert any(" program " in text and __file__ in text for text in texts(kernel))
    assert kernel.cpus[0].activity == "idle"


async def asynchronous(cpu):
    """Never run: no event loop runs on a CPU."""


async def asynchronous_generator(cpu):
    yield ins.Nop()


def wrapped(body):
    """A plain function that returns what ``body`` does: nobody can tell before it is called."""
    return lambda cpu: body(*(cpu,))


@pytest.mark.parametrize("body", [asynchronous, asynchronous_generator])
@pytest.mark.parametrize("behind_a_generator", [False, True])
def test_a_handler_that_returns_something_async_is_an_oops(kernel, body, behind_a_generator):
    """A coroutine is closed, or Python would warn that it was never awaited: an error here."""

    def slow(cpu):
        yield ins.Nop()

    if behind_a_generator:
        kernel.register_handler(slow)
    kernel.register_handler(wrapped(body))
    kernel.accept(1, RING)
    kernel.advance(10)
    assert kernel.oops_count == 1
    assert "is async" in next(text for text in texts(kernel) if text.startswith("Oops: TypeError"))
    assert (kernel.cpus[1].multikernel_count, kernel.cpus[1].activity) == (1, "idle")
    assert_books(kernel)


def test_a_gate_that_leads_to_something_async_is_an_oops(kernel):
    kernel.idt.install(0x41, "asynchronous", asynchronous)
    kernel.accept(1, fixed(1, 0x41))
    assert kernel.oops_count == 1
    assert kernel.cpus[1].activity == "idle"


@pytest.mark.rule("R36")
@pytest.mark.parametrize("panic_on_oops", [False, True])
def test_on_startup_that_raises_is_an_oops_and_the_cpu_halts(make_kernel, panic_on_oops):
    kernel = make_kernel(panic_on_oops=panic_on_oops)

    def fails(cpu, vector):
        raise ValueError(f"nothing at {vector:#x}")

    kernel.on_startup = fails
    assert kernel.accept(1, init_assert(1)) is Outcome.DELIVERED
    assert kernel.accept(1, startup(1, 8)) is Outcome.DELIVERED
    assert texts(kernel)[0] == "Oops: ValueError: nothing at 0x8 [#1]"
    assert (kernel.cpus[1].activity, kernel.cpus[1].boots) == ("halted", 1)
    assert (kernel.failed is not None) is panic_on_oops


def test_the_trace_of_an_oops_is_bounded(kernel):
    def deep(n):
        if n:
            deep(n - 1)
        raise RecursionError("deep\n" * 100)

    kernel.register_handler(lambda cpu: deep(100))
    kernel.accept(1, RING)
    assert len(kernel.log) == 1 + 3 + 16 + 1


@pytest.mark.parametrize("in_handler", [True, False])
def test_panic_on_oops_fails_the_kernel(make_kernel, in_handler):
    kernel = make_kernel(panic_on_oops=True)

    def fails(cpu):
        raise ValueError

    def spins(cpu):
        while True:
            yield

    def raises(cpu):
        yield
        raise ValueError

    kernel.register_handler(fails)
    kernel.start_program(0, spins)
    if in_handler:
        kernel.accept(1, RING)
    else:
        run(kernel, raises, cpu=1)
    suffix = " in interrupt" if in_handler else ""
    assert kernel.failed == f"Kernel panic - not syncing: Fatal exception{suffix}"
    assert texts(kernel)[-1] == kernel.failed
    assert {cpu.activity for cpu in kernel.cpus} == {"halted"}
    assert not any(cpu.interrupts_enabled for cpu in kernel.cpus)
    assert not kernel.runnable
    with pytest.raises(ClusterStateError):
        kernel.start_program(1, spins)
    assert kernel.accept(0, RING) is Outcome.DELIVERED  # the APIC lives on
    assert kernel.cpus[0].multikernel_count == 0
    assert_books(kernel)


def test_handlers_that_nest_without_end_overflow_the_stack(kernel):
    def handler(cpu):
        yield ins.SelfIpi(0xEA)
        yield ins.Sti()
        yield ins.Nop()
        yield ins.Nop()

    kernel.register_handler(handler)
    kernel.accept(1, RING)
    kernel.advance(100 * MAX_NESTED_HANDLERS)
    assert kernel.failed == "Kernel panic - not syncing: interrupt stack overflow"
    assert_books(kernel)


def test_init_runs_what_python_insists_on_and_logs_what_goes_wrong_there(kernel):
    def program(cpu):
        try:
            while True:
                yield
        finally:
            raise ValueError("on the way out")

    kernel.start_program(1, program)
    kernel.advance(2)
    kernel.accept(1, fixed(1, 0) | 0x4500)
    assert kernel.cpus[1].activity == "wait-for-sipi"
    assert texts(kernel) == ["dropped at INIT: ValueError: on the way out"]


@pytest.mark.rule("R9")
@pytest.mark.parametrize(
    "last_words",
    [
        pytest.param(lambda cpu: cpu.apic_eoi(), id="eoi"),
        pytest.param(lambda cpu: cpu.self_ipi(0x50), id="self ipi"),
        pytest.param(lambda cpu: cpu.write_icr(RING), id="icr"),
    ],
)
def test_what_a_dropped_body_does_in_its_finally_is_in_the_books(kernel, last_words):
    def handler(cpu):
        try:
            while True:
                yield ins.Nop()
        finally:
            last_words(cpu)

    kernel.idt.install(0x60, "handler", handler)
    kernel.accept(1, fixed(1, 0x60))
    kernel.advance(3)
    kernel.accept(1, init_assert(1))
    assert kernel.cpus[1].activity == "wait-for-sipi"
    assert kernel.cpus[1].books.row(0x60).eoi == 1
    assert_books(kernel)
