"""Register access: the xAPIC's memory page and the x2APIC's MSRs.

Offsets are those of the memory page; the MSR of a register is 0x800 + (offset >> 4).
Source: SDM vol. 3, tables 10-1 and 10-6, 10.12.1; rules R3 and R12 to R19.
"""

from enum import IntEnum
from types import MappingProxyType
from typing import Final

from mkrpc.outcome import Outcome
from mkrpc.x86.apic_base import ApicMode, GeneralProtection
from mkrpc.x86.apic_state import ESR_ILLEGAL_REGISTER_ADDRESS
from mkrpc.x86.icr import ICR_DELIVERY_STATUS, ICR_RESERVED, IcrWrite, from_xapic
from mkrpc.x86.lapic import LocalApic

__all__ = [
    "IA32_APIC_BASE",
    "LVT_MASKS",
    "VERSION",
    "X2APIC_MSR_BASE",
    "X2APIC_WRITABLE",
    "GeneralProtection",
    "Register",
    "mmio_read",
    "mmio_write",
    "msr_of",
    "rdmsr",
    "read_cr8",
    "wrmsr",
    "write_cr8",
]

IA32_APIC_BASE: Final = 0x1B
X2APIC_MSR_BASE: Final = 0x800
_X2APIC_MSR_LAST: Final = 0x8FF

VERSION: Final = 0x00060014
"""Version 0x14, max LVT entry 6 (so there is a CMCI entry), no suppression of EOI broadcasts."""

_ALL_ONES: Final = 0xFFFFFFFF


class Register(IntEnum):
    """Offset in the register page. ISR, TMR and IRR are eight registers each, 0x10 apart."""

    ID = 0x20
    VERSION = 0x30
    TPR = 0x80
    APR = 0x90
    PPR = 0xA0
    EOI = 0xB0
    RRD = 0xC0
    LDR = 0xD0
    DFR = 0xE0
    SVR = 0xF0
    ISR = 0x100
    TMR = 0x180
    IRR = 0x200
    ESR = 0x280
    CMCI = 0x2F0
    ICR = 0x300
    ICR2 = 0x310
    LVTT = 0x320
    LVT_THERMAL = 0x330
    LVT_PERFORMANCE = 0x340
    LVT_LINT0 = 0x350
    LVT_LINT1 = 0x360
    LVT_ERROR = 0x370
    TMICT = 0x380
    TMCCT = 0x390
    TDCR = 0x3E0
    SELF_IPI = 0x3F0


_LVT_NAME: Final = MappingProxyType(
    {
        Register.CMCI: "cmci",
        Register.LVTT: "timer",
        Register.LVT_THERMAL: "thermal",
        Register.LVT_PERFORMANCE: "performance",
        Register.LVT_LINT0: "lint0",
        Register.LVT_LINT1: "lint1",
        Register.LVT_ERROR: "error",
    }
)
LVT_MASKS: Final = MappingProxyType(
    {
        Register.CMCI: 0x000117FF,
        Register.LVTT: 0x000710FF,
        Register.LVT_THERMAL: 0x000117FF,
        Register.LVT_PERFORMANCE: 0x000117FF,
        Register.LVT_LINT0: 0x0001F7FF,
        Register.LVT_LINT1: 0x0001F7FF,
        Register.LVT_ERROR: 0x000110FF,
    }
)
"""Bits of each LVT entry that are not reserved (R15). Of these, delivery status (12) and remote IRR
(14) are read-only and read 0 here."""
_LVT_READ_ONLY: Final = 1 << 12 | 1 << 14

_TPR_MASK: Final = 0xFF
_SVR_MASK: Final = 0x3FF  # bit 12 is reserved: the version register does not announce it
_TDCR_MASK: Final = 0xB

# APR and RRD are unsupported since the Pentium 4, yet no illegal register address (R13).
_XAPIC_DEFINED: Final = frozenset(
    [register for register in Register if register is not Register.SELF_IPI]
    + [bank + 0x10 * i for bank in (Register.ISR, Register.TMR, Register.IRR) for i in range(8)]
)

