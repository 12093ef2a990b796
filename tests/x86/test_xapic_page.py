"""The register page of an xAPIC (SDM table 10-1, 10.4.1; rules R3, R12, R13, R19)."""

from functools import partial

import apics
import pytest

from mkrpc.x86.icr import fixed
from mkrpc.x86.lapic import ApicMode, ApicPolicy, LocalApic
from mkrpc.x86.registers import (
    Register,
    mmio_read,
    mmio_write,
)

enabled = partial(apics.enabled, mode=ApicMode.XAPIC)


def state(apic: LocalApic) -> list[object]:
    """Everything that an access could change."""
    slots = [name for cls in type(apic).__mro__ for name in getattr(cls, "__slots__", ())]
    return [repr(getattr(apic, name)) for name in slots]


@pytest.mark.rule("R3")
@pytest.mark.parametrize("mode", [ApicMode.X2APIC, ApicMode.DISABLED])
def test_without_a_page_reads_are_all_ones_and_writes_are_lost(mode: ApicMode) -> None:
    apic = LocalApic(0, mode=mode)
    before = state(apic)
    for offset in range(0, 0x1000, 0x10):
        assert mmio_read(apic, offset) == 0xFFFFFFFF
        assert mmio_read(apic, offset, 1) == 0xFF
        assert mmio_write(apic, offset, 0xFFFFFFFF) is None
    assert state(apic) == before


@pytest.mark.rule("R12")
@pytest.mark.parametrize(
    ("offset", "size", "value"),
    [
        (0x30, 4, 0x00060014),
        (0x30, 1, 0x14),
        (0x30, 2, 0x0014),
        (0x32, 2, 0x0006),
        (0x32, 1, 0x06),
        (0x31, 2, 0x0600),
        (0x23, 2, 0),  # leaves the register
        (0x34, 4, 0),  # between registers
        (0x30, 8, 0),
        (0x23, 1, 0x05),  # byte 3 of ID
    ],
)
def test_reads_inside_one_register(offset: int, size: int, value: int) -> None:
    apic = enabled(5)
    assert mmio_read(apic, offset, size) == value
    assert apic.esr_pending == 0


@pytest.mark.rule("R12")
@pytest.mark.parametrize(("offset", "size"), [(0x80, 1), (0x80, 2), (0x80, 8), (0x82, 4)])
def test_writes_count_only_as_aligned_double_words(offset: int, size: int) -> None:
    apic = enabled()
    mmio_write(apic, offset, 0x20, size)
    assert (apic.tpr, apic.esr_pending) == (0, 0)
    mmio_write(apic, 0x80, 0x20)
    assert apic.tpr == 0x20


# SDM table 10-1, whatever the model believes; 0x2F0 is there with max LVT entry 6.
DEFINED = {
    *(0x20, 0x30, 0x80, 0x90, 0xA0, 0xB0, 0xC0, 0xD0, 0xE0, 0xF0),
    *range(0x100, 0x290, 0x10),
    *(0x2F0, 0x300, 0x310, *range(0x320, 0x3A0, 0x10), 0x3E0),
}


@pytest.mark.rule("R12", "R13")
@pytest.mark.parametrize("offset", [0x00, 0x10, 0x290, 0x3F0, 0x400])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_byte_of_a_reserved_register_is_an_illegal_address_too(offset: int, size: int) -> None:
    apic = enabled()
    assert mmio_read(apic, offset, size) == 0
    assert apic.esr_pending == 0x80


@pytest.mark.rule("R13", "R51")
@pytest.mark.parametrize("offset", range(0, 0x1000, 0x10))
def test_a_reserved_offset_is_esr_bit_7_and_never_a_fault(offset: int) -> None:
    """APR (0x90) and RRD (0xC0) are unsupported but not illegal; SELF_IPI is no xAPIC register."""
    expected = 0 if offset in DEFINED else 0x80
    reader, writer = enabled(), enabled()
    value = mmio_read(reader, offset)
    assert reader.esr_pending == expected
    if expected:
        assert value == 0
    mmio_write(writer, offset, 0x44000)  # to ICR: fixed, vector 0
    assert writer.esr_pending == (0x20 if offset == Register.ICR else expected)


@pytest.mark.rule("R13")
@pytest.mark.parametrize("offset", [0x30, 0x90, 0xA0, 0xC0, 0x100, 0x1F0, 0x270, 0x390])
def test_a_write_to_a_read_only_register_is_lost(offset: int) -> None:
    apic = enabled()
    apic.accept_fixed(0xEA)
    before = state(apic)
    assert mmio_write(apic, offset, 0) is None
    assert state(apic) == before


