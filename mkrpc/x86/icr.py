"""The interrupt command register: one 64-bit word, decoded once.

The word of this project, and of its wire, has the x2APIC layout: destination in bits 63:32,
command in bits 31:0. ``from_xapic`` makes it from the two registers of an xAPIC.
Source: SDM vol. 3, 10.6.1 and 10.12.9; rule R18.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

from mkrpc.errors import InvalidArgumentError
from mkrpc.outcome import Outcome

__all__ = [
    "BROADCAST",
    "DECODE_CACHE_SIZE",
    "ICR_DELIVERY_STATUS",
    "ICR_RESERVED",
    "WORD_BITS",
    "XAPIC_BROADCAST",
    "DeliveryMode",
    "DestinationMode",
    "Icr",
    "IcrWrite",
    "Shorthand",
    "TriggerMode",
    "decode",
    "encode",
    "fixed",
    "from_xapic",
    "icr_word",
    "init_assert",
    "nmi",
    "reserved_bits_x2apic",
    "shorthand_of",
    "shorthand_word",
    "startup",
    "travelling",
]


class DeliveryMode(IntEnum):
    """Bits 10:8. 3 (remote read of old) and 7 are reserved in an ICR (R34)."""

    FIXED = 0
    LOWEST_PRIORITY = 1
    SMI = 2
    RESERVED_3 = 3
    NMI = 4
    INIT = 5
    STARTUP = 6
    EXTINT = 7


class DestinationMode(IntEnum):
    """Bit 11: how the destination field is read when there is no shorthand."""

    PHYSICAL = 0
    LOGICAL = 1


class TriggerMode(IntEnum):
    """Bit 15. Since the Pentium 4 only INIT de-assert looks at it (R21)."""

    EDGE = 0
    LEVEL = 1


class Shorthand(IntEnum):
    """Bits 19:18; anything but NONE makes the destination field and mode irrelevant (R22)."""

    NONE = 0
    SELF = 1
    ALL_INCLUDING_SELF = 2
    ALL_EXCLUDING_SELF = 3


BROADCAST: Final = 0xFFFFFFFF
"""The destination that every APIC accepts, physical and logical (R25, R28)."""
XAPIC_BROADCAST: Final = 0xFF
"""The same in the 8 bits that an xAPIC has; in x2APIC mode 0xFF is an ordinary id."""

ICR_DELIVERY_STATUS: Final = 1 << 12
ICR_RESERVED: Final = 0xFFF32000
"""Bits 31:20, 17:16 and 13: #GP in x2APIC mode (R18). Bit 12 is a matter of the CPU's vendor."""

DECODE_CACHE_SIZE: Final = 4096
"""Decoded words that are kept; beyond it the least recently used one is decoded again."""

WORD_BITS: Final = 64
"""Bits of an ICR word."""

_DELIVERY_MODES: Final = tuple(DeliveryMode)
_SHORTHANDS: Final = tuple(Shorthand)


@dataclass(frozen=True, slots=True, kw_only=True)
class Icr:
    """One interrupt command by its names.

    ``vector`` 0..255, ``destination`` 32 bits. ``level`` is bit 14 (True = assert); Linux leaves it
    0 in a fixed IPI, and the IPI is delivered all the same (R21).
    """

    vector: int
    delivery_mode: DeliveryMode = DeliveryMode.FIXED
    destination_mode: DestinationMode = DestinationMode.PHYSICAL
    level: bool = False
    trigger_mode: TriggerMode = TriggerMode.EDGE
    shorthand: Shorthand = Shorthand.NONE
    destination: int = 0

    @property
    def is_init_deassert(self) -> bool:
        """INIT with trigger = level and level = 0: no effect since the Pentium 4 (R21)."""
        return (
            self.delivery_mode is DeliveryMode.INIT
            and self.trigger_mode is TriggerMode.LEVEL
            and not self.level
        )


@lru_cache(maxsize=DECODE_CACHE_SIZE)
def decode(word: int) -> Icr:
    """Name the fields of a 64-bit word in x2APIC layout; reserved bits and bit 12 are ignored.

    Equal words give the same object: a burst decodes once.
    Raises InvalidArgumentError for a word that does not fit 64 bits.
    """
    if not 0 <= word < 1 << WORD_BITS:
        raise InvalidArgumentError(
            f"ICR word {word:#x} does not fit 64 bits",
            advice="give the destination in bits 63:32 and the command in bits 31:0",
        )
    return Icr(
        vector=word & 0xFF,
        delivery_mode=_DELIVERY_MODES[word >> 8 & 7],
        destination_mode=DestinationMode(word >> 11 & 1),
        level=bool(word >> 14 & 1),
        trigger_mode=TriggerMode(word >> 15 & 1),
        shorthand=_SHORTHANDS[word >> 18 & 3],
        destination=word >> 32,
    )


