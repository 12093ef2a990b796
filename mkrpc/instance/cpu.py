"""One emulated CPU: what its core adds to its local APIC.

IF, STI shadow, NMI blocking, HLT, wait-for-SIPI; at every instruction boundary it takes what is
deliverable. How it takes SMI, INIT, SIPI and NMI is in ``core_events``. Source: SDM vol. 3, 6.7.1,
6.8, table 6-2, 8.4.2; rules R55 to R62.

Departures from hardware:

- An idle CPU (no program, no handler) is ``sti; hlt`` for ever. What arrives is taken at the
  boundary after each single accepted word.
- There is no machine check, no debug trap and no System Management Mode: an SMI is counted.
- No firmware: a boot processor that takes an INIT restarts its program, if it had one.
"""

from typing import TYPE_CHECKING, Final

from mkrpc.errors import ClusterStateError, InvalidArgumentError
from mkrpc.instance.apic_access import ApicAccess
from mkrpc.instance.core_events import core_event_ready, take_core_event
from mkrpc.instance.execution import Execution, Program, PythonExecution
from mkrpc.instance.instructions import Instruction
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode, Icr, decode
from mkrpc.x86.irq_stat import IrqStat
from mkrpc.x86.irq_vectors import NR_VECTORS
from mkrpc.x86.lapic import LocalApic

if TYPE_CHECKING:
    from mkrpc.instance.kernel import Kernel

__all__ = ["MAX_TAKES_PER_BOUNDARY", "TAKES", "Cpu"]

MAX_TAKES_PER_BOUNDARY: Final = NR_VECTORS
"""Interrupts taken at one boundary: more than IRR can hold, so that only a handler that rings
itself gets there. The rest of such a storm is taken in the CPU's next turns, as long as it may
write, so that neither the other CPUs nor the link wait for it."""

TAKES: Final = range(MAX_TAKES_PER_BOUNDARY)
_TAKES_AFTER_ONE: Final = range(1, MAX_TAKES_PER_BOUNDARY)
_FIXED: Final = DeliveryMode.FIXED
_LOWEST_PRIORITY: Final = DeliveryMode.LOWEST_PRIORITY
_DELIVERED: Final = Outcome.DELIVERED
_COALESCED: Final = Outcome.COALESCED
_APIC_DISABLED: Final = Outcome.REJECTED_APIC_DISABLED


