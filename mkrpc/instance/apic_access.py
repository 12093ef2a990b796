"""A CPU's accesses to its own local APIC, and the books of what they change.

Every access goes through here, so that each bit that appears in or leaves IRR and ISR is counted
once, each ICR write gets its sequence number, and each change of the address is published.
"""

from typing import TYPE_CHECKING, Final

from mkrpc.errors import LimitReachedError
from mkrpc.instance.memory import PageFault
from mkrpc.instance.vector_books import VectorBooks
from mkrpc.link.source import HARD_WRITE_WINDOW
from mkrpc.outcome import Outcome
from mkrpc.x86 import registers
from mkrpc.x86.apic_base import ApicMode, GeneralProtection
from mkrpc.x86.apic_state import VECTOR_BIT
from mkrpc.x86.icr import DeliveryMode, IcrWrite, Shorthand, decode, shorthand_word
from mkrpc.x86.lapic import LocalApic
from mkrpc.x86.operands import check_bits, check_integer
from mkrpc.x86.registers import Register, msr_of

if TYPE_CHECKING:
    from mkrpc.instance.kernel import Kernel

__all__ = ["MAX_UNRESOLVED_WRITES", "ApicAccess"]

MAX_UNRESOLVED_WRITES: Final = 2 * HARD_WRITE_WINDOW
"""Outstanding writes of an instance, refused ones included until they are reported, of which one
CPU may hold as many as it leaves free. Then a further one is not made at all: it raises
LimitReachedError in the handler, which is an oops unless the handler catches it."""

_ICR_MSR: Final = msr_of(Register.ICR)
_SELF_IPI_MSR: Final = msr_of(Register.SELF_IPI)
_MMIO_PAGE: Final = 0x1000
_DISABLED: Final = ApicMode.DISABLED


