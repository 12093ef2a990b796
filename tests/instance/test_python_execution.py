"""Programs and handlers in Python: instructions, faults, oopses, panics, the write window (R20)."""

import contextlib
import functools

import pytest

from mkrpc.errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    LimitReachedError,
    NotFoundError,
)
from mkrpc.instance import instructions as ins
from mkrpc.instance.accounting import assert_books
from mkrpc.instance.memory import PageFault, SharedMemory
from mkrpc.link.frames import SettledWrite, Writes
from mkrpc.outcome import Outcome
from mkrpc.x86.apic_base import GeneralProtection
from mkrpc.x86.icr import fixed
from mkrpc.x86.lapic import ApicMode
from mkrpc.x86.registers import IA32_APIC_BASE, Register

RING = fixed(1, 0xEA)


def run(kernel, program, cpu=0, budget=10_000):
    """Start a program and run it as far as it goes."""
    kernel.start_program(cpu, program)
    kernel.advance(budget)


def texts(kernel):
    return [record.text for record in kernel.log.since(1)]


@pytest.mark.parametrize(
    ("mode", "instruction", "result"),
    [
        (ApicMode.X2APIC, ins.Nop(), None),
        (ApicMode.X2APIC, None, None),
        (ApicMode.X2APIC, ins.ReadTpr(), 0x10),
        (ApicMode.X2APIC, ins.Rdmsr(0x808), 0x10),
        (ApicMode.X2APIC, ins.Rdmsr(IA32_APIC_BASE), 0xFEE00C00),
        (ApicMode.X2APIC, ins.ReadRegister(Register.SVR), 0x1FF),
        (ApicMode.X2APIC, ins.MmioRead(Register.SVR), 0xFFFFFFFF),
        (ApicMode.XAPIC, ins.MmioRead(Register.SVR), 0x1FF),
        (ApicMode.XAPIC, ins.MmioRead(Register.SVR, 1), 0xFF),
        (ApicMode.XAPIC, ins.ReadRegister(Register.LDR), 1 << 24),
        (ApicMode.X2APIC, ins.Eoi(), None),
        (ApicMode.X2APIC, ins.WriteIcr(RING), 1),
        (ApicMode.XAPIC, ins.WriteIcr(RING), 1),
        (ApicMode.X2APIC, ins.SelfIpi(0x41), 1),
        (ApicMode.X2APIC, ins.Load(8, 4), 0xDDCCBBAA),
    ],
)
def test_the_value_of_the_yield_is_the_instruction_s_result(make_kernel, mode, instruction, result):
    memory = SharedMemory(bytearray.fromhex("0000000000000000aabbccdd00000000"))
    kernel = make_kernel(mode=mode, memory=memory)
    results = []

    def program(cpu):
        results.append((yield instruction))

    run(kernel, program)
    assert results == [result]


@pytest.mark.parametrize(
    ("instruction", "fault"),
    [
        (ins.Rdmsr(0x80B), GeneralProtection),
        (ins.Wrmsr(0x802, 1), GeneralProtection),
        (ins.WriteIcr(1 << 20), GeneralProtection),
        (ins.WriteTpr(256), GeneralProtection),
        (ins.Load(0), PageFault),
        (ins.Store(0, 1), PageFault),
        (ins.MmioRead(0x1000), PageFault),
        (ins.WriteIcr(1 << 64), InvalidArgumentError),
        (ins.SelfIpi(256), InvalidArgumentError),
        ("hlt", TypeError),
        (ins.Nop, TypeError),
        (ins.WriteTpr("x"), TypeError),
        (ins.WriteTpr(1.5), TypeError),
        (ins.WriteIcr(None), TypeError),
        (ins.Rdmsr("a"), TypeError),
        # Compiled, a method that is given True has a 1.
        pytest.param(ins.Wrmsr(0x808, True), TypeError, marks=pytest.mark.pure),
        (ins.MmioWrite(Register.TPR, 0.5), TypeError),
        (ins.MmioRead(Register.TPR, size=-1), ValueError),
        (ins.Instruction(), TypeError),
    ],
)
def test_a_fault_is_raised_at_the_yield_and_may_be_caught(kernel, instruction, fault):
    caught = []

    def program(cpu):
        try:
            yield instruction
            yield ins.Nop()
        except fault as error:
            caught.append(type(error))
        yield ins.Nop()
        caught.append("goes on")

    run(kernel, program)
    assert caught == [fault, "goes on"]
    assert kernel.oops_count == 0
    assert kernel.events == []


def test_a_failed_assertion_is_not_the_program_s_to_catch(kernel):
    """It is a bug of the machine, whatever runs on it."""

    class Broken(ins.Instruction):
        def execute(self, cpu):
            raise AssertionError("a bug")

    def program(cpu):
        with contextlib.suppress(Exception):
            yield Broken()

    kernel.start_program(0, program)
    with pytest.raises(AssertionError, match="a bug"):
        kernel.advance(10)


def test_programs_share_memory(make_kernel):
    kernel = make_kernel(memory=SharedMemory(bytearray(64)))
    got = []

    def producer(cpu):
        yield ins.Store(8, 42)
        yield ins.Store(0, 1, 1)

    def consumer(cpu):
        while not (yield ins.Load(0, 1)):
            yield ins.Nop()
        got.append((yield ins.Load(8)))

    kernel.start_program(1, consumer)
    run(kernel, producer)
    assert got == [42]


