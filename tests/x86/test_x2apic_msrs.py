"""The x2APIC MSRs (SDM table 10-6, 10.12.1; rules R3, R14 to R19).

The tables are those of kvm-unit-tests msr.c, re-expressed from reference 2.2, row 18.
"""

from functools import partial

import apics
import pytest

from mkrpc.outcome import Outcome
from mkrpc.x86.icr import ICR_RESERVED, fixed
from mkrpc.x86.lapic import ApicMode, ApicPolicy, LocalApic
from mkrpc.x86.registers import (
    GeneralProtection,
    rdmsr,
    wrmsr,
)

READ_ONLY = [0x802, 0x803, 0x80A, 0x80D, *range(0x810, 0x828), 0x839]
READ_WRITE = [0x808, 0x80F, 0x828, 0x82F, 0x830, *range(0x832, 0x839), 0x83E]
WRITE_ONLY = [0x80B, 0x83F]
ABSENT = sorted(set(range(0x800, 0x900)) - {*READ_ONLY, *READ_WRITE, *WRITE_ONLY})
ALL_ONES = (1 << 64) - 1


enabled = partial(apics.enabled, mode=ApicMode.XAPIC)


def state(apic: LocalApic) -> list[object]:
    """Everything that an access could change."""
    slots = [name for cls in type(apic).__mro__ for name in getattr(cls, "__slots__", ())]
    return [repr(getattr(apic, name)) for name in slots]


@pytest.mark.rule("R3")
@pytest.mark.parametrize("mode", [ApicMode.XAPIC, ApicMode.DISABLED])
def test_outside_x2apic_mode_every_msr_faults(mode: ApicMode) -> None:
    apic = LocalApic(0, mode=mode)
    before = state(apic)
    for msr in range(0x800, 0x900):
        with pytest.raises(GeneralProtection):
            rdmsr(apic, msr)
        for value in (0, ALL_ONES):
            with pytest.raises(GeneralProtection):
                wrmsr(apic, msr, value)
    assert state(apic) == before


@pytest.mark.rule("R14", "R16")
@pytest.mark.parametrize("msr", [*READ_ONLY, *READ_WRITE])
def test_readable_msrs(msr: int) -> None:
    value = rdmsr(enabled(0x123, mode=ApicMode.X2APIC), msr)
    assert 0 <= value <= 0xFFFFFFFF


@pytest.mark.rule("R14")
@pytest.mark.parametrize("msr", [*WRITE_ONLY, *ABSENT, 0x900, 0xBFF, 0x10])
def test_write_only_and_absent_msrs_fault_on_a_read(msr: int) -> None:
    with pytest.raises(GeneralProtection):
        rdmsr(enabled(mode=ApicMode.X2APIC), msr)


@pytest.mark.rule("R14", "R15")
@pytest.mark.parametrize("msr", [*READ_ONLY, *ABSENT, 0x900, 0xBFF, 0x10])
def test_read_only_and_absent_msrs_fault_on_a_write(msr: int) -> None:
    apic = enabled(mode=ApicMode.X2APIC)
    before = state(apic)
    with pytest.raises(GeneralProtection):
        wrmsr(apic, msr, 0)
    assert state(apic) == before


@pytest.mark.rule("R14")
@pytest.mark.parametrize("msr", [msr for msr in READ_WRITE if msr != 0x830])
def test_a_read_write_msr_takes_back_what_it_gave(msr: int) -> None:
    apic = enabled(mode=ApicMode.X2APIC)
    value = rdmsr(apic, msr)
    assert wrmsr(apic, msr, value) is None
    assert rdmsr(apic, msr) == value


WRITABLE_BITS = {
    0x808: 0xFF,
    0x80B: 0,
    0x80F: 0x3FF,
    0x828: 0,
    0x82F: 0x000117FF,
    0x832: 0x000710FF,
    0x833: 0x000117FF,
    0x834: 0x000117FF,
    0x835: 0x0001F7FF,
    0x836: 0x0001F7FF,
    0x837: 0x000110FF,
    0x838: 0xFFFFFFFF,
    0x83E: 0xB,
    0x83F: 0xFF,
}


