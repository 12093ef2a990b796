"""What a program or a generator handler yields: one instruction of its CPU at a time.

Here are those that reach the local APIC and shared memory; those of the core alone come from
:mod:`mkrpc.instance.core_instructions`, which also says what all have in common.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from mkrpc.instance.core_instructions import (
    Cli,
    Cpuid,
    Hlt,
    Instruction,
    Int,
    Mfence,
    MovSs,
    Nop,
    Popf,
    Pushf,
    Sti,
)
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.operands import check_bits
from mkrpc.x86.registers import Register, msr_of, read_cr8, write_cr8

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu

__all__ = [
    "Cli",
    "Cmpxchg",
    "Cpuid",
    "Eoi",
    "Hlt",
    "Instruction",
    "Int",
    "Load",
    "Mfence",
    "MmioRead",
    "MmioWrite",
    "MovSs",
    "Nop",
    "Popf",
    "Pushf",
    "Rdmsr",
    "ReadCr8",
    "ReadRegister",
    "ReadTpr",
    "SelfIpi",
    "Sti",
    "Store",
    "WriteCr8",
    "WriteIcr",
    "WriteRegister",
    "WriteTpr",
    "Wrmsr",
]

_ICR_MSR: Final = msr_of(Register.ICR)
_SELF_IPI_MSR: Final = msr_of(Register.SELF_IPI)


@dataclass(frozen=True, slots=True)
class WriteIcr(Instruction):
    """Write the ICR with a 64-bit ``word`` in x2APIC layout, in the way of the CPU's mode.

    Result: the sequence number of the write; 0 when the APIC is disabled and the write is lost.
    """

    touches_apic: ClassVar[bool] = True
    word: int

    @property
    def sends(self) -> bool:
        """Always."""
        return True

    def execute(self, cpu: "Cpu") -> int:
        """As :meth:`mkrpc.instance.cpu.Cpu.write_icr`."""
        return cpu.write_icr(self.word)


@dataclass(frozen=True, slots=True)
class SelfIpi(Instruction):
    """SELF_IPI in x2APIC mode, the self shorthand otherwise; ``vector`` 0 to 255.

    Result: as :class:`WriteIcr`.
    """

    touches_apic: ClassVar[bool] = True
    vector: int

    @property
    def sends(self) -> bool:
        """It is settled inside the APIC, but it is a write, numbered and reported as one."""
        return True

    def execute(self, cpu: "Cpu") -> int:
        """As :meth:`mkrpc.instance.cpu.Cpu.self_ipi`."""
        return cpu.self_ipi(self.vector)


@dataclass(frozen=True, slots=True)
class Rdmsr(Instruction):
    """RDMSR of IA32_APIC_BASE or 0x800 to 0x8FF. Result: 64 bits."""

    msr: int

    def execute(self, cpu: "Cpu") -> int:
        """Raises GeneralProtection (R3, R14)."""
        return cpu.rdmsr(self.msr)


@dataclass(frozen=True, slots=True)
class Wrmsr(Instruction):
    """WRMSR of 64 bits to IA32_APIC_BASE or 0x800 to 0x8FF. Result: as :class:`WriteIcr`, or 0."""

    touches_apic: ClassVar[bool] = True
    msr: int
    value: int

    @property
    def sends(self) -> bool:
        """ICR and SELF_IPI do."""
        return self.msr in (_ICR_MSR, _SELF_IPI_MSR)

    def execute(self, cpu: "Cpu") -> int:
        """Raises GeneralProtection (R3, R14, R15)."""
        return cpu.wrmsr(self.msr, self.value)


@dataclass(frozen=True, slots=True)
class MmioRead(Instruction):
    """Load from the xAPIC's register page, ``offset`` 0 to 0xFFF, ``size`` bytes."""

    touches_apic: ClassVar[bool] = True
    offset: int
    size: int = 4

    def execute(self, cpu: "Cpu") -> int:
        """Never faults; a reserved register sets ESR bit 7 (R13)."""
        return cpu.mmio_read(self.offset, self.size)


@dataclass(frozen=True, slots=True)
class MmioWrite(Instruction):
    """Store to the xAPIC's register page. Result: as :class:`WriteIcr`, or 0."""

    touches_apic: ClassVar[bool] = True
    offset: int
    value: int
    size: int = 4

    @property
    def sends(self) -> bool:
        """ICR does; ICR2 does not (R19)."""
        return self.offset == Register.ICR

    def execute(self, cpu: "Cpu") -> int:
        """Never faults; what does not count is dropped (R12)."""
        return cpu.mmio_write(self.offset, self.value, self.size)


