"""The store buffer, optional: why a doorbell may ring before its payload is there (R17).

``KernelConfig.store_buffer`` = N gives every CPU a buffer of its own. A store enters it and becomes
visible to the other CPUs after N further instructions, in program order; the CPU's own loads see it
at once. A WRMSR to an x2APIC register does not wait for it, so an IPI can be accepted elsewhere
before the store that it announces (SDM vol. 3, 10.12.3). What drains it: MFENCE, CPUID, a WRMSR to
IA32_APIC_BASE, every access to the xAPIC's page (uncacheable), the entry of a handler, IRET, a
fault, SMI, INIT (11.10); and here HLT and the end of a program too. There is no clock in it:
program order alone decides.

Departures from hardware:

- The depth counts instructions as well as entries.
- A plain function is one instruction. Its IRET drains, so that nobody can look in between.
- A load that overlaps a waiting store without matching it drains the buffer. Its bytes are not put
  together of both.
- A stalled ICR write (R20) is no instruction. Stores wait as long as it does.
- The buffer of a process that is killed is lost.
"""

from collections import deque
from operator import index
from typing import TYPE_CHECKING, NamedTuple

from mkrpc.instance.cpu import TAKES, Cpu
from mkrpc.instance.execution import PythonExecution
from mkrpc.instance.instructions import Instruction
from mkrpc.instance.memory import SharedMemory
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.lapic import LocalApic
from mkrpc.x86.registers import IA32_APIC_BASE

if TYPE_CHECKING:
    from mkrpc.instance.kernel import Kernel

__all__ = ["BufferedCpu", "BufferedExecution", "StoreBuffer"]


class _Store(NamedTuple):
    address: int
    size: int
    value: int
    due: int
    """Completed instructions at which it becomes visible."""


class StoreBuffer:
    """Stores of one CPU that the others do not see yet, oldest first: at most ``depth`` of them."""

    __slots__ = ("_completed", "_depth", "_memory", "_stores")

    def __init__(self, memory: SharedMemory, *, depth: int) -> None:
        assert depth > 0, depth
        self._memory = memory
        self._depth = depth
        self._completed = 0
        self._stores: deque[_Store] = deque()

    def __len__(self) -> int:
        return len(self._stores)

    def store(self, address: int, value: int, size: int) -> None:
        """As :meth:`SharedMemory.store`, PageFault included; when full the oldest one drains."""
        address = index(address)
        self._memory.check(address, size)
        value = index(value) & ((1 << 8 * size) - 1)
        if len(self._stores) == self._depth:
            self._commit_oldest()
        due = self._completed + 1 + self._depth  # the 1 is the store's own instruction
        self._stores.append(_Store(address, size, value, due))

    def load(self, address: int, size: int) -> int:
        """As :meth:`SharedMemory.load`, with the CPU's own stores (store-to-load forwarding)."""
        self._memory.check(address, size)
        for waiting in reversed(self._stores):
            if (waiting.address, waiting.size) == (address, size):
                return waiting.value
            if waiting.address < address + size and address < waiting.address + waiting.size:
                self.drain()
                break
        return self._memory.load(address, size)

    def complete_instruction(self) -> None:
        """One more instruction of the CPU is done; what has waited long enough becomes visible."""
        self._completed += 1
        while self._stores and self._stores[0].due <= self._completed:
            self._commit_oldest()

    def drain(self) -> None:
        """Everything becomes visible now."""
        while self._stores:
            self._commit_oldest()

    def _commit_oldest(self) -> None:
        oldest = self._stores.popleft()
        self._memory.store(oldest.address, oldest.value, oldest.size)


class BufferedExecution(PythonExecution):
    """Programs and handlers on a CPU with a store buffer."""

    __slots__ = ("_store_buffer",)

    def __init__(self, cpu: Cpu, store_buffer: StoreBuffer) -> None:
        super().__init__(cpu)
        self._store_buffer = store_buffer

    def enter(self, vector: int, *, interrupts_enabled: bool) -> None:
        """Interrupts, NMI and INT n drain (SDM vol. 3, 11.10); so does IRET, which a plain function
        has reached when this returns."""
        self._store_buffer.drain()
        super().enter(vector, interrupts_enabled=interrupts_enabled)
        self._store_buffer.drain()

    def reset(self) -> None:
        """So does INIT, and whatever stops the CPU."""
        self._store_buffer.drain()
        super().reset()


