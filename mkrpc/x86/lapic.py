"""One local APIC: what it accepts, what it hands to its CPU, what it sends.

IRR and ISR change in this file alone. ``accept`` is the one gate in, ``acknowledge`` the one gate
out, ``eoi`` ends. Register formats and faults of an access are in ``registers``; address matching
is in ``destination``.

Source: SDM vol. 3 chapter 10, June 2016 numbering (11, later 12, in newer editions); rules R1 to
R54 of docs/rules.md.

Departures from hardware:

- The timer holds its registers and never fires; LINT pins, thermal and performance sources do not
  exist. LVT ERROR is the one local source (R53).
- There is no I/O APIC, and an IPI is always edge (R21), so TMR stays 0 and EOI broadcasts nothing.
- The spurious vector is dispensed only by an APIC that latches INTR (``policy.intr``); by default
  what TPR or SVR masks is no longer signalled (R47).
- Delivery status reads 0 unless ``policy.icr_busy`` says otherwise: a write is handed over at once
  (R20).
- The APIC takes its accesses in program order; what an x2APIC write may overtake is the CPU's
  business (R17).
"""

from typing import Final

from mkrpc.outcome import Outcome
from mkrpc.x86 import apic_invariants
from mkrpc.x86.apic_base import (
    APIC_BASE_ENABLE,
    APIC_BASE_EXTD,
    ApicMode,
    GeneralProtection,
)
from mkrpc.x86.apic_policy import ApicPolicy
from mkrpc.x86.apic_state import (
    CLASS_MASK,
    ESR_RECEIVE_ILLEGAL_VECTOR,
    ESR_REDIRECTABLE_IPI,
    ESR_SEND_ILLEGAL_VECTOR,
    NMI_LATCH_LIMIT,
    NMI_LATCH_LIMIT_IN_SERVICE,
    SMI_LATCH_LIMIT,
    VECTOR_BIT,
    ApicState,
)
from mkrpc.x86.icr import (
    ICR_DELIVERY_STATUS,
    ICR_RESERVED,
    DeliveryMode,
    Icr,
    IcrWrite,
    Shorthand,
    decode,
    shorthand_word,
    travelling,
)
from mkrpc.x86.irq_vectors import FIRST_LEGAL_VECTOR

__all__ = ["ApicMode", "ApicPolicy", "LocalApic"]

# Module-level names: reading a member off its class costs twice as much in the hot path.
_DELIVERED: Final = Outcome.DELIVERED
_COALESCED: Final = Outcome.COALESCED
_FIXED: Final = DeliveryMode.FIXED
_LOWEST_PRIORITY: Final = DeliveryMode.LOWEST_PRIORITY
_NO_SHORTHAND: Final = Shorthand.NONE
_RESERVED_MODES: Final = (DeliveryMode.RESERVED_3, DeliveryMode.EXTINT)
_SHORTHANDS_OF_FIXED_ALONE: Final = (Shorthand.SELF, Shorthand.ALL_INCLUDING_SELF)  # SDM table 10-3


