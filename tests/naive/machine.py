"""A deliberately naive machine: n CPUs, each with its APIC, and no clock.

Interrupt messages take no time. A CPU that is not in a handler takes
what it may take at once; every gate leads to a handler that notes the vector and returns by IRET,
after an EOI ("eoi") or without one ("defer").
"""

from collections.abc import Callable

from naive.apic import EOI, ICR, SELF_IPI, X2APIC, XAPIC, Apic, GeneralProtection

FIXED, LOWEST, SMI, RESERVED, NMI, INIT, SIPI, EXTINT = range(8)
NO_SHORTHAND, SELF, ALL, ALL_BUT_SELF = range(4)
BASE_MSR = 0x1B


class Core:
    """What of the CPU matters here."""

    def __init__(self) -> None:
        self.boots = 0
        self.smi_count = 0
        self.log: list[tuple[object, int]] = []
        self.handler = "eoi"
        self.hold_next_nmi = False
        self.init_pending = False
        self.sipi_pending = False
        self.waits_for_sipi = False
        self.restart()

    def restart(self) -> None:
        """What INIT leaves behind."""
        self.interrupts = False  # EFLAGS.IF
        self.shadow = None  # or the instruction that cast it
        self.halted = False
        self.nmi_pending = 0
        self.smi_pending = False
        self.nmi_blocked = False
        self.interrupts_before_nmi: bool | None = None  # set while an NMI handler sits in its HLT

    def iret(self) -> None:
        """R58: the end of any handler lets NMIs in again."""
        self.nmi_blocked = False


