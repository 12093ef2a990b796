"""What executes on a CPU: the seam between the CPU and its instruction stream.

:class:`Execution` is all that a CPU knows of it: run one instruction, enter the handler of a gate,
start over. Interrupt flag, shadows, HLT and the local APIC belong to the CPU; registers, stack and
instruction bytes to the execution. Machine code fits behind it as well as :class:`PythonExecution`,
which runs programs and handlers given as Python callables (design, section 6).
"""

import inspect
from collections.abc import Callable, Generator
from enum import IntEnum
from types import AsyncGeneratorType, CoroutineType
from typing import TYPE_CHECKING, Any, Final, Protocol

from mkrpc.errors import AlreadyExistsError, InvalidArgumentError
from mkrpc.instance.instructions import Instruction, Nop
from mkrpc.x86.idt import TrapHandler

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu

__all__ = [
    "INSIDE_BODY",
    "MAX_NESTED_HANDLERS",
    "OUTSIDE",
    "RAISED",
    "Body",
    "Execution",
    "Handler",
    "Program",
    "Progress",
    "PythonExecution",
    "body_of",
    "check_handler",
    "run_handlers",
]

MAX_NESTED_HANDLERS: Final = 64
"""Handlers interrupted by handlers on one CPU; one more overflows its stack: a kernel panic.

One interrupt of each of the 14 usable classes can nest by priority (R48); deeper only by a handler
that enables interrupts after its EOI, which in a real kernel ends the same way.
"""

OUTSIDE: Final = -1
INSIDE_BODY: Final = -2
"""Of :attr:`PythonExecution.inside`: no code of the instance runs, or that of a program or of a
generator handler."""

RAISED: Final = (Exception, SystemExit, GeneratorExit)
"""What code of an instance raises is its oops, also ``sys.exit()``: that would end the process of
whoever runs it. KeyboardInterrupt, and how a test framework fails or skips, is meant for that
process and goes on."""

Body = Generator[Instruction | None, Any, Any]
"""What a program or a generator handler runs as; a bare ``yield`` is a NOP."""

Program = Callable[["Cpu"], Body]
Handler = Callable[["Cpu"], object]
"""A function (one instruction, IF = 0 until its IRET) or a generator function."""

_NOP: Final = Nop()


def check_handler(handler: object) -> None:
    """Raise InvalidArgumentError for what cannot be called with a CPU, or is async."""
    if not callable(handler):
        raise InvalidArgumentError(
            f"{handler!r} is no handler",
            advice="give a function or a generator function of one argument, the CPU",
        )
    if inspect.iscoroutinefunction(handler) or inspect.isasyncgenfunction(handler):
        raise InvalidArgumentError(
            f"{handler!r} is async, and no event loop runs on a CPU",
            advice="use `def` and, to be interruptible, `yield` instructions",
        )


def run_handlers(cpu: "Cpu", body: Body, others: tuple[Handler, ...]) -> Body:
    """The rest of a multikernel interrupt of which a generator handler is a part."""
    yield from body
    for handler in others:
        following = body_of(handler(cpu), handler)
        if following is not None:
            yield from following


def body_of(result: object, what: object) -> Body | None:
    """What a handler or program that was called has still to do; None if that is nothing.

    ``result`` is what ``what`` returned. Raises TypeError for what waits for an event loop: there
    is none here. A coroutine is closed, so that it ends unstarted and without a warning.
    """
    if result is None:
        return None
    if isinstance(result, Generator):
        return result
    if isinstance(result, CoroutineType | AsyncGeneratorType):
        if isinstance(result, CoroutineType):
            result.close()
        raise TypeError(f"{what!r} is async: no event loop runs on a CPU")
    return None


class Progress(IntEnum):
    """How an instruction went."""

    WAITING = 0
    """It writes the ICR and must wait; it will be tried again, and the STI shadow stays."""
    RAN = 1
    TOUCHED_APIC = 2
    """It ran, and may have changed the local APIC."""


class Execution(Protocol):
    """One CPU's instruction stream, as the CPU sees it."""

    __slots__ = ()

    @property
    def busy(self) -> bool:
        """Is there a context: a program, or a handler that has not returned?

        Not so on a CPU that idles. A busy one may still be halted: that is the CPU's business.
        """

    @property
    def runnable(self) -> bool:
        """Could :meth:`run` make progress now? Not when idle, nor while an ICR write waits (R20).
        The CPU asks only when it is not halted."""

    def run(self) -> Progress:
        """Execute one instruction, up to the next boundary.

        The execution calls the CPU for what the CPU owns: IF, HLT, ICR, and ``iret`` at the end of
        a handler. Faults stay inside.
        """

    def enter(self, vector: int, *, interrupts_enabled: bool) -> None:
        """Enter the handler of gate ``vector`` (0 to 255): at a boundary, or within an INT n.

        The CPU has acknowledged and cleared IF; ``interrupts_enabled`` is the IF to save, which
        IRET gives back, and a trap gate at once (R56). Whatever fails on the way is an oops, and
        the ISR bit stays (R61).
        """

    def reset(self) -> None:
        """Drop everything: INIT, or a CPU that is stopped for good."""


class _Context:
    """One suspended body, and what its next turn begins with."""

    __slots__ = ("body", "fault", "interrupts_enabled", "result", "vector", "waiting")

    def __init__(self, body: Body, *, vector: int | None, interrupts_enabled: bool) -> None:
        self.body = body
        self.vector = vector  # None: the program
        self.interrupts_enabled = interrupts_enabled
        self.result: object = None
        self.fault: Exception | None = None
        self.waiting: Instruction | None = None


