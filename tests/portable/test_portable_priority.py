"""Which pending vector a CPU takes: portable tests 22, 30 to 35, 40, 45 (rules R42 to R49).

The class of a vector or of TPR is its upper four bits.
"""

from itertools import chain, combinations, product

import pytest

from mkrpc.instance.accounting import assert_books
from mkrpc.instance.cpu import Cpu
from mkrpc.instance.instructions import (
    Cli,
    Eoi,
    Hlt,
    Instruction,
    MmioRead,
    Nop,
    Rdmsr,
    ReadCr8,
    ReadRegister,
    ReadTpr,
    SelfIpi,
    Sti,
    WriteCr8,
    WriteIcr,
    WriteTpr,
)
from mkrpc.instance.kernel import Kernel, KernelConfig
from mkrpc.link.frames import MAX_FRAME_WORDS
from mkrpc.x86.icr import Shorthand, decode, fixed, shorthand_word
from mkrpc.x86.irq_vectors import NR_VECTORS
from mkrpc.x86.lapic import ApicMode, LocalApic
from mkrpc.x86.registers import Register, msr_of

BOTH_MODES = pytest.mark.parametrize("mode", [ApicMode.XAPIC, ApicMode.X2APIC])
VECTORS = range(0x21, 0x100)
ALL = NR_VECTORS


class Gate:
    """One CPU without a bus: what arrives is handed to its kernel."""

    def __init__(self) -> None:
        config = KernelConfig(instance_id=1, name="one", apic_ids=(0,), initial_tpr=0)
        self.kernel = Kernel(config, incarnation=bytes(16), now_us=lambda: 0)
        self.cpu = self.kernel.cpus[0]
        self._ran: list[int] = []
        for vector in VECTORS:
            self.kernel.idt.install(vector, f"portable_{vector:#x}", self._note)

    def _note(self, cpu: Cpu) -> None:
        self._ran.append(cpu.vector)
        cpu.apic_eoi()

    def arrive(self, *vectors: int) -> None:
        for vector in vectors:
            self.kernel.accept(0, fixed(0, vector))

    def execute(self, *instructions: Instruction) -> None:
        for instruction in instructions:
            self.cpu.execute(instruction)

    def ran(self) -> list[int]:
        """Since the last call, in order."""
        ran, self._ran = self._ran, []
        return ran


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.kernel.take_events(MAX_FRAME_WORDS)
    assert_books(gate.kernel)
    gate.cpu.apic.assert_invariants()
    assert gate.kernel.oops_count == 0


def tpr_rows():
    """Each vector against each TPR, twice; and each vector sent to itself with TPR 0."""
    return chain(
        product(("pending", "lowered"), VECTORS, range(ALL)),
        (("self", vector, 0) for vector in VECTORS),
    )


@pytest.mark.portable(30)
@pytest.mark.rule("R42", "R44", "R45", "R49")
@pytest.mark.rows(114_399, every=29)
def test_a_vector_runs_if_its_class_is_above_that_of_tpr(rows, gate):
    """every vector against every TPR: pending first, TPR lowered by CR8, sent to itself"""

    def judge(how, vector, tpr):
        if how == "pending":
            gate.execute(Cli())
            gate.arrive(vector)
            gate.execute(WriteTpr(tpr), Sti(), Nop())
        elif how == "lowered":
            gate.execute(WriteTpr(0xFF))
            gate.arrive(vector)
            assert gate.ran() == []
            gate.execute(WriteCr8(tpr >> 4))
        else:
            gate.execute(WriteTpr(tpr), SelfIpi(vector))
        at_once, pending = gate.ran(), gate.cpu.apic.irr
        gate.execute(WriteTpr(0))  # what stayed runs now, so that nothing is lost
        runs = vector >> 4 > tpr >> 4
        expected = ([vector], 0, []) if runs else ([], 1 << vector, [vector])
        return (at_once, pending, gate.ran()), expected

    rows.assert_each(tpr_rows(), judge)


@pytest.mark.portable(30)
@pytest.mark.rule("R43", "R44")
def test_of_57088_pairs_of_vector_and_tpr_30432_deliver():
    """the count of pairs that deliver, over all of them"""
    apic = LocalApic(0)
    apic.write_svr(0x1FF)
    delivered = pairs = 0
    for vector in VECTORS:
        apic.accept_fixed(vector)
        for tpr in range(ALL):
            apic.tpr = tpr
            pairs += 1
            delivered += apic.highest_deliverable() == vector
        apic.tpr = 0
        apic.acknowledge()
        apic.eoi()
    assert (pairs, delivered) == (57_088, 30_432)


