"""When a deviation in how a command arrives and is served explains a clue: one predicate each.

As in :mod:`mkrpc.conformance.predicates_access`, they go by the architecture and nothing else.
"""

from mkrpc.conformance.recording import Op
from mkrpc.conformance.scene import LIST_FIELDS, Clue, Scene, Sent
from mkrpc.x86.apic_state import CLASS_MASK
from mkrpc.x86.icr import (
    BROADCAST,
    XAPIC_BROADCAST,
    DeliveryMode,
    DestinationMode,
    Icr,
    Shorthand,
    TriggerMode,
)
from mkrpc.x86.irq_vectors import FIRST_LEGAL_VECTOR
from mkrpc.x86.registers import Register

__all__ = [
    "arbitration",
    "cluster_15",
    "extra_spurious",
    "illegal_vector_delivered",
    "init_leaves_x2apic",
    "init_level",
    "init_of_the_boot_processor",
    "invalid_shorthand",
    "level_deassert",
    "logical_broadcast",
    "lowest_dropped",
    "nmi_in_wait_for_sipi",
    "nmi_while_disabled",
    "pending_while_disabled",
    "reserved_mode",
    "rewritten_id",
    "same_class",
    "sender_competes",
    "smi",
    "software_disabled",
    "spurious_in_service",
    "undefined_model",
    "x2apic_broadcast",
]

_ARRIVAL_FIELDS = (*LIST_FIELDS, "responsive", "boots")
_CLUSTER, _FLAT = 0x0, 0xF


# INIT, SIPI, NMI.


def _had(scene: Scene, cpu: int | None, mode: DeliveryMode) -> list[Sent]:
    return [
        sent
        for sent in scene.history
        if sent.icr.delivery_mode is mode and cpu in scene.script.targets(sent)
    ]


def init_leaves_x2apic(scene: Scene, clue: Clue) -> bool:
    """After an INIT the CPU reads another id than its own through the MSRs."""
    if clue.cpu is None or not scene.x2apic or not _had(scene, clue.cpu, DeliveryMode.INIT):
        return False
    shown = scene.difference(clue.cpu, "id")
    return shown is not None and shown.actual == scene.script.scenario.ids[clue.cpu]


def nmi_in_wait_for_sipi(scene: Scene, clue: Clue) -> bool:
    """An NMI came to the CPU while it waited for SIPI."""
    if clue.cpu is None:
        return False
    nmis = _had(scene, clue.cpu, DeliveryMode.NMI)
    return any(scene.script.waits_for_sipi(clue.cpu, nmi.index) for nmi in nmis)


def init_of_the_boot_processor(scene: Scene, clue: Clue) -> bool:
    """CPU 0 took an INIT."""
    return clue.cpu == 0 and bool(_had(scene, clue.cpu, DeliveryMode.INIT))


def init_level(scene: Scene, clue: Clue) -> bool:
    """An INIT with level 0: whether it is one."""
    sent = scene.sent
    return (
        sent is not None
        and sent.icr.delivery_mode is DeliveryMode.INIT
        and not sent.icr.level
        and scene.addressed(clue.cpu)
    )


def nmi_while_disabled(scene: Scene, clue: Clue) -> bool:
    """An NMI to a software-disabled APIC."""
    return (
        clue.item == "nmi"
        and scene.addressed(clue.cpu)
        and not scene.script.enabled(clue.cpu or 0, scene.index)
    )


def smi(scene: Scene, clue: Clue) -> bool:
    """An SMI, and what it does to a halted CPU."""
    sent = scene.sent
    is_smi = sent is not None and sent.icr.delivery_mode is DeliveryMode.SMI
    return is_smi and clue.field == "responsive" and scene.addressed(clue.cpu)


# Who is addressed.


def _arrival(scene: Scene, clue: Clue) -> Icr | None:
    """The step's command, if the clue is that it arrived at the CPU on one side only."""
    sent = scene.sent
    if sent is None or clue.field not in _ARRIVAL_FIELDS:
        return None
    if clue.field in LIST_FIELDS and (clue.item is None or clue.item != sent.item):
        return None
    return sent.icr


