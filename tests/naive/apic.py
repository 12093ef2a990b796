"""A deliberately naive local APIC: sets, lists and linear scans, written from the rules alone.

It shares no code and no idea of structure with the model that it is compared with. The numbers
R1 to R62 are those of the rule table in docs/rules.md. What hardware leaves open is decided as the
model's defaults decide it; each such place says so.
"""

DISABLED, XAPIC, X2APIC = "disabled", "xapic", "x2apic"

# Register offsets in the xAPIC page; the x2APIC MSR is 0x800 + offset // 16 (R14).
ID, VERSION, TPR, APR, PPR, EOI, RRD = 0x20, 0x30, 0x80, 0x90, 0xA0, 0xB0, 0xC0
LDR, DFR, SVR, ISR, TMR, IRR, ESR = 0xD0, 0xE0, 0xF0, 0x100, 0x180, 0x200, 0x280
CMCI, ICR, ICR2, LVTT, THERMAL, PERF = 0x2F0, 0x300, 0x310, 0x320, 0x330, 0x340
LINT0, LINT1, LVTERR, TMICT, TMCCT, TDCR = 0x350, 0x360, 0x370, 0x380, 0x390, 0x3E0
SELF_IPI = 0x3F0

LVT_MASKED = 0x10000
# R15: what may be written. Bits 12 and 14 of an LVT entry are for the APIC to set: they may be
# written without a fault, but are not kept.
LVT_ACCEPTS = {
    LVTT: 0x000710FF,
    THERMAL: 0x000117FF,
    PERF: 0x000117FF,
    CMCI: 0x000117FF,
    LINT0: 0x0001F7FF,
    LINT1: 0x0001F7FF,
    LVTERR: 0x000110FF,
}
LVT_READ_ONLY = 0x00005000
ACCEPTS = {TPR: 0xFF, EOI: 0, ESR: 0, SVR: 0x3FF, TDCR: 0xB, TMICT: 0xFFFFFFFF, SELF_IPI: 0xFF}
EIGHT_WORDS = {base: [base + 0x10 * word for word in range(8)] for base in (ISR, TMR, IRR)}


class GeneralProtection(Exception):  # noqa: N818 - the name of the fault
    """The access took #GP."""


