"""What a recorded scenario holds, as typed objects.

Two kinds of line exist: an :class:`ApicScenario` is a script that a bare-metal guest ran on 4 or 8
CPUs, with what changed on every CPU after each step; a :class:`LinuxTest` is a script that a hook
in a patched kernel ran, with the change of ``irq_call_count``. ``parse`` reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from mkrpc.x86.registers import Register

__all__ = [
    "BANK_FIELDS",
    "EVENT_FIELDS",
    "LAST_REGISTER",
    "REGISTER_FIELDS",
    "REGISTER_NAMES",
    "Agree",
    "ApicMachineMode",
    "ApicScenario",
    "CpuDelta",
    "Disagreement",
    "FieldValue",
    "Line",
    "LinuxApic",
    "LinuxTest",
    "Op",
    "Recording",
    "Step",
    "Verb",
]

FieldValue = int | bool | tuple[int | str, ...]
"""A register, a flag, or a list of vectors (where "nmi" and "excN" may stand for a number)."""

CpuDelta = Mapping[str, FieldValue]
"""Fields of one CPU that changed in a step, by their name in the recording."""

REGISTER_FIELDS = ("id", "tpr", "ppr", "ldr", "dfr", "svr", "esr", "icr_lo", "icr_hi")
"""Raw 32-bit registers as the CPU reads them."""
BANK_FIELDS = ("isr", "irr")
"""Lists of vectors, ascending."""
EVENT_FIELDS = ("delivered", "ppr_at_entry", "not_in_isr")
"""What handlers logged during the step; they do not carry over to the next one."""

REGISTER_NAMES: Mapping[str, int] = MappingProxyType(
    {
        **{register.name.lower(): int(register) for register in Register},
        **{
            f"{bank.name.lower()}{word}": bank + 0x10 * word
            for bank in (Register.ISR, Register.TMR, Register.IRR)
            for word in range(8)
        },
        # As Linux has them in apicdef.h.
        "lvr": Register.VERSION,
        "taskpri": Register.TPR,
        "arbpri": Register.APR,
        "procpri": Register.PPR,
        "rrr": Register.RRD,
        "spiv": Register.SVR,
        "lvtcmci": Register.CMCI,
        "lvtthmr": Register.LVT_THERMAL,
        "lvtpc": Register.LVT_PERFORMANCE,
        "lvt0": Register.LVT_LINT0,
        "lvt1": Register.LVT_LINT1,
        "lvterr": Register.LVT_ERROR,
        # Other names in use.
        "ver": Register.VERSION,
        "lvt_timer": Register.LVTT,
        "lvt_cmci": Register.CMCI,
        "lvt_perf": Register.LVT_PERFORMANCE,
        "lint0": Register.LVT_LINT0,
        "lint1": Register.LVT_LINT1,
        "lvt_err": Register.LVT_ERROR,
        "icr_lo": Register.ICR,
        "icr_hi": Register.ICR2,
    }
)
"""How a step names a register -> its offset. SDM names and Linux's; isr0 to isr7 are words."""

LAST_REGISTER = 0x3F0
"""Offset of the last register of the page; a step may give an offset in place of a name."""


class Agree(StrEnum):
    """How far the engines that ran a scenario agree; the law of scoring hangs on it."""

    ALL = "all"
    DELIVERY = "delivery"
    NO = "no"
    SINGLE_ENGINE = "single-engine"
    NONDETERMINISTIC = "nondeterministic"
    ALL_DEVIATES = "all-deviates"
    UNSTATED = "unstated"
    """The line says nothing: the trace of one engine."""

    @property
    def scored(self) -> bool:
        """Whether a line of this kind counts; the others are compared and reported."""
        return self in (Agree.ALL, Agree.DELIVERY, Agree.NO)


class ApicMachineMode(StrEnum):
    """How the guest set its APICs up: xAPIC with flat or cluster LDRs, or x2APIC."""

    FLAT = "flat"
    CLUSTER = "cluster"
    X2APIC = "x2apic"


