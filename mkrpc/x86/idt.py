"""The interrupt descriptor table of one kernel, as Linux 6.17 fills it on x86-64.

256 gates, all of them interrupt gates (IF is cleared on entry). Source: arch/x86/kernel/idt.c
(def_idts, apic_idts, idt_setup_apic_and_irq_gates) with the entry of the multikernel patch. Trap
gates (R56) and gates that are not present (R61) can be written over them at run time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from types import MappingProxyType

from mkrpc.x86 import irq_vectors as v

__all__ = [
    "APIC_IDTS",
    "COMMON_INTERRUPT",
    "EXCEPTIONS",
    "NOT_PRESENT",
    "SPURIOUS_INTERRUPT",
    "Gate",
    "GateKind",
    "Handler",
    "Idt",
    "SegmentNotPresent",
    "TrapHandler",
    "default_gate_name",
]

Handler = Callable[..., object]
"""What a gate leads to; ``instance.sysvec`` binds the handlers and knows their arguments."""

COMMON_INTERRUPT = "common_interrupt"
SPURIOUS_INTERRUPT = "spurious_interrupt"
NOT_PRESENT = "not present"
"""The name of a gate that leads nowhere."""

_GENERAL_PROTECTION = "asm_exc_general_protection"

EXCEPTIONS: Mapping[int, str] = MappingProxyType(
    {
        0: "asm_exc_divide_error",
        1: "asm_exc_debug",
        2: "asm_exc_nmi",
        3: "asm_exc_int3",
        4: "asm_exc_overflow",
        5: "asm_exc_bounds",
        6: "asm_exc_invalid_op",
        7: "asm_exc_device_not_available",
        8: "asm_exc_double_fault",
        9: "asm_exc_coproc_segment_overrun",
        10: "asm_exc_invalid_tss",
        11: "asm_exc_segment_not_present",
        12: "asm_exc_stack_segment",
        13: _GENERAL_PROTECTION,
        14: "asm_exc_page_fault",
        15: "asm_exc_spurious_interrupt_bug",
        16: "asm_exc_coprocessor_error",
        17: "asm_exc_alignment_check",
        18: "asm_exc_machine_check",
        19: "asm_exc_simd_coprocessor_error",
        20: "asm_exc_virtualization_exception",
        21: "asm_exc_control_protection",
        29: "asm_exc_vmm_communication",
    }
)
"""Exception vector -> entry. The vectors of 0..31 that are missing here have no gate in Linux."""

APIC_IDTS: tuple[tuple[int, str], ...] = (
    (v.RESCHEDULE_VECTOR, "sysvec_reschedule_ipi"),
    (v.CALL_FUNCTION_VECTOR, "sysvec_call_function"),
    (v.CALL_FUNCTION_SINGLE_VECTOR, "sysvec_call_function_single"),
    (v.MULTIKERNEL_VECTOR, "sysvec_multikernel"),
    (v.REBOOT_VECTOR, "sysvec_reboot"),
    (v.THERMAL_APIC_VECTOR, "sysvec_thermal"),
    (v.THRESHOLD_APIC_VECTOR, "sysvec_threshold"),
    (v.DEFERRED_ERROR_VECTOR, "sysvec_deferred_error"),
    (v.LOCAL_TIMER_VECTOR, "sysvec_apic_timer_interrupt"),
    (v.X86_PLATFORM_IPI_VECTOR, "sysvec_x86_platform_ipi"),
    (v.POSTED_INTR_VECTOR, "sysvec_kvm_posted_intr_ipi"),
    (v.POSTED_INTR_WAKEUP_VECTOR, "sysvec_kvm_posted_intr_wakeup_ipi"),
    (v.POSTED_INTR_NESTED_VECTOR, "sysvec_kvm_posted_intr_nested_ipi"),
    (v.IRQ_WORK_VECTOR, "sysvec_irq_work"),
    (v.SPURIOUS_APIC_VECTOR, "sysvec_spurious_apic_interrupt"),
    (v.ERROR_APIC_VECTOR, "sysvec_error_interrupt"),
    (v.POSTED_MSI_NOTIFICATION_VECTOR, "sysvec_posted_msi_notification"),
)
"""apic_idts of 6.17 in its order. Hypervisor vectors (0xED to 0xEF, 0xF3) come at run time only."""

_APIC_NAMES = dict(APIC_IDTS)


def default_gate_name(vector: int) -> str:
    """The entry that a vector (0..255) has after boot.

    A vector of 0..31 without a gate is named by what the CPU does there: it raises #GP (SDM vol. 3,
    6.12.1). Vector 0x80 is a device vector: the kernel has no IA32_EMULATION.
    """
    if vector < v.FIRST_EXTERNAL_VECTOR:
        return EXCEPTIONS.get(vector, _GENERAL_PROTECTION)
    unassigned = SPURIOUS_INTERRUPT if vector >= v.FIRST_SYSTEM_VECTOR else COMMON_INTERRUPT
    return _APIC_NAMES.get(vector, unassigned)


_DEFAULT_NAMES = tuple(default_gate_name(vector) for vector in range(v.NR_VECTORS))


class GateKind(IntEnum):
    """The type field of a descriptor (SDM vol. 3, table 3-2 and 6.14.1)."""

    INTERRUPT = 0xE
    """IF = 0 on entry."""
    TRAP = 0xF
    """IF on entry as it was (R56)."""


class SegmentNotPresent(Exception):  # noqa: N818 - the SDM's name; it is an event of the machine
    """A #NP inside the emulated CPU: the gate of ``vector`` is not present (R61).

    ``error_code`` is the selector error code of SDM vol. 3, 6.13: the vector, IDT (bit 1), and EXT
    (bit 0) unless an INT n asked for the gate.
    """

    def __init__(self, vector: int, *, external: bool) -> None:
        self.vector = vector
        self.error_code = vector << 3 | 1 << 1 | int(external)
        super().__init__(f"segment not present: {self.error_code:04x}, vector {vector:#04x}")


@dataclass(frozen=True, slots=True)
class TrapHandler:
    """What delivery calls behind a trap gate. It answers with itself: the sign to give IF back and
    to call ``handler``. So a question about the kind of gate is asked behind trap gates alone."""

    handler: Handler

    def __call__(self, cpu: object) -> "TrapHandler":
        return self


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: the Linux name of the entry, and what delivery calls.

    ``handler`` is a :class:`TrapHandler` behind a trap gate, and raises SegmentNotPresent behind
    one that is not present.
    """

    vector: int
    name: str
    handler: Handler
    kind: GateKind = GateKind.INTERRUPT
    present: bool = True


