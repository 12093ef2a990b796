"""The machine and the naive one, side by side: every operation is done to both."""

from collections import deque
from collections.abc import Callable, Sequence

from model_check.subject import GP, Subject
from naive import apic as plain
from naive.machine import Core
from naive.machine import Machine as NaiveMachine

from mkrpc.instance.instructions import (
    Cli,
    Eoi,
    Hlt,
    Instruction,
    MmioRead,
    MmioWrite,
    MovSs,
    Nop,
    Rdmsr,
    ReadRegister,
    SelfIpi,
    Sti,
    WriteCr8,
    WriteRegister,
    Wrmsr,
)
from mkrpc.link.frames import NOBODY
from mkrpc.outcome import Outcome
from mkrpc.x86.apic_base import MAX_PHYSICAL_ADDRESS_BITS
from mkrpc.x86.apic_state import LVT_MASKED
from mkrpc.x86.irq_vectors import ERROR_APIC_VECTOR
from mkrpc.x86.registers import VERSION, msr_of

IA32_APIC_BASE = 0x1B
LVTS = (plain.LVTT, plain.THERMAL, plain.PERF, plain.LINT0, plain.LINT1, plain.LVTERR, plain.CMCI)
BOTH_MODES = (plain.ID, plain.VERSION, plain.TPR, plain.PPR, plain.LDR, plain.SVR, plain.ESR)
COMPARED = {
    plain.DISABLED: (),
    plain.X2APIC: (*BOTH_MODES, *LVTS, plain.TMICT, plain.TDCR, plain.ICR),
    plain.XAPIC: (*BOTH_MODES, *LVTS, plain.TMICT, plain.TDCR, plain.ICR, plain.DFR, plain.ICR2),
}
ENABLED_SVR = 0x1FF
SHOWN_OPERATIONS = 40

OUTCOMES = {
    "accepted": Outcome.DELIVERED,
    "coalesced": Outcome.COALESCED,
    "nobody": Outcome.REJECTED_NO_SUCH_APIC,
    "software disabled": Outcome.REJECTED_SOFTWARE_DISABLED,
    "illegal vector": Outcome.REJECTED_ILLEGAL_VECTOR,
    "reserved mode": Outcome.REJECTED_RESERVED_MODE,
    "not waiting for SIPI": Outcome.REJECTED_NOT_WAITING_FOR_SIPI,
    "INIT de-assert": Outcome.REJECTED_INIT_DEASSERT,
    "blocked": Outcome.REJECTED_BLOCKED,
}
"""What the naive machine says, in the words of the bus."""


class DifferenceError(AssertionError):
    """The two do not agree."""


