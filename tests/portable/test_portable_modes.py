"""IA32_APIC_BASE, ids and what survives: portable tests 1 to 3, 13, 14, 37, 38, 42 to 44, 52.

Departure: the page answers at its offset wherever the base address points.
"""

import pytest

from mkrpc.instance.instructions import (
    Cli,
    Cpuid,
    MmioRead,
    MmioWrite,
    Nop,
    Rdmsr,
    ReadCr8,
    SelfIpi,
    Sti,
    WriteCr8,
    WriteIcr,
    WriteRegister,
    Wrmsr,
)
from mkrpc.outcome import Outcome
from mkrpc.x86.apic_base import (
    APIC_BASE_ADDRESS,
    APIC_BASE_ENABLE,
    APIC_BASE_EXTD,
    MAX_PHYSICAL_ADDRESS_BITS,
    GeneralProtection,
)
from mkrpc.x86.apic_policy import ApicPolicy
from mkrpc.x86.destination import x2apic_ldr
from mkrpc.x86.icr import DeliveryMode, decode, fixed, icr_word, init_assert, nmi, startup
from mkrpc.x86.lapic import ApicMode, LocalApic
from mkrpc.x86.registers import IA32_APIC_BASE, Register, mmio_read, msr_of, rdmsr, wrmsr

DISABLED, XAPIC, X2APIC = ApicMode.DISABLED, ApicMode.XAPIC, ApicMode.X2APIC
EN, EXTD = APIC_BASE_ENABLE, APIC_BASE_EXTD
CPUID_EDX_APIC = 1 << 9
VERSIONS = range(0x10, 0x16)
BOTH_MODES = pytest.mark.parametrize("mode", [XAPIC, X2APIC])


def base(bits: int) -> Wrmsr:
    return Wrmsr(IA32_APIC_BASE, APIC_BASE_ADDRESS | bits)


@pytest.mark.portable(1)
@pytest.mark.rule("R8")
@BOTH_MODES
def test_there_is_a_local_apic(make_bench, mode):
    """the version register names an integrated APIC"""
    read = MmioRead(Register.VERSION) if mode is XAPIC else Rdmsr(msr_of(Register.VERSION))
    assert make_bench(mode=mode).execute(1, read) & 0xFF in VERSIONS


@pytest.mark.portable(2)
@pytest.mark.rule("R3", "R4", "R5", "R49")
def test_without_en_there_is_no_page_and_cr8_works(make_bench):
    """APIC disabled, enabled again, then in x2APIC mode: page, CPUID, TPR and CR8"""
    bench = make_bench(mode=XAPIC)

    def announced():
        return bool(bench.execute(1, Cpuid(1))[3] & CPUID_EDX_APIC)

    def page_is_dead():
        before = bench.execute(1, ReadCr8())
        for offset in range(0, 0x400, 0x10):
            bench.execute(1, MmioWrite(offset, 0xFFFFFFFF))
        reads = [bench.execute(1, MmioRead(each)) for each in (Register.VERSION, Register.TPR)]
        return reads == [0xFFFFFFFF] * 2 and bench.execute(1, ReadCr8()) == before

    def toggled():
        value = bench.execute(1, ReadCr8()) ^ 0xF
        bench.execute(1, WriteCr8(value))
        return bench.execute(1, ReadCr8()) == value

    version = bench.execute(1, MmioRead(Register.VERSION))
    assert announced()
    bench.execute(1, base(0))
    assert not announced()
    assert page_is_dead()
    assert toggled()
    bench.execute(1, base(EN))
    assert announced()
    assert bench.execute(1, MmioRead(Register.VERSION)) == version
    for _ in range(2):
        cr8 = bench.execute(1, ReadCr8())
        assert bench.execute(1, MmioRead(Register.TPR)) == cr8 << 4
        assert toggled()
    bench.execute(1, base(EN | EXTD))
    assert announced()
    assert page_is_dead()
    assert toggled()


@pytest.mark.portable(2)
@pytest.mark.rule("R4", "R49")
def test_cr8_written_while_disabled_shows_in_tpr_afterwards(make_bench):
    """what CR8 was given while EN was 0 is TPR once EN is set again"""
    bench = make_bench(mode=XAPIC)
    bench.execute(1, base(0), WriteCr8(0xB), base(EN))
    assert bench.execute(1, MmioRead(Register.TPR)) == 0xB0


# From a mode, the bits written, and the mode after it; None: #GP.
TRANSITIONS = [
    (X2APIC, EXTD, None),
    (X2APIC, EN, None),
    (X2APIC, EN | EXTD, X2APIC),
    (X2APIC, 0, DISABLED),
    (DISABLED, EXTD, None),
    (DISABLED, EN | EXTD, None),
    (DISABLED, 0, DISABLED),
    (DISABLED, EN, XAPIC),
    (XAPIC, EXTD, None),
    (XAPIC, EN, XAPIC),
    (XAPIC, 0, DISABLED),
    (XAPIC, EN | EXTD, X2APIC),
]


