"""The interrupt command register (SDM vol. 3, 10.6.1 and 10.12.9; rules R18, R19, R30)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.errors import InvalidArgumentError
from mkrpc.x86 import icr as icr_module
from mkrpc.x86.icr import (
    ICR_RESERVED,
    DeliveryMode,
    DestinationMode,
    Icr,
    Shorthand,
    TriggerMode,
    decode,
    encode,
    from_xapic,
    icr_word,
    reserved_bits_x2apic,
)

commands = st.builds(
    Icr,
    vector=st.integers(0, 255),
    delivery_mode=st.sampled_from(DeliveryMode),
    destination_mode=st.sampled_from(DestinationMode),
    level=st.booleans(),
    trigger_mode=st.sampled_from(TriggerMode),
    shorthand=st.sampled_from(Shorthand),
    destination=st.integers(0, 0xFFFFFFFF),
)


@pytest.mark.rule("R18")
@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (0x1_000000EA, Icr(vector=0xEA, destination=1)),
        (0x2_000040EA, Icr(vector=0xEA, level=True, destination=2)),
        (0x10003_000008EA, Icr(vector=0xEA, destination_mode=DestinationMode.LOGICAL,
                               destination=0x10003)),
        (0x400, Icr(vector=0, delivery_mode=DeliveryMode.NMI)),
        (0x4500, Icr(vector=0, delivery_mode=DeliveryMode.INIT, level=True)),
        (0x8500, Icr(vector=0, delivery_mode=DeliveryMode.INIT, trigger_mode=TriggerMode.LEVEL)),
        (0x4608, Icr(vector=8, delivery_mode=DeliveryMode.STARTUP, level=True)),
        (0x440F1, Icr(vector=0xF1, level=True, shorthand=Shorthand.SELF)),
        (0x800EA, Icr(vector=0xEA, shorthand=Shorthand.ALL_INCLUDING_SELF)),
        (0xC00EA, Icr(vector=0xEA, shorthand=Shorthand.ALL_EXCLUDING_SELF)),
        (0x1EA, Icr(vector=0xEA, delivery_mode=DeliveryMode.LOWEST_PRIORITY)),
    ],
    ids=lambda value: hex(value) if isinstance(value, int) else "",
)  # fmt: skip
def test_words_decode_to_the_fields_of_sdm_figure_10_12(word: int, expected: Icr) -> None:
    assert decode(word) == expected
    assert encode(expected) == word


@pytest.mark.rule("R18")
@given(commands)
def test_decode_is_the_inverse_of_encode(command: Icr) -> None:
    assert decode(encode(command)) == command


@pytest.mark.rule("R18")
@given(st.integers(0, (1 << 64) - 1))
def test_decode_ignores_only_the_reserved_bits_and_delivery_status(word: int) -> None:
    assert encode(decode(word)) == word & ~(ICR_RESERVED | 1 << 12)


@pytest.mark.rule("R18")
@pytest.mark.parametrize("bit", range(64))
def test_reserved_bits_of_the_x2apic_layout(bit: int) -> None:
    reserved = bit in (13, 16, 17) or 20 <= bit <= 31
    assert reserved_bits_x2apic(1 << bit) == (1 << bit if reserved else 0)


@pytest.mark.rule("R19", "R30")
@pytest.mark.parametrize(
    ("hi", "lo", "word"),
    [
        (0x01000000, 0x40EA, 0x1_000040EA),
        (0xFF000000, 0x48EA, 0xFF_000048EA),
        (0x05FFFFFF, 0xEA, 0x5_000000EA),  # the low 24 bits of ICR2 mean nothing
        (0x02000000, 0x10EA, 0x2_000000EA),  # delivery status is read-only
        (0x02000000, 0xFFF320EA, 0x2_000000EA),  # reserved bits do not travel
    ],
)
def test_an_xapic_pair_becomes_one_word(hi: int, lo: int, word: int) -> None:
    assert from_xapic(hi, lo) == word


def test_a_burst_of_equal_words_is_decoded_once() -> None:
    assert decode(0x1_000000EA) is decode(0x1_000000EA)
    assert decode.cache_info().maxsize == icr_module.DECODE_CACHE_SIZE


@pytest.mark.rule("R21")
def test_linux_sends_a_fixed_ipi_without_the_level_bit() -> None:
    """``__prepare_ICR`` gives 0x000000ea: reference 2.5, row 54."""
    assert icr_module.fixed(3, 0xEA) == 3 << 32 | 0x000000EA


@pytest.mark.rule("R21")
@pytest.mark.parametrize(
    ("mode", "level", "trigger", "deassert"),
    [
        (DeliveryMode.INIT, False, TriggerMode.LEVEL, True),
        (DeliveryMode.INIT, True, TriggerMode.LEVEL, False),
        (DeliveryMode.INIT, False, TriggerMode.EDGE, False),  # kvm-unit-tests init.c, case 4
        (DeliveryMode.FIXED, False, TriggerMode.LEVEL, False),
    ],
)
def test_only_a_level_triggered_init_with_level_0_is_a_deassert(
    mode: DeliveryMode, level: bool, trigger: TriggerMode, deassert: bool
) -> None:
    command = Icr(vector=0x20, delivery_mode=mode, level=level, trigger_mode=trigger)
    assert command.is_init_deassert is deassert


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        (
            icr_module.fixed(7, 0x41, logical=True),
            Icr(vector=0x41, destination=7, destination_mode=DestinationMode.LOGICAL),
        ),
        (
            icr_module.nmi(7),
            Icr(vector=0, destination=7, delivery_mode=DeliveryMode.NMI),
        ),
        (
            icr_module.init_assert(7),
            Icr(vector=0, destination=7, delivery_mode=DeliveryMode.INIT, level=True),
        ),
        (
            icr_module.startup(7, 8),
            Icr(vector=8, destination=7, delivery_mode=DeliveryMode.STARTUP),
        ),
        (
            icr_module.shorthand_word(Shorthand.ALL_EXCLUDING_SELF, 0xFD),
            Icr(vector=0xFD, shorthand=Shorthand.ALL_EXCLUDING_SELF),
        ),
    ],
)
def test_constructors_say_what_they_make(word: int, meaning: Icr) -> None:
    assert decode(word) == meaning


@pytest.mark.parametrize("vector", [-1, 256, 1 << 20])
def test_a_vector_out_of_range_is_refused_by_name(vector: int) -> None:
    with pytest.raises(InvalidArgumentError, match="vector") as caught:
        icr_word(vector=vector)
    assert "0 to 255" in caught.value.advice


@pytest.mark.parametrize("destination", [-1, 1 << 32])
def test_a_destination_beyond_32_bits_is_refused_by_name(destination: int) -> None:
    with pytest.raises(InvalidArgumentError, match="destination"):
        icr_word(vector=0x20, destination=destination)


@pytest.mark.parametrize("word", [-1, 1 << 64])
def test_a_word_beyond_64_bits_is_refused_by_name(word: int) -> None:
    with pytest.raises(InvalidArgumentError, match="64 bits"):
        decode(word)