class Cpu(ApicAccess):
    """CPU ``number`` of a kernel, with its local APIC.

    Handlers and programs are given this object. They may use ``number`` (within the kernel),
    ``apic_id`` (machine-wide), ``kernel``, ``vector`` (of the gate just entered),
    :meth:`apic_eoi`, :meth:`write_icr`, :meth:`self_ipi`, :meth:`printk` and the register accesses.

    ``interrupts_enabled`` is IF. ``halted``: HLT was executed and nothing has woken the CPU since.
    ``stopped``: for good, by a panic or the reboot vector; only INIT brings it back. ``storm``: the
    last boundary reached MAX_TAKES_PER_BOUNDARY, and the CPU's next turn goes on there. ``boots``
    counts restarts by SIPI, ``smi_count`` SMIs. ``multikernel_count`` counts runs of
    sysvec_multikernel, which ``irq_stat.irq_call_count`` shares with function calls. ``word`` is
    the last that came here, and ``icr`` what it says: the next one is mostly the same.
    """

    __slots__ = (
        "_python",
        "boots",
        "execution",
        "halted",
        "icr",
        "idt",
        "interrupt_shadow",
        "interrupts_enabled",
        "irq_stat",
        "multikernel_count",
        "program",
        "smi_count",
        "stopped",
        "storm",
        "vector",
        "word",
    )

    def __init__(self, kernel: "Kernel", number: int, apic: LocalApic) -> None:
        super().__init__(kernel, number, apic)
        self.idt = kernel.idt
        self._python = PythonExecution(self)
        self.execution: Execution = self._python
        self.interrupts_enabled = True
        self.interrupt_shadow = 0  # or BLOCKING_BY_STI, or BLOCKING_BY_MOV_SS
        self.halted = False
        self.stopped = False
        self.storm = False
        self.program: Program | None = None
        self.vector = 0
        self.word = 0
        self.icr = decode(0)
        self.boots = 0
        self.smi_count = 0
        self.irq_stat = IrqStat()
        self.multikernel_count = 0

    def __repr__(self) -> str:
        return f"<Cpu {self.number} apic_id={self.apic_id:#x} {self.activity}>"

    @property
    def activity(self) -> str:
        """``running``, ``idle``, ``halted`` or ``wait-for-sipi``.

        ``idle``: nothing to run, IF = 1. ``halted``: HLT executed by a program or a command, or
        stopped for good. Without a program, with IF = 0 and not halted it counts as ``running``:
        whoever disabled interrupts is holding the CPU.
        """
        if self.apic.wait_for_sipi:
            return "wait-for-sipi"
        if self.halted:
            return "halted"
        return "running" if self.execution.busy or not self.interrupts_enabled else "idle"

    @property
    def inside(self) -> int:
        """Whose code it runs at this moment, as :attr:`PythonExecution.inside`."""
        return self._python.inside

    # Arrival.

    def accept(self, icr: Icr) -> Outcome:
        """One leg arrives: into the local APIC and into the books. Takes nothing yet."""
        apic = self.apic
        self.changed = True
        mode = icr.delivery_mode
        if mode is _FIXED or mode is _LOWEST_PRIORITY:
            vector = icr.vector
            outcome = apic.accept_fixed(vector)
            if outcome is _DELIVERED:
                books = self.books
                row = books.rows[vector] or books.open(vector)
                row.delivered += 1
                books.touch(row)
            elif outcome is _COALESCED:
                self.books.coalesce(vector)
            elif apic.lvt_delivered:
                self.book_lvt_error()
        else:
            outcome = apic.accept(icr)
            self.core_pending = self.core_pending or outcome is _DELIVERED
        if outcome is _APIC_DISABLED and self.number in self.kernel.hotplug.vacant:
            return Outcome.REJECTED_NO_SUCH_APIC  # it has left: on its way here all the same
        return outcome

    def arrive(self, icr: Icr) -> Outcome:
        """:meth:`accept`, then :meth:`boundary`; in one go where nothing is in the way."""
        if (
            icr.delivery_mode is _FIXED
            and self.interrupts_enabled
            and not (self.core_pending or self.interrupt_shadow or self.storm)
        ):
            vector = icr.vector
            apic = self.apic
            if apic.accept_and_acknowledge(vector):
                books = self.books
                row = books.rows[vector] or books.open(vector)
                row.delivered += 1
                # From here on _take and enter_interrupt: a call costs a tenth of the whole.
                row.handled += 1
                if not row.touched:
                    books.touch(row)
                self.changed = True
                self.halted = False
                self.interrupts_enabled = False
                self.vector = vector
                if self.execution is self._python:
                    self._python.enter(vector, interrupts_enabled=True)
                else:
                    self.execution.enter(vector, interrupts_enabled=True)
                if apic.irr or self.core_pending:
                    self.boundary(_TAKES_AFTER_ONE)
                return _DELIVERED
        outcome = self.accept(icr)
        self.boundary()
        return outcome

    # Boundaries.

    def boundary(self, takes: range = TAKES) -> int:
        """Take what is deliverable, in R55 order, until nothing is or the limit is reached.

        ``takes`` begins with how many this boundary took already. Returns how many in all. In a
        storm it takes NMI, SMI and INIT alone: :meth:`step` goes on with the rest.
        """
        apic = self.apic
        for taken in takes:
            if self.interrupt_shadow and not apic.init_latched:
                # R57: NMI and SMI wait for the instruction after STI too.
                return taken
            if self.core_pending and take_core_event(self):
                continue
            if self.storm or not self.interrupts_enabled or apic.highest_deliverable() < 0:
                return taken
            self._take(apic.acknowledge())
        self.storm = self.core_pending or self._takes_maskable
        if self.storm:
            self.kernel.schedule(self)
        return MAX_TAKES_PER_BOUNDARY

    def step(self) -> int:
        """One instruction and the boundary after it; in a storm only what the last boundary left.
        Returns the cost: the number of interrupts taken, at least 1."""
        if self.storm:
            # Its handler is one instruction and cannot wait in the middle: it waits before (R20).
            self.storm = not self.may_write
        elif not self.halted and not self.apic.wait_for_sipi and self.execution.runnable:
            self.changed = True
            shadow = self.interrupt_shadow
            # One of the other kind, cast by this very instruction, covers the next one (R56).
            if self.execution.run() and self.interrupt_shadow == shadow:
                self.interrupt_shadow = 0
        return max(1, self.boundary())

    @property
    def runnable(self) -> bool:
        """Would :meth:`step` make progress?"""
        if self.storm and self.may_write:
            return True
        if not (self.storm or self.halted or self.apic.wait_for_sipi) and self.execution.runnable:
            return True
        if self.interrupt_shadow and not self.apic.init_latched:
            return False
        if self.core_pending and core_event_ready(self):
            return True
        return not self.storm and self._takes_maskable

    @property
    def _takes_maskable(self) -> bool:
        return self.interrupts_enabled and self.apic.highest_deliverable() >= 0

    def _take(self, vector: int) -> None:
        """A vector just acknowledged (R45): the books, and its handler."""
        row = self.books.open(vector)
        row.handled += 1
        self.books.touch(row)
        self.enter_interrupt(vector)

    def enter_interrupt(self, vector: int) -> None:
        """Enter the handler of a maskable interrupt (R56), out of HLT too: it returns to after the
        HLT (R59)."""
        self.changed = True
        self.halted = False
        self.interrupts_enabled = False
        self.vector = vector
        self.execution.enter(vector, interrupts_enabled=True)

    def iret(self, *, interrupts_enabled: bool) -> None:
        """The end of a handler: IF as saved, without a shadow (R56); NMIs unblocked (R58)."""
        self.interrupts_enabled = interrupts_enabled
        self.apic.nmi_in_service = False

    # What programs, handlers and commands do.

    def start(self, program: Program) -> None:
        """Run a program from its beginning. Raises as ``PythonExecution.start``, and
        ClusterStateError on a CPU that waits for SIPI or is stopped."""
        self.assert_alive()
        self._python.start(program)
        self.program = program
        self.changed = True

    def perform(self, instruction: Instruction) -> object:
        """Execute one instruction, without the boundary after it. Faults are raised."""
        self.changed = True
        return instruction.execute(self)

    def execute(self, instruction: Instruction, *, command: int = 0) -> object:
        """Execute one instruction from outside, as if a task did it, and the boundary after it.

        On an idle CPU it runs in place of the idle task, and an STI shadow lasts until the next
        instruction from outside. Between two instructions of a program it leaves the program's
        STI shadow alone. A CPU halted with IF = 1 executes it and stays halted; after a
        :class:`Hlt` it stays so until something wakes it, and then is what it was before.
        ``command`` is the number of the request behind it, for the ICR writes that it makes.

        Raises ClusterStateError when the CPU cannot execute: it waits for SIPI, is stopped, or is
        halted with IF = 0. Raises GeneralProtection or PageFault as the instruction does.
        """
        self.assert_can_execute()
        shadow, between = self.interrupt_shadow, self.execution.busy
        if between:
            self.interrupt_shadow = 0
        self.command = command
        try:
            return self.perform(instruction)
        finally:
            self.command = 0
            if between:
                self.interrupt_shadow = self.interrupt_shadow or shadow
            elif self.interrupt_shadow == shadow:
                self.interrupt_shadow = 0
            self.boundary()

    def assert_alive(self) -> None:
        """Raise ClusterStateError if it waits for SIPI or is stopped for good."""
        if self.apic.wait_for_sipi or self.stopped:
            raise ClusterStateError(
                f"CPU {self.number} {'is stopped' if self.stopped else 'waits for SIPI'} and "
                "executes nothing",
                advice="send it INIT and SIPI first",
            )

    def assert_can_execute(self) -> None:
        """Raise ClusterStateError if :meth:`execute` would."""
        self.assert_alive()
        if self.halted and not self.interrupts_enabled:
            raise ClusterStateError(
                f"CPU {self.number} is halted with interrupts disabled and executes nothing",
                advice="wake it with hlt=0, or with an NMI",
            )

    def printk(self, text: str, level: int = 6) -> None:
        """A line into the kernel's log; ``level`` 0 to 7."""
        if not 0 <= level <= 7:
            raise InvalidArgumentError(f"log level {level}", advice="levels are 0 to 7")
        self.kernel.log.emit(level, text, self.number)

    def replace_apic(self, apic: LocalApic) -> None:
        """Another APIC of the same id in its place, as after power-up; what the one before held is
        discarded, with its place in the books."""
        before = self.apic.irr, self.apic.isr
        self.apic = apic
        self.core_pending = False
        self.forget_lvt_errors()
        self.observe(before)

    def stop(self) -> None:
        """For good, as after a panic: everything dropped, IF = 0, halted. Only INIT ends it."""
        self.stopped = True
        self.halted = True
        self.interrupts_enabled = False
        self.interrupt_shadow = 0
        self.storm = False
        self.changed = True
        self.execution.reset()