@pytest.mark.rule("R7", "R12")
@pytest.mark.parametrize(
    ("offset", "written", "read"),
    [
        (0x80, 0xFFFFFF25, 0x25),
        (0xD0, 0x02FFFFFF, 0x02000000),
        (0xE0, 0x00000000, 0x0FFFFFFF),
        (0xE0, 0xF0000000, 0xFFFFFFFF),
        (0xF0, 0xFFFFFFFF, 0x000003FF),
        (0x2F0, 0xFFFFFFFF, 0x000107FF),
        (0x310, 0xFFFFFFFF, 0xFF000000),
        (0x320, 0xFFFFFFFF, 0x000700FF),
        (0x330, 0xFFFFFFFF, 0x000107FF),
        (0x340, 0xFFFFFFFF, 0x000107FF),
        (0x350, 0xFFFFFFFF, 0x0001A7FF),
        (0x360, 0xFFFFFFFF, 0x0001A7FF),
        (0x370, 0xFFFFFFFF, 0x000100FF),
        (0x380, 0x12345678, 0x12345678),
        (0x3E0, 0xFFFFFFFF, 0x0000000B),
        (0x20, 0x07FFFFFF, 0x07000000),
    ],
)
def test_an_xapic_register_keeps_its_defined_bits(offset: int, written: int, read: int) -> None:
    apic = enabled()
    assert mmio_write(apic, offset, written) is None
    assert mmio_read(apic, offset) == read
    assert apic.esr_pending == 0


@pytest.mark.rule("R7")
def test_the_xapic_id_may_be_read_only_or_writable() -> None:
    for writable, expected in ((True, 0x06000000), (False, 0x05000000)):
        apic = enabled(5, policy=ApicPolicy(xapic_id_writable=writable))
        mmio_write(apic, 0x20, 0x06000000)
        assert mmio_read(apic, 0x20) == expected


def test_the_timer_holds_its_registers_and_does_not_count() -> None:
    apic = enabled()
    mmio_write(apic, 0x320, 0x200EC)
    mmio_write(apic, 0x380, 1000)
    assert [mmio_read(apic, offset) for offset in (0x320, 0x380, 0x390)] == [0x200EC, 1000, 0]
    assert apic.irr == 0


@pytest.mark.rule("R46")
@pytest.mark.parametrize("value", [0, 77, 0xFFFFFFFF])
def test_xapic_eoi_takes_any_value(value: int) -> None:
    apic = enabled()
    apic.accept_fixed(0xEA)
    apic.acknowledge()
    mmio_write(apic, 0xB0, value)
    assert apic.isr == 0


@pytest.mark.rule("R50")
@pytest.mark.parametrize("value", [0, 0xFF])
def test_xapic_esr_write_latches_whatever_is_written(value: int) -> None:
    apic = enabled()
    mmio_read(apic, 0x40)
    assert mmio_read(apic, 0x280) == 0
    mmio_write(apic, 0x280, value)
    assert mmio_read(apic, 0x280) == 0x80
    mmio_write(apic, 0x280, value)
    assert mmio_read(apic, 0x280) == 0


@pytest.mark.rule("R19")
def test_icr2_sends_nothing_and_icr_sends_with_it() -> None:
    apic = enabled()
    assert mmio_write(apic, 0x310, 0x05123456) is None
    write = mmio_write(apic, 0x300, 0x000000EA)
    assert write is not None
    assert (write.word, write.settled) == (fixed(5, 0xEA), None)
    again = mmio_write(apic, 0x300, 0x000000EB)
    assert again is not None
    assert again.word == fixed(5, 0xEB)


@pytest.mark.rule("R19", "R20")
def test_a_write_dropped_while_busy_leaves_no_reserved_bit_behind() -> None:
    apic = enabled(policy=ApicPolicy(icr_busy="drop"))
    mmio_write(apic, 0x300, 0x000000EA)
    apic.delivery_pending = True
    mmio_write(apic, 0x300, 0xFFF33041)
    assert mmio_read(apic, 0x300) == 0x000010EA
    apic.delivery_pending = False
    mmio_write(apic, 0x300, 0xFFF33041)
    assert mmio_read(apic, 0x300) == 0xFFF32041


@pytest.mark.rule("R20")
def test_delivery_status_is_idle_unless_somebody_says_otherwise() -> None:
    apic = enabled()
    mmio_write(apic, 0x300, 0x10EA)
    assert not mmio_read(apic, 0x300) & 1 << 12