class PythonExecution(Execution):
    """Programs and handlers in Python: a stack of contexts, the program at the bottom.

    A departure from hardware: a handler that is a plain function is one instruction.
    """

    __slots__ = ("_contexts", "_cpu", "inside")

    def __init__(self, cpu: "Cpu") -> None:
        self._cpu = cpu
        self.inside = OUTSIDE
        """The vector whose handler is being entered, INSIDE_BODY, or OUTSIDE: whose code runs at
        this moment, for whoever looks from another thread."""
        self._contexts: list[_Context] = []

    @property
    def busy(self) -> bool:
        """As :class:`Execution`."""
        return bool(self._contexts)

    @property
    def runs_program(self) -> bool:
        """Is a program at the bottom of the stack?"""
        return bool(self._contexts) and self._contexts[0].vector is None

    @property
    def stack(self) -> tuple[int | None, ...]:
        """What is suspended here, innermost last: vectors of handlers, None for the program."""
        return tuple(context.vector for context in self._contexts)

    @property
    def runnable(self) -> bool:
        """As :class:`Execution`."""
        if not self._contexts:
            return False
        return self._contexts[-1].waiting is None or self._cpu.may_write

    def start(self, program: Program) -> None:
        """Put a program at the bottom of the stack; it has not executed anything yet.

        Raises AlreadyExistsError if there is one, InvalidArgumentError if ``program`` is no
        callable that returns a generator.
        """
        if self.runs_program:
            raise AlreadyExistsError(
                f"CPU {self._cpu.number} runs a program already",
                advice="start it on another CPU, or wait until the first one has ended",
            )
        try:
            body = body_of(program(self._cpu), program) if callable(program) else None
        except RAISED as error:
            raise InvalidArgumentError(
                f"{program!r} cannot be started: {type(error).__name__}: {error}",
                advice="a program is a generator function of one argument, the CPU",
            ) from error
        if body is None:
            raise InvalidArgumentError(
                f"{program!r} is no program",
                advice="give a generator function: def program(cpu): ... yield Nop()",
            )
        context = _Context(body, vector=None, interrupts_enabled=True)
        self._contexts.insert(0, context)
        self._cpu.kernel.schedule(self._cpu)

    def run(self) -> Progress:
        """As :class:`Execution`: resume the uppermost body up to its ``yield``, then execute what
        it yielded."""
        context = self._contexts[-1]
        instruction = context.waiting or self._resume(context)
        if instruction is None:
            return Progress.RAN
        cpu = self._cpu
        try:
            if instruction.sends and not cpu.may_write:
                # R20: delivery status is busy until earlier writes are resolved; nothing is lost.
                context.waiting = instruction
                return Progress.WAITING
            context.waiting = None
            context.result = cpu.perform(instruction)
        except AssertionError:
            raise  # a bug of this project, not of what runs on it
        except Exception as fault:  # noqa: BLE001 - also a TypeError for a wrong operand
            context.fault = fault
        return Progress.TOUCHED_APIC if instruction.touches_apic else Progress.RAN

    def enter(self, vector: int, *, interrupts_enabled: bool) -> None:
        """As :class:`Execution`; a plain function has run to its IRET when this returns."""
        cpu = self._cpu
        before, self.inside = self.inside, vector
        try:
            handler = cpu.idt.gates[vector].handler
            result = handler(cpu)
            if result is None:
                body = None
            elif isinstance(result, TrapHandler):  # R56: a trap gate leaves IF as it was
                cpu.interrupts_enabled = interrupts_enabled
                body = body_of(result.handler(cpu), result.handler)
            else:
                body = body_of(result, handler)
        except RAISED as error:
            cpu.kernel.oops(cpu, error, vector=vector)
            body = None
        self.inside = before
        if cpu.stopped:
            return
        if body is None:
            # Cpu.iret, which costs a tenth of a whole interrupt when it is called.
            cpu.interrupts_enabled = interrupts_enabled
            cpu.apic.nmi_in_service = False
            return
        if len(self._contexts) > MAX_NESTED_HANDLERS:
            cpu.kernel.panic(cpu, "interrupt stack overflow")
            return
        self._contexts.append(_Context(body, vector=vector, interrupts_enabled=interrupts_enabled))
        cpu.kernel.schedule(cpu)

    def reset(self) -> None:
        """As :class:`Execution`.

        A departure: Python runs the ``finally`` blocks of a body that is dropped; whatever they
        yield is not executed, and what they raise goes into the log.
        """
        contexts, self._contexts = self._contexts, []
        for context in reversed(contexts):
            try:
                context.body.close()
            except RAISED as error:
                self._cpu.printk(f"dropped at INIT: {type(error).__name__}: {error}")

    def _resume(self, context: _Context) -> Instruction | None:
        """The next instruction of a body, or None when it has ended."""
        fault, context.fault = context.fault, None
        result, context.result = context.result, None
        self.inside = INSIDE_BODY
        try:
            body = context.body
            yielded = body.send(result) if fault is None else body.throw(fault)
        except StopIteration:
            self._end(context)
            return None
        except RAISED as error:
            self._cpu.kernel.oops(self._cpu, error, vector=context.vector)
            self._end(context)
            return None
        finally:
            self.inside = OUTSIDE
        if self._cpu.stopped:
            return None
        if yielded is None:
            return _NOP
        if not isinstance(yielded, Instruction):
            context.fault = TypeError(f"yielded {yielded!r}, which is no instruction")
            return _NOP
        return yielded

    def _end(self, context: _Context) -> None:
        """IRET of a handler; after the end of a program the CPU idles (``sti; hlt``)."""
        cpu = self._cpu
        if cpu.stopped:
            return
        assert self._contexts[-1] is context
        self._contexts.pop()
        if context.vector is not None:
            cpu.iret(interrupts_enabled=context.interrupts_enabled)
        else:
            cpu.interrupts_enabled = True
