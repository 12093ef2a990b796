"""When a deviation in the access to registers explains a clue: one predicate each.

A predicate sees the :class:`mkrpc.conformance.scene.Scene` of a step and one of its clues. It never
sees whose trace it is, nor the scenario's name. Rule numbers are those of docs/rules.md.
"""

from mkrpc.conformance.recording import Op
from mkrpc.conformance.scene import LIST_FIELDS, Clue, Scene
from mkrpc.x86.apic_state import (
    CLASS_MASK,
    ESR_ILLEGAL_REGISTER_ADDRESS,
    ESR_RECEIVE_ILLEGAL_VECTOR,
    ESR_REDIRECTABLE_IPI,
    ESR_SEND_ILLEGAL_VECTOR,
    LVT_MASKED,
)
from mkrpc.x86.destination import x2apic_ldr
from mkrpc.x86.icr import ICR_DELIVERY_STATUS, ICR_RESERVED, DeliveryMode, Shorthand
from mkrpc.x86.irq_vectors import FIRST_LEGAL_VECTOR
from mkrpc.x86.registers import LVT_MASKS, X2APIC_WRITABLE, Register

__all__ = [
    "absent_destination",
    "esr_unlatched",
    "icr_bit_12",
    "icr_bit_12_kept",
    "icr_high_half",
    "illegal_register",
    "illegal_vector_error",
    "local_source",
    "logical_id",
    "lvt_masks",
    "ppr_subclass",
    "redirectable_ipi",
    "register_map",
    "reserved_bits",
    "self_ipi_in_icr",
    "version",
    "xapic_id",
]

_SEND_ACCEPT_ERROR = 1 << 2
_LAST_VECTOR = 0xFF
_UNREPORTED = (Register.APR, Register.RRD)


# What an access does.


def reserved_bits(scene: Scene, _clue: Clue) -> bool:
    """The model took #GP for a reserved bit; all else in the step follows from the write."""
    refused = scene.difference(None, "gp")
    step = scene.step
    if refused is None or step is None or not scene.x2apic or refused.expected is True:
        return False
    if step.op is Op.ICR:
        return bool(step.lo & ICR_RESERVED)
    if step.op is Op.SELF_IPI:
        return step.vector > _LAST_VECTOR
    if step.op is not Op.WRITE or step.register not in {*X2APIC_WRITABLE, Register.ICR}:
        return False
    if step.register == Register.ICR:
        return bool(step.value & ICR_RESERVED)
    return bool(step.value & ~X2APIC_WRITABLE[Register(step.register)])


def icr_bit_12(scene: Scene, _clue: Clue) -> bool:
    """The engine took #GP for bit 12 of an x2APIC ICR."""
    refused = scene.difference(None, "gp")
    step = scene.step
    if refused is None or step is None or not scene.x2apic or refused.expected is not True:
        return False
    low = step.lo if step.op is Op.ICR else step.value
    writes_icr = step.op is Op.ICR or (step.op is Op.WRITE and step.register == Register.ICR)
    return writes_icr and bool(low & ICR_DELIVERY_STATUS)


def register_map(scene: Scene, _clue: Clue) -> bool:
    """Only one of the two took #GP for the access as such."""
    step = scene.step
    return (
        scene.difference(None, "gp") is not None
        and step is not None
        and step.op in (Op.READ, Op.WRITE, Op.SELF_IPI)
        and (scene.x2apic or step.op is Op.SELF_IPI)
    )


def lvt_masks(scene: Scene, clue: Clue) -> bool:
    """A read shows an LVT entry unmasked that software-disabling masks."""
    step = scene.step
    if step is None or clue.field != "result" or step.register not in LVT_MASKS:
        return False
    disabled = any(not scene.script.enabled(step.cpu, i) for i in range(scene.index + 1))
    return disabled and _bits_apart(clue) == LVT_MASKED


def version(scene: Scene, clue: Clue) -> bool:
    """The version register was read."""
    return clue.field == "result" and _register(scene) == Register.VERSION


def icr_high_half(scene: Scene, clue: Clue) -> bool:
    """The high half of an x2APIC ICR reads 0."""
    return scene.x2apic and clue.field == "icr_hi" and clue.difference.expected == 0


def icr_bit_12_kept(scene: Scene, clue: Clue) -> bool:
    """The ICR reads back with bit 12 as it was written."""
    read = clue.field == "result" and _register(scene) == Register.ICR
    return (read or clue.field == "icr_lo") and _bits_apart(clue) == ICR_DELIVERY_STATUS


def self_ipi_in_icr(scene: Scene, clue: Clue) -> bool:
    """The ICR holds the CPU's last SELF_IPI."""
    sends = [sent for sent in scene.history if sent.source == clue.cpu]
    if not sends or not scene.x2apic or clue.field not in ("icr_lo", "icr_hi"):
        return False
    step = scene.script.scenario.steps[sends[-1].index]
    by_msr = step.op is Op.SELF_IPI or step.register == Register.SELF_IPI
    low = Shorthand.SELF << 18 | sends[-1].icr.vector
    return by_msr and clue.difference.expected == (low if clue.field == "icr_lo" else 0)


