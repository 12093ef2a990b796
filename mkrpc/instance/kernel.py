"""One kernel instance as a pure object: its CPUs, their log, and the ICR writes that leave it.

It is driven by :mod:`mkrpc.instance.attachment` over a link, or directly by the simulator and by
tests. Time is an argument (``now_us``); nothing here waits or does I/O.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mkrpc.compiled.marks import mypyc_attr
from mkrpc.errors import (
    AlreadyExistsError,
    ClusterStateError,
    InvalidArgumentError,
    LimitReachedError,
    NotFoundError,
)
from mkrpc.instance.commands import CommandQueue
from mkrpc.instance.config import LINUX_TPR, KernelConfig, booted_apic
from mkrpc.instance.cpu import Cpu
from mkrpc.instance.execution import Body, Handler, Program, body_of, check_handler, run_handlers
from mkrpc.instance.hotplug import Hotplug
from mkrpc.instance.irq_work import IrqWork
from mkrpc.instance.memory import SharedMemory
from mkrpc.instance.multikernel.post import Post
from mkrpc.instance.oops import print_oops
from mkrpc.instance.printk import KERN_EMERG, KERN_INFO, Printk, Ratelimit
from mkrpc.instance.store_buffer import BufferedCpu
from mkrpc.instance.sysvec import install_event_dispatch
from mkrpc.limits import IDENTITY_BYTES, MAX_HANDLERS
from mkrpc.link.frames import MAX_FRAME_WORDS, Command, CpuAddress, Reply, SettledWrite, Writes
from mkrpc.link.memory import OutcomeMemory
from mkrpc.link.messages import Message
from mkrpc.link.source import SourceWindow
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import decode
from mkrpc.x86.lapic import LocalApic

if TYPE_CHECKING:
    from mkrpc.instance.multikernel.live import Multikernel

__all__ = [
    "FRAME_EVENTS",
    "LINUX_TPR",
    "MAX_QUEUED_EVENTS",
    "Kernel",
    "KernelConfig",
    "Startup",
]

FRAME_EVENTS = 512
"""Words of the events in one frame at most, though a frame may hold MAX_FRAME_WORDS: the
interconnect has one frame of each instance in turn, and beats wait for it to end."""

MAX_QUEUED_EVENTS = 4 * MAX_FRAME_WORDS
"""Events that wait for the link; at so many the CPUs stand still until it has taken some. They
still take what arrives, which the interconnect bounds, since it gets no answers meanwhile."""

Event = Writes | SettledWrite | CpuAddress | Message

Startup = Callable[[Cpu, int], Program | None]
"""What a CPU runs after SIPI, by its vector; None: it halts with IF = 0 and its APIC disabled."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Kernel:
    """A booted kernel: every CPU idle, IF = 1, its APIC software-enabled as Linux leaves it.

    ``incarnation``: 16 random bytes, never reused. ``now_us``: microseconds since boot.
    ``events``: ICR writes and changes of address in program order, for the link to take.
    ``source``: the window of its writes. ``outcomes``: of the writes that arrived here, whatever
    link they came over, so that none is applied twice. ``commands``: what it was asked.
    ``idt``: where its events go, FRED's tables in its place with ``entry="fred"``. ``hotplug``:
    takes CPUs offline and back.
    ``failed``: None, or the line with which it panicked. ``on_startup``: what a CPU runs after
    SIPI. ``oops_count``, ``irq_err_count``: of all CPUs. ``x86_platform_ipi_callback``: None, or
    what vector 0xF7 calls; with it /proc/interrupts has a row PLT.
    """

    def __init__(
        self,
        config: KernelConfig,
        *,
        incarnation: bytes,
        now_us: Callable[[], int],
        memory: SharedMemory | None = None,
    ) -> None:
        if len(incarnation) != IDENTITY_BYTES:
            raise InvalidArgumentError(
                f"an incarnation of {len(incarnation)} bytes",
                advice=f"draw {IDENTITY_BYTES} random bytes",
            )
        self.config = config
        self.incarnation = incarnation
        self.now_us = now_us
        self.memory = memory
        self.log = Printk(records=config.printk_records, now_us=now_us)
        self.idt = install_event_dispatch(config)
        self.hotplug = Hotplug(self)
        self.irq_work = IrqWork()
        self.x86_platform_ipi_callback: Handler | None = None
        self.source = SourceWindow()
        self.outcomes = OutcomeMemory()
        self.post = Post(self)
        self._multikernel: Multikernel | None = None
        self.events: list[Event] = []
        self.failed: str | None = None
        self.oops_count = 0
        self.irq_err_count = 0
        self.no_irq_handler_limit = Ratelimit()
        self.on_startup: Startup = self.hotplug.start_secondary
        self.handlers: tuple[Handler, ...] = ()
        self.cpus: tuple[Cpu, ...] = ()
        for number in range(len(config.apic_ids)):
            self.add_cpu(booted_apic(config, number))
        self.hotplug.leave_out_spares()
        self.commands = CommandQueue(self)
        self._settles_by_word = config.boundary == "word"
        self._unsettled: dict[int, Cpu] = {}
        self._scheduled: dict[int, Cpu] = {}

    # What runs on it.

    @property
    def multikernel(self) -> "Multikernel":
        """The framework for messages; from the first time on part of every doorbell interrupt."""
        if self._multikernel is None:
            from mkrpc.instance.multikernel.live import Multikernel

            self._multikernel = Multikernel(self)
        return self._multikernel

    def cpu(self, number: int) -> Cpu:
        """CPU by its number in this kernel. Raises NotFoundError."""
        if not 0 <= number < len(self.cpus):
            raise NotFoundError(
                f"instance {self.config.instance_id} has no CPU {number}",
                advice=f"it has CPUs 0 to {len(self.cpus) - 1}",
            )
        return self.cpus[number]

    def add_cpu(self, apic: LocalApic) -> None:
        """One more CPU, with the next number; ``config`` has its APIC id."""
        kind = BufferedCpu if self.config.store_buffer and self.memory is not None else Cpu
        self.cpus = (*self.cpus, kind(self, len(self.cpus), apic))
        self._cpu_count = len(self.cpus)

    def register_handler(self, handler: Handler) -> None:
        """Call ``handler(cpu)`` at every multikernel interrupt, after those registered before.

        Raises InvalidArgumentError for what cannot be called with a CPU or is async,
        AlreadyExistsError, LimitReachedError at MAX_HANDLERS, ClusterStateError in a kernel without
        the patch. With FRED they are registered, and nothing calls them.
        """
        if not self.config.multikernel:
            raise ClusterStateError(
                f"instance {self.config.instance_id} runs a kernel without the multikernel patch",
                advice="give it multikernel = true, or no handlers",
            )
        check_handler(handler)
        if handler in self.handlers:
            raise AlreadyExistsError(f"{handler!r} is registered already")
        if len(self.handlers) >= MAX_HANDLERS:
            raise LimitReachedError(f"{MAX_HANDLERS} handlers are registered")
        self.handlers = (*self.handlers, handler)

    def unregister_handler(self, handler: Handler) -> None:
        """Call it no longer. Raises NotFoundError."""
        if handler not in self.handlers:
            raise NotFoundError(f"{handler!r} is not registered")
        self.handlers = tuple(known for known in self.handlers if known != handler)

    def start_program(self, cpu: int, program: Program) -> None:
        """Run ``program(cpu)``, a generator function, on a CPU.

        Raises NotFoundError, AlreadyExistsError (a program runs there), InvalidArgumentError (no
        generator function), ClusterStateError (waiting for SIPI, stopped, or the kernel failed).
        Before the boot of a kernel that waits for SIPI it is what the CPU runs once it is online.
        """
        if self.failed is not None:
            raise ClusterStateError(f"the kernel has failed: {self.failed}")
        if not self.hotplug.defers(self.cpu(cpu), program):
            self.cpu(cpu).start(program)

    def generic_multikernel_interrupt(self, cpu: Cpu) -> Body | None:
        """The patch's own line, then the registered handlers in order.

        Returns the rest of the work as a generator if one of the handlers is a generator function.
        """
        self.log.emit_plain(KERN_INFO, "Multikernel interrupt", cpu.number)
        handlers = self.handlers
        for index, handler in enumerate(handlers):
            result = handler(cpu)
            body = None if result is None else body_of(result, handler)
            if body is not None:
                return run_handlers(cpu, body, handlers[index + 1 :])
        return None

    # Arrival and turns.

    def accept(self, cpu: int, word: int) -> Outcome:
        """One leg (x2APIC layout) arrives at a CPU, which then takes what it can.

        A CPU number that does not exist is REJECTED_MALFORMED.
        """
        if not 0 <= cpu < self._cpu_count:
            return Outcome.REJECTED_MALFORMED
        target = self.cpus[cpu]
        if word != target.word:
            target.word, target.icr = word, decode(word)
        if self._settles_by_word:
            return target.arrive(target.icr)
        self._unsettled[cpu] = target
        return target.accept(target.icr)

    def settle_frame(self) -> None:
        """The end of a frame; with ``boundary="frame"`` CPUs take their interrupts here."""
        unsettled, self._unsettled = self._unsettled, {}
        for cpu in unsettled.values():
            cpu.boundary()

    def schedule(self, cpu: Cpu) -> None:
        """The CPU may have something to run: a program, a handler, interrupts left over."""
        self._scheduled[cpu.number] = cpu

    @property
    def runnable(self) -> bool:
        """Would :meth:`advance` make progress?"""
        return not self.congested and any(cpu.runnable for cpu in self._scheduled.values())

    def advance(self, budget: int) -> int:
        """Run CPUs in turn, one instruction boundary each, until that has cost ``budget``.

        A boundary costs as many interrupts as it took, at least 1. Returns the cost, which is above
        ``budget`` by less than that of one boundary; 0: nobody can run, all are idle, halted, or
        waiting for the window or the link.
        """
        ran = 0
        progress = True
        while progress and ran < budget:
            progress = False
            for number, cpu in list(self._scheduled.items()):
                if ran >= budget or self.congested:
                    return ran
                del self._scheduled[number]  # to the end of the queue, if it stays in it
                if cpu.runnable:
                    ran += cpu.step()
                    progress = True
                if cpu.execution.busy or cpu.storm or cpu.runnable:
                    self._scheduled[number] = cpu
        return ran

    @property
    def congested(self) -> bool:
        """Do as many events wait for the link as may?"""
        return len(self.events) >= MAX_QUEUED_EVENTS

    # Commands.

    def execute(self, command: Command) -> Reply | None:
        """Do what a client asks; None when the reply comes later, through :meth:`take_replies`."""
        return self.commands.execute(command)

    def resume_commands(self) -> None:
        """Go on with commands that waited for the write window."""
        self.commands.resume()

    def take_replies(self) -> list[Reply]:
        """Replies that were due later, oldest first."""
        return self.commands.take_replies()

    # What leaves it.

    def publish_write(self, cpu: int, word: int, command: int) -> int:
        """Number an ICR write that has to travel and queue it for the link."""
        seq = self.source.next_seq(cpu, word)
        last = self.events[-1] if self.events else None
        if (
            isinstance(last, Writes)
            and (last.cpu, last.command, last.stamp) == (cpu, command, 0)
            and len(last.words) < FRAME_EVENTS
        ):
            assert last.first_seq + len(last.words) == seq
            last.words.append(word)
        else:
            self.events.append(Writes(cpu, seq, [word], command))
        return seq

    def publish_settled(self, cpu: int, word: int, outcome: Outcome, *, command: int = 0) -> int:
        """Number an ICR write that was settled inside its APIC and queue it for the link."""
        seq = self.source.next_settled_seq(cpu, word, outcome)
        self.events.append(SettledWrite(cpu, seq, word, outcome, command))
        return seq

    def publish_address(self, cpu: int) -> None:
        """Queue what the interconnect must know to route to a CPU.

        It takes the place of what the CPU last published, if no ICR write came in between: nobody
        could have been routed by that.
        """
        address = self.address_of(cpu)
        for index in range(len(self.events) - 1, -1, -1):
            last = self.events[index]
            if not isinstance(last, CpuAddress):
                break
            if last.cpu == cpu:
                self.events[index] = address
                return
        self.events.append(address)

    def take_events(self, limit: int) -> list[Event]:
        """The oldest events, ``limit`` words in all; every event but Writes counts as one word.

        What was settled inside its APIC has then been reported.
        """
        taken = self.events
        for index, event in enumerate(taken):
            words = len(event.words) if isinstance(event, Writes) else 1
            if words > limit:
                self.events = taken[index:]
                return taken[:index]
            limit -= words
            if isinstance(event, SettledWrite):
                self.source.reported(event.seq)
        self.events = []
        return taken

    def address_of(self, cpu: int) -> CpuAddress:
        """The routing registers of a CPU as they are now."""
        address = self.cpus[cpu].apic.address
        return CpuAddress(
            *(cpu, address.initial_id, int(address.mode), address.xapic_id),
            *(address.ldr, address.dfr, address.software_enabled),
            vacant=cpu in self.hotplug.vacant,
        )

    def oops(self, cpu: Cpu, error: BaseException, *, vector: int | None) -> None:
        """A handler (of ``vector``) or a program (None) raised: trace, count, perhaps panic."""
        self.oops_count += 1
        print_oops(cpu, error, vector=vector, number=self.oops_count)
        if self.config.panic_on_oops:
            self.panic(cpu, "Fatal exception" + ("" if vector is None else " in interrupt"))

    def panic(self, cpu: Cpu, reason: str) -> None:
        """Fail: every CPU stops for good. Their APICs still accept; nobody takes."""
        self.failed = f"Kernel panic - not syncing: {reason}"
        self.log.emit(KERN_EMERG, self.failed, cpu.number)
        for each in self.cpus:
            each.stop()