X2APIC_WRITABLE: Final = MappingProxyType(
    {
        Register.TPR: _TPR_MASK,
        Register.EOI: 0,
        Register.SVR: _SVR_MASK,
        Register.ESR: 0,
        **LVT_MASKS,
        Register.TMICT: _ALL_ONES,
        Register.TDCR: _TDCR_MASK,
        Register.SELF_IPI: 0xFF,
    }
)
"""The bits that a WRMSR may set, by register; ICR apart, which has 64 (R15)."""
_X2_UNREADABLE: Final = frozenset({Register.EOI, Register.SELF_IPI})
_X2_ABSENT: Final = frozenset({Register.APR, Register.RRD, Register.DFR, Register.ICR2})
_X2_READABLE: Final = _XAPIC_DEFINED - _X2_UNREADABLE - _X2_ABSENT


def msr_of(register: int) -> int:
    """The x2APIC MSR of a register offset."""
    return X2APIC_MSR_BASE + (register >> 4)


# The memory page.


def mmio_read(apic: LocalApic, offset: int, size: int = 4) -> int:
    """Load ``size`` bytes at ``offset`` (0..0xFFF) of the register page.

    1, 2 or 4 bytes inside one register are read (R12); any other size or place, which the SDM
    leaves undefined, reads 0. Reads all ones when there is no page: x2APIC mode or globally
    disabled (R3). A reserved register reads 0 and sets ESR bit 7 (R13). Never a fault.
    """
    assert 0 <= offset <= 0xFFF, offset
    if apic.mode is not ApicMode.XAPIC:
        return (1 << 8 * size) - 1
    byte = offset & 0xF
    if size not in (1, 2, 4) or byte + size > 4:
        return 0
    register = offset & ~0xF
    if register not in _XAPIC_DEFINED:
        apic.report_error(ESR_ILLEGAL_REGISTER_ADDRESS)
        return 0
    return _read(apic, register) >> 8 * byte & (1 << 8 * size) - 1


def mmio_write(apic: LocalApic, offset: int, value: int, size: int = 4) -> IcrWrite | None:
    """Store ``value`` at ``offset`` (0..0xFFF) of the register page.

    Only 4 bytes at a multiple of 16 count (R12). Dropped without a fault: other sizes and places,
    read-only registers, and all when there is no page (R3). A reserved register sets ESR bit 7
    (R13). Returns the IcrWrite of a store to ICR, which is the one that sends; ICR2 sends nothing
    (R19).
    """
    assert 0 <= offset <= 0xFFF, offset
    if apic.mode is not ApicMode.XAPIC or size != 4 or offset & 0xF:
        return None
    assert 0 <= value <= _ALL_ONES, hex(value)
    match offset:
        case Register.ID:
            apic.write_xapic_id(value >> 24)
        case Register.LDR:
            apic.write_ldr(value)
        case Register.DFR:
            apic.write_dfr(value)
        case Register.ICR2:
            apic.icr = (value & 0xFF000000) << 32 | apic.icr & _ALL_ONES
        case Register.ICR:
            return _write_xapic_icr(apic, value)
        case _ if offset in X2APIC_WRITABLE and offset != Register.SELF_IPI:
            # An xAPIC ignores what an x2APIC faults on.
            _write(apic, offset, value & X2APIC_WRITABLE[Register(offset)])
        case _ if offset not in _XAPIC_DEFINED:
            apic.report_error(ESR_ILLEGAL_REGISTER_ADDRESS)
    return None


def _read_xapic_icr(apic: LocalApic) -> int:
    """The low half, with the delivery status that this APIC's policy shows (R20)."""
    busy = apic.delivery_pending and apic.policy.icr_busy != "never"
    return apic.icr & _ALL_ONES | (ICR_DELIVERY_STATUS if busy else 0)


def _write_xapic_icr(apic: LocalApic, value: int) -> IcrWrite:
    """Send; reserved bits of ``value`` read back as written, bit 12 does not (R19)."""
    write = apic.write_icr(from_xapic(apic.icr >> 32, value))
    if write.settled is not Outcome.REJECTED_ICR_BUSY:
        apic.icr |= value & ICR_RESERVED
    assert not apic.icr & ICR_DELIVERY_STATUS
    return write


# The MSRs.


def rdmsr(apic: LocalApic, msr: int) -> int:
    """RDMSR of IA32_APIC_BASE or of an x2APIC register: 64 bits, of which the upper half is 0 but
    for ICR and IA32_APIC_BASE (R16).

    Raises GeneralProtection outside x2APIC mode, for write-only and for absent registers (R3, R14),
    and for an MSR that is not the APIC's.
    """
    if msr == IA32_APIC_BASE:
        return apic.apic_base
    register = _x2apic_register(apic, msr)
    if register not in _X2_READABLE:
        raise GeneralProtection(f"RDMSR {msr:#x}: not readable")
    return apic.icr if register == Register.ICR else _read(apic, register)


