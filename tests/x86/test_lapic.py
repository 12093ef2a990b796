"""Acceptance, priority, acknowledgement and EOI (SDM vol. 3, 10.8; rules R21, R31 to R48).

Modes are in test_apic_base.py, sending and errors in test_lapic_send.py, NMI, SMI, INIT and SIPI in
test_lapic_core_events.py, long random runs in test_lapic_properties.py.
"""

import pytest
from apics import bits, enabled, take_all

from mkrpc.outcome import Outcome
from mkrpc.x86.apic_state import LVT_MASKED
from mkrpc.x86.icr import (
    DeliveryMode,
    Icr,
    Shorthand,
    TriggerMode,
    decode,
    fixed,
    icr_word,
    shorthand_word,
)
from mkrpc.x86.lapic import ApicMode, ApicPolicy, LocalApic

MULTIKERNEL = 0xEA
BOTH_MODES = pytest.mark.parametrize("mode", [ApicMode.XAPIC, ApicMode.X2APIC])


# Acceptance.


@pytest.mark.rule("R31", "R42")
@BOTH_MODES
def test_one_pending_and_one_in_service_per_vector(mode: ApicMode) -> None:
    apic = enabled(mode=mode)
    icr = decode(fixed(0, MULTIKERNEL))
    outcomes = [apic.accept(icr) for _ in range(3)]
    assert outcomes == [Outcome.DELIVERED, Outcome.COALESCED, Outcome.COALESCED]
    assert apic.acknowledge() == MULTIKERNEL
    assert apic.accept(icr) is Outcome.DELIVERED
    assert apic.accept(icr) is Outcome.COALESCED
    assert (apic.irr, apic.isr, apic.tmr) == (bits(MULTIKERNEL), bits(MULTIKERNEL), 0)
    assert apic.highest_deliverable() == -1
    assert apic.eoi() == MULTIKERNEL
    assert take_all(apic) == [MULTIKERNEL]


@pytest.mark.rule("R21")
@pytest.mark.parametrize("level", [False, True])
@pytest.mark.parametrize("trigger", TriggerMode)
def test_level_and_trigger_bits_do_not_matter_to_a_fixed_ipi(
    level: bool, trigger: TriggerMode
) -> None:
    apic = enabled()
    icr = Icr(vector=MULTIKERNEL, level=level, trigger_mode=trigger)
    assert apic.accept(icr) is Outcome.DELIVERED
    assert apic.tmr == 0
    assert take_all(apic) == [MULTIKERNEL]


@pytest.mark.rule("R32")
def test_an_arbitrated_lowest_priority_interrupt_is_taken_as_fixed() -> None:
    apic = enabled()
    icr = Icr(vector=MULTIKERNEL, delivery_mode=DeliveryMode.LOWEST_PRIORITY)
    assert apic.accept(icr) is Outcome.DELIVERED
    assert apic.irr == bits(MULTIKERNEL)


@pytest.mark.rule("R34")
@pytest.mark.parametrize("delivery_mode", [DeliveryMode.RESERVED_3, DeliveryMode.EXTINT])
def test_reserved_modes_change_nothing_at_either_end(delivery_mode: DeliveryMode) -> None:
    apic = enabled()
    icr = Icr(vector=MULTIKERNEL, delivery_mode=delivery_mode)
    assert apic.accept(icr) is Outcome.REJECTED_RESERVED_MODE
    word = icr_word(vector=MULTIKERNEL, delivery_mode=delivery_mode, destination=1)
    assert apic.write_icr(word).settled is Outcome.REJECTED_RESERVED_MODE
    assert apic.icr == word
    assert (apic.irr, apic.core_event, apic.esr_pending) == (0, False, 0)


@pytest.mark.rule("R11", "R37", "R38")
def test_svr_disable_keeps_what_is_pending_and_drops_what_arrives() -> None:
    """Reference 2.5, row 47; Linux commit 52d6b926aabc."""
    apic = enabled()
    apic.accept_fixed(0x31)
    apic.write_svr(0xFF)
    assert apic.accept_fixed(0x41) is Outcome.REJECTED_SOFTWARE_DISABLED
    assert apic.accept_fixed(0x31) is Outcome.REJECTED_SOFTWARE_DISABLED
    assert apic.accept_fixed(0x05) is Outcome.REJECTED_SOFTWARE_DISABLED
    assert (apic.irr, apic.esr_pending, apic.highest_deliverable()) == (bits(0x31), 0, -1)
    apic.write_svr(0x1FF)
    assert take_all(apic) == [0x31]