class Op(StrEnum):
    """What a step makes its CPU execute."""

    ICR = "icr"
    WRITE = "wr"
    READ = "rd"
    EOI = "eoi"
    CLI = "cli"
    STI = "sti"
    HLT = "hlt"
    CLI_HLT = "cli_hlt"
    SELF_IPI = "self_ipi"
    NOP = "nop"
    MODE = "mode"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a script, and what the recording says came of it.

    ``register`` is an offset in the register page.
    ``held`` names the keys that the line has beside the operands (``result``, ``gp``,
    ``skipped``): a line of ``agree`` delivery says nothing about those that it lacks.
    """

    op: Op
    cpu: int
    hi: int = 0
    lo: int = 0
    register: int = 0
    value: int = 0
    vector: int = 0
    defer: bool = False
    result: int | None = None
    gp: bool = False
    skipped: bool = False
    held: frozenset[str] = frozenset()
    cpus: Mapping[int, CpuDelta]

    @property
    def action(self) -> tuple[object, ...]:
        """The step without what came of it: equal for two recordings of the same script."""
        operands = (self.hi, self.lo, self.register, self.value, self.vector, self.defer)
        return (self.op, self.cpu, *operands)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """What each engine saw in one field of one step; ``cpu`` is None for a field of the step."""

    step: int
    cpu: int | None
    field: str
    values: Mapping[str, FieldValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApicScenario:
    """One script on bare metal. ``ids``: APIC id by CPU index. ``line``: its line in the file.

    ``engines``: who ran it, where the line says so; ``disagreements``: where they parted, as the
    line lists it. ``ignored``: fields of a CPU that nobody here knows, so nobody compares.
    """

    name: str
    line: int
    mode: ApicMachineMode
    ids: tuple[int, ...]
    agree: Agree
    initial: Mapping[int, CpuDelta]
    steps: tuple[Step, ...]
    final: Mapping[int, CpuDelta]
    delivered_total: Mapping[int, tuple[int | str, ...]]
    first_disagree_step: int | None
    open_fields: frozenset[str]
    note: str
    engines: tuple[str, ...] = ()
    disagreements: tuple[Disagreement, ...] = ()
    ignored: frozenset[str] = frozenset()


class LinuxApic(StrEnum):
    """The APIC driver that the recorded kernel chose."""

    PHYSICAL_FLAT = "apic=physical flat"
    X2APIC_CLUSTER = "apic=cluster x2apic"
    X2APIC_PHYSICAL = "apic=physical x2apic"


class Verb(StrEnum):
    """What a line of a Linux script makes the sender do; the README lists them."""

    ONE = "one"
    VEC = "vec"
    MASK = "mask"
    MASK_BUT_SELF = "maskbutself"
    ALL_BUT_SELF = "allbutself"
    ALL = "all"
    SELF = "self"
    RAW = "raw"
    CLI = "cli"
    STI = "sti"
    HOLD = "hold"
    RELEASE = "rel"
    PEEK = "peek"
    PEEK_SELF = "peekself"
    DELAY = "delay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a Linux script; only what its verb takes is other than the default.

    ``high`` and ``low`` are the operands of ``raw``; ``repeat`` is the optional last operand.
    """

    verb: Verb
    cpu: int = 0
    vector: int = 0
    mask: int = 0
    high: int = 0
    low: int = 0
    delay_ms: int = 0
    repeat: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxTest:
    """One script in a patched kernel. Counts are per CPU; ``expected`` is None where unscored."""

    name: str
    line: int
    sender: int
    script: tuple[Line, ...]
    cal: tuple[int, ...]
    printk: int
    expected: tuple[int, ...] | None
    clean: bool
    peek: tuple[str, ...]
    apic: LinuxApic
    other_dmesg: tuple[str, ...]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One file: scenarios of either kind, never both."""

    apic: tuple[ApicScenario, ...] = ()
    linux: tuple[LinuxTest, ...] = ()
