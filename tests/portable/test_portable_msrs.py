"""Register access: portable tests 18 and 36 (rules R3, R14 to R16, R18, R19, R34)."""

from collections.abc import Iterator
from itertools import product

import pytest

from mkrpc.x86.apic_base import ApicMode, GeneralProtection
from mkrpc.x86.icr import decode
from mkrpc.x86.lapic import LocalApic
from mkrpc.x86.registers import Register, mmio_read, mmio_write, rdmsr, wrmsr

XAPIC, X2APIC = ApicMode.XAPIC, ApicMode.X2APIC
ALL_ONES = (1 << 64) - 1
ICR, SELF_IPI, EOI = 0x830, 0x83F, 0x80B

# SDM table 10-6, by MSR.
READ_ONLY = {
    0x802, 0x803, 0x80A, 0x80D, 0x839,
    *range(0x810, 0x818), *range(0x818, 0x820), *range(0x820, 0x828),
}  # fmt: skip
READ_WRITE = {
    0x808, 0x80F, 0x828, 0x82F, ICR, 0x832, 0x833, 0x834, 0x835, 0x836, 0x837, 0x838, 0x83E,
}  # fmt: skip
WRITE_ONLY = {EOI, SELF_IPI}


def faults(access, *operands: object) -> bool:
    try:
        access(*operands)
    except GeneralProtection:
        return True
    return False


def access_faults(apic: LocalApic, msr: int) -> tuple[bool, bool, bool]:
    """Does RDMSR, WRMSR of 0, WRMSR of all ones fault?"""
    return (
        faults(rdmsr, apic, msr),
        faults(wrmsr, apic, msr, 0),
        faults(wrmsr, apic, msr, ALL_ONES),
    )


@pytest.mark.portable(18)
@pytest.mark.rule("R3", "R14", "R15", "R16")
@pytest.mark.rows(2 * 256)
def test_every_msr_of_the_block_in_both_modes(rows):
    """256 MSRs, RDMSR, WRMSR of 0 and of all ones, in xAPIC and in x2APIC mode"""

    def judge(mode, msr):
        apic = LocalApic(1, mode=mode)
        apic.write_svr(0x1FF)
        if mode is XAPIC:
            return access_faults(apic, msr), (True, True, True)
        readable = msr in READ_ONLY | READ_WRITE
        writable = msr in READ_WRITE | WRITE_ONLY
        # The original leaves all ones in the ICR out: there it is the reserved bits (R18).
        return access_faults(apic, msr), (not readable, not writable, True)

    rows.assert_each(product((XAPIC, X2APIC), range(0x800, 0x900)), judge)


@pytest.mark.portable(18)
@pytest.mark.rule("R14", "R16")
@pytest.mark.rows(42)
def test_what_a_readable_msr_gives_it_takes_back(rows):
    """bits 63:32 of a read are 0, and a read-write MSR keeps what is written back"""

    def judge(msr):
        apic = LocalApic(1, mode=X2APIC)
        apic.write_svr(0x1FF)
        value = rdmsr(apic, msr)
        if msr in READ_WRITE:
            wrmsr(apic, msr, value)
        return (value >> 32, rdmsr(apic, msr)), (0, value)

    rows.assert_each(sorted(READ_ONLY | READ_WRITE), judge)


@pytest.mark.portable(18)
@pytest.mark.rule("R15", "R16")
@pytest.mark.rows(4)
def test_self_ipi_has_eight_bits(rows):
    """reserved bits of SELF_IPI fault; 0 does not"""

    def judge(value, fault):
        return faults(wrmsr, LocalApic(1, mode=X2APIC), SELF_IPI, value), fault

    rows.assert_each([(0x100, True), (0xFF00, True), (0xFF000000, True), (0, False)], judge)