@pytest.mark.rule("R38")
def test_pending_while_software_disabled_is_taken_where_the_policy_says_so() -> None:
    apic = enabled(policy=ApicPolicy(pending_while_software_disabled="deliver"))
    apic.accept_fixed(0x31)
    apic.write_svr(0xFF)
    assert apic.accept_fixed(0x41) is Outcome.REJECTED_SOFTWARE_DISABLED
    assert take_all(apic) == [0x31]


@pytest.mark.rule("R37", "R46")
def test_svr_disable_keeps_isr_and_eoi_still_ends() -> None:
    apic = enabled()
    apic.accept_fixed(MULTIKERNEL)
    apic.acknowledge()
    apic.write_svr(0xFF)
    assert (apic.isr, apic.ppr) == (bits(MULTIKERNEL), 0xE0)
    assert apic.eoi() == MULTIKERNEL
    assert (apic.isr, apic.ppr) == (0, 0)


@pytest.mark.rule("R11", "R39")
def test_svr_disable_masks_every_lvt_entry_and_enabling_unmasks_none() -> None:
    apic = enabled()
    for name in apic.lvt:
        apic.write_lvt(name, 0x31)
    apic.write_svr(0xFF)
    assert set(apic.lvt.values()) == {LVT_MASKED | 0x31}
    apic.write_lvt("timer", 0x32)
    assert apic.lvt["timer"] == LVT_MASKED | 0x32
    apic.write_svr(0x1FF)
    assert apic.lvt["timer"] == LVT_MASKED | 0x32
    apic.write_lvt("timer", 0x32)
    assert apic.lvt["timer"] == 0x32


@pytest.mark.rule("R40")
def test_a_software_disabled_apic_sends_to_others_and_not_to_itself() -> None:
    apic = LocalApic(0, mode=ApicMode.X2APIC)
    assert apic.write_icr(fixed(1, MULTIKERNEL)).settled is None
    to_itself = apic.write_icr(shorthand_word(Shorthand.SELF, MULTIKERNEL))
    assert to_itself.settled is Outcome.REJECTED_SOFTWARE_DISABLED
    assert apic.irr == 0


# Priority, acknowledgement, EOI.


@pytest.mark.rule("R43")
@pytest.mark.parametrize(
    ("tpr", "in_service", "ppr"),
    [
        (0x00, None, 0x00),
        (0x25, None, 0x25),
        (0x00, 0xEA, 0xE0),
        (0x45, 0x31, 0x45),  # higher class: TPR as it is
        (0x35, 0x31, 0x35),  # equal classes: TPR, low nibble included
        (0x2F, 0x31, 0x30),
        (0xFF, 0xEA, 0xFF),
    ],
)
def test_processor_priority(tpr: int, in_service: int | None, ppr: int) -> None:
    apic = enabled()
    if in_service is not None:
        apic.accept_fixed(in_service)
        apic.acknowledge()
    apic.tpr = tpr
    assert apic.ppr == ppr


@pytest.mark.rule("R44", "R49")
def test_every_vector_against_every_tpr() -> None:
    """vmx_basic_vid_test without the VMX: 57,088 pairs, 30,432 deliver (reference 2.2, row 30)."""
    apic = enabled()
    delivered = 0
    for vector in range(0x21, 0x100):
        for tpr in range(0x100):
            apic.tpr = 0xFF
            apic.accept_fixed(vector)
            assert apic.highest_deliverable() == -1
            apic.tpr = tpr
            if vector >> 4 > tpr >> 4:
                assert apic.highest_deliverable() == vector
                delivered += 1
            else:
                assert apic.highest_deliverable() == -1
                apic.tpr = 0
            assert apic.acknowledge() == vector
            apic.eoi()
    assert delivered == 30_432


@pytest.mark.rule("R44", "R45", "R46")
def test_every_pair_of_vectors_is_taken_highest_first() -> None:
    """vmx_eoi_virt_test: 24,753 pairs (reference 2.2, row 31)."""
    apic = enabled()
    pairs = 0
    for high in range(0x22, 0x100):
        for low in range(0x21, high):
            apic.accept_fixed(low)
            apic.accept_fixed(high)
            assert (apic.acknowledge(), apic.eoi()) == (high, high)
            assert (apic.acknowledge(), apic.eoi()) == (low, low)
            assert apic.irr == 0
            pairs += 1
    assert pairs == 24_753


