"""What a CPU has pending, and what bears on it: the state that :mod:`mkrpc.x86.pending` judges.

It only reads, so that a thread beside the event loop may ask as well: of what moves meanwhile it
sees one moment or another.
"""

from typing import TYPE_CHECKING

from mkrpc.instance.execution import PythonExecution
from mkrpc.link.frames import PendingView
from mkrpc.link.lease import MAX_BEAT_CORES
from mkrpc.x86.pending import CoreState

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu
    from mkrpc.instance.kernel import Kernel

__all__ = ["busy_cores", "core_state", "pending_view"]


def core_state(cpu: "Cpu", *, entered: int = -1) -> CoreState:
    """The state of a CPU now.

    ``entered``: the vector of a handler that is a plain function and has not returned, which only
    somebody beside the event loop can find there; -1 for none.
    """
    apic, kernel = cpu.apic, cpu.kernel
    stack: tuple[int | None, ...] = ()
    waits = False
    if isinstance(cpu.execution, PythonExecution):
        stack, waits = cpu.execution.stack, cpu.execution.busy and not cpu.execution.runnable
    handlers = tuple(vector for vector in stack if vector is not None)
    return CoreState(
        cpu=cpu.number,
        irr=apic.irr,
        isr=apic.isr,
        tpr=apic.tpr,
        ppr=apic.ppr,
        interrupts_enabled=cpu.interrupts_enabled,
        activity=cpu.activity,
        mode=int(apic.mode),
        software_enabled=apic.software_enabled,
        interrupt_shadow=cpu.interrupt_shadow,
        nmi_latched=apic.nmi_latched,
        nmi_in_service=apic.nmi_in_service,
        stopped=cpu.stopped,
        panic=kernel.failed or "",
        storm=cpu.storm,
        congested=kernel.congested,
        waits_to_write=waits,
        program=None in stack,
        handlers=handlers if entered < 0 else (*handlers, entered),
        entered=entered >= 0,
    )


def pending_view(cpu: "Cpu", vector: int) -> PendingView:
    """What a CPU answers to READ_PENDING for a vector, 0 to 255."""
    return PendingView(core_state(cpu), cpu.books.row(vector))


def busy_cores(kernel: "Kernel", entered: tuple[int, int] | None) -> list[CoreState]:
    """Of the CPUs that owe somebody something, the first :data:`MAX_BEAT_CORES`.

    ``entered``: the CPU's number and the vector of the plain function that holds the event loop.
    """
    found = []
    for cpu in kernel.cpus:
        here = entered[1] if entered is not None and entered[0] == cpu.number else -1
        state = core_state(cpu, entered=here)
        if state.irr or state.isr or state.handlers or state.nmi_latched:
            found.append(state)
            if len(found) == MAX_BEAT_CORES:
                break
    return found
