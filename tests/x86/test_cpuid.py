"""CPUID where it speaks of the local APIC (SDM vol. 2, CPUID; vol. 3, 10.4.3, 10.12.8.1)."""

import pytest

from mkrpc.errors import InvalidArgumentError
from mkrpc.x86.cpuid import cpuid
from mkrpc.x86.lapic import ApicMode, ApicPolicy, LocalApic
from mkrpc.x86.registers import IA32_APIC_BASE, mmio_write, wrmsr

ZEROS = (0, 0, 0, 0)


@pytest.mark.rule("R7")
@pytest.mark.parametrize("mode", ApicMode)
@pytest.mark.parametrize("initial_id", [0, 5, 0xFE, 0x105, 0xFFFFFFFE])
def test_the_initial_id_is_told_in_8_and_in_32_bits(mode: ApicMode, initial_id: int) -> None:
    apic = LocalApic(initial_id, mode=mode)
    assert cpuid(apic, 1)[1] == (initial_id & 0xFF) << 24
    assert cpuid(apic, 0xB)[3] == initial_id


@pytest.mark.rule("R7")
def test_a_rewritten_id_does_not_show() -> None:
    """kvm-unit-tests test_apic_id (reference 2.1, row 13)."""
    apic = LocalApic(5)
    mmio_write(apic, 0x20, 6 << 24)
    assert apic.xapic_id == 6
    assert (cpuid(apic, 1)[1], cpuid(apic, 0xB)[3]) == (5 << 24, 5)


@pytest.mark.rule("R3")
def test_the_apic_is_announced_while_it_is_globally_enabled() -> None:
    """kvm-unit-tests test_apic_disable (reference 2.1, row 2)."""
    apic = LocalApic(0)
    announced = []
    for base in (0xFEE00800, 0xFEE00000, 0xFEE00800, 0xFEE00C00, 0xFEE00000):
        wrmsr(apic, IA32_APIC_BASE, base)
        announced.append(cpuid(apic, 1)[3])
    assert announced == [1 << 9, 0, 1 << 9, 1 << 9, 0]


@pytest.mark.rule("R1")
@pytest.mark.parametrize("mode", [ApicMode.XAPIC, ApicMode.DISABLED])
@pytest.mark.parametrize(("supported", "ecx"), [(True, 1 << 21), (False, 0)])
def test_x2apic_is_announced_where_it_is_supported(
    mode: ApicMode, supported: bool, ecx: int
) -> None:
    apic = LocalApic(0, mode=mode, policy=ApicPolicy(x2apic_supported=supported))
    assert cpuid(apic, 1)[2] == ecx


@pytest.mark.parametrize("subleaf", [0, 1, 2, 0xFF, 0x1FF, 0xFFFFFFFF])
def test_leaf_0xb_has_no_level_and_gives_the_subleaf_back(subleaf: int) -> None:
    """ECX[15:8] = 0 is an invalid level; ECX[7:0] is that of the question."""
    assert cpuid(LocalApic(7), 0xB, subleaf) == (0, 0, subleaf & 0xFF, 7)


@pytest.mark.parametrize("leaf", [0, 2, 4, 0xA, 0xC, 0x1F, 0x80000000, 0xFFFFFFFF])
def test_every_other_leaf_is_zeros(leaf: int) -> None:
    assert cpuid(LocalApic(7), leaf) == ZEROS


@pytest.mark.parametrize(("leaf", "subleaf"), [(-1, 0), (1 << 32, 0), (0xB, -1), (0xB, 1 << 32)])
def test_a_leaf_has_32_bits(leaf: int, subleaf: int) -> None:
    with pytest.raises(InvalidArgumentError, match="32 bits"):
        cpuid(LocalApic(0), leaf, subleaf)
