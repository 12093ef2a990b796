"""CPUID as far as it speaks of the local APIC: leaves 1 and 0xB.

Source: SDM vol. 2, CPUID; vol. 3, 10.4.2, 10.4.3, 10.4.6, 10.12.1, 10.12.8.1; rules R1, R3, R7.
"""

from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.apic_state import ApicState
from mkrpc.x86.operands import check_bits

__all__ = ["CPUID_APIC", "CPUID_X2APIC", "EXTENDED_TOPOLOGY_LEAF", "FEATURE_LEAF", "cpuid"]

FEATURE_LEAF = 0x1
EXTENDED_TOPOLOGY_LEAF = 0xB

CPUID_APIC = 1 << 9
"""EDX of leaf 1: there is a local APIC. It follows IA32_APIC_BASE.EN (R3)."""
CPUID_X2APIC = 1 << 21
"""ECX of leaf 1: x2APIC mode can be entered (R1)."""

_INITIAL_ID_SHIFT = 24


def cpuid(apic: ApicState, leaf: int, subleaf: int = 0) -> tuple[int, int, int, int]:
    """EAX, EBX, ECX and EDX of the CPU with this APIC, for EAX = ``leaf`` and ECX = ``subleaf``.

    Leaf 1: the low 8 bits of the initial APIC id in EBX[31:24], whatever software has made of the
    id register (R7); :data:`CPUID_X2APIC` and :data:`CPUID_APIC`. Leaf 0xB: the whole initial id in
    EDX, in every mode, and the subleaf's low byte in ECX; every subleaf is of type 0, which says
    that there is no such level of topology. It is the same without x2APIC support.

    A departure: every other leaf, and every other bit of these, is 0. That goes for the highest
    leaf, which hardware gives in leaf 0: the emulated CPU is known by its APIC alone.

    Raises InvalidArgumentError for a leaf or subleaf beyond 32 bits, TypeError for no integer.
    """
    check_bits("leaf", leaf, 32)
    check_bits("subleaf", subleaf, 32)
    if leaf == FEATURE_LEAF:
        return (
            0,
            (apic.initial_id & 0xFF) << _INITIAL_ID_SHIFT,
            CPUID_X2APIC if apic.policy.x2apic_supported else 0,
            0 if apic.mode is ApicMode.DISABLED else CPUID_APIC,
        )
    if leaf == EXTENDED_TOPOLOGY_LEAF:
        return 0, 0, subleaf & 0xFF, apic.initial_id
    return 0, 0, 0, 0