@pytest.mark.portable(31)
@pytest.mark.rule("R44", "R45", "R46", "R62")
@pytest.mark.rows(24_753, every=11)
def test_of_two_pending_vectors_the_higher_runs_first(rows, gate):
    """every pair of vectors pending at once, TPR 0"""

    def judge(low, high):
        gate.execute(Cli())
        gate.arrive(low, high)
        gate.execute(Sti(), Nop())
        return (gate.ran(), gate.cpu.apic.irr, gate.cpu.apic.isr), ([high, low], 0, 0)

    rows.assert_each(combinations(VECTORS, 2), judge)


@pytest.mark.portable(32)
@pytest.mark.rule("R42", "R44", "R59")
@pytest.mark.parametrize("waits", ["spinning", "halted"])
@pytest.mark.rows(3568, every=5)
def test_a_request_of_another_cpu_runs_by_class(rows, make_bench, waits):
    """vectors 33 to 255 against TPR classes 0 to 15, at a CPU that spins and at one in HLT"""
    bench = make_bench(one_kernel=False)
    target = bench.cpus[1]
    wakes = []

    def program(cpu):
        while True:
            yield Nop() if waits == "spinning" else Hlt()
            wakes.append(1)

    bench.start(1, program)

    def instructions():
        for _ in range(4):
            target.kernel.advance(1)

    def judge(vector, tpr_class):
        bench.execute(1, WriteTpr(tpr_class << 4))
        instructions()
        wakes.clear()
        bench.execute(0, WriteIcr(fixed(1, vector)))
        instructions()
        seen = bench.ran.copy(), target.apic.irr, bool(wakes)
        bench.execute(1, WriteTpr(0))
        instructions()
        ran = bench.ran.copy()
        bench.ran.clear()
        runs = vector >> 4 > tpr_class
        expected = ([(1, vector)], 0, True) if runs else ([], 1 << vector, waits == "spinning")
        return (seen, ran), (expected, [(1, vector)])

    rows.assert_each(product(range(33, ALL), range(16)), judge)


@pytest.mark.portable(22)
@pytest.mark.rule("R44", "R49")
@BOTH_MODES
def test_lowering_tpr_lets_in_one_class_after_the_other(make_bench, mode):
    """TPR 0xF0, 32 and 62 pending; TPR 0x20, then 0"""
    bench = make_bench(1, mode=mode)
    bench.execute(0, WriteTpr(0xF0), SelfIpi(32), SelfIpi(62))
    assert bench.ran == []
    bench.execute(0, WriteTpr(0x20))
    assert bench.ran == [(0, 62)]
    bench.execute(0, WriteTpr(0))
    assert bench.ran == [(0, 62), (0, 32)]


@pytest.mark.portable(33)
@pytest.mark.rule("R44", "R56", "R57")
@BOTH_MODES
def test_a_vector_below_the_threshold_runs_after_tpr_has_fallen(make_bench, mode):
    """IF = 0, TPR one class above 0xE1, which is pending; TPR 0, sti, nop"""
    bench = make_bench(1, mode=mode)
    bench.execute(0, Cli(), WriteTpr(0xF0), SelfIpi(0xE1), WriteTpr(0))
    assert bench.ran == []
    bench.execute(0, Sti(), Nop(), Nop())
    assert bench.ran == [(0, 0xE1)]


@pytest.mark.portable(34)
@pytest.mark.rule("R62")
def test_two_pending_interrupts_are_taken_at_one_instruction(make_bench):
    """0x66, then 0x78, both pending at sti, nop: 0x78 first, at the same place"""
    bench = make_bench(1)
    place = []
    taken = []

    def program(cpu):
        for name, instruction in (
            ("cli", Cli()),
            ("0x66", SelfIpi(0x66)),
            ("0x78", SelfIpi(0x78)),
            ("sti", Sti()),
            ("nop", Nop()),
            ("after", Nop()),
        ):
            place[:] = [name]
            yield instruction

    def handler(cpu):
        taken.append((cpu.vector, *place))
        yield Nop()
        yield Eoi()

    for vector in (0x66, 0x78):
        bench.install(vector, handler)
    bench.start(0, program)
    bench.run()
    assert taken == [(0x78, "nop"), (0x66, "nop")]