class LocalApic(ApicState):
    """A local APIC after RESET, then in ``mode``.

    ``initial_id``: 32 bits, not 0xFFFFFFFF. ``bsp`` marks the boot processor. An APIC made in
    X2APIC mode was reset and then enabled into it; it is software-disabled all the same, until
    somebody writes SVR. The state itself is documented in ``apic_state.ApicState``.
    """

    __slots__ = ()

    def __init__(
        self,
        initial_id: int,
        *,
        bsp: bool = False,
        mode: ApicMode = ApicMode.XAPIC,
        policy: ApicPolicy | None = None,
    ) -> None:
        super().__init__(initial_id, bsp=bsp, policy=policy or ApicPolicy())
        if mode is ApicMode.X2APIC:
            self.set_apic_base(self.apic_base | APIC_BASE_EXTD)
        elif mode is ApicMode.DISABLED:
            self.set_apic_base(self.apic_base & ~APIC_BASE_ENABLE)

    def assert_invariants(self) -> None:
        """As :func:`mkrpc.x86.apic_invariants.assert_invariants`."""
        apic_invariants.assert_invariants(self)

    # The gate in.

    def accept(self, icr: Icr) -> Outcome:
        """Take a command that reached this APIC, in whatever delivery mode (R31 to R42).

        The caller has matched the destination and arbitrated lowest priority; the enable bits of
        this APIC count as they are now.
        """
        mode = icr.delivery_mode
        if mode is _FIXED or mode is _LOWEST_PRIORITY:
            return self.accept_fixed(icr.vector)
        if self.mode is ApicMode.DISABLED:
            return Outcome.REJECTED_APIC_DISABLED
        match mode:
            case DeliveryMode.NMI:
                return self._accept_nmi()
            case DeliveryMode.SMI:
                return self._accept_smi()
            case DeliveryMode.INIT:
                if icr.is_init_deassert:
                    return Outcome.REJECTED_INIT_DEASSERT
                return self._accept_init()
            case DeliveryMode.STARTUP:
                return self._accept_startup(icr.vector)
            case _:
                return Outcome.REJECTED_RESERVED_MODE

    def accept_fixed(self, vector: int) -> Outcome:
        """A fixed interrupt, ``vector`` 0..255: sets its IRR bit or merges with it (R42)."""
        if not self._accepts_fixed or vector < FIRST_LEGAL_VECTOR:
            return self._refuse_fixed()
        bit = VECTOR_BIT[vector]
        irr = self.irr
        if irr & bit:
            return _COALESCED
        self.irr = irr | bit
        return _DELIVERED

    def _refuse_fixed(self) -> Outcome:
        if self.mode is ApicMode.DISABLED:
            return Outcome.REJECTED_APIC_DISABLED
        if not self.software_enabled:
            # R11, R37: discarded without an IRR bit and without an error, an illegal vector too.
            return Outcome.REJECTED_SOFTWARE_DISABLED
        self.report_error(ESR_RECEIVE_ILLEGAL_VECTOR)
        return Outcome.REJECTED_ILLEGAL_VECTOR

    def _accept_nmi(self) -> Outcome:
        """R35, R58. In wait-for-SIPI an NMI is blocked (R36; SDM vol. 3, 25.2)."""
        if self.wait_for_sipi:
            return Outcome.REJECTED_BLOCKED
        if not self.software_enabled and self.policy.nmi_while_software_disabled == "drop":
            return Outcome.REJECTED_SOFTWARE_DISABLED
        limit = NMI_LATCH_LIMIT_IN_SERVICE if self.nmi_in_service else NMI_LATCH_LIMIT
        if self.nmi_latched >= limit:
            return _COALESCED
        self.nmi_latched += 1
        return _DELIVERED

    def _accept_smi(self) -> Outcome:
        if self.wait_for_sipi:
            return Outcome.REJECTED_BLOCKED
        if self.smi_latched >= SMI_LATCH_LIMIT:
            return _COALESCED
        self.smi_latched += 1
        return _DELIVERED

    def _accept_init(self) -> Outcome:
        """R36. An INIT cancels a SIPI that came before it and was not taken yet.

        A CPU in wait-for-SIPI takes an INIT, as in KVM, though SDM vol. 3, 25.2 lists INIT among
        what that state blocks: otherwise it could not cancel a latched SIPI, and in all else the
        CPU is the same after it.
        """
        self.sipi_vector = None
        if self.init_latched:
            return _COALESCED
        self.init_latched = True
        return _DELIVERED

    def _accept_startup(self, vector: int) -> Outcome:
        """R36. A latched INIT is taken first, so a SIPI behind it finds an AP waiting; the BSP
        starts over at its reset vector and never waits for one (R10)."""
        if not self.wait_for_sipi and (self.bsp or not self.init_latched):
            return Outcome.REJECTED_NOT_WAITING_FOR_SIPI
        if self.sipi_vector is not None:
            # The CPU would have started on the first one: the second finds nobody waiting, or
            # merges with it. The first one's vector stands.
            return _COALESCED
        self.sipi_vector = vector
        return _DELIVERED

    # The gate out.

    def highest_deliverable(self) -> int:
        """The vector that the CPU may take now, or -1 (R44). Only the CPU knows about IF."""
        vector = self.irr.bit_length() - 1
        return vector if vector >= self._deliverable_from else -1

    def acknowledge(self) -> int:
        """Move the highest deliverable vector from IRR to ISR and return it (R45).

        Calling it when there is none is a bug.
        """
        vector = self.irr.bit_length() - 1
        assert vector >= self._deliverable_from, (vector, self._deliverable_from)
        bit = VECTOR_BIT[vector]
        self.irr ^= bit
        self.isr |= bit
        # Its class is above that of the old PPR, hence above TPR's and any other in service.
        self.ppr = vector & CLASS_MASK
        self._deliverable_from = self.ppr + 0x10
        return vector

    def accept_and_acknowledge(self, vector: int) -> bool:
        """A fixed interrupt that the CPU takes at the very boundary at which it arrives.

        The same as :meth:`accept_fixed` and then :meth:`acknowledge` of this ``vector`` (0..255),
        whose IRR bit nobody could see in between. False, and nothing has changed, if something else
        is pending or this vector is not deliverable.
        """
        if self.irr or vector < self._deliverable_from or not self._accepts_fixed:
            return False
        isr = self.isr
        self.isr = isr | VECTOR_BIT[vector] if isr else VECTOR_BIT[vector]
        self.ppr = priority = vector & CLASS_MASK
        self._deliverable_from = priority + 0x10
        return True

    def eoi(self) -> int | None:
        """Clear the highest ISR bit, whatever the handler believes that it ends (R46).

        Returns the vector ended, or None when nothing was in service, which is no error.
        """
        isr = self.isr
        if not isr:
            return None
        vector = isr.bit_length() - 1
        bit = VECTOR_BIT[vector]
        if isr == bit:
            self.isr = 0
            self.ppr = self._tpr
            self._deliverable_from = self._idle_deliverable_from
        else:
            self.isr = isr ^ bit
            self.update_ppr()
        return vector

    # The sender's side.

    def write_icr(self, word: int) -> IcrWrite:
        """What this APIC does with a write of its ICR, given as a word in x2APIC layout (R19).

        Raises GeneralProtection in x2APIC mode for a reserved bit, in which case the ICR keeps its
        value and nothing is sent (R18). In xAPIC mode the destination is cut to 8 bits (R30); a
        write while ``delivery_pending`` is lost under ``icr_busy = "drop"`` and the ICR keeps its
        value: REJECTED_ICR_BUSY (R20). A globally disabled APIC has no ICR: the write is lost,
        REJECTED_APIC_DISABLED (R3). A software-disabled one sends (R40).
        """
        assert 0 <= word < 1 << 64, hex(word)
        if self.mode is ApicMode.X2APIC:
            if word & ICR_RESERVED:
                raise GeneralProtection(f"ICR: reserved bits {word & ICR_RESERVED:#x}")
            if word & ICR_DELIVERY_STATUS:
                if self.policy.icr_bit12 == "gp":
                    raise GeneralProtection("ICR: bit 12")
                word ^= ICR_DELIVERY_STATUS
            self.icr = word
        elif self.mode is ApicMode.XAPIC:
            destination, low = word >> 32 & 0xFF, word & 0xFFFFFFFF & ~ICR_DELIVERY_STATUS
            word = destination << 32 | low & ~ICR_RESERVED
            if self.delivery_pending and self.policy.icr_busy == "drop":
                return IcrWrite(word, Outcome.REJECTED_ICR_BUSY)
            self.icr = destination << 56 | low
        else:
            return IcrWrite(word, Outcome.REJECTED_APIC_DISABLED)
        settled = self._send(decode(word))
        return travelling(word) if settled is None else IcrWrite(word, settled)

    def write_self_ipi(self, vector: int) -> IcrWrite:
        """SELF_IPI, ``vector`` 0..255: a fixed edge IPI to this APIC (R54). x2APIC mode only.
        Below 16, 0 included, it is an illegal vector and no fault (R16, R52)."""
        assert self.mode is ApicMode.X2APIC, self.mode
        assert 0 <= vector <= 0xFF, vector
        word = shorthand_word(Shorthand.SELF, vector)
        if self.policy.self_ipi_stored_in_icr:
            self.icr = word
        return IcrWrite(word, self._send(decode(word)))

    def _send(self, icr: Icr) -> Outcome | None:
        """The outcome where this APIC decides it, None where the bus does."""
        mode = icr.delivery_mode
        if mode is _FIXED and icr.vector >= FIRST_LEGAL_VECTOR and icr.shorthand is _NO_SHORTHAND:
            return None
        if mode in _RESERVED_MODES:
            return Outcome.REJECTED_RESERVED_MODE
        invalid = mode is not _FIXED and icr.shorthand in _SHORTHANDS_OF_FIXED_ALONE
        if invalid:
            # R22: the diagnostic is the count, which every view of the CPU shows.
            self.invalid_combinations += 1
        if mode is _LOWEST_PRIORITY and self.policy.lowest_priority == "unsupported":
            # R32: only bit 4, even when the vector is illegal too.
            self.report_error(ESR_REDIRECTABLE_IPI)
            return Outcome.REJECTED_REDIRECTABLE_IPI
        if icr.vector < FIRST_LEGAL_VECTOR and mode in (_FIXED, _LOWEST_PRIORITY):
            return self._send_illegal_vector(icr)
        if icr.is_init_deassert:
            return Outcome.REJECTED_INIT_DEASSERT
        if invalid and self.policy.invalid_combination == "drop":
            return Outcome.REJECTED_INVALID_COMBINATION
        if icr.shorthand is Shorthand.SELF:
            return self.accept(icr)
        return None

    def _send_illegal_vector(self, icr: Icr) -> Outcome:
        """R52: bit 5, and the message never exists; to itself it can be an error of receiving
        instead, bit 6, or of both."""
        choice = self.policy.self_ipi_illegal_vector
        to_itself = icr.shorthand is Shorthand.SELF
        if not to_itself or choice != "receive":
            self.report_error(ESR_SEND_ILLEGAL_VECTOR)
        if to_itself and choice != "send":
            return self.accept_fixed(icr.vector)
        return Outcome.REJECTED_ILLEGAL_VECTOR

    # Errors.

    def report_error(self, bit: int) -> None:
        """Accumulate one ESR bit and, on its rise, raise LVT ERROR (R50, R53).

        A bit that is already pending raises nothing until ESR is written. An LVT ERROR vector
        below 16 is itself a receive error, and there it ends: raising LVT ERROR for that again
        would never stop (XSA-462).
        """
        if self.esr_pending & bit:
            return
        self.esr_pending |= bit
        vector = self.unmasked_lvt_error()
        if vector is None:
            return
        if vector < FIRST_LEGAL_VECTOR:
            self.esr_pending |= ESR_RECEIVE_ILLEGAL_VECTOR
        elif self.accept_fixed(vector) is _DELIVERED:
            self.lvt_delivered[vector] = self.lvt_delivered.get(vector, 0) + 1

    def write_esr(self) -> None:
        """Make the accumulated errors visible and start afresh: two writes leave 0 (R50)."""
        self.esr = self.esr_pending
        self.esr_pending = 0