class Machine:
    """The CPUs and the wire between them.

    What a CPU sends over the wire, to itself too, arrives after the boundary that follows its
    instruction; only the self shorthand and SELF_IPI have arrived before it (R54).

    ``ids`` are the initial APIC ids by CPU index; CPU 0 is the bootstrap processor. After RESET
    all CPUs run, with IF = 0. A fault is raised as GeneralProtection out of the access.
    ``outcomes``: what became of the messages of the last instruction or injection, target by
    target; target None is nobody.
    """

    def __init__(self, ids: list[int], *, version: int, physical_bits: int) -> None:
        self.apics = [
            Apic(apic_id, version=version, bsp=index == 0) for index, apic_id in enumerate(ids)
        ]
        self.cores = [Core() for _ in ids]
        self.physical_bits = physical_bits
        self.last_winner = -1
        self.outcomes: list[tuple[int | None, str]] = []
        self.on_the_wire: list[tuple[int, int, int]] = []

    # The CPU

    def runs(self, cpu: int) -> bool:
        """Whether it would execute another instruction."""
        return not self.cores[cpu].halted and not self.cores[cpu].waits_for_sipi

    def settle(self, cpu: int) -> None:
        """Take everything that can be taken (R55: SMI, then INIT, then NMI, then maskable)."""
        core, apic = self.cores[cpu], self.apics[cpu]
        while not core.shadow or core.init_pending:  # R57: NMI and SMI wait for it too
            if core.smi_pending:
                core.smi_pending = False
                core.smi_count += 1
                core.halted = False  # R59
                if core.interrupts_before_nmi is not None:
                    # The handler's HLT has ended, and its IRET comes next.
                    core.interrupts = core.interrupts_before_nmi
                    core.interrupts_before_nmi = None
                    core.iret()
            elif core.init_pending:
                self.init(cpu)
            elif core.waits_for_sipi:  # R36: everything else is blocked
                if not core.sipi_pending:
                    return
                core.sipi_pending = core.waits_for_sipi = False
                core.boots += 1
                core.handler = "eoi"  # the start-up code's doing
            elif core.nmi_pending and not core.nmi_blocked:
                self.take_nmi(cpu)
            elif core.interrupts and apic.deliverable() is not None:
                core.halted = False
                vector = apic.acknowledge()
                core.log.append((vector, apic.ppr()))
                if core.handler == "eoi":
                    apic.eoi()
                core.iret()
            else:
                return

    def take_nmi(self, cpu: int) -> None:
        """R35, R58: no EOI; the handler returns at once, or sits in HLT with IF = 0 if told to."""
        core = self.cores[cpu]
        core.nmi_pending -= 1
        core.halted = False
        core.log.append(("nmi", self.apics[cpu].ppr()))
        if core.hold_next_nmi:
            core.hold_next_nmi = False
            core.nmi_blocked = True
            core.interrupts_before_nmi = core.interrupts
            core.interrupts = False
            core.halted = True

    def init(self, cpu: int) -> None:
        """R9, R10; R36: the BSP does not wait for a SIPI."""
        core = self.cores[cpu]
        core.init_pending = False
        self.apics[cpu].reset_registers()
        core.restart()
        core.waits_for_sipi = not self.apics[cpu].bsp
        if self.apics[cpu].bsp:
            core.sipi_pending = False

    # Messages

    def arrives(self, cpu: int, kind: int, vector: int) -> str:
        """One APIC takes one message, and its CPU what follows from it."""
        core, apic = self.cores[cpu], self.apics[cpu]
        word = "accepted"
        if kind in (FIXED, LOWEST):
            word = apic.request(vector)
            if word == "illegal vector":
                self.error(cpu, 6)
        elif kind in (NMI, SMI) and core.waits_for_sipi:  # R36; blocked is taken for lost
            word = "blocked"
        elif kind == NMI:  # R35, R58
            if core.nmi_pending < (1 if core.nmi_blocked else 2):
                core.nmi_pending += 1
            else:
                word = "coalesced"
        elif kind == SMI:
            word = "coalesced" if core.smi_pending else word
            core.smi_pending = True
        elif kind == INIT:  # R36: an earlier SIPI is forgotten
            word = "coalesced" if core.init_pending else word
            core.init_pending = True
            core.sipi_pending = False
        elif core.waits_for_sipi or (core.init_pending and not apic.bsp):
            word = "coalesced" if core.sipi_pending else word
            core.sipi_pending = True
        else:  # R36
            word = "not waiting for SIPI"
        self.settle(cpu)
        return word

    def targets(
        self, sender: int | None, shorthand: int, destination: int, logical: bool
    ) -> list[int]:
        """R23: a shorthand goes by identity, and an APIC that is disabled is never reached."""
        found = []
        for cpu, apic in enumerate(self.apics):
            if shorthand == NO_SHORTHAND:
                reached = apic.matches(destination, logical)
            else:
                reached = apic.mode in (XAPIC, X2APIC) and (
                    shorthand == ALL
                    or (shorthand == SELF and cpu == sender)
                    or (shorthand == ALL_BUT_SELF and cpu != sender)
                )
            if reached:
                found.append(cpu)
        return found

    def lowest(self, candidates: list[int]) -> list[int]:
        """R32: the lowest PPR of those software-enabled, or of all if none is.

        Equals take turns by APIC id, after the last that won, with equals or without. If none is
        able, one of them refuses, and nobody has won.
        """
        able = [cpu for cpu in candidates if self.apics[cpu].software_enabled()] or candidates
        least = min(self.apics[cpu].ppr() for cpu in able)
        equal = [cpu for cpu in able if self.apics[cpu].ppr() == least]
        equal.sort(key=lambda cpu: self.apics[cpu].initial_id)
        after = [cpu for cpu in equal if self.apics[cpu].initial_id > self.last_winner]
        winner = (after or equal)[0]
        if self.apics[winner].software_enabled():
            self.last_winner = self.apics[winner].initial_id
        return [winner]

    def send(self, sender: int, low: int, destination: int) -> None:
        """A write of ICR or SELF_IPI (R52); the rest is :meth:`message`."""
        vector, kind = low % 0x100, low >> 8 & 7
        if kind in (FIXED, LOWEST) and vector < 16:  # for a self-IPI too: ESR bit 5 and no other
            self.outcomes.append((None, "illegal vector"))
            self.error(sender, 5)
        else:
            self.message(sender, low, destination)

    def message(self, sender: int | None, low: int, destination: int) -> None:
        """R18, R21 to R23, R31 to R36, R41. Invalid combinations are delivered like others (R22).

        ``sender`` None: from outside the machine, as a device would.
        """
        vector, kind, logical = low % 0x100, low >> 8 & 7, low & 0x800 != 0
        level, trigger, shorthand = low & 0x4000 != 0, low & 0x8000 != 0, low >> 18 & 3
        if kind in (RESERVED, EXTINT):  # R34
            self.outcomes.append((None, "reserved mode"))
            return
        if kind == INIT and trigger and not level:  # R21
            self.outcomes.append((None, "INIT de-assert"))
            return
        reached = self.targets(sender, shorthand, destination, logical)
        if not reached:  # R41
            self.outcomes.append((None, "nobody"))
            return
        if kind == LOWEST and shorthand != SELF:  # to itself nobody competes
            reached = self.lowest(reached)
        for cpu in reached:
            if sender is None or shorthand == SELF:
                self.outcomes.append((cpu, self.arrives(cpu, kind, vector)))
            else:
                self.on_the_wire.append((cpu, kind, vector))

    def inject(self, low: int, destination: int) -> None:
        """A message from an agent without an APIC."""
        self.outcomes = []
        self.message(None, low, destination)

    def error(self, cpu: int, bit: int) -> None:
        """R53: with LVT ERROR unmasked, an error is an interrupt."""
        if self.apics[cpu].error(bit):
            self.outcomes.append((cpu, "accepted"))
        self.settle(cpu)

    # Instructions

    def perform(self, cpu: int, instruction: Callable[..., object], *operands: int) -> object:
        """One instruction that casts no shadow, and what is taken after it, also when it faults."""
        self.outcomes = []
        self.cores[cpu].shadow = None
        try:
            return instruction(cpu, *operands)
        finally:
            self.settle(cpu)
            for target, kind, vector in self.on_the_wire:
                self.outcomes.append((target, self.arrives(target, kind, vector)))
            self.on_the_wire.clear()

    def sti(self, cpu: int) -> None:
        """R57: a shadow only if IF was 0."""
        core = self.cores[cpu]
        core.shadow = None if core.interrupts else "sti"
        core.interrupts = True
        self.settle(cpu)

    def mov_ss(self, cpu: int) -> None:
        """R56: a shadow whatever IF is; of several in a row only the first casts one."""
        core = self.cores[cpu]
        core.shadow = None if core.shadow == "mov ss" else "mov ss"
        self.settle(cpu)

    def nop(self, cpu: int) -> None:
        pass

    def cli(self, cpu: int) -> None:
        self.cores[cpu].interrupts = False

    def hlt(self, cpu: int) -> None:
        """R59. What is pending already ends the HLT at once."""
        self.cores[cpu].halted = True

    def write(self, cpu: int, offset: int, value: int) -> None:
        """Write a register in the way of the CPU's mode."""
        if self.apics[cpu].mode == X2APIC:
            self.wrmsr(cpu, 0x800 + offset // 16, value)
        else:
            self.mmio_write(cpu, offset, value)

    def read(self, cpu: int, offset: int) -> int:
        if self.apics[cpu].mode == X2APIC:
            return self.rdmsr(cpu, 0x800 + offset // 16)
        return self.mmio_read(cpu, offset)

    def mmio_write(self, cpu: int, offset: int, value: int, size: int = 4) -> None:
        """Into the register page; nothing counts but four bytes at a register (R3, R12, R13)."""
        apic = self.apics[cpu]
        if apic.mode != XAPIC or offset % 16 or size != 4:
            return
        if not apic.exists(offset):
            self.error(cpu, 7)
        elif offset == ICR:
            apic.icr_low = value & ~0x1000  # R19
            self.send(cpu, value, apic.icr_high >> 24)  # R30
        else:
            apic.store(offset, value)

    def mmio_read(self, cpu: int, offset: int, size: int = 4) -> int:
        """1, 2 or 4 bytes inside one register (R12)."""
        apic, register, byte = self.apics[cpu], offset // 16 * 16, offset % 16
        if apic.mode != XAPIC:
            return 2 ** (8 * size) - 1
        if not apic.exists(register):
            self.error(cpu, 7)
            return 0
        return (apic.value(register) >> 8 * byte) % 2 ** (8 * size)

    def wrmsr(self, cpu: int, msr: int, value: int) -> None:
        """MSR 0x1B and 0x800 to 0x8FF (R3, R14 to R19)."""
        apic = self.apics[cpu]
        offset = (msr - 0x800) * 0x10
        if msr == BASE_MSR:
            apic.write_base(value, self.physical_bits)
        elif apic.mode != X2APIC or apic.x2apic_write_faults(offset, value):
            raise GeneralProtection
        elif offset == ICR:
            apic.icr_low = value & 0xFFFFEFFF
            apic.icr_high = value >> 32
            self.send(cpu, value & 0xFFFFFFFF, value >> 32)
        elif offset == SELF_IPI:  # R54: as the self shorthand, and the ICR stays as it was
            self.send(cpu, SELF << 18 | value, 0)
        else:
            apic.store(offset, value)

    def rdmsr(self, cpu: int, msr: int) -> int:
        apic = self.apics[cpu]
        offset = (msr - 0x800) * 0x10
        if msr == BASE_MSR:
            return apic.base()
        if apic.mode != X2APIC or not apic.exists(offset) or offset in (EOI, SELF_IPI):
            raise GeneralProtection
        if offset == ICR:
            return apic.icr_high << 32 | apic.icr_low
        return apic.value(offset)

    def write_cr8(self, cpu: int, value: int) -> None:
        """R4, R49: in every mode."""
        if value > 0xF:
            raise GeneralProtection
        self.apics[cpu].tpr = value * 16
