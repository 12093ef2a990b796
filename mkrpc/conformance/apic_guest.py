"""The bare-metal guest of the recordings, on the machine that production uses.

Real kernels, attachments and bus (:class:`mkrpc.simulation.machine.Machine`); every gate of the
IDT leads to a handler that logs, as the recorded guest's did. The CPUs idle between steps, as the
recorded guest polls for its next command: IF is the step's business alone.
"""

from collections.abc import Sequence
from enum import StrEnum
from functools import partial

from mkrpc.conformance.recording import (
    ApicMachineMode,
    ApicScenario,
    CpuDelta,
    FieldValue,
    Op,
    Step,
)
from mkrpc.conformance.score import Observation, Run
from mkrpc.instance.config import KernelConfig
from mkrpc.instance.cpu import Cpu
from mkrpc.instance.instructions import (
    Cli,
    Eoi,
    Hlt,
    Instruction,
    Nop,
    ReadRegister,
    Sti,
    WriteRegister,
    Wrmsr,
)
from mkrpc.simulation.machine import Machine
from mkrpc.x86.apic_state import LVT_MASKED
from mkrpc.x86.irq_vectors import NMI_VECTOR, NR_VECTORS
from mkrpc.x86.lapic import ApicMode
from mkrpc.x86.registers import GeneralProtection, Register, mmio_read, msr_of, rdmsr

__all__ = ["ApicGuest", "Layout", "play"]

_FIRST_FREE_VECTOR = 16
"""Vectors below are exceptions: the recordings name them ``excN``."""
_DWORD = 0xFFFF_FFFF
_REGISTERS = {
    "id": Register.ID,
    "tpr": Register.TPR,
    "ppr": Register.PPR,
    "ldr": Register.LDR,
    "svr": Register.SVR,
    "esr": Register.ESR,
}
_SET_UP = (Register.DFR, Register.LDR, Register.SVR, Register.TPR)
_SET_UP_NAMES = {register: register.name.lower() for register in _SET_UP}
_READ_ONLY_IN_X2APIC = frozenset({Register.DFR, Register.LDR})


class Layout(StrEnum):
    """How the CPUs of a scenario are shared out; results must not depend on it."""

    ONE_KERNEL = "one-kernel"
    KERNEL_PER_CPU = "kernel-per-cpu"


class _Log:
    """What the handlers of one CPU leave in memory."""

    __slots__ = ("defer", "delivered", "not_in_isr", "ppr_at_entry")

    def __init__(self) -> None:
        self.defer = False
        self.clear()

    def clear(self) -> None:
        self.delivered: list[int | str] = []
        self.ppr_at_entry: list[int | str] = []
        self.not_in_isr: list[int | str] = []


