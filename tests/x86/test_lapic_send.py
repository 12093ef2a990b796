"""What a local APIC sends, keeps to itself or refuses, and its errors (R19 to R22, R50 to R54)."""

import pytest

from mkrpc.outcome import Outcome
from mkrpc.x86.apic_state import LVT_MASKED
from mkrpc.x86.icr import (
    DeliveryMode,
    DestinationMode,
    Icr,
    Shorthand,
    decode,
    fixed,
    icr_word,
    shorthand_word,
)
from mkrpc.x86.lapic import ApicMode, ApicPolicy, LocalApic

MULTIKERNEL = 0xEA
BOTH_MODES = pytest.mark.parametrize("mode", [ApicMode.XAPIC, ApicMode.X2APIC])


def enabled(
    initial_id: int = 0, *, mode: ApicMode = ApicMode.X2APIC, policy: ApicPolicy | None = None
) -> LocalApic:
    apic = LocalApic(initial_id, mode=mode, policy=policy)
    apic.write_svr(0x1FF)
    return apic


def bits(*vectors: int) -> int:
    return sum(1 << vector for vector in vectors)


def take_all(apic: LocalApic) -> list[int]:
    """Acknowledge and end, one after another, as a CPU with IF = 1 and EOI-first handlers does."""
    taken = []
    while apic.highest_deliverable() >= 0:
        taken.append(apic.acknowledge())
        assert apic.eoi() == taken[-1]
        apic.assert_invariants()
    return taken


@pytest.mark.rule("R19")
@pytest.mark.parametrize(
    "word",
    [
        fixed(1, MULTIKERNEL),
        fixed(0, MULTIKERNEL),  # its own id goes over the bus like any other
        fixed(0xFFFFFFFF, MULTIKERNEL, logical=True),
        shorthand_word(Shorthand.ALL_INCLUDING_SELF, MULTIKERNEL),
        shorthand_word(Shorthand.ALL_EXCLUDING_SELF, MULTIKERNEL, delivery_mode=DeliveryMode.NMI),
        icr_word(vector=0xEA, delivery_mode=DeliveryMode.LOWEST_PRIORITY, destination=1),
        icr_word(vector=5, delivery_mode=DeliveryMode.STARTUP, destination=1),
        icr_word(vector=5, delivery_mode=DeliveryMode.INIT, destination=1),
    ],
)
def test_what_travels(word: int) -> None:
    apic = enabled()
    write = apic.write_icr(word)
    assert (write.word, write.settled) == (word, None)
    assert apic.icr == word
    assert (apic.irr, apic.esr_pending) == (0, 0)


@pytest.mark.rule("R30")
def test_an_xapic_truncates_the_destination() -> None:
    """Reference 2.5, row 51."""
    apic = enabled(mode=ApicMode.XAPIC)
    write = apic.write_icr(fixed(0x105, MULTIKERNEL))
    assert write.word == fixed(0x05, MULTIKERNEL)
    assert apic.icr == 0x05 << 56 | MULTIKERNEL


@pytest.mark.rule("R19")
def test_reserved_bits_of_an_xapic_stay_in_the_register_and_off_the_wire() -> None:
    apic = enabled(mode=ApicMode.XAPIC)
    write = apic.write_icr(fixed(1, MULTIKERNEL) | 0xFFF32000)
    assert write.word == fixed(1, MULTIKERNEL)
    assert apic.icr == 0x01 << 56 | 0xFFF32000 | MULTIKERNEL


@pytest.mark.rule("R3")
def test_a_globally_disabled_apic_has_no_icr() -> None:
    apic = LocalApic(0, mode=ApicMode.DISABLED)
    assert apic.write_icr(fixed(1, MULTIKERNEL)).settled is Outcome.REJECTED_APIC_DISABLED
    assert apic.icr == 0


@pytest.mark.rule("R22", "R54")
@BOTH_MODES
def test_self_is_settled_when_the_write_returns(mode: ApicMode) -> None:
    apic = enabled(mode=mode)
    word = shorthand_word(Shorthand.SELF, 0xF1)
    assert apic.write_icr(word).settled is Outcome.DELIVERED
    assert apic.irr == bits(0xF1)
    assert apic.write_icr(word).settled is Outcome.COALESCED
    assert take_all(apic) == [0xF1]


@pytest.mark.rule("R54")
@pytest.mark.parametrize(("stored", "icr"), [(False, 0x1_000000EA), (True, 0x40041)])
def test_self_ipi_shows_in_the_icr_only_by_policy(stored: bool, icr: int) -> None:
    apic = enabled(policy=ApicPolicy(self_ipi_stored_in_icr=stored))
    apic.write_icr(fixed(1, MULTIKERNEL))
    assert apic.write_self_ipi(0x41).settled is Outcome.DELIVERED
    assert apic.icr == icr


@pytest.mark.rule("R21")
@pytest.mark.parametrize(
    "word", [0x1_00008500, 0x88500], ids=["one destination", "xv6's broadcast"]
)
def test_init_deassert_does_not_leave_the_sender(word: int) -> None:
    apic = enabled()
    assert apic.write_icr(word).settled is Outcome.REJECTED_INIT_DEASSERT
    assert apic.icr == word


@pytest.mark.rule("R22")
@pytest.mark.parametrize(
    ("shorthand", "delivery_mode", "valid"),
    [
        (shorthand, mode, mode is DeliveryMode.FIXED or shorthand is Shorthand.ALL_EXCLUDING_SELF)
        for shorthand in Shorthand
        for mode in DeliveryMode
        if shorthand is not Shorthand.NONE
        and mode not in (DeliveryMode.RESERVED_3, DeliveryMode.EXTINT)
    ],
)
def test_combinations_that_table_10_3_calls_invalid(
    shorthand: Shorthand, delivery_mode: DeliveryMode, valid: bool
) -> None:
    word = shorthand_word(shorthand, 0x41, delivery_mode=delivery_mode)
    strict = enabled(policy=ApicPolicy(invalid_combination="drop"))
    settled = strict.write_icr(word).settled
    assert (settled is Outcome.REJECTED_RESERVED_MODE) is not valid
    lenient = enabled()
    settled = lenient.write_icr(word).settled
    if shorthand is not Shorthand.SELF:
        assert settled is None
    elif delivery_mode is DeliveryMode.STARTUP:
        assert settled is Outcome.REJECTED_NOT_WAITING_FOR_SIPI
    else:
        assert settled is Outcome.DELIVERED


# Errors.


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


# The string that the multikernel patch sends.


@pytest.mark.rule("R21", "R31")
@BOTH_MODES
def test_multikernel_string(mode: ApicMode) -> None:
    """ICR low exactly 0x000000EA, physical (reference 2.5, row 54)."""
    sender, receiver = enabled(0, mode=mode), enabled(1, mode=mode)
    write = sender.write_icr(1 << 32 | 0x000000EA)
    assert write.settled is None
    icr = decode(write.word)
    assert (icr.destination, icr.destination_mode) == (1, DestinationMode.PHYSICAL)
    assert receiver.accept(icr) is Outcome.DELIVERED
    assert take_all(receiver) == [MULTIKERNEL]
