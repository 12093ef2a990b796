"""What a CPU takes at a boundary beside interrupts by priority: SMI, INIT, SIPI, NMI.

The local APIC latches them past IRR (R33, R35, R36); here the core takes them, in the order of R55.
A true spurious interrupt, which only ``ApicPolicy.intr = "latched"`` has, is taken here too (R47).
Source: SDM vol. 3, 6.7.1, table 6-2, 8.4.2, 10.9.
"""

from typing import TYPE_CHECKING

from mkrpc.instance.execution import RAISED
from mkrpc.x86.apic_state import SVR_VECTOR
from mkrpc.x86.irq_vectors import NMI_VECTOR

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu
    from mkrpc.instance.execution import Program

__all__ = ["core_event_ready", "take_core_event"]


def core_event_ready(cpu: "Cpu") -> bool:
    """Is one latched that is not blocked (R36, R58)? The STI shadow is the caller's business."""
    apic = cpu.apic
    if apic.smi_latched or apic.init_latched:
        return True
    if apic.wait_for_sipi:
        return apic.sipi_vector is not None
    return _nmi_ready(cpu) or (apic.intr_latched and cpu.interrupts_enabled)


def take_core_event(cpu: "Cpu") -> bool:
    """Take the first of SMI, INIT, SIPI, NMI, spurious interrupt that is not blocked (R55).

    False if there is none, after which ``cpu.core_pending`` says whether one is left over.
    """
    apic = cpu.apic
    if not core_event_ready(cpu):
        cpu.core_pending = apic.core_event
        return False
    if apic.smi_latched:
        _take_smi(cpu)
    elif apic.init_latched:
        _take_init(cpu)
    elif apic.wait_for_sipi:
        _take_sipi(cpu)
    elif _nmi_ready(cpu):
        _take_nmi(cpu)
    else:
        return _acknowledge_latched_intr(cpu)
    cpu.changed = True
    return True


def _take_smi(cpu: "Cpu") -> None:
    """R33. There is no System Management Mode: it is counted."""
    cpu.apic.smi_latched -= 1
    cpu.smi_count += 1
    # A stopped CPU sits in a loop around its HLT.
    cpu.halted = cpu.stopped


def _nmi_ready(cpu: "Cpu") -> bool:
    apic = cpu.apic
    return bool(apic.nmi_latched) and not apic.nmi_in_service and not cpu.stopped


def _take_nmi(cpu: "Cpu") -> None:
    """R35, R58: whatever IF is; further ones are blocked until the next IRET."""
    apic = cpu.apic
    apic.nmi_latched -= 1
    apic.nmi_in_service = True
    interrupts_enabled, cpu.interrupts_enabled = cpu.interrupts_enabled, False
    cpu.halted = False
    cpu.vector = NMI_VECTOR
    cpu.execution.enter(NMI_VECTOR, interrupts_enabled=interrupts_enabled)


def _acknowledge_latched_intr(cpu: "Cpu") -> bool:
    """R47: INTR is up, but what raised it may have been masked since.

    Whatever is deliverable by now is acknowledged in the ordinary way. Otherwise the APIC dispenses
    the spurious vector: IRR keeps its bit, ISR gets none, no EOI is owed, and the books of the
    vectors do not move. Returns whether it did.
    """
    apic = cpu.apic
    apic.intr_latched = False
    if apic.highest_deliverable() >= 0:
        return False
    apic.spurious_count += 1
    cpu.enter_interrupt(apic.svr & SVR_VECTOR)
    return True


def _take_init(cpu: "Cpu") -> None:
    """R9, R10: an AP waits for SIPI; the BSP starts over at the reset vector.

    There is no firmware behind the reset vector here: the BSP's program begins again, IF = 0
    and APIC software-disabled; without a program the CPU is held there.
    """
    apic = cpu.apic
    # First of all: a body that is dropped may still send, or end an interrupt, in a `finally`.
    cpu.execution.reset()
    before = apic.irr, apic.isr
    apic.init()
    cpu.interrupts_enabled = False
    cpu.interrupt_shadow = 0
    cpu.storm = False
    cpu.halted = False
    cpu.stopped = False
    if not apic.bsp:
        apic.wait_for_sipi = True
        cpu.program = None
    elif cpu.program is not None:
        _restart(cpu, cpu.program)
    cpu.observe(before)


def _take_sipi(cpu: "Cpu") -> None:
    """R36: out of wait-for-SIPI with IF = 0. What runs then is ``kernel.on_startup``'s answer;
    without one the CPU halts, software-disabled as INIT left it."""
    apic = cpu.apic
    vector = apic.sipi_vector
    assert vector is not None
    apic.sipi_vector = None
    apic.wait_for_sipi = False
    cpu.boots += 1
    cpu.halted = True
    try:
        program = cpu.kernel.on_startup(cpu, vector)
    except RAISED as error:
        cpu.kernel.oops(cpu, error, vector=None)
        return
    if program is not None:
        cpu.halted = False
        _restart(cpu, program)


def _restart(cpu: "Cpu", program: "Program") -> None:
    """Start a program where nobody waits for the error of a wrong one: that is an oops."""
    try:
        cpu.start(program)
    except RAISED as error:
        cpu.kernel.oops(cpu, error, vector=None)