class Apic:
    """One local APIC: its registers and nothing of the world around it."""

    def __init__(self, initial_id: int, *, version: int = 0x50014, bsp: bool = False) -> None:
        self.initial_id = initial_id
        self.version = version
        self.bsp = bsp
        self.address = 0xFEE00000
        self.mode = XAPIC
        self.xapic_id = initial_id & 0xFF
        self.reset_registers()

    def reset_registers(self) -> None:
        """R8, R9: what RESET and INIT have in common; id and mode are not touched."""
        self.irr: set[int] = set()
        self.isr: set[int] = set()
        self.tpr = 0
        self.icr_low = 0
        self.icr_high = 0
        self.ldr = 0
        self.dfr = 0xFFFFFFFF
        self.svr = 0xFF
        self.errors_hidden: set[int] = set()
        self.errors_visible: set[int] = set()
        self.lvt = dict.fromkeys(LVT_ACCEPTS, LVT_MASKED)
        self.timer_initial = 0
        self.timer_divide = 0

    # What the registers mean

    def software_enabled(self) -> bool:
        return self.mode != DISABLED and self.svr & 0x100 != 0

    def ppr(self) -> int:
        """R43; for equal classes the low nibble is that of the TPR."""
        in_service = max(self.isr) if self.isr else 0
        if self.tpr // 16 >= in_service // 16:
            return self.tpr
        return in_service // 16 * 16

    def deliverable(self) -> int | None:
        """R44; R38: what is pending in a software-disabled APIC is held."""
        if not self.software_enabled() or not self.irr:
            return None
        vector = max(self.irr)
        return vector if vector // 16 > self.ppr() // 16 else None

    def logical_id(self) -> int:
        """The LDR as it is read."""
        if self.mode == X2APIC:  # R24
            return self.initial_id // 16 % 0x10000 * 0x10000 + 2 ** (self.initial_id % 16)
        return self.ldr

    def matches(self, destination: int, logical: bool) -> bool:
        """R25, R27, R28, R29: in the mode of this APIC, whatever mode the message came from."""
        if self.mode == DISABLED:
            return False
        if self.mode == X2APIC:
            if destination == 0xFFFFFFFF:
                return True
            if not logical:
                return destination == self.initial_id
            mine = self.logical_id()
            return mine >> 16 == destination >> 16 and mine & destination & 0xFFFF != 0
        low = destination % 0x100
        if low == 0xFF:  # broadcast reaches an LDR of 0 too
            return True
        if not logical:
            return low == self.xapic_id
        mine, model = self.ldr >> 24, self.dfr >> 28
        if model == 0xF:
            return mine & low != 0
        return model == 0 and mine // 16 == low // 16 and mine & low & 0xF != 0

    # What happens to it

    def request(self, vector: int) -> str:
        """A fixed interrupt arrives, always as an edge (R21, R31, R37, R42, R52)."""
        if not self.software_enabled():
            return "software disabled"
        if vector < 16:
            return "illegal vector"
        if vector in self.irr:
            return "coalesced"
        self.irr.add(vector)
        return "accepted"

    def acknowledge(self) -> int:
        """R45."""
        vector = max(self.irr)
        self.irr.remove(vector)
        self.isr.add(vector)
        return vector

    def eoi(self) -> None:
        """R46: the highest one, whatever the handler thinks it is ending."""
        if self.isr:
            self.isr.remove(max(self.isr))

    def error(self, bit: int) -> bool:
        """Note an error (R50). Whether it sets an IRR bit by LVT ERROR (R53).

        It does so when a hidden bit turns from 0 to 1; the error of an error ends there.
        """
        if bit in self.errors_hidden:
            return False
        self.errors_hidden.add(bit)
        if self.lvt[LVTERR] & LVT_MASKED:
            return False
        vector = self.lvt[LVTERR] % 0x100
        if vector < 16:
            self.errors_hidden.add(6)
            return False
        return self.request(vector) == "accepted"

    # Registers

    def exists(self, offset: int) -> bool:
        """Whether the register page has this register in the present mode (R13, R14)."""
        if offset == CMCI:
            return self.version >> 16 & 0xFF >= 6
        if offset in (SELF_IPI,):
            return self.mode == X2APIC
        if offset in (APR, RRD, DFR, ICR2):
            return self.mode == XAPIC
        if offset in LVT_ACCEPTS or any(offset in words for words in EIGHT_WORDS.values()):
            return True
        plain = (ID, VERSION, TPR, PPR, EOI, LDR, SVR, ESR, ICR, TMICT, TMCCT, TDCR)
        return offset in plain

    def value(self, offset: int) -> int:
        """What a read gives; a register that was only ever written reads 0."""
        if offset in self.lvt:
            return self.lvt[offset]
        if offset == ID:
            return self.initial_id if self.mode == X2APIC else self.xapic_id << 24
        if offset == PPR:
            return self.ppr()
        if offset == LDR:
            return self.logical_id()
        if offset == ESR:
            return sum(2**bit for bit in self.errors_visible)
        for base, bits in ((ISR, self.isr), (IRR, self.irr)):
            if base <= offset < base + 0x80:
                first = (offset - base) // 0x10 * 32
                return sum(2 ** (vector - first) for vector in bits if first <= vector < first + 32)
        plain = {
            VERSION: self.version,
            TPR: self.tpr,
            DFR: self.dfr,
            SVR: self.svr,
            ICR: self.icr_low,
            ICR2: self.icr_high,
            TMICT: self.timer_initial,
            TDCR: self.timer_divide,
        }
        return plain.get(offset, 0)

    def store(self, offset: int, value: int) -> None:
        """A write of any register without a message; reserved bits were dealt with before."""
        if offset == TPR:
            self.tpr = value & 0xFF
        elif offset == EOI:
            self.eoi()
        elif offset == SVR:
            self.svr = value & ACCEPTS[SVR]
            if not self.svr & 0x100:  # R39
                for entry in self.lvt:
                    self.lvt[entry] |= LVT_MASKED
        elif offset == ESR:  # R50
            self.errors_visible = self.errors_hidden
            self.errors_hidden = set()
        elif offset in self.lvt:
            self.lvt[offset] = value & LVT_ACCEPTS[offset] & ~LVT_READ_ONLY
            if not self.svr & 0x100:  # R39
                self.lvt[offset] |= LVT_MASKED
        elif offset == TMICT:
            self.timer_initial = value
        elif offset == TDCR:
            self.timer_divide = value & ACCEPTS[TDCR]
        elif self.mode == XAPIC and offset == ID:  # R7: writable here
            self.xapic_id = value >> 24
        elif self.mode == XAPIC and offset == LDR:
            self.ldr = value & 0xFF000000
        elif self.mode == XAPIC and offset == DFR:
            self.dfr = value | 0x0FFFFFFF
        elif self.mode == XAPIC and offset == ICR2:
            self.icr_high = value & 0xFF000000

    def x2apic_write_faults(self, offset: int, value: int) -> bool:
        """R14, R15, R18: the whole list of reasons for #GP on WRMSR."""
        if not self.exists(offset):
            return True
        if offset in (ID, VERSION, PPR, LDR, TMCCT):
            return True
        if any(offset in words for words in EIGHT_WORDS.values()):
            return True
        if offset == ICR:
            return value & 0xFFF32000 != 0
        if value >> 32:
            return True
        return value & ~(ACCEPTS | LVT_ACCEPTS)[offset] != 0

    def write_base(self, value: int, physical_bits: int) -> None:
        """IA32_APIC_BASE (R1, R2, R5, R6)."""
        if value & 0x2FF or value >> physical_bits:
            raise GeneralProtection
        extended, enabled = value & 0x400 != 0, value & 0x800 != 0
        if extended and not enabled:
            raise GeneralProtection
        wanted = DISABLED if not enabled else X2APIC if extended else XAPIC
        if (self.mode, wanted) in ((X2APIC, XAPIC), (DISABLED, X2APIC)):
            raise GeneralProtection
        if wanted != self.mode:
            if wanted == DISABLED:
                self.reset_registers()
            elif wanted == X2APIC:
                self.icr_high = 0
            # The id that software wrote is lost both on the way to x2APIC and by a disable.
            self.xapic_id = self.initial_id & 0xFF
        self.mode = wanted
        self.bsp = value & 0x100 != 0
        self.address = value & ~0xFFF

    def base(self) -> int:
        enabled = {DISABLED: 0, XAPIC: 0x800, X2APIC: 0xC00}[self.mode]
        return self.address + enabled + (0x100 if self.bsp else 0)