class Pair:
    """Two machines of the same CPUs, alike from the start: software-enabled, IF = 1, LDR 0.

    ``ids`` and ``modes`` ("xapic" or "x2apic") by CPU index; ``kernel_per_cpu``: each CPU has a
    kernel of its own, or all share one. ``done`` are the last operations.
    """

    def __init__(
        self, ids: Sequence[int], modes: Sequence[str], *, kernel_per_cpu: bool = False
    ) -> None:
        self.ids = tuple(ids)
        self.subject = Subject(ids, kernel_per_cpu=kernel_per_cpu)
        self.naive = NaiveMachine(
            list(ids), version=VERSION, physical_bits=MAX_PHYSICAL_ADDRESS_BITS
        )
        self.done: deque[tuple[object, ...]] = deque(maxlen=SHOWN_OPERATIONS)
        for apic, core in zip(self.naive.apics, self.naive.cores, strict=True):
            # What the firmware and the kernel have done on the other side.
            apic.write_base(apic.base() | 0xC00, MAX_PHYSICAL_ADDRESS_BITS)
            apic.store(plain.SVR, ENABLED_SVR)
            apic.store(plain.LVTERR, ERROR_APIC_VECTOR | LVT_MASKED)
            core.interrupts = True
        for cpu, mode in enumerate(modes):
            if mode == plain.XAPIC:
                self.set_mode(cpu, plain.DISABLED)
                self.set_mode(cpu, plain.XAPIC)
                self.write(cpu, plain.SVR, ENABLED_SVR)
        self.compare()
        self.done.clear()

    # One operation on both.

    def runs(self, cpu: int) -> bool:
        """Neither halted nor waiting for SIPI: the CPU can execute an instruction."""
        return self.naive.runs(cpu)

    def _both(self, cpu: int, instruction: Instruction, name: str, *operands: int) -> None:
        """The instruction on the one, the naive machine's method ``name`` on the other."""
        self.done.append((name, cpu, *(hex(operand) for operand in operands)))
        if not self.runs(cpu):
            return
        self.subject.legs.clear()
        method: Callable[..., object] = getattr(self.naive, name)
        try:
            expected = self.naive.perform(cpu, method, *operands)
        except plain.GeneralProtection:
            expected = GP
        actual = self.subject.execute(cpu, instruction)
        if GP in (actual, expected) or isinstance(expected, int):
            self._same("result", actual, expected)
        legs = [(self._id_of(target), OUTCOMES[word]) for target, word in self.naive.outcomes]
        self._same("outcomes", sorted(self.subject.legs), sorted(legs))

    def _id_of(self, target: int | None) -> int:
        return NOBODY if target is None else self.ids[target]

    def write(self, cpu: int, offset: int, value: int) -> None:
        self._both(cpu, WriteRegister(offset, value), "write", offset, value)

    def read(self, cpu: int, offset: int) -> None:
        self._both(cpu, ReadRegister(offset), "read", offset)

    def wrmsr(self, cpu: int, msr: int, value: int) -> None:
        self._both(cpu, Wrmsr(msr, value), "wrmsr", msr, value)

    def rdmsr(self, cpu: int, msr: int) -> None:
        self._both(cpu, Rdmsr(msr), "rdmsr", msr)

    def mmio_write(self, cpu: int, offset: int, value: int, size: int = 4) -> None:
        self._both(cpu, MmioWrite(offset, value, size), "mmio_write", offset, value, size)

    def mmio_read(self, cpu: int, offset: int, size: int = 4) -> None:
        self._both(cpu, MmioRead(offset, size), "mmio_read", offset, size)

    def set_mode(self, cpu: int, mode: str) -> None:
        """IA32_APIC_BASE with nothing but EN and EXTD changed; a #GP in both is no difference."""
        bits = {plain.DISABLED: 0, plain.XAPIC: 0x800, plain.X2APIC: 0xC00}[mode]
        value = self.naive.apics[cpu].base() & ~0xC00 | bits
        self.wrmsr(cpu, IA32_APIC_BASE, value)

    def icr(self, cpu: int, high: int, low: int) -> None:
        """As software sends: ICR2 and then ICR, or one WRMSR. ``high`` is raw."""
        if self.naive.apics[cpu].mode == plain.X2APIC:
            self.wrmsr(cpu, msr_of(plain.ICR), high << 32 | low)
        else:
            self.mmio_write(cpu, plain.ICR2, high)
            self.mmio_write(cpu, plain.ICR, low)

    def send(self, cpu: int, destination: int, low: int) -> None:
        """As :meth:`icr`, with the destination where the CPU's mode has it."""
        x2apic = self.naive.apics[cpu].mode == plain.X2APIC
        self.icr(cpu, destination if x2apic else destination % 0x100 << 24, low)

    def self_ipi(self, cpu: int, vector: int) -> None:
        """MSR 0x83F in x2APIC mode; elsewhere software uses the shorthand."""
        if self.naive.apics[cpu].mode == plain.X2APIC:
            self._both(cpu, SelfIpi(vector), "wrmsr", msr_of(plain.SELF_IPI), vector)
        else:
            self.icr(cpu, 0, 1 << 18 | vector)

    def eoi(self, cpu: int) -> None:
        self._both(cpu, Eoi(), "write", plain.EOI, 0)

    def cr8(self, cpu: int, value: int) -> None:
        self._both(cpu, WriteCr8(value), "write_cr8", value)

    def cli(self, cpu: int) -> None:
        self._both(cpu, Cli(), "cli")

    def nop(self, cpu: int) -> None:
        self._both(cpu, Nop(), "nop")

    def _shadow(self, cpu: int, instruction: Instruction, name: str) -> None:
        self.done.append((name, cpu))
        if self.runs(cpu):
            getattr(self.naive, name)(cpu)
            self.subject.execute(cpu, instruction)

    def sti(self, cpu: int) -> None:
        """STI alone: its shadow lasts until the CPU's next instruction."""
        self._shadow(cpu, Sti(), "sti")

    def mov_ss(self, cpu: int) -> None:
        """MOV to SS alone, which casts one too."""
        self._shadow(cpu, MovSs(), "mov_ss")

    def hlt(self, cpu: int) -> None:
        self._both(cpu, Hlt(), "hlt")

    def defer(self, cpu: int, yes: bool) -> None:
        """Whether the CPU's handlers leave the EOI out."""
        self.done.append(("defer", cpu, yes))
        self.subject.guests[cpu].defer = yes
        self.naive.cores[cpu].handler = "defer" if yes else "eoi"

    def hold_next_nmi(self, cpu: int) -> None:
        """The next NMI handler executes HLT before its IRET: an SMI or an INIT ends it."""
        self.done.append(("hold_next_nmi", cpu))
        self.subject.guests[cpu].hold_next_nmi = True
        self.naive.cores[cpu].hold_next_nmi = True

    def inject(self, destination: int, low: int) -> None:
        """A message from an agent without an APIC."""
        self.done.append(("inject", hex(destination), hex(low)))
        self.subject.legs.clear()
        self.naive.inject(low, destination)
        self.subject.inject(destination << 32 | low)
        # A sender of the machine would have refused some of these, which here the targets do.
        words = (Outcome.DELIVERED, Outcome.COALESCED)
        legs = [(self._id_of(target), OUTCOMES[word]) for target, word in self.naive.outcomes]
        self._same(
            "outcomes",
            sorted(leg for leg in self.subject.legs if leg[1] in words),
            sorted(leg for leg in legs if leg[1] in words),
        )

    # Are they equal?

    def compare(self) -> None:
        """Every register as it is read, and what of the cores is visible."""
        self.compare_states()
        read = self.subject.register
        for cpu, apic in enumerate(self.naive.apics):
            for offset in COMPARED[apic.mode]:
                actual, expected = read(cpu, offset), apic.value(offset)
                if offset == plain.ICR and apic.mode == plain.X2APIC:
                    expected |= apic.icr_high << 32
                if actual != expected:
                    self._same(f"CPU {cpu} register {offset:#x}", hex(actual), hex(expected))
            self.subject.cpus[cpu].apic.assert_invariants()

    def compare_states(self) -> None:
        """What was delivered, which empties the logs; IRR, ISR, ICR, hidden ESR and the cores."""
        for cpu, core in enumerate(self.naive.cores):
            log = self.subject.guests[cpu].log
            if log or core.log:
                self._same(f"CPU {cpu} delivered", log, core.log)
                log.clear()
                core.log.clear()
            actual, expected = self.subject.state(cpu), _naive_state(self.naive.apics[cpu], core)
            if actual != expected:
                names, ours, theirs = zip(
                    *(row for row in zip(STATE, actual, expected, strict=True) if row[1] != row[2]),
                    strict=True,
                )
                self._same(f"CPU {cpu} {names}", ours, theirs)

    def _same(self, what: str, actual: object, expected: object) -> None:
        if actual != expected:
            recent = "\n".join(f"  {step}" for step in self.done)
            raise DifferenceError(
                f"{what}: the machine has {actual}, the naive one {expected}\n"
                f"ids {self.ids}, the last operations were\n{recent}"
            )


STATE = (
    *("mode", "base", "IRR", "ISR", "ESR-hidden", "ICR"),
    *("IF", "shadow", "halted", "waits-for-SIPI", "boots", "SMIs"),
    *("NMI-pending", "NMI-blocked", "SMI-pending", "INIT-pending", "SIPI-pending"),
)


def _naive_state(apic: plain.Apic, core: Core) -> tuple[object, ...]:
    return (
        apic.mode.upper(),
        apic.base(),
        sum(1 << vector for vector in apic.irr),
        sum(1 << vector for vector in apic.isr),
        sum(1 << bit for bit in apic.errors_hidden),
        apic.icr_high << 32 | apic.icr_low,
        core.interrupts,
        core.shadow is not None,
        core.halted,
        core.waits_for_sipi,
        core.boots,
        core.smi_count,
        core.nmi_pending,
        core.nmi_blocked,
        int(core.smi_pending),
        core.init_pending,
        core.sipi_pending,
    )