def written_base(apic: LocalApic, value: int) -> ApicMode | None:
    """The mode after the write; None if it faulted and changed nothing."""
    before = apic.mode, apic.apic_base
    try:
        wrmsr(apic, IA32_APIC_BASE, value)
    except GeneralProtection:
        assert (apic.mode, apic.apic_base) == before
        return None
    assert apic.apic_base == value
    return apic.mode


@pytest.mark.portable(3)
@pytest.mark.rule("R2")
@pytest.mark.rows(12)
def test_each_mode_is_left_by_the_ways_that_there_are(rows):
    """all transitions of IA32_APIC_BASE"""

    def judge(mode, bits, after):
        return written_base(LocalApic(1, mode=mode), APIC_BASE_ADDRESS | bits), after

    rows.assert_each(TRANSITIONS, judge)


@pytest.mark.portable(3)
@pytest.mark.rule("R1", "R2")
@pytest.mark.rows(8)
def test_without_x2apic_extd_is_a_reserved_bit(rows):
    """EXTD where CPUID does not announce x2APIC"""
    policy = ApicPolicy(x2apic_supported=False)

    def judge(mode, bits, after):
        expected = None if bits & EXTD else after
        return written_base(
            LocalApic(1, mode=mode, policy=policy), APIC_BASE_ADDRESS | bits
        ), expected

    rows.assert_each([row for row in TRANSITIONS if row[0] is not X2APIC], judge)


@pytest.mark.portable(13)
@pytest.mark.rule("R7")
def test_ids_agree_with_cpuid_and_come_back(make_bench):
    """id registers and CPUID in both modes, and the id after EN = 0"""
    bench = make_bench(mode=XAPIC)

    def xapic_id():
        return bench.execute(1, MmioRead(Register.ID)) >> 24

    _, ebx, _, _ = bench.execute(1, Cpuid(1))
    own = xapic_id()
    assert ebx >> 24 == own == 1
    bench.execute(1, MmioWrite(Register.ID, own + 1 << 24))
    assert xapic_id() in (own, own + 1)
    assert bench.execute(1, Cpuid(1))[1] >> 24 == own
    bench.execute(1, base(EN | EXTD))
    assert bench.execute(1, Rdmsr(msr_of(Register.ID))) == own
    assert bench.execute(1, Cpuid(0xB))[3] == own
    with pytest.raises(GeneralProtection):
        bench.execute(1, Wrmsr(msr_of(Register.ID), own + 1))
    bench.execute(1, base(0), base(EN))
    assert xapic_id() == own


@pytest.mark.portable(14)
@pytest.mark.rule("R1")
@pytest.mark.rows(2 + 9 + 12)
def test_apic_base_moves_and_its_reserved_bits_fault(rows):
    """base address 0xFED40000; bits 7:0, 9 and those beyond the physical address"""
    relocated = 0xFED40000 | EN
    reserved = [*range(8), 9, *range(MAX_PHYSICAL_ADDRESS_BITS, 64)]

    def judge(value, after):
        apic = LocalApic(1)
        mode = written_base(apic, value)
        return (mode, mmio_read(apic, Register.VERSION) & 0xFF in VERSIONS), (after, True)

    moved = [(relocated, XAPIC), (1 << MAX_PHYSICAL_ADDRESS_BITS - 1 | EN, XAPIC)]
    rows.assert_each([*moved, *((relocated | 1 << bit, None) for bit in reserved)], judge)


@pytest.mark.portable(37)
@pytest.mark.rule("R7", "R5")
@pytest.mark.rows(256)
def test_the_id_register_has_the_format_of_the_mode(rows):
    """id << 24, id, id << 24: into x2APIC mode and back, the only way a guest has"""

    def judge(initial_id):
        apic = LocalApic(initial_id)
        formats = [mmio_read(apic, Register.ID)]
        wrmsr(apic, IA32_APIC_BASE, APIC_BASE_ADDRESS | EN | EXTD)
        formats.append(rdmsr(apic, msr_of(Register.ID)))
        for bits in (0, EN):
            wrmsr(apic, IA32_APIC_BASE, APIC_BASE_ADDRESS | bits)
        formats.append(mmio_read(apic, Register.ID))
        return formats, [initial_id << 24, initial_id, initial_id << 24]

    rows.assert_each(range(256), judge)


