"""Event delivery by FRED, as Linux 6.17 dispatches what arrives at its two entry points.

There are no gates: hardware says of which type an event is, and the kernel looks further. An
external interrupt goes to fred_extint, by its vector:

- below FIRST_EXTERNAL_VECTOR: a warning, and no EOI;
- from FIRST_SYSTEM_VECTOR (0xEB) on: sysvec_table, whose unassigned entries are spurious
  interrupts;
- anything between: a device interrupt, common_interrupt.

An NMI is an event type of its own. Source: arch/x86/entry/entry_fred.c (fred_extint, sysvec_table,
fred_install_sysvec, fred_complete_exception_setup). The multikernel patch puts 0xEA, one below
FIRST_SYSTEM_VECTOR, into the IDT alone, so that it ends as a device interrupt here.
"""

from collections.abc import Mapping

from mkrpc.errors import AlreadyExistsError, InvalidArgumentError
from mkrpc.x86 import irq_vectors as v
from mkrpc.x86.idt import APIC_IDTS, SPURIOUS_INTERRUPT, Gate, Handler, Idt

__all__ = ["FRED_EXTINT", "SYSVEC_TABLE", "FredDispatch"]

FRED_EXTINT = "fred_extint"

_NMI = "fred_exc_nmi"
_NO_GATES = 'use a kernel with entry = "idt"'

SYSVEC_TABLE: Mapping[int, str] = {
    vector: name for vector, name in APIC_IDTS if vector >= v.FIRST_SYSTEM_VECTOR
}
"""Vector -> entry of sysvec_table: what the IDT has too, but for 0xEA."""


class FredDispatch(Idt):
    """256 entries that stand where those of an IDT stand, so that a CPU need not know.

    ``handlers`` maps entry names to handlers, as for an IDT; those of vectors below
    FIRST_SYSTEM_VECTOR are passed over, save ``asm_exc_nmi``. ``fred_extint`` runs for vectors 0
    to 31. It is worked out once, at boot: dispatching costs what a gate costs.
    """

    __slots__ = ()

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        common_interrupt: Handler,
        spurious_interrupt: Handler,
        fred_extint: Handler,
    ) -> None:
        table = {name: handlers[name] for name in SYSVEC_TABLE.values() if name in handlers}
        super().__init__(
            table, common_interrupt=common_interrupt, spurious_interrupt=spurious_interrupt
        )
        for vector in range(v.FIRST_EXTERNAL_VECTOR):
            self._write(Gate(vector, FRED_EXTINT, fred_extint))
        self._write(Gate(v.NMI_VECTOR, _NMI, handlers["asm_exc_nmi"]))

    def install(self, vector: int, name: str, handler: Handler) -> None:
        """Take an unassigned entry of sysvec_table, as fred_install_sysvec does.

        Raises InvalidArgumentError below FIRST_SYSTEM_VECTOR and AlreadyExistsError where there is
        an entry: Linux warns and ignores the call. A departure: Linux takes none after boot, which
        has no duration here.
        """
        assert 0 <= vector < v.NR_VECTORS, vector
        if vector < v.FIRST_SYSTEM_VECTOR:
            raise InvalidArgumentError(
                f"vector {vector:#04x} is below FIRST_SYSTEM_VECTOR: FRED has no entry for it",
                advice=f'use {v.FIRST_SYSTEM_VECTOR:#x} or above, or a kernel with entry = "idt"',
            )
        if self.gates[vector].name != SPURIOUS_INTERRUPT:
            raise AlreadyExistsError(
                f"vector {vector:#04x} has its entry, {self.gates[vector].name}",
                advice='use one that nobody has, or a kernel with entry = "idt"',
            )
        super().install(vector, name, handler)

    def install_trap_gate(self, vector: int, name: str, handler: Handler) -> None:
        """Raises InvalidArgumentError: there are no gates."""
        raise InvalidArgumentError("FRED has no trap gates", advice=_NO_GATES)

    def remove(self, vector: int) -> None:
        """Raises InvalidArgumentError: there are no gates."""
        raise InvalidArgumentError("FRED has no gate to remove", advice=_NO_GATES)
