"""Errors: who sets which bit of ESR, how it is read, what LVT ERROR does (R50 to R53, R60)."""

from typing import Any, Literal

import pytest
from apics import enabled, take_all

from mkrpc.outcome import Outcome
from mkrpc.x86.apic_state import LVT_MASKED
from mkrpc.x86.icr import (
    DeliveryMode,
    Icr,
    Shorthand,
    decode,
    fixed,
    icr_word,
    shorthand_word,
)
from mkrpc.x86.lapic import ApicMode, ApicPolicy, LocalApic


def _illegal(choice: str) -> ApicPolicy:
    choices: dict[str, Any] = {"self_ipi_illegal_vector": choice}
    return ApicPolicy(**choices)


@pytest.mark.rule("R52")
@pytest.mark.parametrize("vector", range(16))
def test_illegal_vectors(vector: int) -> None:
    """Bit 5 at the sender, nothing sent, to itself too; bit 6 at a receiver, no IRR bit."""
    for word in (fixed(1, vector), shorthand_word(Shorthand.SELF, vector)):
        sender = enabled()
        assert sender.write_icr(word).settled is Outcome.REJECTED_ILLEGAL_VECTOR
        assert (sender.esr_pending, sender.irr, sender.icr) == (0x20, 0, word)
    selfish = enabled()
    assert selfish.write_self_ipi(vector).settled is Outcome.REJECTED_ILLEGAL_VECTOR
    assert selfish.esr_pending == 0x20
    receiver = enabled()
    assert receiver.accept(Icr(vector=vector)) is Outcome.REJECTED_ILLEGAL_VECTOR
    assert (receiver.esr_pending, receiver.irr) == (0x40, 0)


@pytest.mark.rule("R52")
@pytest.mark.parametrize("vector", [0, 15])
@pytest.mark.parametrize(("choice", "errors"), [("send", 0x20), ("receive", 0x40), ("both", 0x60)])
def test_an_illegal_vector_to_itself_is_an_error_of_the_side_that_the_policy_names(
    choice: Literal["send", "receive", "both"], errors: int, vector: int
) -> None:
    """To others, and by all-including-self, it is one of sending whatever the policy."""
    policy = ApicPolicy(self_ipi_illegal_vector=choice)
    for mode in (ApicMode.XAPIC, ApicMode.X2APIC):
        apic = enabled(mode=mode, policy=policy)
        settled = apic.write_icr(shorthand_word(Shorthand.SELF, vector)).settled
        assert settled is Outcome.REJECTED_ILLEGAL_VECTOR
        assert (apic.esr_pending, apic.irr) == (errors, 0)
    for word in (fixed(1, vector), shorthand_word(Shorthand.ALL_INCLUDING_SELF, vector)):
        apic = enabled(policy=policy)
        assert apic.write_icr(word).settled is Outcome.REJECTED_ILLEGAL_VECTOR
        assert apic.esr_pending == 0x20


@pytest.mark.rule("R37", "R52")
def test_a_software_disabled_apic_receives_no_error_from_itself_either() -> None:
    for choice, errors in (("send", 0x20), ("receive", 0), ("both", 0x20)):
        apic = LocalApic(0, mode=ApicMode.X2APIC, policy=_illegal(choice))
        apic.write_self_ipi(5)
        assert apic.esr_pending == errors, choice


@pytest.mark.rule("R53")
@pytest.mark.parametrize("vector", [0xFE, 5])
def test_two_errors_of_one_self_ipi_raise_lvt_error_once(vector: int) -> None:
    apic = enabled(policy=_illegal("both"))
    apic.write_lvt("error", vector)
    apic.write_self_ipi(5)
    assert apic.esr_pending == 0x60
    assert take_all(apic) == ([0xFE] if vector == 0xFE else [])
    assert apic.lvt_delivered == ({0xFE: 1} if vector == 0xFE else {})


