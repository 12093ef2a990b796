"""Why an interrupt that an APIC has accepted is not taken: what holds it, in the SDM's words.

A pure function of a CPU's state at one moment, wherever that was read: at the CPU itself, or from
the last report of one that does not answer. Source: SDM vol. 3, 6.7.1, 6.8, 8.4.2, 10.4.7.2,
10.8.3, 10.8.4; rules R43, R44, R55 to R58.
"""

from dataclasses import dataclass
from enum import StrEnum

from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.irq_vectors import NMI_VECTOR

__all__ = [
    "BLOCKING_BY_MOV_SS",
    "BLOCKING_BY_STI",
    "CoreState",
    "Hold",
    "HoldKind",
    "holds",
    "why_in_service",
]

BLOCKING_BY_STI = 1
BLOCKING_BY_MOV_SS = 2
"""What casts the shadow that a CPU is in, by the bits of SDM vol. 3, 24.4.2. An instruction ends
the shadow that it stands in; one of the other kind that it casts itself covers the next."""

_CLASS = 0xF0


class HoldKind(StrEnum):
    """What can hold an interrupt. Two, ``loop`` and ``link``, lie outside the CPU."""

    PANIC = "panic"
    STOPPED = "stopped"
    WAIT_FOR_SIPI = "wait-for-sipi"
    APIC_DISABLED = "apic-disabled"
    SOFTWARE_DISABLED = "software-disabled"
    NMI_BLOCKED = "nmi-blocked"
    IF_CLEAR = "if-clear"
    HALTED = "halted-if-clear"
    SHADOW_STI = "sti-shadow"
    SHADOW_MOV_SS = "mov-ss-shadow"
    TPR = "tpr"
    ISR = "isr"
    BEHIND = "behind"
    STORM = "storm"
    CONGESTED = "congested"
    WRITE_WINDOW = "write-window"
    LOOP = "loop"
    LINK = "link"
    NEXT_BOUNDARY = "next-boundary"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreState:
    """One CPU at one moment, as far as it bears on what its APIC has pending.

    ``irr``, ``isr``: 256-bit integers. ``mode``: :class:`ApicMode`. ``known``: whether the fields
    after it were read, or only the registers that a mirror has. ``interrupt_shadow``: 0 or one of
    ``BLOCKING_BY_*``. ``nmi_latched``, ``nmi_in_service``: NMIs that wait, and whether they are
    blocked until IRET. ``stopped``: for good. ``panic``: the kernel's last words, or empty.
    ``storm``: its last boundary reached the limit of interrupts at one boundary. ``congested``:
    the kernel has as many events for its link as may wait, and its CPUs stand still.
    ``waits_to_write``: what runs waits with an ICR write for the window (R20). ``program``: one is
    at the bottom. ``handlers``: vectors of the handlers that have not returned, innermost last.
    ``entered``: the innermost is a plain function, which holds the whole process until it returns.
    """

    cpu: int
    irr: int
    isr: int
    tpr: int
    ppr: int
    interrupts_enabled: bool
    activity: str
    mode: int = ApicMode.X2APIC
    software_enabled: bool = True
    known: bool = True
    interrupt_shadow: int = 0
    nmi_latched: int = 0
    nmi_in_service: bool = False
    stopped: bool = False
    panic: str = ""
    storm: bool = False
    congested: bool = False
    waits_to_write: bool = False
    program: bool = False
    handlers: tuple[int, ...] = ()
    entered: bool = False

    def is_pending(self, vector: int) -> bool:
        """Is its IRR bit set, or, for vector 2, an NMI latched?"""
        return bool(self.nmi_latched) if vector == NMI_VECTOR else bool(self.irr >> vector & 1)

    def is_in_service(self, vector: int) -> bool:
        """Is its ISR bit set, or, for vector 2, an NMI being handled?"""
        return self.nmi_in_service if vector == NMI_VECTOR else bool(self.isr >> vector & 1)


@dataclass(frozen=True, slots=True)
class Hold:
    """One thing that holds an interrupt, and how to say so in a line.

    ``vector``: the ISR or IRR bit that it is about, or the handler that keeps IF = 0; -1 for none.
    """

    kind: HoldKind
    text: str
    vector: int = -1


def holds(core: CoreState, vector: int) -> list[Hold]:
    """All that keeps a CPU from taking an interrupt that is pending, the weightiest first.

    ``vector`` 0 to 255; 2 is the NMI. If nothing does, it is taken at the next instruction
    boundary, which is then the one entry. Only ISR and PPR are looked at for what is in service.
    """
    assert 0 <= vector <= 0xFF, vector
    found = _of_the_core(core)
    if vector == NMI_VECTOR:
        if core.nmi_in_service:
            text = "NMIs are blocked: an NMI handler runs, until its IRET (SDM 6.7.1)"
            found.append(Hold(HoldKind.NMI_BLOCKED, text, NMI_VECTOR))
    else:
        found += _of_the_apic(core) + _of_the_flag(core) + _of_the_priority(core, vector)
    found += _of_the_turn(core)
    return found or [Hold(HoldKind.NEXT_BOUNDARY, "nothing holds it: the next boundary takes it")]