def encode(icr: Icr) -> int:
    """The 64-bit word of a command, reserved bits and bit 12 zero: the inverse of ``decode``.

    Raises InvalidArgumentError for a vector beyond 255 or a destination beyond 32 bits.
    """
    if not 0 <= icr.vector <= 0xFF:
        raise InvalidArgumentError(
            f"vector {icr.vector} is out of range", advice="a vector is a number from 0 to 255"
        )
    if not 0 <= icr.destination <= BROADCAST:
        raise InvalidArgumentError(
            f"destination {icr.destination:#x} is out of range",
            advice="a destination is a 32-bit number",
        )
    return (
        icr.vector
        | icr.delivery_mode << 8
        | icr.destination_mode << 11
        | icr.level << 14
        | icr.trigger_mode << 15
        | icr.shorthand << 18
        | icr.destination << 32
    )


def from_xapic(hi: int, lo: int) -> int:
    """The word that an xAPIC sends for ICR2 = ``hi`` and ICR = ``lo`` (32 bits each).

    The 8-bit destination of ICR2 bits 31:24 is extended with zeros (R30). Bit 12 and the reserved
    bits, which an xAPIC keeps for reading back but which mean nothing, do not travel (R19).
    """
    return (hi >> 24 & 0xFF) << 32 | lo & 0xFFFFFFFF & ~(ICR_RESERVED | ICR_DELIVERY_STATUS)


def reserved_bits_x2apic(word: int) -> int:
    """The reserved bits set in a word: non-zero means #GP in x2APIC mode (R18)."""
    return word & ICR_RESERVED


def icr_word(
    *,
    vector: int = 0,
    destination: int = 0,
    delivery_mode: DeliveryMode = DeliveryMode.FIXED,
    destination_mode: DestinationMode = DestinationMode.PHYSICAL,
    shorthand: Shorthand = Shorthand.NONE,
    level: bool = False,
    trigger_mode: TriggerMode = TriggerMode.EDGE,
) -> int:
    """Any word from its fields. Raises InvalidArgumentError as ``encode`` does."""
    return encode(
        Icr(
            vector=vector,
            delivery_mode=delivery_mode,
            destination_mode=destination_mode,
            level=level,
            trigger_mode=trigger_mode,
            shorthand=shorthand,
            destination=destination,
        )
    )


def fixed(destination: int, vector: int, *, logical: bool = False) -> int:
    """A fixed IPI as Linux writes it: level bit 0 (``__prepare_ICR``, arch/x86/kernel/apic)."""
    mode = DestinationMode.LOGICAL if logical else DestinationMode.PHYSICAL
    return icr_word(vector=vector, destination=destination, destination_mode=mode)


def nmi(destination: int) -> int:
    """An NMI to one physical destination."""
    return icr_word(destination=destination, delivery_mode=DeliveryMode.NMI)


def init_assert(destination: int) -> int:
    """An INIT to one physical destination, level = assert."""
    return icr_word(destination=destination, delivery_mode=DeliveryMode.INIT, level=True)


def startup(destination: int, vector: int) -> int:
    """A start-up IPI: the CPU starts at ``vector`` << 12 if it waits for one (R36)."""
    return icr_word(vector=vector, destination=destination, delivery_mode=DeliveryMode.STARTUP)


def shorthand_of(word: int) -> Shorthand:
    """That of a word, for whoever asks nothing else of it."""
    return _SHORTHANDS[word >> 18 & 3]


def shorthand_word(
    shorthand: Shorthand, vector: int, *, delivery_mode: DeliveryMode = DeliveryMode.FIXED
) -> int:
    """A word that addresses by shorthand; the destination field is 0 and without meaning."""
    return icr_word(vector=vector, shorthand=shorthand, delivery_mode=delivery_mode)


@dataclass(frozen=True, slots=True)
class IcrWrite:
    """What became of an ICR write at its sender.

    ``word`` is the 64-bit word as it rides on the wire: x2APIC layout, an xAPIC's destination
    truncated, no reserved bits. ``settled`` is None when the word has to travel, else the outcome
    of its one leg: nothing leaves this APIC.
    """

    word: int
    settled: Outcome | None


@lru_cache(maxsize=DECODE_CACHE_SIZE)
def travelling(word: int) -> IcrWrite:
    """A write that leaves its APIC; equal words give the same object."""
    return IcrWrite(word, None)
