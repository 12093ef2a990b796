"""Instructions of the core: flags and shadows, HLT, software interrupts, fences.

What a program or a generator handler yields: one instruction of its CPU at a time. The value of the
``yield`` expression is the instruction's result. A fault (GeneralProtection, PageFault,
SegmentNotPresent) is raised at the ``yield``; a program that does not catch it has an oops. IRET
has no instruction here: it is the end of a handler. Faults and results are the SDM's.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mkrpc.x86.cpuid import cpuid
from mkrpc.x86.idt import SegmentNotPresent
from mkrpc.x86.operands import check_bits
from mkrpc.x86.pending import BLOCKING_BY_MOV_SS, BLOCKING_BY_STI

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu

__all__ = [
    "BLOCKING_BY_MOV_SS",
    "BLOCKING_BY_STI",
    "Cli",
    "Cpuid",
    "FatalFredEvent",
    "Hlt",
    "Instruction",
    "Int",
    "Mfence",
    "MovSs",
    "Nop",
    "Popf",
    "Pushf",
    "Sti",
]


class FatalFredEvent(Exception):  # noqa: N818 - an event of the machine
    """INT n in ring 0 under FRED: Linux knows no such event type there (fred_bad_type)."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction; ``execute`` is what it does to its CPU.

    ``touches_apic`` says whether it can change the local APIC, ``drains_stores`` whether earlier
    stores are visible to everybody before it executes (R17).
    """

    touches_apic: ClassVar[bool] = False
    drains_stores: ClassVar[bool] = False

    @property
    def sends(self) -> bool:
        """Does it write the ICR, so that it has to wait while delivery status is busy (R20)?"""
        return False

    def execute(self, cpu: "Cpu") -> object:
        """Do it; may raise a fault, in which case nothing has changed."""
        raise TypeError(f"{type(self).__name__} does not say what it does")


@dataclass(frozen=True, slots=True)
class Nop(Instruction):
    """Nothing, at the cost of one instruction boundary."""

    def execute(self, cpu: "Cpu") -> None:
        """No effect."""


@dataclass(frozen=True, slots=True)
class Cli(Instruction):
    """IF = 0."""

    def execute(self, cpu: "Cpu") -> None:
        """Takes effect at once."""
        cpu.interrupts_enabled = False


@dataclass(frozen=True, slots=True)
class Sti(Instruction):
    """IF = 1 from after the next instruction on, if IF was 0 (R57)."""

    def execute(self, cpu: "Cpu") -> None:
        """A second STI in a row opens the window: only the first one casts a shadow."""
        if not cpu.interrupts_enabled:
            cpu.interrupts_enabled = True
            cpu.interrupt_shadow = BLOCKING_BY_STI


@dataclass(frozen=True, slots=True)
class MovSs(Instruction):
    """MOV to SS: nothing is taken until after the next instruction, whatever IF is (R56).

    There are no segments here: the shadow is all that it does. Of several in a row, only the first
    casts one (SDM vol. 3, 6.8.3).
    """

    def execute(self, cpu: "Cpu") -> None:
        """As the shadow of STI, for NMI and SMI too; IF stays."""
        cpu.interrupt_shadow = BLOCKING_BY_MOV_SS


@dataclass(frozen=True, slots=True)
class Pushf(Instruction):
    """PUSHF. Result: IF as a bool, the one flag that there is."""

    def execute(self, cpu: "Cpu") -> bool:
        """No effect."""
        return cpu.interrupts_enabled


@dataclass(frozen=True, slots=True)
class Popf(Instruction):
    """POPF: IF as given, at once, without a shadow (R56). TypeError for what is no bool."""

    interrupts_enabled: bool

    def execute(self, cpu: "Cpu") -> None:
        """What is pending is taken at the boundary right behind it, if that sets IF."""
        if not isinstance(self.interrupts_enabled, bool):
            raise TypeError(f"IF {self.interrupts_enabled!r} is no bool")
        cpu.interrupts_enabled = self.interrupts_enabled


@dataclass(frozen=True, slots=True)
class Hlt(Instruction):
    """Wait for an interrupt, NMI, SMI or INIT that the CPU takes (R59).

    Its stores become visible first: a CPU at rest holds none back.
    """

    drains_stores: ClassVar[bool] = True

    def execute(self, cpu: "Cpu") -> None:
        """The next instruction runs after what woke the CPU has returned."""
        cpu.halted = True


@dataclass(frozen=True, slots=True)
class Int(Instruction):
    """INT n: enter the gate of ``vector``, 0 to 255, whatever IF is (SDM vol. 3, 6.4.4, 6.8.1).

    The local APIC has no part in it: IRR and ISR stay, and an EOI of the handler ends another
    interrupt, or nothing (R46). ``int 2`` blocks no NMI, but its IRET unblocks them (R58). On a
    halted CPU, from outside, it ends HLT. InvalidArgumentError beyond 8 bits.
    """

    touches_apic: ClassVar[bool] = True
    vector: int

    def execute(self, cpu: "Cpu") -> None:
        """The handler's first instruction comes next; a plain function has returned by then.

        Raises SegmentNotPresent for a gate that is not present, a fault of this instruction, and
        FatalFredEvent in a kernel with FRED, which has no gates.
        """
        check_bits("vector", self.vector, 8)
        if cpu.kernel.config.entry == "fred":
            raise FatalFredEvent(f"software interrupt {self.vector:#04x} in ring 0")
        if not cpu.idt[self.vector].present:
            raise SegmentNotPresent(self.vector, external=False)
        interrupts_enabled, cpu.interrupts_enabled = cpu.interrupts_enabled, False
        cpu.halted = False
        cpu.vector = self.vector
        cpu.execution.enter(self.vector, interrupts_enabled=interrupts_enabled)


@dataclass(frozen=True, slots=True)
class Mfence(Instruction):
    """MFENCE: every earlier store is visible to everybody before what follows (R17).

    Before an ICR write of an x2APIC it is what keeps the doorbell behind its payload.
    """

    drains_stores: ClassVar[bool] = True

    def execute(self, cpu: "Cpu") -> None:
        """No effect beside that."""


@dataclass(frozen=True, slots=True)
class Cpuid(Instruction):
    """CPUID of ``leaf`` and ``subleaf``, 32 bits each. Result: EAX, EBX, ECX, EDX.

    It is serialising, so earlier stores are visible before it executes (R17).
    """

    drains_stores: ClassVar[bool] = True
    leaf: int
    subleaf: int = 0

    def execute(self, cpu: "Cpu") -> tuple[int, int, int, int]:
        """As :func:`mkrpc.x86.cpuid.cpuid`. InvalidArgumentError beyond 32 bits."""
        return cpuid(cpu.apic, self.leaf, self.subleaf)