class ApicAccess:
    """The part of a CPU that reaches its local APIC.

    ``command`` is the client's command on whose behalf it writes, 0 for none. ``changed``: its
    account may differ from the last one reported. ``core_pending``: an NMI, SMI, INIT, SIPI or
    masked INTR may be latched.
    """

    __slots__ = (
        "_lvt_booked",
        "_published_generation",
        "apic",
        "books",
        "changed",
        "command",
        "core_pending",
        "kernel",
        "number",
    )

    def __init__(self, kernel: "Kernel", number: int, apic: LocalApic) -> None:
        self.kernel = kernel
        self.number = number
        self.apic = apic
        self.books = VectorBooks()
        self.changed = True
        self.command = 0
        self.core_pending = False
        self._lvt_booked: dict[int, int] = {}
        self._published_generation = apic.address_generation

    @property
    def may_write(self) -> bool:
        """Would an ICR write be taken now? If not, one that can wait waits (R20)."""
        return self.kernel.source.may_write(self.number)

    @property
    def icr_idle(self) -> bool:
        """Would software that waits for delivery status write now (R20)?"""
        apic = self.apic
        if apic.policy.icr_busy == "never" or apic.mode is not ApicMode.XAPIC:
            return True
        return self.kernel.source.travelling(self.number) == 0

    @property
    def apic_id(self) -> int:
        """The 32-bit id that the APIC was given at power-up."""
        return self.apic.initial_id

    @property
    def wait_for_sipi(self) -> bool:
        """Has it taken an INIT, and no SIPI since?"""
        return self.apic.wait_for_sipi

    def apic_eoi(self) -> int | None:
        """End of interrupt (R46). Returns the vector ended; None when nothing was in service.

        Software learns no such thing from hardware; it is there for checks. On a globally disabled
        APIC, which has no EOI register, nothing happens.
        """
        apic = self.apic
        if apic.mode is _DISABLED:
            return None
        vector = apic.eoi()
        if vector is not None:
            books = self.books
            row = books.rows[vector] or books.open(vector)
            row.eoi += 1
            if not row.touched:
                books.touch(row)
        return vector

    def write_icr(self, word: int) -> int:
        """Write the ICR: ``word`` is 64 bits in x2APIC layout.

        An x2APIC is written by one WRMSR, an xAPIC by ICR2 and then ICR, which cuts the
        destination to 8 bits (R19, R30). Returns the sequence number of the write, or 0 when the
        APIC is globally disabled: nothing is written then (R3). Raises GeneralProtection for a
        reserved bit in x2APIC mode (R18), InvalidArgumentError beyond 64 bits, LimitReachedError
        at MAX_UNRESOLVED_WRITES.
        """
        check_bits("ICR word", word, 64)
        if self.apic.mode is ApicMode.X2APIC:
            return self.wrmsr(_ICR_MSR, word)
        self.mmio_write(Register.ICR2, (word >> 32 & 0xFF) << 24)
        return self.mmio_write(Register.ICR, word & 0xFFFFFFFF)

    def self_ipi(self, vector: int) -> int:
        """A fixed IPI to itself: SELF_IPI (R54), or the self shorthand of an xAPIC.

        ``vector`` 0 to 255, else InvalidArgumentError. Returns as :meth:`write_icr`.
        """
        check_bits("vector", vector, 8)
        if self.apic.mode is ApicMode.X2APIC:
            return self.wrmsr(_SELF_IPI_MSR, vector)
        # ICR2 stays: whoever was interrupted between writing it and ICR still finds it there.
        return self.mmio_write(Register.ICR, shorthand_word(Shorthand.SELF, vector))

    def write_tpr(self, value: int) -> None:
        """Set TPR in any mode (R49). Raises GeneralProtection beyond 8 bits."""
        check_integer("TPR", value)
        if not 0 <= value <= 0xFF:
            raise GeneralProtection(f"TPR: reserved bit in {value:#x}")
        self.apic.tpr = value
        self._note_latched_intr()
        self.changed = True

    def write_svr(self, value: int) -> None:
        """Set SVR in any mode (R37 to R39), as the kernel's own code; no reserved bits."""
        before = self.apic.irr, self.apic.isr
        self.apic.write_svr(value)
        self._note_latched_intr()
        self.observe(before)

    def rdmsr(self, msr: int) -> int:
        """As :func:`mkrpc.x86.registers.rdmsr`."""
        return registers.rdmsr(self.apic, msr)

    def wrmsr(self, msr: int, value: int) -> int:
        """As :func:`mkrpc.x86.registers.wrmsr`; returns as :meth:`write_icr`, or 0."""
        check_bits("MSR value", value, 64)
        if msr in (_ICR_MSR, _SELF_IPI_MSR):
            self._check_unresolved()
        before = self.apic.irr, self.apic.isr
        return self._note(before, registers.wrmsr(self.apic, msr, value))

    def mmio_read(self, offset: int, size: int = 4) -> int:
        """As :func:`mkrpc.x86.registers.mmio_read`. Raises PageFault beyond the page."""
        _check_page(offset)
        if offset & ~0xF == Register.ICR:
            self._note_delivery_status()
        before = self.apic.irr, self.apic.isr
        value = registers.mmio_read(self.apic, offset, size)
        self._note(before, None)
        return value

    def mmio_write(self, offset: int, value: int, size: int = 4) -> int:
        """As :func:`mkrpc.x86.registers.mmio_write`; returns as :meth:`write_icr`, or 0.

        Raises PageFault beyond the page.
        """
        _check_page(offset)
        check_bits("value", value, 32)
        if offset == Register.ICR:
            self._check_unresolved()
            self._note_delivery_status()
        before = self.apic.irr, self.apic.isr
        return self._note(before, registers.mmio_write(self.apic, offset, value, size))

    def load(self, address: int, size: int) -> int:
        """From the kernel's shared memory. Raises PageFault, also when it has none."""
        memory = self.kernel.memory
        if memory is None:
            raise PageFault(f"no shared memory at {address:#x}")
        return memory.load(address, size)

    def store(self, address: int, value: int, size: int) -> None:
        """To the kernel's shared memory. Raises PageFault, also when it has none."""
        memory = self.kernel.memory
        if memory is None:
            raise PageFault(f"no shared memory at {address:#x}")
        memory.store(address, value, size)

    def _check_unresolved(self) -> None:
        source = self.kernel.source
        if source.held(self.number) + source.outstanding >= MAX_UNRESOLVED_WRITES:
            raise LimitReachedError(
                f"{source.outstanding} ICR writes are outstanding, {source.held(self.number)} of "
                f"them of CPU {self.number}",
                advice="write less in one handler, or use a generator handler, which can wait",
            )

    def _note_delivery_status(self) -> None:
        """Tell the APIC whether a command of its own is under way, if its ICR shows it (R20).

        That is: an ICR write of this CPU has travelled, or waits for its frame, and is unresolved.
        An INIT does not call back what is under way.
        """
        apic = self.apic
        if apic.policy.icr_busy != "never":
            apic.delivery_pending = self.kernel.source.travelling(self.number) > 0

    def _note_latched_intr(self) -> None:
        """A write of TPR or SVR can leave an INTR to be acknowledged: as rare as an NMI (R47)."""
        if self.apic.intr_latched:
            self.core_pending = True

    def _note(self, before: tuple[int, int], write: IcrWrite | None) -> int:
        """Book what an access did; returns the sequence number of the ICR write, 0 for none."""
        seq = 0
        if write is not None:
            seq = self._book_write(write)
        else:
            self._note_latched_intr()
        self.observe(before)
        return seq

    def _book_write(self, write: IcrWrite) -> int:
        kernel = self.kernel
        outcome = write.settled
        if outcome is None and not kernel.source.may_write_without_waiting(self.number):
            # Only one that cannot wait gets here: a handler that is a plain function.
            outcome = Outcome.REJECTED_BACKPRESSURE
        if outcome is None:
            return kernel.publish_write(self.number, write.word, self.command)
        icr = decode(write.word)
        if icr.delivery_mode > DeliveryMode.LOWEST_PRIORITY:
            self.core_pending = self.core_pending or outcome is Outcome.DELIVERED
        elif outcome is Outcome.COALESCED:
            self.books.coalesce(icr.vector)
        return kernel.publish_settled(self.number, write.word, outcome, command=self.command)

    def observe(self, before: tuple[int, int]) -> None:
        """Book how IRR and ISR, ``before`` an access, differ from what they are now.

        A bit that came was delivered: an ICR write to itself, or LVT ERROR. One that left IRR was
        discarded. One that left ISR has ended: by EOI, or because INIT or a global disable emptied
        the ISR, and then no EOI can come for it any more.
        """
        irr, isr = before
        apic = self.apic
        self.changed = True
        if apic.lvt_delivered:
            irr |= self.book_lvt_error()
        if apic.irr != irr:
            self.books.deliver_bits(apic.irr & ~irr)
            self.books.discard_bits(irr & ~apic.irr)
        if apic.isr != isr:
            self.books.end_bits(isr & ~apic.isr)
        if apic.address_generation != self._published_generation:
            self._published_generation = apic.address_generation
            self.kernel.publish_address(self.number)

    def forget_lvt_errors(self) -> None:
        """The APIC is another one, which has raised none, and has published no address."""
        self._lvt_booked = {}
        self._published_generation = -1

    def book_lvt_error(self) -> int:
        """Book interrupts that LVT ERROR raised since the last call; returns their IRR bits.

        A departure in the books alone: each is booked as a self IPI of its vector, since every bit
        that is set in an IRR has a row in the ledger, and no ICR write stands behind these.
        """
        bits = 0
        for vector, count in self.apic.lvt_delivered.items():
            new = count - self._lvt_booked.get(vector, 0)
            if not new:
                continue
            assert new == 1, "one access raises it once"
            self._lvt_booked[vector] = count
            bits |= VECTOR_BIT[vector]
            word = shorthand_word(Shorthand.SELF, vector)
            self.kernel.publish_settled(self.number, word, Outcome.DELIVERED)
        self.books.deliver_bits(bits)
        return bits


def _check_page(offset: int) -> None:
    if not 0 <= offset < _MMIO_PAGE:
        raise PageFault(f"{offset:#x} is beyond the register page")