def _apart(scene: Scene, clue: Clue) -> Icr | None:
    """The same, if the engine addressed whom the rules leave out, or the other way round."""
    icr = _arrival(scene, clue)
    if icr is None or (clue.field in LIST_FIELDS and clue.extra is scene.addressed(clue.cpu)):
        return None
    return icr


def x2apic_broadcast(scene: Scene, clue: Clue) -> bool:
    """0xff or 0xffffffff as a destination in x2APIC mode."""
    icr = _apart(scene, clue)
    return (
        icr is not None
        and scene.x2apic
        and icr.shorthand is Shorthand.NONE
        and icr.destination in (XAPIC_BROADCAST, BROADCAST)
    )


def _xapic_logical(scene: Scene, clue: Clue) -> tuple[int, int, int] | None:
    """Destination, the CPU's logical id and its destination model, for a disputed arrival."""
    icr = _apart(scene, clue)
    if icr is None or scene.x2apic or icr.shorthand is not Shorthand.NONE:
        return None
    if icr.destination_mode is not DestinationMode.LOGICAL:
        return None
    state = scene.before(clue.cpu)
    ldr, dfr = state["ldr"], state["dfr"]
    assert isinstance(ldr, int), ldr
    assert isinstance(dfr, int), dfr
    return icr.destination, ldr >> 24, dfr >> 28


def cluster_15(scene: Scene, clue: Clue) -> bool:
    """Cluster 15 in the cluster model."""
    found = _xapic_logical(scene, clue)
    return found is not None and found[0] >> 4 == 0xF and found[2] == _CLUSTER


def logical_broadcast(scene: Scene, clue: Clue) -> bool:
    """0xff in the flat model, to an APIC whose LDR is 0."""
    return _xapic_logical(scene, clue) == (XAPIC_BROADCAST, 0, _FLAT)


def undefined_model(scene: Scene, clue: Clue) -> bool:
    """A DFR that is neither flat nor cluster."""
    found = _xapic_logical(scene, clue)
    return found is not None and found[2] not in (_CLUSTER, _FLAT)


def rewritten_id(scene: Scene, clue: Clue) -> bool:
    """Software has given an xAPIC another id than it had."""
    ids = scene.script.scenario.ids
    return (
        _apart(scene, clue) is not None
        and not scene.x2apic
        and any(scene.before(cpu)["id"] != own << 24 for cpu, own in enumerate(ids))
    )


# How it is delivered.


def illegal_vector_delivered(scene: Scene, clue: Clue) -> bool:
    """A vector below 16 that somebody sent shows in the engine's IRR, ISR or handlers."""
    return (
        clue.field in LIST_FIELDS
        and clue.extra
        and isinstance(clue.item, int)
        and clue.item < FIRST_LEGAL_VECTOR
        and any(sent.item == clue.item for sent in scene.history)
    )


def arbitration(scene: Scene, clue: Clue) -> bool:
    """Lowest priority: the engine chose another of the candidates."""
    icr = _arrival(scene, clue)
    return (
        icr is not None
        and icr.delivery_mode is DeliveryMode.LOWEST_PRIORITY
        and scene.addressed(clue.cpu)
        and any(
            other.extra and other.item == icr.vector and scene.addressed(other.cpu)
            for other in scene.clues
            if other.field in LIST_FIELDS
        )
    )


def sender_competes(scene: Scene, clue: Clue) -> bool:
    """Lowest priority to all excluding self: the engine lets the sender itself win."""
    icr, sent = _arrival(scene, clue), scene.sent
    return (
        icr is not None
        and sent is not None
        and icr.delivery_mode is DeliveryMode.LOWEST_PRIORITY
        and icr.shorthand is Shorthand.ALL_EXCLUDING_SELF
        and any(
            other.extra and other.item == icr.vector and other.cpu == sent.source
            for other in scene.clues
        )
    )


def invalid_shorthand(scene: Scene, clue: Clue) -> bool:
    """Self or all-including-self with another mode than fixed."""
    sent = scene.sent
    return (
        sent is not None
        and sent.icr.shorthand in (Shorthand.SELF, Shorthand.ALL_INCLUDING_SELF)
        and sent.icr.delivery_mode is not DeliveryMode.FIXED
        and scene.addressed(clue.cpu)
        and clue.field in _ARRIVAL_FIELDS
    )


