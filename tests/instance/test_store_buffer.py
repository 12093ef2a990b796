"""The store buffer: what an x2APIC write may overtake, and in which order (R17).

SDM vol. 3, 10.12.3: a WRMSR to an x2APIC register is not serialising.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.errors import InvalidArgumentError
from mkrpc.instance import instructions as ins
from mkrpc.instance.config import KernelConfig
from mkrpc.instance.cpu import Cpu
from mkrpc.instance.memory import PageFault, SharedMemory
from mkrpc.instance.store_buffer import BufferedCpu, StoreBuffer
from mkrpc.link.frames import Command, CommandKind
from mkrpc.simulation.machine import Machine
from mkrpc.x86.icr import DeliveryMode, fixed, icr_word
from mkrpc.x86.lapic import ApicMode
from mkrpc.x86.registers import IA32_APIC_BASE, Register, msr_of

FLAG = 0
DEPTH = 8
RING = fixed(1, 0xEA)
SMI = icr_word(delivery_mode=DeliveryMode.SMI, destination=0)


@pytest.fixture
def memory():
    return SharedMemory(bytearray(64))


@pytest.fixture
def kernel(make_kernel, memory):
    return make_kernel(memory=memory, store_buffer=DEPTH)


# The defect that it is there for.


def machine_of(mode, store_buffer):
    configs = [
        KernelConfig(
            instance_id=number,
            name=f"k{number}",
            apic_ids=(number,),
            mode=mode,
            store_buffer=store_buffer,
        )
        for number in range(2)
    ]
    return Machine(configs)


@pytest.mark.rule("R17")
@pytest.mark.parametrize(
    ("mode", "depth", "between", "seen"),
    [
        pytest.param(ApicMode.X2APIC, 0, [], 1, id="no store buffer"),
        pytest.param(ApicMode.X2APIC, 1, [], 1, id="depth 1: visible after the doorbell"),
        pytest.param(ApicMode.X2APIC, 2, [], 0, id="the doorbell overtakes the flag"),
        pytest.param(ApicMode.X2APIC, 64, [], 0, id="the deepest buffer"),
        pytest.param(ApicMode.X2APIC, 64, [ins.Mfence()], 1, id="MFENCE"),
        pytest.param(ApicMode.X2APIC, 64, [ins.Cpuid(1)], 1, id="CPUID serialises"),
        pytest.param(ApicMode.X2APIC, 64, [ins.Rdmsr(IA32_APIC_BASE)], 0, id="RDMSR does not"),
        pytest.param(ApicMode.X2APIC, 64, [ins.ReadTpr(), ins.Nop()], 0, id="nor other work"),
        pytest.param(ApicMode.X2APIC, 2, [ins.Nop()], 1, id="enough other work does"),
        pytest.param(ApicMode.XAPIC, 64, [], 1, id="the page of an xAPIC is uncacheable"),
    ],
)
def test_the_receiver_of_a_doorbell_may_read_the_flag_as_it_was(mode, depth, between, seen):
    """Store the flag, ring: in x2APIC mode a fence has to stand in between."""
    machine = machine_of(mode, depth)
    read = []
    machine.kernels[1].register_handler(lambda cpu: read.append(cpu.load(FLAG, 8)))

    def sender(cpu):
        yield ins.Store(FLAG, 1)
        for instruction in between:  # noqa: UP028 - a list cannot be sent results
            yield instruction
        yield ins.WriteIcr(RING)
        for _ in range(200):
            yield ins.Nop()

    machine.kernels[0].start_program(0, sender)
    machine.kernels[0].advance(2 + len(between))
    machine.exchange()
    assert read == [seen]
    machine.settle()
    assert machine.memory.load(FLAG, 8) == 1


@pytest.mark.rule("R17", "R54")
@pytest.mark.parametrize(
    ("msr", "value"),
    [
        (msr_of(Register.ICR), RING),
        (msr_of(Register.SELF_IPI), 0x41),
        (msr_of(Register.TPR), 0xF0),
        (msr_of(Register.EOI), 0),
        (msr_of(Register.ESR), 0),
    ],
    ids=["ICR", "SELF_IPI", "TPR", "EOI", "ESR"],
)
def test_no_wrmsr_to_an_x2apic_register_waits_for_a_store(kernel, memory, msr, value):
    def program(cpu):
        yield ins.Cli()
        yield ins.Store(FLAG, 1)
        yield ins.Wrmsr(msr, value)
        while True:
            yield ins.Nop()

    kernel.start_program(0, program)
    kernel.advance(3)
    assert memory.load(FLAG, 8) == 0


# Its order and its depth.


def stored(kernel):
    """CPU 0 has stored the flag; no time has passed since, and it goes on and on."""

    def program(cpu):
        yield ins.Store(FLAG, 1)
        while True:
            yield ins.Nop()

    kernel.start_program(0, program)
    kernel.advance(1)


@pytest.mark.rule("R17")
@pytest.mark.parametrize("depth", [0, 1])
def test_a_cpu_that_halts_in_its_program_holds_no_store_back(kernel, memory, depth):
    """Nor one that comes from outside, nor those that wait when a debugger halts it."""

    def program(cpu):
        if not depth:
            yield ins.Hlt()
        while True:
            yield ins.Store(FLAG, 1)

    kernel.start_program(0, program)
    kernel.advance(1)
    kernel.execute(Command(1, CommandKind.SET_CPU, cpu=0, action="hlt=1"))
    assert memory.load(FLAG, 8) == depth
    kernel.cpus[0].execute(ins.Store(FLAG, 2))
    assert kernel.cpus[0].activity == "halted"
    assert memory.load(FLAG, 8) == 2


@pytest.mark.rule("R17")
def test_a_store_of_a_halted_cpu_stays_behind_those_that_wait(kernel, memory):
    stored(kernel)
    kernel.cpus[0].halted = True  # as no instruction does it
    kernel.cpus[0].execute(ins.Store(FLAG, 2))
    kernel.advance(DEPTH)
    assert memory.load(FLAG, 8) == 2


@pytest.mark.rule("R17")
def test_a_store_becomes_visible_after_as_many_further_instructions_as_the_buffer_is_deep(
    kernel, memory
):
    stored(kernel)
    visible = []
    for _ in range(DEPTH):
        visible.append(memory.load(FLAG, 8))
        kernel.advance(1)
    assert visible == [0] * DEPTH
    assert memory.load(FLAG, 8) == 1


@pytest.mark.rule("R17")
def test_only_its_own_instructions_count(kernel, memory):
    """Not the turns of other CPUs."""
    stored(kernel)

    def other(cpu):
        while True:
            yield

    kernel.start_program(1, other)
    kernel.advance(2 * (DEPTH - 1))
    assert memory.load(FLAG, 8) == 0
    kernel.advance(2)
    assert memory.load(FLAG, 8) == 1


@pytest.mark.rule("R17", "R20")
def test_a_stalled_icr_write_is_no_instruction_yet(make_kernel, memory):
    kernel = make_kernel(memory=memory, store_buffer=2)

    def program(cpu):
        yield ins.Store(FLAG, 1)
        yield ins.WriteIcr(RING)

    while kernel.cpus[0].may_write:
        kernel.cpus[0].write_icr(RING)
    kernel.start_program(0, program)
    for _ in range(5):
        kernel.advance(1)
    assert kernel.cpus[0].execution.busy
    assert memory.load(FLAG, 8) == 0


@pytest.mark.rule("R17")
def test_a_plain_function_is_one_instruction_whose_iret_drains(kernel, memory):
    """The oldest leaves when there are more than the buffer holds; the function sees them all."""
    seen = []

    def handler(cpu):
        for number in range(DEPTH + 2):
            cpu.store(number, number + 1, 1)
        seen.append([cpu.load(number, 1) for number in range(DEPTH + 2)])
        seen.append([memory.load(number, 1) for number in range(DEPTH + 2)])
        cpu.apic_eoi()

    kernel.idt.install(0x41, "handler", handler)
    stored(kernel)  # a busy CPU: an idle one has nothing to hold stores back for
    kernel.accept(0, fixed(0, 0x41))
    whole = list(range(1, DEPTH + 3))
    assert seen == [whole, [1, 2] + [0] * DEPTH]
    assert [memory.load(number, 1) for number in range(DEPTH + 2)] == whole


@pytest.mark.rule("R17")
def test_on_an_idle_cpu_a_store_from_outside_is_visible_at_once(kernel, memory):
    kernel.cpus[0].execute(ins.Store(FLAG, 1))
    kernel.cpus[0].store(8, 2, 8)
    assert (memory.load(FLAG, 8), memory.load(8, 8)) == (1, 2)


@pytest.mark.parametrize(("depth", "kind"), [(0, Cpu), (1, BufferedCpu), (64, BufferedCpu)])
def test_without_a_buffer_the_cpu_is_the_plain_one(make_kernel, memory, depth, kind):
    """So that it costs nothing."""
    assert type(make_kernel(memory=memory, store_buffer=depth).cpus[0]) is kind
    assert type(make_kernel(store_buffer=depth).cpus[0]) is Cpu  # nothing to store to


@pytest.mark.parametrize("depth", [-1, 65])
def test_the_depth_is_limited(make_kernel, depth):
    with pytest.raises(InvalidArgumentError):
        make_kernel(store_buffer=depth)


# Loads of its own CPU.


@pytest.mark.rule("R17")
@pytest.mark.parametrize(
    ("stores", "load", "value", "waiting"),
    [
        pytest.param([(0, 7, 8)], (0, 8), 7, 1, id="forwarded"),
        pytest.param([(0, 7, 8), (0, 9, 8)], (0, 8), 9, 2, id="the youngest one"),
        pytest.param([(0, 7, 8)], (8, 8), 0, 1, id="another place"),
        pytest.param([(0, 0x0102, 8)], (0, 1), 2, 0, id="a part: drained first"),
        pytest.param([(0, 0x0102 << 32, 8)], (4, 4), 0x0102, 0, id="its upper part likewise"),
        pytest.param([(0, 3, 1), (1, 4, 1)], (0, 2), 0x0403, 0, id="from two: drained first"),
        pytest.param([(0, -1, 4)], (0, 8), 0xFFFFFFFF, 0, id="wider: drained first"),
        pytest.param([(0, 0x1FF, 1)], (0, 1), 0xFF, 1, id="the low bytes of the value"),
        pytest.param([(0, 1, 8), (4, 2, 4), (0, 3, 8)], (0, 8), 3, 3, id="exact before overlap"),
    ],
)
def test_a_cpu_sees_its_own_stores(memory, stores, load, value, waiting):
    buffer = StoreBuffer(memory, depth=DEPTH)
    for address, stored_value, size in stores:
        buffer.store(address, stored_value, size)
    assert buffer.load(*load) == value
    assert len(buffer) == waiting


@pytest.mark.parametrize(
    ("instruction", "fault"),
    [
        (ins.Store(1, 0, 8), PageFault),
        (ins.Store(64, 0, 8), PageFault),
        (ins.Store(0, 0, 3), PageFault),
        (ins.Store(0, "x", 8), TypeError),
        (ins.Store(0.0, 0, 8), TypeError),
    ],
)
def test_a_wrong_store_faults_when_it_is_executed_and_not_when_it_drains(
    kernel, instruction, fault
):
    caught = []

    def program(cpu):
        try:
            yield instruction
        except fault:
            caught.append(fault)
        yield ins.Mfence()

    kernel.start_program(0, program)
    kernel.advance(10)
    assert caught == [fault]
    assert kernel.oops_count == 0


ACCESS = st.tuples(
    st.sampled_from(["store", "load", "instruction", "drain"]),
    st.integers(0, 3),
    st.sampled_from([1, 2, 4, 8]),
    st.integers(0, 2**64 - 1),
)


@pytest.mark.rule("R17")
@given(depth=st.integers(1, 4), accesses=st.lists(ACCESS, max_size=40))
def test_its_own_cpu_never_notices_and_the_others_see_the_stores_in_order(depth, accesses):
    """Against plain memory; what others see is always the state after some prefix of the stores."""
    shared, plain = SharedMemory(bytearray(32)), SharedMemory(bytearray(32))
    buffer = StoreBuffer(shared, depth=depth)

    def look(memory):
        return tuple(memory.load(address, 8) for address in range(0, 32, 8))

    history = [look(plain)]
    for kind, slot, size, value in accesses:
        address = slot * size
        if kind == "store":
            buffer.store(address, value, size)
            plain.store(address, value, size)
            history.append(look(plain))
            buffer.complete_instruction()
        elif kind == "load":
            assert buffer.load(address, size) == plain.load(address, size)
            buffer.complete_instruction()
        elif kind == "instruction":
            buffer.complete_instruction()
        else:
            buffer.drain()
            assert look(shared) == look(plain)
        assert len(buffer) <= depth
        assert look(shared) == history[-1 - len(buffer)]
