"""The machine, as a guest that logs its interrupts: one of the two that are compared.

Of it only that is used which a guest and an operator can use: instructions, handlers, injections,
and the trace of the bus; and for the comparison the state of its CPUs.
"""

from collections.abc import Generator, Sequence
from functools import partial

from mkrpc.instance.config import KernelConfig
from mkrpc.instance.cpu import Cpu
from mkrpc.instance.instructions import Hlt, Instruction
from mkrpc.outcome import Outcome
from mkrpc.simulation.machine import Machine
from mkrpc.trace import LegEnded, TraceEvent
from mkrpc.x86.irq_vectors import NMI_VECTOR, NR_VECTORS
from mkrpc.x86.lapic import ApicMode
from mkrpc.x86.registers import GeneralProtection, mmio_read, msr_of, rdmsr

GP = "#GP"


class _Guest:
    """What the handlers of one CPU keep in memory."""

    def __init__(self) -> None:
        self.defer = False
        self.hold_next_nmi = False
        self.log: list[tuple[object, int]] = []


def _halt() -> Generator[Instruction, None, None]:
    yield Hlt()


class Subject:
    """A machine of these CPUs as Linux boots it, in x2APIC mode, TPR 0, one kernel or one each.

    ``guests`` by CPU index; ``legs``: APIC id and outcome of each that has ended.
    """

    def __init__(self, ids: Sequence[int], *, kernel_per_cpu: bool) -> None:
        groups = [(each,) for each in ids] if kernel_per_cpu else [tuple(ids)]
        self._machine = Machine(
            [
                KernelConfig(
                    instance_id=number,
                    name=f"guest{number}",
                    apic_ids=group,
                    mode=ApicMode.X2APIC,
                    initial_tpr=0,
                )
                for number, group in enumerate(groups)
            ]
        )
        self.cpus = [self._machine.cpu(each) for each in ids]
        self.guests = [_Guest() for _ in ids]
        self._guest_of = dict(zip(ids, self.guests, strict=True))
        for kernel in self._machine.kernels.values():
            kernel.on_startup = self._start_up
            for vector in range(NR_VECTORS):
                kernel.idt.install(vector, "logged", partial(self._handle, vector))
        self.legs: list[tuple[int, Outcome]] = []
        self._machine.bus.watch(self._watch)

    def _handle(self, vector: int, cpu: Cpu) -> object:
        guest = self._guest_of[cpu.apic_id]
        if vector == NMI_VECTOR:
            guest.log.append(("nmi", cpu.apic.ppr))
            if guest.hold_next_nmi:
                guest.hold_next_nmi = False
                return _halt()
            return None
        guest.log.append((vector, cpu.apic.ppr))
        if not guest.defer:
            cpu.apic_eoi()
        return None

    def _start_up(self, cpu: Cpu, _vector: int) -> None:
        self._guest_of[cpu.apic_id].defer = False
        cpu.halted = False

    def _watch(self, event: TraceEvent) -> None:
        if isinstance(event, LegEnded):
            self.legs += [(event.apic_id, event.outcome)] * event.count

    def execute(self, cpu: int, instruction: Instruction) -> object:
        """Its result, or GP; the machine has come to rest."""
        try:
            return self.cpus[cpu].execute(instruction)
        except GeneralProtection:
            return GP
        finally:
            self._machine.settle()

    def inject(self, word: int) -> None:
        self._machine.inject(word)
        self._machine.settle()

    def register(self, cpu: int, offset: int) -> int:
        """As the CPU reads it, at the cost of no instruction; it must have the register."""
        apic = self.cpus[cpu].apic
        if apic.mode is ApicMode.X2APIC:
            return rdmsr(apic, msr_of(offset))
        return mmio_read(apic, offset)

    def state(self, cpu: int) -> tuple[object, ...]:
        """In the order of ``pair.STATE``."""
        return _state_of(self.cpus[cpu])


def _state_of(cpu: Cpu) -> tuple[object, ...]:
    apic = cpu.apic
    return (
        apic.mode.name,
        apic.apic_base,
        apic.irr,
        apic.isr,
        apic.esr_pending,
        apic.icr,
        cpu.interrupts_enabled,
        bool(cpu.interrupt_shadow),
        cpu.halted,
        apic.wait_for_sipi,
        cpu.boots,
        cpu.smi_count,
        apic.nmi_latched,
        apic.nmi_in_service,
        apic.smi_latched,
        apic.init_latched,
        apic.sipi_vector is not None,
    )