@pytest.mark.rule("R15")
@pytest.mark.parametrize("msr", WRITABLE_BITS, ids=hex)
def test_each_reserved_bit_of_each_msr_faults_and_changes_nothing(msr: int) -> None:
    for bit in range(64):
        apic = enabled(mode=ApicMode.X2APIC)
        if WRITABLE_BITS[msr] >> bit & 1:
            wrmsr(apic, msr, 1 << bit)
            continue
        before = state(apic)
        with pytest.raises(GeneralProtection):
            wrmsr(apic, msr, 1 << bit)
        assert state(apic) == before, bit
    with pytest.raises(GeneralProtection):
        wrmsr(enabled(mode=ApicMode.X2APIC), msr, ALL_ONES)


@pytest.mark.rule("R14", "R24")
@pytest.mark.parametrize(
    ("msr", "value"), [(0x802, 0x10013), (0x803, 0x00060014), (0x80D, 0x10010008)]
)
def test_x2apic_identity_registers(msr: int, value: int) -> None:
    # Only the low 20 bits of an id take part in the logical id.
    assert rdmsr(enabled(0x10013, mode=ApicMode.X2APIC), msr) == value


@pytest.mark.rule("R46")
def test_x2apic_eoi() -> None:
    apic = enabled(mode=ApicMode.X2APIC)
    apic.accept_fixed(0xEA)
    apic.acknowledge()
    with pytest.raises(GeneralProtection):
        wrmsr(apic, 0x80B, 1)
    assert apic.isr == 1 << 0xEA
    wrmsr(apic, 0x80B, 0)
    assert apic.isr == 0


@pytest.mark.rule("R16", "R54")
@pytest.mark.parametrize(
    ("vector", "outcome"),
    [(0xEA, Outcome.DELIVERED), (0, Outcome.REJECTED_ILLEGAL_VECTOR)],
)
def test_self_ipi_of_0_is_an_illegal_vector_and_no_fault(vector: int, outcome: Outcome) -> None:
    apic = enabled(mode=ApicMode.X2APIC)
    write = wrmsr(apic, 0x83F, vector)
    assert write is not None
    assert write.settled is outcome
    assert apic.irr == (1 << vector if outcome is Outcome.DELIVERED else 0)


@pytest.mark.rule("R18", "R19")
def test_x2apic_icr_is_one_64_bit_write_and_reads_back() -> None:
    apic = enabled(mode=ApicMode.X2APIC)
    write = wrmsr(apic, 0x830, 0x12345678_000040EA)
    assert write is not None
    assert (write.word, write.settled) == (0x12345678_000040EA, None)
    assert rdmsr(apic, 0x830) == 0x12345678_000040EA


@pytest.mark.rule("R18")
@pytest.mark.parametrize("bit", [bit for bit in range(64) if ICR_RESERVED >> bit & 1])
def test_x2apic_icr_reserved_bits_fault_and_nothing_is_sent(bit: int) -> None:
    apic = enabled(mode=ApicMode.X2APIC)
    wrmsr(apic, 0x830, fixed(1, 0xEA))
    before = state(apic)
    with pytest.raises(GeneralProtection):
        wrmsr(apic, 0x830, fixed(2, 0xEA) | 1 << bit)
    assert state(apic) == before


@pytest.mark.rule("R18")
def test_x2apic_icr_bit_12_is_cleared_or_faults_by_policy() -> None:
    intel = enabled(mode=ApicMode.X2APIC)
    write = wrmsr(intel, 0x830, 0x1_000010EA)
    assert write is not None
    assert write.word == rdmsr(intel, 0x830) == 0x1_000000EA
    amd = enabled(mode=ApicMode.X2APIC, policy=ApicPolicy(icr_bit12="gp"))
    with pytest.raises(GeneralProtection):
        wrmsr(amd, 0x830, 0x1_000010EA)
    assert rdmsr(amd, 0x830) == 0