def _of_the_core(core: CoreState) -> list[Hold]:
    if core.panic:
        return [Hold(HoldKind.PANIC, f"every CPU of its kernel is stopped: {core.panic}")]
    if core.stopped:
        return [Hold(HoldKind.STOPPED, "the CPU is stopped for good; only INIT ends that")]
    if core.activity == "wait-for-sipi":
        text = "the CPU is in wait-for-SIPI and takes nothing before a SIPI (SDM 8.4.2)"
        return [Hold(HoldKind.WAIT_FOR_SIPI, text)]
    shadow = {
        BLOCKING_BY_STI: Hold(
            HoldKind.SHADOW_STI,
            "interrupt shadow: the instruction after STI is not done (SDM 6.8.1)",
        ),
        BLOCKING_BY_MOV_SS: Hold(
            HoldKind.SHADOW_MOV_SS,
            "interrupt shadow: the instruction after MOV SS is not done (SDM 6.8.3)",
        ),
    }.get(core.interrupt_shadow)
    return [] if shadow is None else [shadow]


def _of_the_apic(core: CoreState) -> list[Hold]:
    if core.mode == ApicMode.DISABLED:
        return [
            Hold(HoldKind.APIC_DISABLED, "the APIC is globally disabled (IA32_APIC_BASE bit 11)")
        ]
    if not core.software_enabled:
        text = (
            "the APIC is software-disabled (SVR bit 8), which holds what is pending (SDM 10.4.7.2) "
            'unless its policy says pending_while_software_disabled = "deliver"'
        )
        return [Hold(HoldKind.SOFTWARE_DISABLED, text)]
    return []


def _of_the_flag(core: CoreState) -> list[Hold]:
    if core.interrupts_enabled or core.stopped or core.panic:
        return []
    if core.activity == "halted":
        text = "the CPU is halted with IF = 0: only NMI, SMI, INIT or RESET wake it (SDM 6.8.1)"
        return [Hold(HoldKind.HALTED, text)]
    if core.activity == "wait-for-sipi":
        return []
    if core.handlers:
        inner = core.handlers[-1]
        what = "the NMI handler" if inner == NMI_VECTOR else f"the handler of vector {inner:#04x}"
        return [Hold(HoldKind.IF_CLEAR, f"IF = 0: {what} has not returned (SDM 6.8.1)", inner)]
    if core.program:
        who = "a program runs with interrupts disabled"
    elif core.known:
        who = "interrupts are disabled, and no handler or program runs (mkrpc cpu --if on)"
    else:
        who = "interrupts are disabled"
    return [Hold(HoldKind.IF_CLEAR, f"IF = 0: {who} (SDM 6.8.1)")]


def _of_the_priority(core: CoreState, vector: int) -> list[Hold]:
    found = []
    priority, highest = vector & _CLASS, core.isr.bit_length() - 1
    if highest >= 0 and priority <= highest & _CLASS:
        text = (
            f"ISR bit {highest:#04x} raises PPR to class {highest >> 4:#x}, and class "
            f"{vector >> 4:#x} is not above it (SDM 10.8.3.1): {_holder(core, highest)}"
        )
        found.append(Hold(HoldKind.ISR, text, highest))
    if priority <= core.tpr & _CLASS:
        text = (
            f"TPR {core.tpr:#04x} masks class {core.tpr >> 4:#x} and below, and the vector is of "
            f"class {vector >> 4:#x} (SDM 10.8.3.1)"
        )
        found.append(Hold(HoldKind.TPR, text))
    above = core.irr.bit_length() - 1
    if above > vector:
        text = f"IRR bit {above:#04x} is pending too and goes first (SDM 10.8.4)"
        found.append(Hold(HoldKind.BEHIND, text, above))
    return found


def _holder(core: CoreState, vector: int) -> str:
    """Who has to write EOI for a vector that is in service."""
    if core.handlers and core.handlers[-1] == vector:
        return "its handler runs and has not written EOI"
    if vector in core.handlers:
        return (
            f"its handler has not written EOI; that of {core.handlers[-1]:#04x} has interrupted it"
        )
    return "its handler has returned without an EOI" if core.known else "it has had no EOI"


def _of_the_turn(core: CoreState) -> list[Hold]:
    found = []
    if core.storm:
        text = "a storm: its last boundary took as many as one may; the rest is for its next turns"
        found.append(Hold(HoldKind.STORM, text))
    if core.congested:
        text = (
            "its kernel's events wait for the link, and its CPUs stand still until some have gone"
        )
        found.append(Hold(HoldKind.CONGESTED, text))
    if core.waits_to_write:
        text = "what runs waits to write the ICR until earlier writes are resolved (R20)"
        found.append(Hold(HoldKind.WRITE_WINDOW, text))
    return found


def why_in_service(core: CoreState, vector: int) -> Hold:
    """Why a vector that is in service stays so: who has still to write EOI (SDM 10.8.4)."""
    if vector == NMI_VECTOR:
        return Hold(HoldKind.NMI_BLOCKED, "the NMI handler has not executed IRET", vector)
    return Hold(HoldKind.ISR, f"ISR bit {vector:#04x}: {_holder(core, vector)}", vector)