@pytest.mark.rule("R44", "R48")
def test_a_higher_vector_of_the_same_class_does_not_pre_empt() -> None:
    """Reference 2.5, row 45."""
    apic = enabled()
    apic.accept_fixed(0x41)
    assert apic.acknowledge() == 0x41
    for vector in (0x4F, 0x51, 0x41, 0x41):
        apic.accept_fixed(vector)
    assert apic.acknowledge() == 0x51
    apic.assert_invariants()
    assert apic.highest_deliverable() == -1
    assert apic.eoi() == 0x51
    assert apic.highest_deliverable() == -1
    assert apic.eoi() == 0x41
    assert take_all(apic) == [0x4F, 0x41]


@pytest.mark.rule("R44")
def test_all_fifteen_classes_nest() -> None:
    apic = enabled()
    for each in range(1, 16):
        apic.accept_fixed(each << 4 | 3)
        assert apic.acknowledge() == each << 4 | 3
        apic.assert_invariants()
    assert [apic.eoi() for _ in range(15)] == [each << 4 | 3 for each in range(15, 0, -1)]


@pytest.mark.rule("R44", "R49")
def test_tpr_lowered_releases_by_class() -> None:
    """eventinj TPR (reference 2.2, row 22): 0x20 and 0x3E pending, TPR 0xF0, then 0x20, then 0."""
    apic = enabled()
    apic.tpr = 0xF0
    apic.accept_fixed(0x20)
    apic.accept_fixed(0x3E)
    assert take_all(apic) == []
    apic.tpr = 0x20
    assert take_all(apic) == [0x3E]
    apic.tpr = 0x00
    assert take_all(apic) == [0x20]


@pytest.mark.rule("R46")
def test_eoi_with_nothing_in_service_is_nothing() -> None:
    apic = enabled()
    apic.accept_fixed(MULTIKERNEL)
    assert apic.eoi() is None
    assert apic.irr == bits(MULTIKERNEL)


@pytest.mark.rule("R46")
def test_eoi_of_a_handler_that_owes_none_ends_somebody_elses_interrupt() -> None:
    """Reference 2.5, row 49: an NMI handler that writes EOI inside the handler of 0xEA."""
    apic = enabled()
    apic.accept_fixed(MULTIKERNEL)
    apic.acknowledge()
    apic.accept(Icr(vector=0, delivery_mode=DeliveryMode.NMI))
    assert apic.eoi() == MULTIKERNEL
    assert apic.ppr == 0


@pytest.mark.rule("R47")
def test_a_fixed_ipi_with_the_spurious_vector_is_an_ordinary_interrupt() -> None:
    """Its handler owes no EOI, so it stays in service and blocks (reference 2.5, row 48)."""
    apic = enabled()
    apic.write_svr(0x1EF)
    assert apic.accept_fixed(0xEF) is Outcome.DELIVERED
    assert apic.acknowledge() == 0xEF
    assert apic.isr == bits(0xEF)
    apic.accept_fixed(MULTIKERNEL)
    apic.accept_fixed(0xFD)
    assert apic.highest_deliverable() == 0xFD
    apic.acknowledge()
    apic.eoi()
    assert apic.highest_deliverable() == -1


@pytest.mark.rule("R45")
def test_acknowledging_nothing_is_a_bug() -> None:
    apic = enabled()
    with pytest.raises(AssertionError):
        apic.acknowledge()
    apic.accept_fixed(0x31)
    apic.tpr = 0x30
    with pytest.raises(AssertionError):
        apic.acknowledge()


# The checker itself.


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("irr", bits(5)),
        ("isr", bits(0x41, 0x42)),
        ("isr", bits(0x41)),  # without PPR
        ("irr", 1 << 256),
        ("tmr", bits(0x41)),
        ("esr", 0x01),
        ("esr_pending", 0x100),
        ("nmi_latched", 3),
        ("smi_latched", 2),
        ("sipi_vector", 8),
        ("icr", 1 << 12),
        ("ldr", 0),
        ("ppr", 0x10),
        ("svr", 0xFF),
    ],
)
def test_the_invariant_checker_finds_impossible_states(attribute: str, value: int) -> None:
    apic = enabled()
    apic.assert_invariants()
    apic.write_lvt("timer", 0x31)
    setattr(apic, attribute, value)
    with pytest.raises(AssertionError):
        apic.assert_invariants()
