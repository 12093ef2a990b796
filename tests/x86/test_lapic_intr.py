"""INTR that was signalled and then masked (SDM vol. 3, 10.9; R47), with ``intr = "latched"``.

What the CPU then does is in tests/instance/test_cpu_spurious.py.
"""

from collections.abc import Callable

import pytest

from mkrpc.x86.lapic import ApicMode, ApicPolicy, LocalApic
from mkrpc.x86.registers import IA32_APIC_BASE, mmio_write, write_cr8, wrmsr

LATCHED = ApicPolicy(intr="latched")


def signalling(policy: ApicPolicy = LATCHED, mode: ApicMode = ApicMode.X2APIC) -> LocalApic:
    """An enabled APIC with 0x41 deliverable: INTR is up."""
    apic = LocalApic(5, mode=mode, policy=policy)
    apic.write_svr(0x1FF)
    apic.accept_fixed(0x41)
    assert apic.highest_deliverable() == 0x41
    return apic


@pytest.mark.rule("R47")
@pytest.mark.parametrize(
    ("mode", "mask"),
    [
        pytest.param(ApicMode.X2APIC, lambda apic: wrmsr(apic, 0x808, 0x40), id="TPR MSR"),
        pytest.param(ApicMode.XAPIC, lambda apic: mmio_write(apic, 0x80, 0xFF), id="TPR"),
        pytest.param(ApicMode.XAPIC, lambda apic: write_cr8(apic, 4), id="CR8"),
        pytest.param(ApicMode.X2APIC, lambda apic: wrmsr(apic, 0x80F, 0xFF), id="SVR MSR"),
        pytest.param(ApicMode.XAPIC, lambda apic: mmio_write(apic, 0xF0, 0xFF), id="SVR"),
    ],
)
def test_masking_a_signalled_interrupt_leaves_intr_latched(
    mode: ApicMode, mask: Callable[[LocalApic], object]
) -> None:
    apic = signalling(mode=mode)
    mask(apic)
    assert apic.highest_deliverable() == -1
    assert apic.intr_latched
    assert apic.core_event
    assert (apic.irr, apic.isr) == (1 << 0x41, 0)
    apic.assert_invariants()
    synchronous = signalling(ApicPolicy(), mode)
    mask(synchronous)
    assert not synchronous.intr_latched


@pytest.mark.rule("R47")
@pytest.mark.parametrize("tpr", [0x00, 0x10, 0x3F])
def test_a_tpr_that_masks_nothing_latches_nothing(tpr: int) -> None:
    apic = signalling()
    apic.tpr = tpr
    assert not apic.intr_latched


@pytest.mark.rule("R47")
def test_what_was_never_signalled_latches_nothing() -> None:
    """Below TPR when it came, or nothing there at all."""
    apic = LocalApic(5, mode=ApicMode.X2APIC, policy=LATCHED)
    apic.write_svr(0x1FF)
    apic.tpr = 0x40
    apic.accept_fixed(0x41)
    apic.tpr = 0x50
    apic.write_svr(0xFF)
    assert not apic.intr_latched


@pytest.mark.rule("R47", "R44")
def test_a_higher_interrupt_that_stays_deliverable_answers_the_acknowledge() -> None:
    apic = signalling()
    apic.accept_fixed(0x91)
    apic.tpr = 0x40
    assert not apic.intr_latched
    assert apic.acknowledge() == 0x91


@pytest.mark.rule("R38", "R47")
def test_where_disabling_masks_nothing_pending_it_latches_nothing() -> None:
    apic = signalling(ApicPolicy(intr="latched", pending_while_software_disabled="deliver"))
    apic.write_svr(0xFF)
    assert not apic.intr_latched
    assert apic.acknowledge() == 0x41


@pytest.mark.rule("R8", "R9", "R47")
@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda apic: apic.init(), id="INIT"),
        pytest.param(lambda apic: apic.reset(), id="RESET"),
        pytest.param(lambda apic: wrmsr(apic, IA32_APIC_BASE, 0xFEE00000), id="EN = 0"),
    ],
)
@pytest.mark.parametrize("disable", ["reset", "keep"])
def test_init_reset_and_a_global_disable_withdraw_it(
    end: Callable[[LocalApic], object], disable: str
) -> None:
    policy = ApicPolicy(intr="latched", global_disable="keep" if disable == "keep" else "reset")
    apic = signalling(policy)
    apic.tpr = 0xFF
    assert apic.intr_latched
    end(apic)
    assert not apic.intr_latched
    assert not apic.core_event
    apic.assert_invariants()
