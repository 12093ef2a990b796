"""Every local APIC is in a state that an APIC can be in, and every CPU's books hold (design 3.1).

``delivered = handled + pending in IRR + discarded`` and ``handled = EOI'd + in service``: for the
sums of all vectors often, for each vector now and then, and whenever a kernel ends. At rest nobody
is left with an interrupt that it could take, and nothing stays in service but what owes its EOI.
"""

from typing import ClassVar

from mkrpc.instance.accounting import assert_books
from mkrpc.instance.cpu import Cpu
from mkrpc.instance.kernel import Kernel
from mkrpc.instance.vector_books import vectors_of
from mkrpc.simulation.checkers.violation import Checker
from mkrpc.simulation.events import KernelEnded, KernelTurn, Standing
from mkrpc.simulation.workload import MAY_STAY_IN_SERVICE
from mkrpc.x86.irq_vectors import FIRST_EXTERNAL_VECTOR, FIRST_LEGAL_VECTOR, SPURIOUS_APIC_VECTOR

__all__ = ["BOOKS_EVERY", "SUMS_EVERY", "ApicInvariants"]

SUMS_EVERY = 16
"""Turns of instances after which the sums of one's books are compared."""
BOOKS_EVERY = 512
"""The same for every vector of them."""

_NEVER_END = (*range(FIRST_LEGAL_VECTOR, FIRST_EXTERNAL_VECTOR), SPURIOUS_APIC_VECTOR)
"""Vectors of exceptions and the spurious one: their gates owe no EOI (R47, R60)."""


class ApicInvariants(Checker):
    """Looks at CPUs that have changed since they were last reported."""

    name: ClassVar[str] = "apic_invariants"
    listens: ClassVar[tuple[type, ...]] = (KernelTurn, KernelEnded)

    def __init__(self) -> None:
        self._turns = 0

    def on_event(self, event: object) -> None:
        """As :class:`Checker`."""
        if type(event) is KernelEnded:
            self._books(event.kernel)
            return
        assert isinstance(event, KernelTurn)
        self._turns += 1
        kernel = event.kernel
        if self._turns % BOOKS_EVERY == 0:
            self._books(kernel)
            return
        sums = self._turns % SUMS_EVERY == 0
        for cpu in kernel.cpus:
            if cpu.changed:
                self._apic(cpu)
            if sums:
                self._sums(cpu)

    def at_end(self, standing: Standing) -> None:
        """As :class:`Checker`."""
        for kernel in standing.kernels.values():
            self._books(kernel)
            for cpu in kernel.cpus:
                if cpu.interrupts_enabled and not cpu.stopped and not cpu.interrupt_shadow:
                    vector = cpu.apic.highest_deliverable()
                    if vector >= 0:
                        self.fail(f"{cpu} is at rest with vector {vector:#04x} to take")
                if not cpu.stopped and not cpu.execution.busy:
                    self._in_service(cpu)

    def _in_service(self, cpu: Cpu) -> None:
        """No handler is left: what is in service has a gate that may leave it so."""
        for vector in vectors_of(cpu.apic.isr):
            if vector not in _NEVER_END and cpu.idt[vector].name not in MAY_STAY_IN_SERVICE:
                self.fail(f"{cpu} is at rest with vector {vector:#04x} in service")

    def _apic(self, cpu: Cpu) -> None:
        try:
            cpu.apic.assert_invariants()
        except AssertionError as broken:
            self.fail(f"{cpu}: {broken}")

    def _sums(self, cpu: Cpu) -> None:
        books, apic = cpu.books, cpu.apic
        handled = sum(row.handled for row in books.opened)
        pending, in_service = apic.irr.bit_count(), apic.isr.bit_count()
        if sum(row.delivered - row.discarded for row in books.opened) != handled + pending:
            self.fail(f"{cpu}: delivered is not handled + pending + discarded")
        if handled != sum(row.eoi for row in books.opened) + in_service:
            self.fail(f"{cpu}: handled is not EOI'd + in service")

    def _books(self, kernel: Kernel) -> None:
        try:
            assert_books(kernel)
        except AssertionError as broken:
            self.fail(f"instance {kernel.config.instance_id}: {broken}")