def wrmsr(apic: LocalApic, msr: int, value: int) -> IcrWrite | None:
    """WRMSR of 64 bits to IA32_APIC_BASE or to an x2APIC register.

    Raises GeneralProtection, and changes nothing, outside x2APIC mode, for read-only and absent
    registers, and for a reserved bit (R2, R3, R14, R15, R18). Returns the IcrWrite of a write to
    ICR or SELF_IPI.
    """
    assert 0 <= value < 1 << 64, hex(value)
    if msr == IA32_APIC_BASE:
        apic.set_apic_base(value)
        return None
    register = _x2apic_register(apic, msr)
    if register == Register.ICR:
        return apic.write_icr(value)
    if register not in X2APIC_WRITABLE:
        raise GeneralProtection(f"WRMSR {msr:#x}: not writable")
    if value & ~X2APIC_WRITABLE[Register(register)]:
        raise GeneralProtection(f"WRMSR {msr:#x}: reserved bit in {value:#x}")
    if register == Register.SELF_IPI:
        return apic.write_self_ipi(value)
    _write(apic, register, value)
    return None


def _x2apic_register(apic: LocalApic, msr: int) -> int:
    if not X2APIC_MSR_BASE <= msr <= _X2APIC_MSR_LAST:
        raise GeneralProtection(f"MSR {msr:#x}: none of the local APIC")
    if apic.mode is not ApicMode.X2APIC:
        raise GeneralProtection(f"MSR {msr:#x}: not in x2APIC mode")
    return (msr - X2APIC_MSR_BASE) << 4


# CR8.


def read_cr8(apic: LocalApic) -> int:
    """MOV from CR8: the class of TPR, in every mode (R4, R49)."""
    return apic.tpr >> 4


def write_cr8(apic: LocalApic, value: int) -> None:
    """MOV to CR8: TPR = value << 4, in every mode. Raises GeneralProtection beyond 4 bits (R49)."""
    if value >> 4:
        raise GeneralProtection(f"CR8: reserved bit in {value:#x}")
    apic.tpr = value << 4


# What both kinds of access share.


def _read(apic: LocalApic, register: int) -> int:
    """32 bits of a defined register; a write-only one, read through the memory page, is 0."""
    match register:
        case Register.ID:
            x2apic = apic.mode is ApicMode.X2APIC
            return apic.initial_id if x2apic else apic.xapic_id << 24
        case Register.VERSION:
            return VERSION
        case Register.TPR:
            return apic.tpr
        case Register.PPR:
            return apic.ppr
        case Register.LDR:
            return apic.ldr
        case Register.DFR:
            return apic.dfr
        case Register.SVR:
            return apic.svr
        case Register.ESR:
            return apic.esr
        case Register.ICR:
            return _read_xapic_icr(apic)
        case Register.ICR2:
            return apic.icr >> 32
        case Register.TMICT:
            return apic.timer_initial
        case Register.TDCR:
            return apic.timer_divide
        case _ if register in _LVT_NAME:
            return apic.lvt[_LVT_NAME[Register(register)]]
        case _ if Register.ISR <= register < Register.ESR:
            return _read_vectors(apic, register)
        case _:
            # EOI, APR and RRD; and TMCCT, since the timer never counts.
            return 0


def _read_vectors(apic: LocalApic, register: int) -> int:
    bank, word = register & ~0x7F, register >> 4 & 7
    value = {Register.ISR: apic.isr, Register.TMR: apic.tmr, Register.IRR: apic.irr}[Register(bank)]
    return value >> 32 * word & _ALL_ONES


def _write(apic: LocalApic, register: int, value: int) -> None:
    """A register that both modes write alike; ``value`` has no reserved bits."""
    match register:
        case Register.TPR:
            apic.tpr = value
        case Register.EOI:
            apic.eoi()  # R46: an xAPIC takes any value, an x2APIC has faulted on all but 0
        case Register.SVR:
            apic.write_svr(value)
        case Register.ESR:
            apic.write_esr()
        case Register.TMICT:
            apic.timer_initial = value
        case Register.TDCR:
            apic.timer_divide = value
        case _:
            apic.write_lvt(_LVT_NAME[Register(register)], value & ~_LVT_READ_ONLY)