@pytest.mark.portable(38)
@pytest.mark.rule("R5", "R7", "R24")
@pytest.mark.rows(256)
def test_a_foreign_id_does_not_get_into_x2apic_mode(rows):
    """an id that software wrote in xAPIC mode is gone in x2APIC mode"""

    def judge(foreign):
        apic = LocalApic(0x25)
        apic.write_xapic_id(foreign)
        wrmsr(apic, IA32_APIC_BASE, APIC_BASE_ADDRESS | EN | EXTD)
        return (rdmsr(apic, msr_of(Register.ID)), rdmsr(apic, msr_of(Register.LDR))), (
            0x25,
            0x20020,
        )

    rows.assert_each(range(256), judge)


@pytest.mark.portable(42)
@pytest.mark.rule("R6")
@pytest.mark.parametrize(("choice", "runs"), [("keep", [0x41]), ("reset", [])])
def test_irr_survives_a_transient_disable_where_the_policy_keeps_it(choice, runs):
    """a pending interrupt over EN = 0, EN = 1; both sides of the switch"""
    apic = LocalApic(1, policy=ApicPolicy(global_disable=choice))
    apic.write_svr(0x1FF)
    assert apic.accept(decode(fixed(1, 0x41))) is Outcome.DELIVERED
    apic.set_apic_base(APIC_BASE_ADDRESS)
    assert apic.highest_deliverable() == -1
    apic.set_apic_base(APIC_BASE_ADDRESS | EN)
    apic.write_svr(0x1FF)
    assert [v for v in range(256) if apic.irr >> v & 1] == runs
    assert apic.highest_deliverable() == (runs[0] if runs else -1)


@pytest.mark.portable(43)
@pytest.mark.rule("R8", "R9")
@pytest.mark.parametrize("how", ["reset", "init"])
@BOTH_MODES
def test_reset_and_init_discard_what_is_pending(how, mode):
    """a pending interrupt, an NMI and an SMI do not outlive RESET or INIT"""
    apic = LocalApic(1, mode=mode)
    apic.write_svr(0x1FF)
    smi = icr_word(destination=1, delivery_mode=DeliveryMode.SMI)
    for word in (fixed(1, 0x41), fixed(1, 0xEA), nmi(1), smi):
        assert apic.accept(decode(word)) is Outcome.DELIVERED
    getattr(apic, how)()
    assert (apic.irr, apic.isr, apic.core_event) == (0, 0, False)
    apic.write_svr(0x1FF)
    assert apic.highest_deliverable() == -1


@pytest.mark.portable(44)
@pytest.mark.rule("R37", "R38")
@BOTH_MODES
def test_what_is_pending_waits_while_software_disabled(make_bench, mode):
    """pending, software-disabled with IF = 1, enabled again: it runs then, once"""
    bench = make_bench(mode=mode)
    off, on = WriteRegister(Register.SVR, 0xFF), WriteRegister(Register.SVR, 0x1FF)
    bench.execute(1, Cli())
    bench.execute(0, WriteIcr(fixed(1, 0x41)))
    bench.execute(1, off, Sti(), Nop())
    assert (bench.ran, bench.cpus[1].apic.irr) == ([], 1 << 0x41)
    bench.execute(1, on)
    assert bench.ran == [(1, 0x41)]


@pytest.mark.portable(52)
@pytest.mark.rule("R9", "R24")
@pytest.mark.parametrize("mode", [DISABLED, XAPIC, X2APIC])
@pytest.mark.parametrize("initial_id", [1, 0xF, 0x10, 0xFF, 0x100, 0xFFFFF])
def test_init_keeps_mode_id_and_ldr(initial_id, mode):
    """INIT in each mode: IA32_APIC_BASE, the id and in x2APIC mode LDR stay"""
    apic = LocalApic(initial_id, mode=mode)
    before = apic.apic_base, apic.xapic_id
    apic.init()
    assert (apic.mode, apic.initial_id) == (mode, initial_id)
    assert (apic.apic_base, apic.xapic_id) == before
    assert apic.ldr == (x2apic_ldr(initial_id) if mode is X2APIC else 0)
    assert apic.svr == 0xFF


@pytest.mark.portable(52)
@pytest.mark.rule("R9", "R28", "R36")
def test_an_x2apic_is_still_one_after_init_and_sipi(make_bench):
    """INIT and SIPI, then a logical x2APIC destination reaches the CPU"""
    bench = make_bench()

    def trampoline(cpu):
        yield Wrmsr(msr_of(Register.SVR), 0x1FF)
        yield SelfIpi(0x31)
        yield Sti()
        yield Nop()

    bench.cpus[1].kernel.on_startup = lambda cpu, vector: trampoline
    bench.execute(0, WriteIcr(init_assert(1)), WriteIcr(startup(1, 8)))
    assert bench.run() == [(1, 0x31)]
    bench.execute(0, WriteIcr(fixed(0x2, 0x41, logical=True)))
    assert bench.run() == [(1, 0x41)]
