"""RESET values and the modes of a local APIC (SDM vol. 3, 10.4.3, 10.4.7, 10.12.5; R1 to R8)."""

from collections.abc import Callable

import pytest
from apics import bits, enabled, take_all

from mkrpc.outcome import Outcome
from mkrpc.x86.apic_base import APIC_BASE_ENABLE, APIC_BASE_EXTD, GeneralProtection
from mkrpc.x86.apic_state import LVT_MASKED
from mkrpc.x86.icr import (
    DeliveryMode,
    Icr,
    fixed,
)
from mkrpc.x86.lapic import ApicMode, ApicPolicy, LocalApic


@pytest.mark.rule("R8")
def test_reset_values() -> None:
    apic = LocalApic(0x123)
    assert (apic.irr, apic.isr, apic.tmr, apic.icr, apic.ldr, apic.tpr, apic.ppr) == (0,) * 7
    assert (apic.esr, apic.esr_pending, apic.timer_initial, apic.timer_divide) == (0,) * 4
    assert (apic.dfr, apic.svr, apic.xapic_id) == (0xFFFFFFFF, 0xFF, 0x23)
    assert set(apic.lvt.values()) == {LVT_MASKED}
    assert apic.mode is ApicMode.XAPIC
    assert apic.apic_base == 0xFEE00800
    assert not apic.software_enabled


@pytest.mark.rule("R1")
@pytest.mark.parametrize(("bsp", "base"), [(True, 0xFEE00900), (False, 0xFEE00800)])
def test_apic_base_after_reset_marks_the_boot_processor(bsp: bool, base: int) -> None:
    apic = LocalApic(0, bsp=bsp)
    assert apic.apic_base == base
    assert apic.bsp is bsp


@pytest.mark.rule("R1")
@pytest.mark.parametrize("bit", [*range(8), 9, *range(52, 64)])
def test_a_reserved_bit_of_apic_base_faults_and_changes_nothing(bit: int) -> None:
    apic = LocalApic(0)
    before = apic.apic_base
    with pytest.raises(GeneralProtection):
        apic.set_apic_base(before | 1 << bit)
    assert (apic.apic_base, apic.mode) == (before, ApicMode.XAPIC)


@pytest.mark.rule("R1")
def test_the_page_may_be_relocated() -> None:
    apic = LocalApic(0)
    apic.set_apic_base(0xFED40000 | APIC_BASE_ENABLE)
    assert apic.apic_base == 0xFED40800
    assert apic.mode is ApicMode.XAPIC


_BASE = {
    ApicMode.DISABLED: 0xFEE00000,
    ApicMode.XAPIC: 0xFEE00000 | APIC_BASE_ENABLE,
    ApicMode.X2APIC: 0xFEE00000 | APIC_BASE_ENABLE | APIC_BASE_EXTD,
}
_INVALID = 0xFEE00000 | APIC_BASE_EXTD


@pytest.mark.rule("R2")
@pytest.mark.parametrize(
    ("start", "target", "allowed"),
    [
        (ApicMode.DISABLED, ApicMode.DISABLED, True),
        (ApicMode.DISABLED, ApicMode.XAPIC, True),
        (ApicMode.DISABLED, ApicMode.X2APIC, False),
        (ApicMode.XAPIC, ApicMode.DISABLED, True),
        (ApicMode.XAPIC, ApicMode.XAPIC, True),
        (ApicMode.XAPIC, ApicMode.X2APIC, True),
        (ApicMode.X2APIC, ApicMode.DISABLED, True),
        (ApicMode.X2APIC, ApicMode.XAPIC, False),
        (ApicMode.X2APIC, ApicMode.X2APIC, True),
        (ApicMode.DISABLED, None, False),
        (ApicMode.XAPIC, None, False),
        (ApicMode.X2APIC, None, False),
    ],
)
def test_mode_transitions(start: ApicMode, target: ApicMode | None, allowed: bool) -> None:
    """SDM 10.12.5; ``None`` is EN = 0 with EXTD = 1, which nothing may become."""
    apic = LocalApic(3, mode=start)
    assert apic.mode is start
    value = _INVALID if target is None else _BASE[target]
    if allowed:
        apic.set_apic_base(value)
        assert apic.mode is target
    else:
        with pytest.raises(GeneralProtection):
            apic.set_apic_base(value)
        assert apic.mode is start
    apic.assert_invariants()


@pytest.mark.rule("R1")
def test_extd_is_reserved_without_x2apic_support() -> None:
    apic = LocalApic(0, policy=ApicPolicy(x2apic_supported=False))
    with pytest.raises(GeneralProtection):
        apic.set_apic_base(_BASE[ApicMode.X2APIC])
    assert apic.mode is ApicMode.XAPIC


@pytest.mark.rule("R5", "R24")
def test_into_x2apic_registers_stay_but_ldr_id_and_the_upper_icr() -> None:
    apic = enabled(0x13, mode=ApicMode.XAPIC)
    apic.write_xapic_id(0x55)
    apic.write_ldr(0x02000000)
    apic.tpr = 0x42
    apic.accept_fixed(0x31)
    apic.write_icr(fixed(7, 0xEA))
    apic.set_apic_base(_BASE[ApicMode.X2APIC])
    assert (apic.irr, apic.tpr, apic.svr) == (bits(0x31), 0x42, 0x1FF)
    assert (apic.ldr, apic.xapic_id, apic.icr) == (0x10008, 0x13, 0xEA)