# ICR readback: own id 0, IF = 0. The rows are (low half, destination).
OWN_ID = 0
SELF, ALL_BUT_SELF, ASSERT = 1 << 18, 3 << 18, 1 << 14
BUSY = 1 << 12
RESERVED = 0xFFF32000
GARBAGE = (0xA5A5A5A5A5A5A5A5, 0x5A5A5A5A5A5A5A5A, ALL_ONES)
MODE_BITS = 7 << 8


def icr_rows() -> Iterator[tuple[int, int]]:
    for vector in range(256):
        yield SELF | ASSERT | vector, 0
        yield ASSERT | vector, 0
    for mode, apic_id in product(range(8), range(256)):
        if apic_id != OWN_ID:
            yield ASSERT | mode << 8 | 0xFF, apic_id
    for mode in range(8):
        yield ALL_BUT_SELF | ASSERT | mode << 8 | 0xFF, 0
    for word in GARBAGE:
        yield word & 0xFFFFFFFF & ~MODE_BITS, word >> 32


@pytest.mark.portable(36)
@pytest.mark.rule("R18", "R19", "R34")
@pytest.mark.rows(2 * 2563)
def test_an_xapic_icr_reads_back_as_written(rows):
    """all ICR writes of the list, each with and without bit 12: readback in xAPIC mode"""
    apic = LocalApic(OWN_ID)
    apic.write_svr(0x1FF)

    def judge(low, destination, busy):
        high = destination << 24 if destination <= 0xFF else destination
        mmio_write(apic, Register.ICR2, high)
        mmio_write(apic, Register.ICR, low | busy)
        return (mmio_read(apic, Register.ICR2), mmio_read(apic, Register.ICR)), (
            high & 0xFF000000,
            low & ~BUSY,
        )

    rows.assert_each(((*row, busy) for busy in (0, BUSY) for row in icr_rows()), judge)


@pytest.mark.portable(36)
@pytest.mark.rule("R18", "R19", "R34")
@pytest.mark.rows(2 * 2563)
def test_an_x2apic_icr_reads_back_as_written_or_faults(rows):
    """the same in x2APIC mode: reserved bits fault, and ICR is then as before"""
    apic = LocalApic(OWN_ID, mode=X2APIC)
    apic.write_svr(0x1FF)

    def judge(low, destination, busy):
        before = rdmsr(apic, ICR)
        word = destination << 32 | low | busy
        fault = faults(wrmsr, apic, ICR, word)
        expected = (True, before) if word & RESERVED else (False, word & ~BUSY)
        return (fault, rdmsr(apic, ICR)), expected

    rows.assert_each(((*row, busy) for busy in (0, BUSY) for row in icr_rows()), judge)


@pytest.mark.portable(36)
@pytest.mark.rule("R18")
@pytest.mark.rows(64)
def test_each_bit_of_an_x2apic_icr_alone(rows):
    """one bit at a time: what is reserved faults by itself"""

    def judge(bit):
        apic = LocalApic(OWN_ID, mode=X2APIC)
        fault = faults(wrmsr, apic, ICR, 1 << bit)
        reserved = bool(RESERVED >> bit & 1)
        kept = 0 if reserved or 1 << bit == BUSY else 1 << bit
        return (fault, rdmsr(apic, ICR)), (reserved, kept)

    rows.assert_each(range(64), judge)


@pytest.mark.portable(36)
@pytest.mark.rule("R34")
@pytest.mark.parametrize("mode", [XAPIC, X2APIC])
@pytest.mark.parametrize("delivery_mode", [3, 7])
def test_a_reserved_delivery_mode_neither_faults_nor_arrives(mode, delivery_mode):
    """modes 3 and 7 to itself and to others: nothing is pending afterwards"""
    apic = LocalApic(OWN_ID, mode=mode)
    apic.write_svr(0x1FF)
    for low in (SELF, 0, ALL_BUT_SELF):
        write = apic.write_icr(low | ASSERT | delivery_mode << 8 | 0xFF)
        assert write.settled is not None
        apic.accept(decode(write.word))
    assert (apic.irr, apic.core_event, apic.esr_pending) == (0, False, 0)
