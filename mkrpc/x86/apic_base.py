"""IA32_APIC_BASE: the modes of a local APIC and the ways between them.

Source: SDM vol. 3, 10.4.3, 10.4.4, 10.12.1 and 10.12.5 (June 2016 numbering); rules R1 and R2.
"""

from enum import IntEnum
from typing import Final

__all__ = [
    "APIC_BASE_ADDRESS",
    "APIC_BASE_BSP",
    "APIC_BASE_ENABLE",
    "APIC_BASE_EXTD",
    "MAX_PHYSICAL_ADDRESS_BITS",
    "ApicMode",
    "GeneralProtection",
    "checked_transition",
    "mode_of",
]

APIC_BASE_ADDRESS: Final = 0xFEE00000
"""Physical address of the register page after RESET (SDM 10.4.1)."""
APIC_BASE_BSP: Final = 1 << 8
APIC_BASE_EXTD: Final = 1 << 10
APIC_BASE_ENABLE: Final = 1 << 11

MAX_PHYSICAL_ADDRESS_BITS: Final = 52
"""MAXPHYADDR of the emulated CPU: the architecture's own limit (SDM vol. 3, 4.1.4)."""

_LOW_RESERVED: Final = 0x2FF  # bits 7:0 and 9


class GeneralProtection(Exception):  # noqa: N818 - the SDM's name; it is an event of the machine
    """A #GP(0) raised inside the emulated CPU by an access that the APIC refuses.

    It never means that something is wrong in the emulator or with its operator: the CPU turns it
    into the exception that its program sees.
    """


class ApicMode(IntEnum):
    """Mode of one local APIC: bits EN and EXTD of IA32_APIC_BASE (SDM table 10-5)."""

    DISABLED = 0
    XAPIC = 1
    X2APIC = 2


_ALLOWED: Final = frozenset(
    {
        (ApicMode.DISABLED, ApicMode.DISABLED),
        (ApicMode.DISABLED, ApicMode.XAPIC),
        (ApicMode.XAPIC, ApicMode.XAPIC),
        (ApicMode.XAPIC, ApicMode.X2APIC),
        (ApicMode.XAPIC, ApicMode.DISABLED),
        (ApicMode.X2APIC, ApicMode.X2APIC),
        (ApicMode.X2APIC, ApicMode.DISABLED),
    }
)


def mode_of(apic_base: int) -> ApicMode:
    """The mode that a value of IA32_APIC_BASE selects.

    Raises GeneralProtection for EN = 0 with EXTD = 1, which no APIC can be in (R2).
    """
    if apic_base & APIC_BASE_ENABLE:
        return ApicMode.X2APIC if apic_base & APIC_BASE_EXTD else ApicMode.XAPIC
    if apic_base & APIC_BASE_EXTD:
        raise GeneralProtection("IA32_APIC_BASE: EXTD without EN")
    return ApicMode.DISABLED


def checked_transition(current: ApicMode, apic_base: int, *, x2apic_supported: bool) -> ApicMode:
    """The mode after a WRMSR of ``apic_base`` (64 bits) to IA32_APIC_BASE.

    Raises GeneralProtection for a reserved bit (R1), for EXTD where CPUID does not announce
    x2APIC, and for a transition that is not in SDM 10.12.5 (R2).
    """
    reserved = _LOW_RESERVED | (0 if x2apic_supported else APIC_BASE_EXTD)
    if apic_base & reserved or apic_base >> MAX_PHYSICAL_ADDRESS_BITS:
        raise GeneralProtection(f"IA32_APIC_BASE: reserved bit in {apic_base:#x}")
    target = mode_of(apic_base)
    if (current, target) not in _ALLOWED:
        raise GeneralProtection(f"IA32_APIC_BASE: {current.name} to {target.name}")
    return target