@pytest.mark.rule("R6", "R7")
@pytest.mark.parametrize("mode", [ApicMode.XAPIC, ApicMode.X2APIC])
def test_global_disable_resets_registers(mode: ApicMode) -> None:
    apic = enabled(4, mode=mode)
    apic.accept_fixed(0x41)
    apic.acknowledge()
    apic.accept_fixed(0x31)
    apic.set_apic_base(_BASE[ApicMode.DISABLED])
    assert (apic.irr, apic.isr, apic.svr) == (0, 0, 0xFF)
    apic.set_apic_base(_BASE[ApicMode.XAPIC])
    assert (apic.xapic_id, apic.ldr, apic.mode) == (4, 0, ApicMode.XAPIC)
    apic.assert_invariants()


@pytest.mark.rule("R6")
def test_irr_retained_across_transient_disable_where_the_policy_keeps_registers() -> None:
    """OpenVMM #3839: dropping the request hung guests (reference 2.4, row 42)."""
    apic = enabled(mode=ApicMode.XAPIC, policy=ApicPolicy(global_disable="keep"))
    apic.write_xapic_id(9)
    apic.accept_fixed(0x41)
    apic.set_apic_base(_BASE[ApicMode.DISABLED])
    assert apic.highest_deliverable() == -1
    apic.set_apic_base(_BASE[ApicMode.XAPIC])
    assert apic.xapic_id == 0
    assert take_all(apic) == [0x41]


@pytest.mark.rule("R6")
def test_registers_kept_from_x2apic_mode_have_xapic_format_afterwards() -> None:
    apic = enabled(0x21, policy=ApicPolicy(global_disable="keep"))
    apic.write_icr(fixed(0x12345678, 0xEA))
    apic.set_apic_base(_BASE[ApicMode.DISABLED])
    apic.set_apic_base(_BASE[ApicMode.XAPIC])
    assert not apic.ldr & 0x00FFFFFF
    assert not apic.icr >> 32 & 0x00FFFFFF


@pytest.mark.rule("R6", "R8")
@pytest.mark.parametrize("mode", ApicMode)
def test_reset_discards_what_is_pending_whatever_a_disable_keeps(mode: ApicMode) -> None:
    """reset_discards_staged_irr (reference 2.4, row 43); EN and the id come back with it."""
    apic = enabled(0x105, mode=ApicMode.XAPIC, policy=ApicPolicy(global_disable="keep"))
    apic.write_xapic_id(9)
    apic.accept_fixed(0x31)
    apic.acknowledge()
    apic.accept_fixed(0x41)
    apic.tpr = 0x20
    if mode is not ApicMode.XAPIC:
        apic.set_apic_base(_BASE[mode])
    apic.reset()
    assert (apic.irr, apic.isr, apic.tpr, apic.svr) == (0, 0, 0, 0xFF)
    assert (apic.mode, apic.apic_base, apic.xapic_id) == (ApicMode.XAPIC, 0xFEE00800, 5)
    apic.write_svr(0x1FF)
    assert take_all(apic) == []


@pytest.mark.rule("R6", "R7")
@pytest.mark.parametrize("keep", [False, True])
def test_the_id_comes_back_with_en_and_the_base_address_stays(keep: bool) -> None:
    apic = enabled(
        0x105,
        mode=ApicMode.XAPIC,
        policy=ApicPolicy(global_disable="keep" if keep else "reset"),
    )
    apic.set_apic_base(0xFED40000 | APIC_BASE_ENABLE)
    apic.write_xapic_id(9)
    apic.set_apic_base(0xFED40000)
    apic.set_apic_base(0xFED40000 | APIC_BASE_ENABLE)
    assert (apic.xapic_id, apic.apic_base) == (5, 0xFED40800)
    assert apic.software_enabled is keep


@pytest.mark.rule("R3")
@pytest.mark.parametrize("delivery_mode", list(DeliveryMode))
def test_a_globally_disabled_apic_takes_nothing(delivery_mode: DeliveryMode) -> None:
    apic = LocalApic(0, mode=ApicMode.DISABLED)
    icr = Icr(vector=0x41, delivery_mode=delivery_mode, level=True)
    assert apic.accept(icr) is Outcome.REJECTED_APIC_DISABLED
    assert not apic.core_event
    assert apic.irr == 0


def test_the_address_generation_moves_exactly_when_the_address_does() -> None:
    apic = LocalApic(0x12)
    steps: list[tuple[Callable[[], None], bool]] = [
        (lambda: apic.write_ldr(0x02000000), True),
        (lambda: apic.write_ldr(0x02FFFFFF), False),
        (lambda: apic.write_dfr(0x0), True),
        (lambda: apic.write_xapic_id(0x12), False),
        (lambda: apic.write_xapic_id(0x13), True),
        (lambda: apic.write_svr(0x1FF), True),  # software-enabled
        (lambda: apic.write_svr(0x1FE), False),
        (lambda: apic.set_apic_base(_BASE[ApicMode.X2APIC]), True),
        (apic.init, True),  # DFR and SVR
        (apic.init, False),
        (apic.reset, True),
    ]
    for number, (step, moves) in enumerate(steps):
        before, address = apic.address_generation, apic.address
        step()
        assert apic.address_generation == before + moves, number
        assert (apic.address != address) is moves, number
        assert apic.address.mode is apic.mode
        assert apic.address.ldr == apic.ldr