@dataclass(frozen=True, slots=True)
class ReadRegister(Instruction):
    """Read an APIC register by its offset, in the way of the CPU's mode. Result: its value."""

    touches_apic: ClassVar[bool] = True
    register: int

    def execute(self, cpu: "Cpu") -> int:
        """Raises GeneralProtection in x2APIC mode where RDMSR does."""
        if cpu.apic.mode is ApicMode.X2APIC:
            return cpu.rdmsr(msr_of(self.register))
        return cpu.mmio_read(self.register)


@dataclass(frozen=True, slots=True)
class WriteRegister(Instruction):
    """Write an APIC register by its offset, in the way of the CPU's mode."""

    touches_apic: ClassVar[bool] = True
    register: int
    value: int

    @property
    def sends(self) -> bool:
        """ICR and SELF_IPI do."""
        return self.register in (Register.ICR, Register.SELF_IPI)

    def execute(self, cpu: "Cpu") -> int:
        """Raises GeneralProtection in x2APIC mode where WRMSR does."""
        if cpu.apic.mode is ApicMode.X2APIC:
            return cpu.wrmsr(msr_of(self.register), self.value)
        return cpu.mmio_write(self.register, self.value)


@dataclass(frozen=True, slots=True)
class ReadTpr(Instruction):
    """TPR, 8 bits; CR8 << 4 and the sub-class below it, in every mode (R49)."""

    def execute(self, cpu: "Cpu") -> int:
        """No effect."""
        return cpu.apic.tpr


@dataclass(frozen=True, slots=True)
class WriteTpr(Instruction):
    """Set TPR, 0 to 255. GeneralProtection beyond 8 bits."""

    touches_apic: ClassVar[bool] = True
    value: int

    def execute(self, cpu: "Cpu") -> None:
        """Lowering it lets the pending ones in at the next boundary."""
        cpu.write_tpr(self.value)


@dataclass(frozen=True, slots=True)
class ReadCr8(Instruction):
    """MOV from CR8: the class of TPR, 0 to 15, in every mode (R4, R49)."""

    def execute(self, cpu: "Cpu") -> int:
        """No effect."""
        return read_cr8(cpu.apic)


@dataclass(frozen=True, slots=True)
class WriteCr8(Instruction):
    """MOV to CR8: TPR = ``value`` << 4, in every mode (R4, R49). Not serialising."""

    touches_apic: ClassVar[bool] = True
    value: int

    def execute(self, cpu: "Cpu") -> None:
        """Raises GeneralProtection beyond 4 bits, InvalidArgumentError beyond a register's 64."""
        check_bits("CR8", self.value, 64)
        apic = cpu.apic
        before = apic.irr, apic.isr
        write_cr8(apic, self.value)
        # As with any write of TPR, an INTR that it masks is still to be acknowledged (R47).
        cpu.core_pending = cpu.core_pending or apic.core_event
        cpu.observe(before)


@dataclass(frozen=True, slots=True)
class Eoi(Instruction):
    """End of interrupt (R46). Result: the vector that it ended, None if nothing was in service.

    The APIC tells software no such thing; programs here may look, to check themselves.
    """

    touches_apic: ClassVar[bool] = True

    def execute(self, cpu: "Cpu") -> int | None:
        """As :meth:`mkrpc.instance.cpu.Cpu.apic_eoi`."""
        return cpu.apic_eoi()


@dataclass(frozen=True, slots=True)
class Load(Instruction):
    """Load ``size`` bytes from shared memory. Result: the value."""

    address: int
    size: int = 8

    def execute(self, cpu: "Cpu") -> int:
        """Raises PageFault."""
        return cpu.load(self.address, self.size)


@dataclass(frozen=True, slots=True)
class Store(Instruction):
    """Store the low ``size`` bytes of ``value`` to shared memory."""

    address: int
    value: int
    size: int = 8

    def execute(self, cpu: "Cpu") -> None:
        """Raises PageFault."""
        cpu.store(self.address, self.value, self.size)


@dataclass(frozen=True, slots=True)
class Cmpxchg(Instruction):
    """LOCK CMPXCHG: ``size`` bytes become ``value`` if they are ``expected``. Result: what was
    there before. Earlier stores drain, and its own is visible at once (SDM vol. 3, 8.1.2, 11.10).

    A departure: atomic among the CPUs that one thread runs, a machine in one thread or an instance;
    processes that map the same file are not held off.
    """

    drains_stores: ClassVar[bool] = True
    address: int
    expected: int
    value: int
    size: int = 8

    def execute(self, cpu: "Cpu") -> int:
        """Raises PageFault."""
        before = cpu.load(self.address, self.size)
        if before == self.expected:
            assert cpu.kernel.memory is not None, "a load without memory has faulted"
            cpu.kernel.memory.store(self.address, self.value, self.size)
        return before