class ApicGuest:
    """One scenario's machine; :meth:`execute` plays its steps in order."""

    def __init__(self, scenario: ApicScenario, *, layout: Layout = Layout.ONE_KERNEL) -> None:
        self._x2apic = scenario.mode is ApicMachineMode.X2APIC
        self._machine = Machine(_configs(scenario, layout))
        self._cpus = [self._machine.cpu(apic_id) for apic_id in scenario.ids]
        self._logs = {cpu.apic_id: _Log() for cpu in self._cpus}
        for kernel in self._machine.kernels.values():
            kernel.on_startup = self._start_up
            for vector in range(NR_VECTORS):
                kernel.idt.install(vector, "conformance_guest", partial(self._handle, vector))
        for cpu, initial in zip(self._cpus, scenario.initial.values(), strict=True):
            self._set_up(cpu, initial)
        self._machine.settle()

    def _set_up(self, cpu: Cpu, initial: CpuDelta) -> None:
        """Write what the recorded guest's start wrote; the rest is as RESET leaves it."""
        for register in _SET_UP:
            value = initial.get(_SET_UP_NAMES[register])
            if value is None or (self._x2apic and register in _READ_ONLY_IN_X2APIC):
                continue
            assert isinstance(value, int)
            cpu.execute(WriteRegister(register, value))
        # A kernel has set this entry up by now; the recorded guest had not.
        cpu.execute(WriteRegister(Register.LVT_ERROR, LVT_MASKED))
        if initial.get("if") == 0:
            cpu.execute(Cli())

    # What runs inside the guest.

    def _handle(self, vector: int, cpu: Cpu) -> None:
        """Every gate: read PPR, EOI unless deferring, log. The NMI handler owes no EOI."""
        log = self._logs[cpu.apic_id]
        ppr = cpu.apic.ppr
        if vector == NMI_VECTOR:
            log.delivered.append("nmi")
            log.ppr_at_entry.append(ppr)
            return
        in_service = cpu.apic.isr >> vector & 1
        if in_service and not log.defer:
            cpu.apic_eoi()
        log.delivered.append(vector if vector >= _FIRST_FREE_VECTOR else f"exc{vector}")
        log.ppr_at_entry.append(ppr)
        if not in_service:
            log.not_in_isr.append(vector)

    def _start_up(self, cpu: Cpu, _vector: int) -> None:
        """The start-up stub: poll for commands with IF = 0 and the APIC as INIT left it."""
        self._logs[cpu.apic_id].defer = False
        cpu.halted = False

    # What the recordings see.

    def execute(self, step: Step) -> Observation:
        """Play one step, let the machine come to rest, and look at every CPU."""
        for log in self._logs.values():
            log.clear()
        cpu = self._cpus[step.cpu]
        result: int | None = None
        gp = False
        skipped = not _responsive(cpu)
        if not skipped:
            try:
                result = self._run(cpu, step)
            except GeneralProtection:
                gp = True
        self._machine.settle()
        return Observation(result=result, gp=gp, skipped=skipped, cpus=self.observe())

    def observe(self) -> tuple[CpuDelta, ...]:
        """Every CPU's whole state, by the field names of the recordings."""
        return tuple(self._observe(cpu) for cpu in self._cpus)

    def _observe(self, cpu: Cpu) -> CpuDelta:
        apic, log = cpu.apic, self._logs[cpu.apic_id]
        state: dict[str, FieldValue] = {
            name: self._read(cpu, register) for name, register in _REGISTERS.items()
        }
        # An x2APIC has no DFR and no ICR2 of its own (SDM vol. 3, table 10-6).
        state["dfr"] = 0 if self._x2apic else self._read(cpu, Register.DFR)
        state["icr_lo"] = apic.icr & _DWORD
        state["icr_hi"] = apic.icr >> 32
        state["isr"] = _vectors(apic.isr)
        state["irr"] = _vectors(apic.irr)
        state["if"] = int(cpu.interrupts_enabled)
        state["boots"] = cpu.boots
        state["responsive"] = _responsive(cpu)
        state["delivered"] = tuple(log.delivered)
        state["ppr_at_entry"] = tuple(log.ppr_at_entry)
        state["not_in_isr"] = tuple(log.not_in_isr)
        return state

    def _read(self, cpu: Cpu, register: Register) -> int:
        """As the CPU itself would, without taking an instruction boundary for it."""
        if self._x2apic:
            return rdmsr(cpu.apic, msr_of(register)) & _DWORD
        return mmio_read(cpu.apic, register)

    def _run(self, cpu: Cpu, step: Step) -> int | None:
        if step.op is Op.MODE:
            self._logs[cpu.apic_id].defer = step.defer
            return None
        if step.op is Op.READ:
            value = cpu.execute(ReadRegister(step.register))
            assert isinstance(value, int)
            return value & _DWORD
        for instruction in self._instructions(step):
            cpu.execute(instruction)
        return None

    def _instructions(self, step: Step) -> Sequence[Instruction]:
        match step.op:
            case Op.ICR if self._x2apic:
                return [Wrmsr(msr_of(Register.ICR), step.hi << 32 | step.lo)]
            case Op.ICR:
                icr2, icr = Register.ICR2, Register.ICR
                return [WriteRegister(icr2, step.hi), WriteRegister(icr, step.lo)]
            case Op.WRITE:
                return [WriteRegister(step.register, step.value)]
            case Op.SELF_IPI:
                # A WRMSR in every mode: #GP where there is no such MSR (R3).
                return [Wrmsr(msr_of(Register.SELF_IPI), step.vector)]
            case Op.EOI:
                return [Eoi()]
            case Op.CLI:
                return [Cli()]
            case Op.STI:
                # The guest goes on polling, so the shadow of STI ends at once (R57).
                return [Sti(), Nop()]
            case Op.HLT:
                return [Sti(), Hlt()]
            case Op.CLI_HLT:
                return [Cli(), Hlt()]
            case _:
                return [Nop()]


def play(scenario: ApicScenario, *, layout: Layout = Layout.ONE_KERNEL) -> Run:
    """Play a whole scenario on a fresh machine."""
    guest = ApicGuest(scenario, layout=layout)
    initial = guest.observe()
    return Run(initial=initial, steps=tuple(guest.execute(step) for step in scenario.steps))


def _configs(scenario: ApicScenario, layout: Layout) -> list[KernelConfig]:
    mode = ApicMode.X2APIC if scenario.mode is ApicMachineMode.X2APIC else ApicMode.XAPIC
    groups = [scenario.ids]
    if layout is Layout.KERNEL_PER_CPU:
        groups = [(apic_id,) for apic_id in scenario.ids]
    return [
        KernelConfig(
            instance_id=number,
            name=f"guest{number}",
            apic_ids=ids,
            mode=mode,
            xapic_ldr="zero",
            initial_tpr=0,
        )
        for number, ids in enumerate(groups)
    ]


def _responsive(cpu: Cpu) -> bool:
    return not (cpu.halted or cpu.wait_for_sipi)


def _vectors(bits: int) -> tuple[int, ...]:
    """The set bits, ascending."""
    found = []
    while bits:
        lowest = bits & -bits
        found.append(lowest.bit_length() - 1)
        bits ^= lowest
    return tuple(found)