@pytest.mark.rule("R52")
@pytest.mark.parametrize(
    "delivery_mode",
    [DeliveryMode.NMI, DeliveryMode.SMI, DeliveryMode.INIT, DeliveryMode.STARTUP],
)
def test_the_vector_of_a_core_event_is_never_illegal(delivery_mode: DeliveryMode) -> None:
    apic = enabled()
    word = icr_word(vector=5, delivery_mode=delivery_mode, destination=1)
    assert apic.write_icr(word).settled is None
    assert apic.accept(decode(word)) is not Outcome.REJECTED_ILLEGAL_VECTOR
    assert apic.esr_pending == 0


@pytest.mark.rule("R60")
def test_vector_16_is_legal() -> None:
    apic = enabled()
    assert apic.accept_fixed(16) is Outcome.DELIVERED
    assert take_all(apic) == [16]


@pytest.mark.rule("R32")
@pytest.mark.parametrize("vector", [0xEA, 5])
def test_lowest_priority_unsupported_is_bit_4_alone(vector: int) -> None:
    apic = enabled(policy=ApicPolicy(lowest_priority="unsupported"))
    word = icr_word(vector=vector, delivery_mode=DeliveryMode.LOWEST_PRIORITY, destination=1)
    assert apic.write_icr(word).settled is Outcome.REJECTED_REDIRECTABLE_IPI
    assert apic.esr_pending == 0x10


@pytest.mark.rule("R32", "R52")
def test_lowest_priority_supported_has_legal_vectors_only() -> None:
    apic = enabled()
    word = icr_word(vector=5, delivery_mode=DeliveryMode.LOWEST_PRIORITY, destination=1)
    assert apic.write_icr(word).settled is Outcome.REJECTED_ILLEGAL_VECTOR
    assert apic.esr_pending == 0x20


@pytest.mark.rule("R50")
def test_esr_is_two_registers() -> None:
    apic = enabled()
    apic.write_icr(fixed(1, 5))
    assert apic.esr == 0
    apic.accept_fixed(6)
    apic.write_esr()
    assert apic.esr == 0x60
    apic.accept_fixed(6)
    assert apic.esr == 0x60
    apic.write_esr()
    assert apic.esr == 0x40
    apic.write_esr()
    assert apic.esr == 0


@pytest.mark.rule("R53")
def test_lvt_error_is_raised_once_per_bit_until_esr_is_written() -> None:
    apic = enabled()
    apic.write_lvt("error", 0xFE)
    apic.write_icr(fixed(1, 5))
    assert take_all(apic) == [0xFE]
    apic.write_icr(fixed(1, 5))
    assert take_all(apic) == []
    apic.accept_fixed(5)  # another bit
    assert take_all(apic) == [0xFE]
    apic.write_esr()
    apic.write_icr(fixed(1, 5))
    assert take_all(apic) == [0xFE]
    assert apic.lvt_delivered == {0xFE: 3}


@pytest.mark.rule("R11", "R39", "R53")
def test_lvt_error_of_a_software_disabled_apic_is_masked() -> None:
    """It can send, and err in sending; the entry cannot be unmasked until it is enabled."""
    apic = enabled()
    apic.write_lvt("error", 0xFE)
    apic.write_svr(0xFF)
    apic.write_lvt("error", 0xFE)
    apic.write_icr(fixed(1, 5))
    assert (apic.esr_pending, apic.lvt_delivered) == (0x20, {})
    apic.write_svr(0x1FF)
    assert apic.irr == 0


@pytest.mark.rule("R53")
def test_a_masked_lvt_error_raises_nothing() -> None:
    apic = enabled()
    apic.write_lvt("error", LVT_MASKED | 0xFE)
    apic.write_icr(fixed(1, 5))
    assert (apic.esr_pending, apic.irr, apic.lvt_delivered) == (0x20, 0, {})


@pytest.mark.rule("R53")
@pytest.mark.parametrize("vector", [0, 5, 15])
def test_an_illegal_lvt_error_vector_does_not_recurse(vector: int) -> None:
    """XSA-462, CVE-2024-45817."""
    apic = enabled()
    apic.write_lvt("error", vector)
    apic.write_icr(fixed(1, 5))
    assert (apic.esr_pending, apic.irr) == (0x60, 0)
    apic.assert_invariants()