class Idt:
    """256 gates. ``gates`` may be read by anybody, as the hot path does, and is written here alone.

    ``handlers`` maps entry names to handlers. A ``sysvec_*`` entry that is not in it belongs to a
    kernel built without it, so its vector is unassigned: ``spurious_interrupt`` from
    FIRST_SYSTEM_VECTOR on, ``common_interrupt`` below, which is also where 0xEA ends in a kernel
    without the multikernel patch. An ``asm_exc_*`` entry that is not in it keeps its name and runs
    ``exception``, or ``common_interrupt`` where none is given.
    """

    __slots__ = ("gates",)

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        common_interrupt: Handler,
        spurious_interrupt: Handler,
        exception: Handler | None = None,
    ) -> None:
        fallback = {COMMON_INTERRUPT: common_interrupt, SPURIOUS_INTERRUPT: spurious_interrupt}
        self.gates: list[Gate] = []
        for vector in range(v.NR_VECTORS):
            name = _DEFAULT_NAMES[vector]
            handler = handlers.get(name)
            if handler is None and vector < v.FIRST_EXTERNAL_VECTOR:
                handler = exception or common_interrupt
            elif handler is None:
                system = vector >= v.FIRST_SYSTEM_VECTOR
                name = SPURIOUS_INTERRUPT if system else COMMON_INTERRUPT
                handler = fallback[name]
            self.gates.append(Gate(vector, name, handler))

    def __getitem__(self, vector: int) -> Gate:
        return self.gates[vector]

    def install(self, vector: int, name: str, handler: Handler) -> None:
        """Write one interrupt gate, as ``sysvec_install`` does at run time. ``vector`` 0..255."""
        self._write(Gate(vector, name, handler))

    def install_trap_gate(self, vector: int, name: str, handler: Handler) -> None:
        """Write one trap gate: its handler begins with IF as it was (R56). ``vector`` 0..255."""
        self._write(Gate(vector, name, TrapHandler(handler), GateKind.TRAP))

    def remove(self, vector: int) -> None:
        """Make one gate not present: what is delivered through it is #NP (R61). ``vector`` 0..255.

        A second removal, and a later :meth:`install`, are allowed.
        """
        self._write(Gate(vector, NOT_PRESENT, partial(_fault, vector), present=False))

    def _write(self, gate: Gate) -> None:
        assert 0 <= gate.vector < v.NR_VECTORS, gate
        self.gates[gate.vector] = gate


def _fault(vector: int, cpu: object) -> None:
    """Delivery of an interrupt through a gate that is not present."""
    raise SegmentNotPresent(vector, external=True)