@pytest.mark.portable(35)
@pytest.mark.rule("R21", "R42")
@BOTH_MODES
@pytest.mark.parametrize("trigger", [0, 0x8000, 0xC000], ids=["edge", "level", "level|assert"])
def test_an_ipi_is_edge_whatever_its_trigger_bit_says(make_bench, mode, trigger):
    """TMR of 0x79 inside and before its handler: only edges arrive here, so it is always 0"""
    bench = make_bench(mode=mode)
    tmr = Register.TMR + 0x10 * (0x79 >> 5)
    read = MmioRead(tmr) if mode is ApicMode.XAPIC else Rdmsr(msr_of(tmr))
    seen = []

    def handler(cpu):
        seen.append((yield read) >> (0x79 & 31) & 1)
        yield Eoi()

    bench.install(0x79, handler)
    seen.append(bench.execute(1, read) >> (0x79 & 31) & 1)
    bench.execute(0, WriteIcr(fixed(1, 0x79) | trigger))
    bench.run()
    assert seen == [0, 0]


@pytest.mark.portable(40)
@pytest.mark.rule("R43", "R44", "R49", "R54")
@BOTH_MODES
@pytest.mark.parametrize("by", ["ICR", "SELF_IPI"])
def test_tpr_ppr_and_cr8_have_one_class_at_every_step(make_bench, mode, by):
    """0x20 to itself under IF = 0, under TPR class 2, and after each is lifted"""
    bench = make_bench(1, mode=mode)
    send = SelfIpi(0x20) if by == "SELF_IPI" else WriteIcr(shorthand_word(Shorthand.SELF, 0x20))

    def priorities():
        ppr = bench.execute(0, ReadRegister(Register.PPR))
        return bench.execute(0, ReadTpr()) >> 4, ppr >> 4, bench.execute(0, ReadCr8())

    seen = []
    for tpr_class, instructions in (
        (0, [WriteTpr(0), Cli(), send]),
        (0, [Sti(), Nop()]),
        (2, [WriteTpr(0x20), send]),
        (1, [WriteTpr(0x10)]),
        (0, [WriteCr8(0)]),
    ):
        bench.execute(0, *instructions)
        seen.append((len(bench.ran), priorities(), (tpr_class,) * 3))
    assert [count for count, _, _ in seen] == [0, 1, 1, 2, 2]
    assert [actual for _, actual, _ in seen] == [expected for _, _, expected in seen]


@pytest.mark.portable(45)
@pytest.mark.rule("R42", "R44", "R46", "R48")
def test_a_higher_vector_of_the_same_class_waits_for_eoi(make_bench):
    """0x41 in service with IF = 1; 0x4F, 0x51, 0x41 and 0x41 arrive"""
    bench = make_bench()
    order = []

    def handler(cpu):
        vector = cpu.vector
        order.append(vector)
        if order == [0x41]:
            yield Sti()
            yield Nop()
            for each in (0x4F, 0x51, 0x41, 0x41):
                yield SelfIpi(each)
            yield Nop()
            order.append("EOI")
        yield Eoi()
        yield Nop()
        order.append(-vector)

    for vector in (0x41, 0x4F, 0x51):
        bench.install(vector, handler)
    bench.execute(0, WriteIcr(fixed(1, 0x41)))
    bench.run()
    taken = [each for each in order if each == "EOI" or each > 0]
    assert taken == [0x41, 0x51, "EOI", 0x4F, 0x41]
    assert order.index(-0x51) < order.index("EOI")


@pytest.mark.portable(45)
@pytest.mark.rule("R44", "R48")
@pytest.mark.rows(240 * 240, every=31)
def test_only_a_higher_class_pre_empts_what_is_in_service(rows):
    """each vector in service against each that arrives"""

    def judge(in_service, arriving):
        apic = LocalApic(0)
        apic.write_svr(0x1FF)
        apic.accept(decode(fixed(0, in_service)))
        apic.acknowledge()
        apic.accept(decode(fixed(0, arriving)))
        during = apic.highest_deliverable()
        apic.eoi()
        higher = arriving >> 4 > in_service >> 4
        return (during, apic.highest_deliverable()), (arriving if higher else -1, arriving)

    rows.assert_each(product(range(16, ALL), repeat=2), judge)