class BufferedCpu(Cpu):
    """A CPU with a store buffer.

    A CPU of its own kind, so that one without a buffer pays nothing. While it is halted, or runs no
    program and no generator handler, the buffer is empty, and stores go to memory at once: before
    anybody else could look, its IRET or its HLT would drain them.
    """

    __slots__ = ("store_buffer",)

    def __init__(self, kernel: "Kernel", number: int, apic: LocalApic) -> None:
        super().__init__(kernel, number, apic)
        assert kernel.memory is not None, "a buffer in front of nothing"
        self.store_buffer = StoreBuffer(kernel.memory, depth=kernel.config.store_buffer)
        self._python = BufferedExecution(self, self.store_buffer)
        self.execution = self._python

    # Memory.

    def load(self, address: int, size: int) -> int:
        """From the kernel's shared memory as this CPU sees it. Raises PageFault."""
        return self.store_buffer.load(address, size)

    def store(self, address: int, value: int, size: int) -> None:
        """To the kernel's shared memory, by way of the buffer. Raises PageFault."""
        if self.execution.busy and not self.halted:
            self.store_buffer.store(address, value, size)
        else:
            self.store_buffer.drain()  # what a handler left that wrote ``halted`` itself
            super().store(address, value, size)

    # What drains.

    def perform(self, instruction: Instruction) -> object:
        """As :meth:`Cpu.perform`; one instruction in the life of the stores that wait."""
        if instruction.drains_stores:
            self.store_buffer.drain()
        try:
            return super().perform(instruction)
        except Exception:
            self.store_buffer.drain()  # a fault leads through the IDT
            raise
        finally:
            self.store_buffer.complete_instruction()

    def step(self) -> int:
        """As :meth:`Cpu.step`; behind its program a CPU idles in HLT."""
        cost = super().step()
        if not self.execution.busy:
            self.store_buffer.drain()
        return cost

    def boundary(self, takes: range = TAKES) -> int:
        """As :meth:`Cpu.boundary`; an SMI drains too, though there is no handler to enter."""
        apic = self.apic
        if apic.smi_latched and (apic.init_latched or not self.interrupt_shadow):
            self.store_buffer.drain()
        return super().boundary(takes)

    def iret(self, *, interrupts_enabled: bool) -> None:
        """IRET is serialising."""
        self.store_buffer.drain()
        super().iret(interrupts_enabled=interrupts_enabled)

    # The local APIC: its page is uncacheable, its MSRs are not serialising (R17).

    def mmio_read(self, offset: int, size: int = 4) -> int:
        """As :meth:`ApicAccess.mmio_read`, behind all earlier stores."""
        self.store_buffer.drain()
        return super().mmio_read(offset, size)

    def mmio_write(self, offset: int, value: int, size: int = 4) -> int:
        """As :meth:`ApicAccess.mmio_write`, behind all earlier stores."""
        self.store_buffer.drain()
        return super().mmio_write(offset, value, size)

    def wrmsr(self, msr: int, value: int) -> int:
        """As :meth:`ApicAccess.wrmsr`; of these MSRs only IA32_APIC_BASE serialises."""
        if msr == IA32_APIC_BASE:
            self.store_buffer.drain()
        return super().wrmsr(msr, value)

    def apic_eoi(self) -> int | None:
        """As :meth:`ApicAccess.apic_eoi`: a store to the page, or a WRMSR."""
        self._drain_if_xapic()
        return super().apic_eoi()

    def write_tpr(self, value: int) -> None:
        """As :meth:`ApicAccess.write_tpr`: a store to the page, or a WRMSR."""
        self._drain_if_xapic()
        super().write_tpr(value)

    def _drain_if_xapic(self) -> None:
        if self.apic.mode is ApicMode.XAPIC:
            self.store_buffer.drain()
