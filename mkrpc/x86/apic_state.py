"""The registers of a local APIC and all that changes them wholesale: RESET, INIT, modes, writes.

``lapic.LocalApic`` adds what the APIC does. Rule numbers are those of docs/rules.md.
"""

from typing import Final

from mkrpc.x86.apic_base import (
    APIC_BASE_ADDRESS,
    APIC_BASE_BSP,
    APIC_BASE_ENABLE,
    ApicMode,
    checked_transition,
)
from mkrpc.x86.apic_policy import ApicPolicy
from mkrpc.x86.destination import ApicAddress, x2apic_ldr
from mkrpc.x86.icr import BROADCAST
from mkrpc.x86.irq_vectors import NR_VECTORS

__all__ = [
    "CLASS_MASK",
    "DFR_RESET",
    "ESR_ILLEGAL_REGISTER_ADDRESS",
    "ESR_RECEIVE_ILLEGAL_VECTOR",
    "ESR_REDIRECTABLE_IPI",
    "ESR_SEND_ILLEGAL_VECTOR",
    "LVT_MASKED",
    "LVT_NAMES",
    "NMI_LATCH_LIMIT",
    "NMI_LATCH_LIMIT_IN_SERVICE",
    "SMI_LATCH_LIMIT",
    "SVR_APIC_ENABLED",
    "SVR_RESET",
    "SVR_VECTOR",
    "VECTOR_BIT",
    "ApicState",
]

# Bits of ESR (R51); 3:0 belong to the APIC bus of the P6.
ESR_REDIRECTABLE_IPI: Final = 1 << 4
ESR_SEND_ILLEGAL_VECTOR: Final = 1 << 5
ESR_RECEIVE_ILLEGAL_VECTOR: Final = 1 << 6
ESR_ILLEGAL_REGISTER_ADDRESS: Final = 1 << 7

SVR_RESET: Final = 0xFF
SVR_VECTOR: Final = 0xFF  # bits 7:0, the spurious vector (R47)
SVR_APIC_ENABLED: Final = 1 << 8
DFR_RESET: Final = 0xFFFFFFFF
LVT_MASKED: Final = 1 << 16

LVT_NAMES: Final = ("cmci", "timer", "thermal", "performance", "lint0", "lint1", "error")
"""The seven LVT entries; max LVT entry of the version register is 6 (SDM 10.4.8)."""

CLASS_MASK: Final = 0xF0
VECTOR_BIT: Final = tuple(1 << vector for vector in range(NR_VECTORS))
"""Vector -> its bit: indexing is cheaper than shifting a 256-bit integer."""

NMI_LATCH_LIMIT: Final = 2
"""NMIs latched while none is in service; the next one is COALESCED (R58)."""
NMI_LATCH_LIMIT_IN_SERVICE: Final = 1
"""The same between an NMI's entry and its IRET."""
SMI_LATCH_LIMIT: Final = 1
"""SMIs latched, in SMM or out of it; the next one is COALESCED (SDM vol. 3, 34.3)."""

_NEVER: Final = NR_VECTORS


