"""What holds for both kinds of register access: ICR reading, IRR and ISR, APIC_BASE, CR8.

The x2APIC MSRs are in test_x2apic_msrs.py, the xAPIC page in test_xapic_page.py. The ICR rows are
those of KVM's xapic_state_test, re-expressed from reference 2.3, row 36.
"""

from collections.abc import Iterator
from functools import partial

import apics
import pytest

from mkrpc.x86.icr import ICR_RESERVED
from mkrpc.x86.lapic import ApicMode, ApicPolicy, LocalApic
from mkrpc.x86.registers import (
    IA32_APIC_BASE,
    GeneralProtection,
    mmio_read,
    mmio_write,
    msr_of,
    rdmsr,
    read_cr8,
    write_cr8,
    wrmsr,
)

enabled = partial(apics.enabled, mode=ApicMode.XAPIC)


def _xapic_state_test_rows() -> Iterator[tuple[int, int]]:
    """KVM's xapic_state_test, test_icr (reference 2.3, row 36): (ICR2, ICR)."""
    assert_level, self_shorthand, all_but = 1 << 14, 1 << 18, 3 << 18
    for vector in range(256):
        yield 0, self_shorthand | assert_level | vector
        yield 0, assert_level | vector
    for delivery_mode in range(8):
        yield 0, all_but | assert_level | delivery_mode << 8
        for destination in range(1, 256):
            yield destination << 24, assert_level | delivery_mode << 8 | 0xFF
    for garbage in (0xA5A5A5A5, 0x5A5A5A5A, 0xFFFFFFFF):
        yield garbage, garbage & ~0x700


@pytest.mark.rule("R19", "R34")
@pytest.mark.parametrize("busy", [0, 1 << 12])
def test_xapic_icr_reads_back_as_written_but_bit_12(busy: int) -> None:
    for icr2, icr in _xapic_state_test_rows():
        apic = enabled()
        mmio_write(apic, 0x310, icr2)
        write = mmio_write(apic, 0x300, icr | busy)
        assert write is not None
        assert not write.word & (ICR_RESERVED | 1 << 12)
        assert mmio_read(apic, 0x300) == icr & ~(1 << 12), hex(icr)
        assert mmio_read(apic, 0x310) == icr2 & 0xFF000000


@pytest.mark.rule("R18", "R34")
def test_x2apic_icr_reads_back_exactly_or_faults() -> None:
    for icr2, icr in _xapic_state_test_rows():
        apic = enabled(mode=ApicMode.X2APIC)
        value = icr2 << 32 | icr
        if icr & ICR_RESERVED:
            with pytest.raises(GeneralProtection):
                wrmsr(apic, 0x830, value)
            assert rdmsr(apic, 0x830) == 0
        else:
            wrmsr(apic, 0x830, value)
            assert rdmsr(apic, 0x830) == value & ~(1 << 12), hex(value)


@pytest.mark.parametrize("vector", [0x10, 0x1F, 0x20, 0x3F, 0x7F, 0x80, 0xEA, 0xFF])
@pytest.mark.parametrize("mode", [ApicMode.XAPIC, ApicMode.X2APIC])
def test_irr_and_isr_are_eight_registers_each(mode: ApicMode, vector: int) -> None:
    apic = enabled(mode=mode)

    def bank(first: int) -> list[int]:
        offsets = range(first, first + 0x80, 0x10)
        if mode is ApicMode.X2APIC:
            return [rdmsr(apic, msr_of(offset)) for offset in offsets]
        return [mmio_read(apic, offset) for offset in offsets]

    expected = [1 << vector % 32 if word == vector // 32 else 0 for word in range(8)]
    apic.accept_fixed(vector)
    assert (bank(0x200), bank(0x100), bank(0x180)) == (expected, [0] * 8, [0] * 8)
    apic.acknowledge()
    assert (bank(0x200), bank(0x100), bank(0x180)) == ([0] * 8, expected, [0] * 8)


@pytest.mark.rule("R1", "R2")
def test_apic_base_is_an_msr_in_every_mode() -> None:
    apic = LocalApic(0, bsp=True)
    assert rdmsr(apic, IA32_APIC_BASE) == 0xFEE00900
    wrmsr(apic, IA32_APIC_BASE, 0xFEE00D00)
    assert (apic.mode, rdmsr(apic, IA32_APIC_BASE)) == (ApicMode.X2APIC, 0xFEE00D00)
    with pytest.raises(GeneralProtection):
        wrmsr(apic, IA32_APIC_BASE, 0xFEE00900)
    wrmsr(apic, IA32_APIC_BASE, 0xFEE00100)
    assert (apic.mode, rdmsr(apic, IA32_APIC_BASE)) == (ApicMode.DISABLED, 0xFEE00100)


@pytest.mark.rule("R4", "R49")
@pytest.mark.parametrize("mode", ApicMode)
def test_cr8_is_the_class_of_tpr_in_every_mode(mode: ApicMode) -> None:
    apic = LocalApic(0, mode=mode)
    write_cr8(apic, 0xA)
    assert (apic.tpr, read_cr8(apic)) == (0xA0, 0xA)
    for value in (0x10, 1 << 63):
        with pytest.raises(GeneralProtection):
            write_cr8(apic, value)
    assert apic.tpr == 0xA0


@pytest.mark.rule("R3", "R4")
def test_apic_disable() -> None:
    """kvm-unit-tests test_apic_disable (reference 2.1, row 2)."""
    apic = enabled()
    write_cr8(apic, 5)
    wrmsr(apic, IA32_APIC_BASE, 0xFEE00000)
    assert [mmio_read(apic, offset) for offset in (0x30, 0x80)] == [0xFFFFFFFF] * 2
    toggled = read_cr8(apic) ^ 0xF
    write_cr8(apic, toggled)
    mmio_write(apic, 0x80, 0x30)
    assert read_cr8(apic) == toggled
    wrmsr(apic, IA32_APIC_BASE, 0xFEE00800)
    assert mmio_read(apic, 0x30) == 0x00060014
    assert mmio_read(apic, 0x80) == toggled << 4


@pytest.mark.rule("R4", "R6")
@pytest.mark.parametrize(("keep", "kept"), [(False, 0x00), (True, 0x50)])
def test_cr8_survives_a_global_disable_where_the_registers_do(keep: bool, kept: int) -> None:
    policy = ApicPolicy(global_disable="keep" if keep else "reset")
    apic = enabled(mode=ApicMode.X2APIC, policy=policy)
    write_cr8(apic, 5)
    wrmsr(apic, IA32_APIC_BASE, 0xFEE00000)
    assert read_cr8(apic) << 4 == kept
    wrmsr(apic, IA32_APIC_BASE, 0xFEE00800)
    assert mmio_read(apic, 0x80) == kept


@pytest.mark.rule("R43", "R49")
def test_tpr_ppr_and_cr8_agree() -> None:
    """KVM's xapic_tpr_test (reference 2.3, row 40)."""
    apic = enabled(mode=ApicMode.X2APIC)
    for tpr, deliverable in ((0x00, True), (0x20, False), (0x10, True)):
        wrmsr(apic, 0x808, tpr)
        assert rdmsr(apic, 0x80A) >> 4 == read_cr8(apic) == tpr >> 4
        wrmsr(apic, 0x83F, 0x20)
        assert (apic.highest_deliverable() == 0x20) is deliverable
        if deliverable:
            apic.acknowledge()
            wrmsr(apic, 0x80B, 0)