@pytest.mark.rule("R19", "R30")
def test_an_xapic_writes_icr2_then_icr_and_cuts_the_destination(make_kernel):
    kernel = make_kernel(mode=ApicMode.XAPIC)
    kernel.cpus[0].write_icr(fixed(0x105, 0xEA))
    assert kernel.events == [Writes(0, 1, [fixed(5, 0xEA)])]


@pytest.mark.rule("R3")
def test_a_disabled_apic_writes_nothing(kernel):
    cpu = kernel.cpus[0]
    cpu.wrmsr(IA32_APIC_BASE, 0xFEE00000)
    assert cpu.write_icr(RING) == 0
    assert cpu.self_ipi(0x41) == 0
    assert not any(isinstance(event, Writes | SettledWrite) for event in kernel.events)


def test_consecutive_writes_of_one_cpu_are_one_run(kernel):
    for cpu, word in ((0, RING), (0, RING + 1), (1, RING), (0, RING)):
        kernel.cpus[cpu].write_icr(word)
    kernel.cpus[0].self_ipi(0x41)
    kernel.cpus[0].write_icr(RING)
    firsts = [
        event.first_seq if isinstance(event, Writes) else event.seq for event in kernel.events
    ]
    assert firsts == [1, 3, 4, 5, 6]
    assert kernel.events[0].words == [RING, RING + 1]


@pytest.mark.rule("R54", "R42")
def test_a_self_ipi_is_settled_when_the_write_returns(kernel):
    outcomes = []

    def program(cpu):
        yield ins.Cli()
        yield ins.SelfIpi(0xEA)
        outcomes.append(cpu.apic.irr)
        yield ins.SelfIpi(0xEA)

    run(kernel, program)
    assert outcomes == [1 << 0xEA]
    settled = [event.outcome for event in kernel.events]
    assert settled == [Outcome.DELIVERED, Outcome.COALESCED]
    assert kernel.cpus[0].books.row(0xEA).coalesced == 1
    assert kernel.cpus[0].multikernel_count == 1  # when the program ended: sti; hlt
    assert_books(kernel)


def test_when_a_program_returns_its_cpu_idles_with_interrupts_enabled(kernel):
    def program(cpu):
        yield ins.Cli()

    run(kernel, program)
    cpu = kernel.cpus[0]
    assert (cpu.activity, cpu.interrupts_enabled) == ("idle", True)
    run(kernel, program)  # and another may be started


async def asynchronous(cpu):
    """What somebody writes who expects an event loop."""


async def asynchronous_generator(cpu):
    yield ins.Nop()


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(asynchronous, id="async function"),
        pytest.param(asynchronous_generator, id="async generator function"),
        pytest.param(lambda cpu: None, id="function"),
        pytest.param((never for never in ()), id="generator object"),
        pytest.param(lambda: None, id="no argument"),
        pytest.param(7, id="number"),
        pytest.param(None, id="None"),
    ],
)
def test_what_is_no_program_is_refused(kernel, wrong):
    with pytest.raises(InvalidArgumentError):
        kernel.start_program(0, wrong)
    assert kernel.cpus[0].activity == "idle"


def test_a_program_is_any_callable_that_returns_a_generator(kernel):
    ran = []

    def program(argument, cpu):
        ran.append(argument)
        yield

    run(kernel, functools.partial(program, "bound"))
    assert ran == ["bound"]


def test_one_program_a_cpu(kernel):
    def program(cpu):
        while True:
            yield

    kernel.start_program(0, program)
    with pytest.raises(AlreadyExistsError):
        kernel.start_program(0, program)
    with pytest.raises(NotFoundError):
        kernel.start_program(2, program)


def test_cpus_run_in_turn_one_boundary_each(kernel):
    turns = []

    def program(cpu):
        for _ in range(3):
            turns.append(cpu.number)
            yield

    for number in (0, 1):
        kernel.start_program(number, program)
    assert kernel.advance(4) == 4
    assert turns == [0, 1, 0, 1]
    assert kernel.advance(100) == 4
    assert kernel.advance(100) == 0


# Oopses.


def test_functions_and_generators_run_in_the_order_of_registration(kernel):
    order = []

    def slow(cpu):
        order.append("slow")
        yield ins.Nop()
        order.append("slow ends")

    handlers = [
        lambda cpu: order.append("a"),
        slow,
        lambda cpu: order.append("b"),
        functools.partial(slow),
    ]
    for handler in handlers:
        kernel.register_handler(handler)
    kernel.accept(1, RING)
    assert order == ["a"]
    kernel.advance(100)
    assert order == ["a", "slow", "slow ends", "b", "slow", "slow ends"]
    kernel.unregister_handler(handlers[1])
    kernel.unregister_handler(handlers[3])
    kernel.accept(1, RING)
    assert order[6:] == ["a", "b"]


def test_registering_is_checked(kernel):
    def handler(cpu):
        """Nothing."""

    for wrong in (
        (x for x in ()),
        asynchronous,
        asynchronous_generator,
        functools.partial(asynchronous),
    ):
        with pytest.raises(InvalidArgumentError):
            kernel.register_handler(wrong)
    kernel.register_handler(handler)
    with pytest.raises(AlreadyExistsError):
        kernel.register_handler(handler)
    for _ in range(63):
        kernel.register_handler(functools.partial(handler))
    with pytest.raises(LimitReachedError):
        kernel.register_handler(functools.partial(handler))
    with pytest.raises(NotFoundError):
        kernel.unregister_handler(print)


# The write window.
