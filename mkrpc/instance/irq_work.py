"""Work that a CPU does at its next interrupt for it: irq_work, raised by a self IPI.

What somebody outside has a kernel do runs as code of that kernel, on one of its CPUs, between two
instructions of whatever runs there, once interrupts are enabled. Source: kernel/irq_work.c,
arch/x86/kernel/irq_work.c (arch_irq_work_raise).
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from mkrpc.errors import LimitReachedError
from mkrpc.instance.execution import Body
from mkrpc.instance.instructions import SelfIpi
from mkrpc.x86.irq_vectors import IRQ_WORK_VECTOR

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu

__all__ = ["MAX_IRQ_WORK", "IrqWork"]

MAX_IRQ_WORK = 1024
"""Pieces of work that wait in one kernel; one more is LimitReachedError."""

Work = Callable[["Cpu"], Body]


class IrqWork:
    """Of one kernel."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Work]] = deque()

    def queue(self, cpu: "Cpu", work: Work) -> None:
        """Have a CPU run it.

        Raises ClusterStateError for a CPU that cannot execute, LimitReachedError for one that has
        too many ICR writes outstanding, and at MAX_IRQ_WORK.
        """
        cpu.assert_can_execute()
        if not cpu.may_write or len(self._waiting) >= MAX_IRQ_WORK:
            raise LimitReachedError(
                f"CPU {cpu.number} has too many ICR writes, or too much work, outstanding",
                advice="try again later",
            )
        self._waiting.append((cpu.number, work))
        cpu.execute(SelfIpi(IRQ_WORK_VECTOR))

    def run(self, cpu: "Cpu") -> Body | None:
        """What waits for this CPU, one after the other; None if nothing does."""
        mine = [work for number, work in self._waiting if number == cpu.number]
        if not mine:
            return None
        self._waiting = deque(each for each in self._waiting if each[0] != cpu.number)
        return _run(cpu, mine)


def _run(cpu: "Cpu", works: list[Work]) -> Body:
    for work in works:
        yield from work(cpu)