def lowest_dropped(scene: Scene, clue: Clue) -> bool:
    """Lowest priority: the engine delivered to nobody."""
    icr = _arrival(scene, clue)
    lowest = icr is not None and icr.delivery_mode is DeliveryMode.LOWEST_PRIORITY
    return lowest and scene.addressed(clue.cpu) and not clue.extra


def level_deassert(scene: Scene, clue: Clue) -> bool:
    """Fixed, trigger = level, level = 0: the engine dropped it."""
    icr = _apart(scene, clue)
    return (
        icr is not None
        and clue.item is not None
        and not clue.extra
        and icr.trigger_mode is TriggerMode.LEVEL
        and not icr.level
    )


def reserved_mode(scene: Scene, clue: Clue) -> bool:
    """Delivery modes 3 and 7."""
    sent = scene.sent
    return (
        sent is not None
        and sent.icr.delivery_mode in (DeliveryMode.RESERVED_3, DeliveryMode.EXTINT)
        and scene.addressed(clue.cpu)
    )


def software_disabled(scene: Scene, clue: Clue) -> bool:
    """The engine took a fixed interrupt that came while the APIC was software-disabled."""
    return (
        clue.cpu is not None
        and clue.field in LIST_FIELDS
        and clue.extra
        and _came_while_disabled(scene, clue.cpu, clue.item)
    )


def _came_while_disabled(scene: Scene, cpu: int, item: int | str | None) -> bool:
    """The last one that came, that is: it is no wonder that the model has nothing to show."""
    received = [*scene.received(cpu, item)]
    return bool(received) and not scene.script.enabled(cpu, received[-1].index)


def pending_while_disabled(scene: Scene, clue: Clue) -> bool:
    """A vector that is pending in a software-disabled APIC is taken by the engine's CPU."""
    if clue.cpu is None or clue.field not in LIST_FIELDS or not isinstance(clue.item, int):
        return False
    pending = scene.after(clue.cpu)["irr"]
    assert isinstance(pending, tuple), pending
    return not scene.script.enabled(clue.cpu, scene.index + 1) and clue.item in pending


# Priority and service.


def spurious_in_service(scene: Scene, clue: Clue) -> bool:
    """A vector equal to the spurious vector stays in service, whatever is written to EOI."""
    if clue.cpu is None or clue.field not in LIST_FIELDS:
        return False
    spurious = scene.svr(clue.cpu) & 0xFF
    if clue.field == "isr" and clue.item == spurious:
        return clue.extra
    in_service, step = scene.before(clue.cpu)["isr"], scene.step
    assert isinstance(in_service, tuple), in_service
    ends = step is not None and step.cpu == clue.cpu and _ends_interrupt(step.op, step.register)
    return ends and in_service[-1:] == (spurious,)


def _ends_interrupt(op: Op, register: int) -> bool:
    return op is Op.EOI or (op is Op.WRITE and register == Register.EOI)


def extra_spurious(scene: Scene, clue: Clue) -> bool:
    """The engine's CPU ran the handler of the spurious vector without an ISR bit."""
    shown = scene.difference(clue.cpu, "not_in_isr")
    return (
        clue.field == "delivered"
        and clue.extra
        and clue.item == scene.svr(clue.cpu) & 0xFF
        and shown is not None
        and isinstance(shown.expected, tuple)
        and clue.item in shown.expected
    )


def same_class(scene: Scene, clue: Clue) -> bool:
    """The engine nests a vector in a handler of the same class."""
    if clue.cpu is None or clue.field not in LIST_FIELDS or not isinstance(clue.item, int):
        return False
    in_service, pending = scene.after(clue.cpu)["isr"], scene.after(clue.cpu)["irr"]
    assert isinstance(in_service, tuple), in_service
    assert isinstance(pending, tuple), pending
    return (
        clue.item in pending
        and bool(in_service)
        and int(in_service[-1]) & CLASS_MASK == clue.item & CLASS_MASK
        and clue.item > int(in_service[-1])
    )