def xapic_id(scene: Scene, clue: Clue) -> bool:
    """Software wrote the id register of an xAPIC."""
    return (
        clue.field == "id"
        and not scene.x2apic
        and any(
            step.op is Op.WRITE and step.register == Register.ID and step.cpu == clue.cpu
            for step in scene.script.scenario.steps[: scene.index + 1]
        )
    )


def logical_id(scene: Scene, clue: Clue) -> bool:
    """The model's LDR follows from the id, the engine's does not."""
    if clue.cpu is None or clue.field != "ldr" or not scene.x2apic:
        return False
    return clue.difference.actual == x2apic_ldr(scene.script.scenario.ids[clue.cpu])


def ppr_subclass(_scene: Scene, clue: Clue) -> bool:
    """PPR has the same class on both sides."""
    return clue.field == "ppr" and not _bits_apart(clue) & CLASS_MASK


def _bits_apart(clue: Clue) -> int:
    """The bits in which two numbers differ; 0 where there are no two numbers."""
    expected, actual = clue.difference.expected, clue.difference.actual
    if isinstance(expected, int) and isinstance(actual, int):
        return expected ^ actual
    return 0


def _register(scene: Scene) -> int | None:
    """The register that the step reads or writes."""
    step = scene.step
    return step.register if step is not None and step.op in (Op.READ, Op.WRITE) else None


def local_source(scene: Scene, clue: Clue) -> bool:
    """An unmasked LVT entry has this vector, or the timer's count was read."""
    steps = scene.script.scenario.steps[: scene.index + 1]
    if clue.field == "result":
        return scene.step is not None and scene.step.register == Register.TMCCT
    return (
        clue.field in LIST_FIELDS
        and clue.extra
        and any(
            step.op is Op.WRITE
            and step.cpu == clue.cpu
            and step.register in LVT_MASKS
            and not step.value & LVT_MASKED
            and step.value & 0xFF == clue.item
            for step in steps
        )
    )


# What the error status register says.


def illegal_vector_error(scene: Scene, clue: Clue) -> bool:
    """ESR bit 5 at whoever sent a vector below 16, bit 6 at whoever it was for."""
    illegal = [
        sent
        for sent in scene.history
        if isinstance(sent.item, int) and sent.item < FIRST_LEGAL_VECTOR
    ]
    if _esr_bit(clue) == ESR_SEND_ILLEGAL_VECTOR:
        return any(sent.source == _esr_cpu(scene, clue) for sent in illegal)
    if _esr_bit(clue) == ESR_RECEIVE_ILLEGAL_VECTOR:
        return any(_esr_cpu(scene, clue) in scene.script.targets(sent) for sent in illegal)
    return False


def absent_destination(scene: Scene, clue: Clue) -> bool:
    """ESR bit 2 after a command that addressed nobody."""
    return _esr_bit(clue) == _SEND_ACCEPT_ERROR and any(
        sent.source == _esr_cpu(scene, clue) and not scene.script.targets(sent)
        for sent in scene.history
    )


def redirectable_ipi(scene: Scene, clue: Clue) -> bool:
    """ESR bit 4 after a lowest-priority IPI."""
    return _esr_bit(clue) == ESR_REDIRECTABLE_IPI and any(
        sent.source == _esr_cpu(scene, clue)
        and sent.icr.delivery_mode is DeliveryMode.LOWEST_PRIORITY
        for sent in scene.history
    )


def illegal_register(scene: Scene, clue: Clue) -> bool:
    """ESR bit 7 after an access to an xAPIC register that is reserved or unsupported."""
    known = {int(register) for register in Register} - {Register.SELF_IPI, *_UNREPORTED}
    return (
        _esr_bit(clue) == ESR_ILLEGAL_REGISTER_ADDRESS
        and not scene.x2apic
        and any(
            step.op in (Op.READ, Op.WRITE)
            and step.cpu == _esr_cpu(scene, clue)
            and step.register not in known
            for step in scene.script.scenario.steps[: scene.index + 1]
        )
    )


def esr_unlatched(scene: Scene, clue: Clue) -> bool:
    """The visible ESR changed with a command, and without a write of it."""
    return clue.field == "esr" and clue.extra and scene.sent is not None


def _esr_bit(clue: Clue) -> int:
    return clue.item if clue.field in ("esr", "result") and isinstance(clue.item, int) else 0


def _esr_cpu(scene: Scene, clue: Clue) -> int | None:
    """Whose ESR: of the CPU, or of that which reads it in this step."""
    return clue.cpu if clue.cpu is not None or scene.step is None else scene.step.cpu