class ApicState:
    """Registers and latches of one APIC; attributes are read freely, written by the methods.

    ``irr``, ``isr``, ``tmr``: 256-bit integers, bit n = vector n. ``icr``: the 64-bit register as
    last written, in the layout of the mode (destination in bits 63:56 or 63:32). ``esr`` is what
    software reads, ``esr_pending`` what has happened since it wrote. ``lvt`` by name.

    For the CPU to take, and to clear when it has: ``nmi_latched``, ``smi_latched`` (counts),
    ``init_latched`` (cleared by ``init``), ``sipi_vector``, ``intr_latched`` (an INTR whose
    interrupt was masked before it was acknowledged, R47). For the CPU to set: ``wait_for_sipi``,
    ``nmi_in_service`` from an NMI's entry to the next IRET, and ``delivery_pending``, whether a
    command that this APIC sent is still under way, which no APIC knows by itself (R20).

    Cumulative, never reset, for the books: ``lvt_delivered`` (vector -> IRR bits that LVT ERROR
    set), ``invalid_combinations`` (commands that SDM table 10-3 calls invalid, sent or dropped,
    R22), ``spurious_count`` (times that the CPU was given the spurious vector, R47).
    """

    __slots__ = (
        "_accepts_fixed",
        "_address",
        "_deliverable_from",
        "_idle_deliverable_from",
        "_tpr",
        "address_generation",
        "apic_base",
        "delivery_pending",
        "dfr",
        "esr",
        "esr_pending",
        "icr",
        "init_latched",
        "initial_id",
        "intr_latched",
        "invalid_combinations",
        "irr",
        "isr",
        "ldr",
        "lvt",
        "lvt_delivered",
        "mode",
        "nmi_in_service",
        "nmi_latched",
        "policy",
        "ppr",
        "sipi_vector",
        "smi_latched",
        "spurious_count",
        "svr",
        "timer_divide",
        "timer_initial",
        "tmr",
        "wait_for_sipi",
        "xapic_id",
    )

    def __init__(self, initial_id: int, *, bsp: bool, policy: ApicPolicy) -> None:
        assert 0 <= initial_id < BROADCAST, initial_id
        self.initial_id = initial_id
        self.policy = policy
        self.address_generation = 0
        self.irr = 0
        self.isr = 0
        self.lvt_delivered: dict[int, int] = {}
        self.invalid_combinations = 0
        self.spurious_count = 0
        self.delivery_pending = False
        self.lvt: dict[str, int] = {}
        self.apic_base = APIC_BASE_BSP if bsp else 0
        self.mode = ApicMode.XAPIC
        self.xapic_id = initial_id & 0xFF
        self.ldr = 0
        self.dfr = DFR_RESET
        self.svr = SVR_RESET
        self._address = self._current_address()
        self.reset()

    # Derived state.

    @property
    def bsp(self) -> bool:
        """The BSP flag of IA32_APIC_BASE: this CPU restarts at the reset vector on INIT (R10)."""
        return bool(self.apic_base & APIC_BASE_BSP)

    @property
    def software_enabled(self) -> bool:
        """SVR bit 8."""
        return bool(self.svr & SVR_APIC_ENABLED)

    @property
    def core_event(self) -> bool:
        """Is an NMI, SMI, INIT, SIPI or masked INTR latched? It may still be blocked."""
        return (
            bool(self.nmi_latched or self.init_latched or self.smi_latched or self.intr_latched)
            or self.sipi_vector is not None
        )

    @property
    def address(self) -> ApicAddress:
        """What destinations are chosen by; equal to the last as long as ``address_generation``
        is."""
        return self._address

    @property
    def tpr(self) -> int:
        """Task priority, 8 bits. Setting it counts at once (R49)."""
        return self._tpr

    @tpr.setter
    def tpr(self, value: int) -> None:
        assert 0 <= value <= 0xFF, value
        signalled = self._signals_intr()
        self._tpr = value
        self.update_ppr()
        self._latch_intr(signalled)

    def update_ppr(self) -> None:
        """Recompute PPR (R43) and from which vector on an interrupt is deliverable (R44).

        For equal classes PPR is TPR, low nibble included, as in every implementation read. While
        disabled, nothing is deliverable; by software, if the policy holds what is pending (R38).
        """
        in_service = (self.isr.bit_length() - 1) & CLASS_MASK if self.isr else 0
        tpr = self._tpr
        self.ppr = tpr if tpr & CLASS_MASK >= in_service else in_service
        if self.mode is ApicMode.DISABLED or (
            not self.svr & SVR_APIC_ENABLED
            and self.policy.pending_while_software_disabled == "hold"
        ):
            self._deliverable_from = self._idle_deliverable_from = _NEVER
        else:
            self._deliverable_from = (self.ppr & CLASS_MASK) + 0x10
            self._idle_deliverable_from = (tpr & CLASS_MASK) + 0x10

    def _signals_intr(self) -> bool:
        """Is INTR up: a vector deliverable that the CPU has not acknowledged (R44)? Only where the
        policy latches it does anybody ask."""
        return self.policy.intr == "latched" and self.irr.bit_length() > self._deliverable_from

    def _latch_intr(self, signalled: bool) -> None:
        """INTR was up before a write of TPR or SVR. If nothing is deliverable after it, the CPU is
        owed a vector all the same: the spurious one (R47; SDM 10.9)."""
        if signalled and not self._signals_intr():
            self.intr_latched = True

    def unmasked_lvt_error(self) -> int | None:
        """The vector of LVT ERROR, or None while it is masked."""
        entry = self.lvt["error"]
        return None if entry & LVT_MASKED else entry & 0xFF

    # RESET, INIT, modes.

    def reset(self) -> None:
        """RESET or power-up (R8): all registers, xAPIC mode, the initial id, no latched event."""
        bsp = self.apic_base & APIC_BASE_BSP
        self.apic_base = APIC_BASE_ADDRESS | APIC_BASE_ENABLE | bsp
        self.mode = ApicMode.XAPIC
        self.xapic_id = self.initial_id & 0xFF
        self.wait_for_sipi = False
        self.sipi_vector: int | None = None
        self._reset_core_latches()
        self._reset_registers()

    def init(self) -> None:
        """INIT, when the CPU takes it (R9): RESET but for the id, the mode and IA32_APIC_BASE.

        In x2APIC mode LDR therefore stays valid. Latched NMIs and SMIs are gone; a SIPI that came
        behind the INIT stays (R36). Whether the CPU then waits for one is the CPU's business.
        """
        self._reset_core_latches()
        self._reset_registers()

    def _reset_core_latches(self) -> None:
        self.nmi_latched = 0
        self.nmi_in_service = False
        self.smi_latched = 0
        self.init_latched = False
        self.intr_latched = False

    def _reset_registers(self) -> None:
        self.irr = 0
        self.isr = 0
        self.tmr = 0
        self.icr = 0
        self.esr = 0
        self.esr_pending = 0
        self.svr = SVR_RESET
        self.lvt = dict.fromkeys(LVT_NAMES, LVT_MASKED)
        self.timer_initial = 0
        self.timer_divide = 0
        self.dfr = DFR_RESET
        self.ldr = x2apic_ldr(self.initial_id) if self.mode is ApicMode.X2APIC else 0
        self._tpr = 0
        self._enable_changed()
        self._address_changed()

    def set_apic_base(self, value: int) -> None:
        """WRMSR of 64 bits to IA32_APIC_BASE.

        Raises GeneralProtection, and changes nothing, as R1 and R2 say. Into x2APIC mode registers
        stay but for LDR, a rewritten id and the upper half of ICR (R5). Disabling may empty them
        (R6).
        """
        previous = self.mode
        mode = checked_transition(previous, value, x2apic_supported=self.policy.x2apic_supported)
        self.apic_base = value
        if self.bsp:
            # The flag may be set between an INIT and its taking: nobody waits for that SIPI then.
            self.sipi_vector = None
        if mode is previous:
            return
        self.mode = mode
        self.xapic_id = self.initial_id & 0xFF
        if mode is ApicMode.DISABLED:
            self.intr_latched = False  # no APIC is left that could answer an acknowledge
        if mode is ApicMode.DISABLED and self.policy.global_disable == "reset":
            self._reset_registers()
        elif mode is ApicMode.X2APIC:
            self.ldr = x2apic_ldr(self.initial_id)
            self.icr &= 0xFFFFFFFF
        elif previous is ApicMode.DISABLED:
            # What was kept may have the x2APIC's format; an xAPIC has 8 bits of each.
            self.ldr &= 0xFF000000
            self.icr &= 0xFF000000_FFFFFFFF
        self._enable_changed()
        self._address_changed()

    # Register writes with consequences; the values are what the register keeps.

    def write_xapic_id(self, value: int) -> None:
        """The id register of xAPIC mode, 8 bits; dropped where it is read-only (R7)."""
        if self.policy.xapic_id_writable:
            self.xapic_id = value & 0xFF
            self._address_changed()

    def write_ldr(self, value: int) -> None:
        """Bits 31:24 of a 32-bit value; the rest reads 0."""
        self.ldr = value & 0xFF000000
        self._address_changed()

    def write_dfr(self, value: int) -> None:
        """Bits 31:28 of a 32-bit value; the rest reads 1."""
        self.dfr = (value | 0x0FFFFFFF) & 0xFFFFFFFF
        self._address_changed()

    def write_svr(self, value: int) -> None:
        """SVR (R11). Disabling masks every LVT entry; enabling unmasks none (R39)."""
        signalled = self._signals_intr()
        self.svr = value
        if not self.software_enabled:
            for name in LVT_NAMES:
                self.lvt[name] |= LVT_MASKED
        self._enable_changed()
        self._address_changed()
        self._latch_intr(signalled)

    def write_lvt(self, name: str, value: int) -> None:
        """One LVT entry; its mask bit cannot be cleared while software-disabled (R39)."""
        assert name in LVT_NAMES, name
        self.lvt[name] = value if self.software_enabled else value | LVT_MASKED

    def _enable_changed(self) -> None:
        self._accepts_fixed = self.software_enabled and self.mode is not ApicMode.DISABLED
        self.update_ppr()

    def _current_address(self) -> ApicAddress:
        return ApicAddress(
            initial_id=self.initial_id,
            mode=self.mode,
            xapic_id=self.xapic_id,
            ldr=self.ldr,
            dfr=self.dfr,
            software_enabled=self.software_enabled,
        )

    def _address_changed(self) -> None:
        address = self._current_address()
        if address != self._address:
            self._address = address
            self.address_generation += 1
