"""What drains a store buffer, and what does not (R17). SDM vol. 3, 10.12.3, 11.10."""

import pytest

from mkrpc.instance import instructions as ins
from mkrpc.instance.accounting import assert_books
from mkrpc.instance.memory import PageFault, SharedMemory
from mkrpc.x86.apic_base import GeneralProtection
from mkrpc.x86.icr import DeliveryMode, fixed, icr_word, init_assert, nmi
from mkrpc.x86.lapic import ApicMode
from mkrpc.x86.registers import IA32_APIC_BASE, Register

FLAG = 0
RING = fixed(1, 0xEA)
SMI = icr_word(delivery_mode=DeliveryMode.SMI, destination=0)
DEPTH = 8


@pytest.fixture
def memory():
    return SharedMemory(bytearray(64))


@pytest.fixture
def kernel(make_kernel, memory):
    return make_kernel(memory=memory, store_buffer=DEPTH)


def stored(kernel, *, before=(), behind=()):
    """CPU 0 has stored the flag and executed what stands behind; no time has passed since."""

    def program(cpu):
        for instruction in (*before, ins.Store(FLAG, 1), *behind):  # noqa: UP028
            yield instruction
        while True:
            yield ins.Nop()

    kernel.start_program(0, program)
    kernel.advance(len(before) + 1 + len(behind))


@pytest.mark.rule("R17")
@pytest.mark.parametrize(
    ("instruction", "drains"),
    [
        (ins.Nop(), False),
        (ins.Cli(), False),
        (ins.Sti(), False),
        (ins.MovSs(), False),
        (ins.Pushf(), False),
        (ins.WriteCr8(3), False),
        (ins.Load(8), False),
        (ins.Eoi(), False),
        (ins.WriteTpr(0x30), False),
        (ins.Mfence(), True),
        (ins.Cmpxchg(8, 0, 1), True),
        (ins.Cpuid(0xB), True),
        (ins.Hlt(), True),
        (ins.Int(0x41), True),
        (ins.Wrmsr(IA32_APIC_BASE, 0xFEE00C00), True),
        (ins.MmioRead(Register.TPR), True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ins.Instruction) else str(value),
)
def test_which_instruction_drains(kernel, memory, instruction, drains):
    stored(kernel, behind=[instruction])
    assert memory.load(FLAG, 8) == drains


@pytest.mark.rule("R17")
@pytest.mark.parametrize(
    "instruction",
    [
        ins.MmioWrite(Register.TPR, 0x20),
        ins.MmioRead(Register.SVR),
        ins.WriteRegister(Register.TPR, 0x20),
        ins.ReadRegister(Register.TPR),
        ins.WriteIcr(RING),
        ins.SelfIpi(0x41),
        ins.Eoi(),
        ins.WriteTpr(0x20),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_access_to_the_page_of_an_xapic_stays_behind_the_stores(
    make_kernel, memory, instruction
):
    kernel = make_kernel(memory=memory, store_buffer=DEPTH, mode=ApicMode.XAPIC)
    stored(kernel, before=[ins.Cli()], behind=[instruction])
    assert memory.load(FLAG, 8) == 1


@pytest.mark.rule("R17")
@pytest.mark.parametrize(
    ("word", "drains"),
    [
        pytest.param(fixed(0, 0x41), True, id="interrupt"),
        pytest.param(nmi(0), True, id="NMI"),
        pytest.param(SMI, True, id="SMI"),
        pytest.param(init_assert(0), True, id="INIT"),
        pytest.param(fixed(0, 0x15), False, id="held off by TPR"),
    ],
)
def test_what_the_cpu_takes_drains(kernel, memory, word, drains):
    seen = []
    for vector in (2, 0x41):
        kernel.idt.install(vector, "look", lambda cpu: seen.append(memory.load(FLAG, 8)))
    stored(kernel)
    kernel.accept(0, word)
    assert memory.load(FLAG, 8) == drains
    assert 0 not in seen  # at the entry, before the handler could look
    assert_books(kernel)


@pytest.mark.rule("R17")
def test_nothing_is_taken_and_nothing_drains_in_a_shadow(kernel, memory):
    stored(kernel, before=[ins.Cli()], behind=[ins.Sti()])
    kernel.accept(0, SMI)
    assert memory.load(FLAG, 8) == 0
    kernel.advance(1)
    assert memory.load(FLAG, 8) == 1


@pytest.mark.rule("R17")
def test_the_entry_and_the_iret_of_a_generator_handler_drain(kernel, memory):
    visible = []

    def handler(cpu):
        yield ins.Store(8, 1)
        visible.append((memory.load(FLAG, 8), memory.load(8, 8)))

    kernel.idt.install(0x41, "handler", handler)
    stored(kernel)
    kernel.accept(0, fixed(0, 0x41))
    kernel.advance(2)
    assert visible == [(1, 0)]
    assert memory.load(8, 8) == 1


@pytest.mark.rule("R17")
@pytest.mark.parametrize(
    ("fault", "instruction", "seen"),
    [
        (GeneralProtection, ins.Wrmsr(0x802, 1), 1),
        (PageFault, ins.Load(3), 1),
        (TypeError, "no instruction", 0),
    ],
)
def test_a_fault_of_an_instruction_drains(kernel, memory, fault, instruction, seen):
    """It is an exception, which leads through the IDT; what is no instruction is not executed."""
    visible = []

    def program(cpu):
        yield ins.Store(FLAG, 1)
        try:
            yield instruction
        except fault:
            visible.append(memory.load(FLAG, 8))
        while True:
            yield

    kernel.start_program(0, program)
    kernel.advance(3)
    assert visible == [seen]


@pytest.mark.rule("R17")
@pytest.mark.parametrize("end", ["return", "oops", "panic"])
def test_the_end_of_a_program_drains(make_kernel, memory, end):
    kernel = make_kernel(memory=memory, store_buffer=64, panic_on_oops=end == "panic")

    def program(cpu):
        yield ins.Store(FLAG, 1)
        if end != "return":
            raise RuntimeError("the end")

    kernel.start_program(0, program)
    kernel.advance(2)
    assert memory.load(FLAG, 8) == 1


@pytest.mark.rule("R17")
def test_init_drains_before_the_finally_blocks_of_what_it_drops(kernel, memory):
    def program(cpu):
        try:
            yield ins.Store(FLAG, 1)
            while True:
                yield
        finally:
            cpu.store(8, cpu.load(FLAG, 8) + 1, 8)

    kernel.start_program(0, program)
    kernel.advance(2)
    kernel.accept(0, init_assert(0))
    assert (memory.load(FLAG, 8), memory.load(8, 8)) == (1, 2)
