"""What a local APIC sends, keeps or refuses (R19 to R22, R54); errors: test_lapic_errors.py."""

from typing import Literal

import pytest
from apics import bits, enabled, take_all

from mkrpc.outcome import Outcome
from mkrpc.x86.icr import (
    DeliveryMode,
    DestinationMode,
    Shorthand,
    decode,
    fixed,
    icr_word,
    shorthand_word,
)
from mkrpc.x86.lapic import ApicMode, ApicPolicy, LocalApic

MULTIKERNEL = 0xEA
BOTH_MODES = pytest.mark.parametrize("mode", [ApicMode.XAPIC, ApicMode.X2APIC])


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
    assert (settled is Outcome.REJECTED_INVALID_COMBINATION) is not valid
    assert not strict.core_event or valid
    lenient = enabled()
    settled = lenient.write_icr(word).settled
    assert strict.invalid_combinations == lenient.invalid_combinations == (0 if valid else 1)
    if shorthand is not Shorthand.SELF:
        assert settled is None
    elif delivery_mode is DeliveryMode.STARTUP:
        assert settled is Outcome.REJECTED_NOT_WAITING_FOR_SIPI
    else:
        assert settled is Outcome.DELIVERED


@pytest.mark.rule("R21", "R22")
@pytest.mark.parametrize("shorthand", [Shorthand.SELF, Shorthand.ALL_INCLUDING_SELF])
@pytest.mark.parametrize(
    ("low", "outcome", "counted"),
    [
        (0x300, Outcome.REJECTED_RESERVED_MODE, 0),
        (0x700, Outcome.REJECTED_RESERVED_MODE, 0),
        (0x005, Outcome.REJECTED_ILLEGAL_VECTOR, 0),
        (0x105, Outcome.REJECTED_REDIRECTABLE_IPI, 1),
        (0x141, Outcome.REJECTED_REDIRECTABLE_IPI, 1),
        (0x8500, Outcome.REJECTED_INIT_DEASSERT, 1),
    ],
)
def test_what_no_apic_sends_in_any_combination_is_refused_as_that(
    shorthand: Shorthand, low: int, outcome: Outcome, counted: int
) -> None:
    """And counted, where the mode is one that the table knows."""
    policy = ApicPolicy(invalid_combination="drop", lowest_priority="unsupported")
    apic = enabled(policy=policy)
    assert apic.write_icr(shorthand << 18 | low).settled is outcome
    assert apic.invalid_combinations == counted


@pytest.mark.rule("R22", "R52")
def test_an_illegal_vector_in_an_invalid_combination_counts_as_one() -> None:
    apic = enabled(policy=ApicPolicy(invalid_combination="drop"))
    word = shorthand_word(Shorthand.SELF, 5, delivery_mode=DeliveryMode.LOWEST_PRIORITY)
    assert apic.write_icr(word).settled is Outcome.REJECTED_ILLEGAL_VECTOR
    assert apic.invalid_combinations == 1


@pytest.mark.rule("R22")
def test_the_count_of_invalid_combinations_outlives_init_and_reset() -> None:
    apic = enabled()
    apic.write_icr(shorthand_word(Shorthand.SELF, 0, delivery_mode=DeliveryMode.NMI))
    apic.init()
    apic.reset()
    assert apic.invalid_combinations == 1


# Delivery status.


@pytest.mark.rule("R20")
@pytest.mark.parametrize("choice", ["never", "queue", "drop"])
def test_an_x2apic_has_no_delivery_status(choice: Literal["never", "queue", "drop"]) -> None:
    apic = enabled(policy=ApicPolicy(icr_busy=choice))
    apic.delivery_pending = True
    assert apic.write_icr(fixed(1, MULTIKERNEL)).settled is None
    assert apic.icr == fixed(1, MULTIKERNEL)


@pytest.mark.rule("R20")
@pytest.mark.parametrize(
    "word",
    [
        fixed(1, MULTIKERNEL),
        shorthand_word(Shorthand.SELF, 0x41),
        fixed(1, 5),
        shorthand_word(Shorthand.SELF, 0, delivery_mode=DeliveryMode.NMI),
    ],
)
def test_a_dropped_write_does_nothing_at_all(word: int) -> None:
    """gem5's rule: the command never exists, so that it is no error either."""
    apic = enabled(mode=ApicMode.XAPIC, policy=ApicPolicy(icr_busy="drop"))
    apic.write_icr(fixed(7, 0x31))
    apic.delivery_pending = True
    assert apic.write_icr(word).settled is Outcome.REJECTED_ICR_BUSY
    assert (apic.icr, apic.irr, apic.esr_pending) == (7 << 56 | 0x31, 0, 0)
    assert not apic.core_event
    apic.delivery_pending = False
    assert apic.write_icr(fixed(1, MULTIKERNEL)).settled is None


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
