"""What clients ask for, checked and turned into ICR words.

A message that parses may be empty or nonsense; nothing reaches the bus that has not been here.
"""

from collections.abc import Callable

from mkrpc.errors import InvalidArgumentError, NotFoundError
from mkrpc.v1 import control_pb2 as pb
from mkrpc.x86.icr import (
    DeliveryMode,
    DestinationMode,
    Shorthand,
    icr_word,
    reserved_bits_x2apic,
)
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR, NR_VECTORS

__all__ = ["cpu_action", "icr_from_request"]

_SHORTHANDS = {
    pb.SHORTHAND_SELF: Shorthand.SELF,
    pb.SHORTHAND_ALL_INCLUDING_SELF: Shorthand.ALL_INCLUDING_SELF,
    pb.SHORTHAND_ALL_EXCLUDING_SELF: Shorthand.ALL_EXCLUDING_SELF,
}
_MODES = {
    pb.DELIVERY_MODE_UNSPECIFIED: DeliveryMode.FIXED,
    pb.DELIVERY_MODE_FIXED: DeliveryMode.FIXED,
    pb.DELIVERY_MODE_LOWEST_PRIORITY: DeliveryMode.LOWEST_PRIORITY,
    pb.DELIVERY_MODE_SMI: DeliveryMode.SMI,
    pb.DELIVERY_MODE_NMI: DeliveryMode.NMI,
    pb.DELIVERY_MODE_INIT: DeliveryMode.INIT,
    pb.DELIVERY_MODE_STARTUP: DeliveryMode.STARTUP,
}
_CARRY_A_VECTOR = (DeliveryMode.FIXED, DeliveryMode.LOWEST_PRIORITY)


def icr_from_request(
    request: pb.InjectRequest | pb.WriteIcrRequest,
    first_cpu: Callable[[int | str], int],
) -> int:
    """The ICR word in x2APIC layout that a request describes.

    ``first_cpu``: the APIC id of the first CPU of an instance, given by id or name; it raises
    :class:`NotFoundError`. Raises :class:`InvalidArgumentError` for a destination that is missing
    or not an id, a vector out of range, and an ICR word with reserved bits.
    """
    destination = request.destination
    if destination.WhichOneof("to") == "icr":
        if request.vector or request.delivery_mode:
            raise InvalidArgumentError(
                "a whole ICR word was given, and a vector or mode beside it",
                advice="the word holds both: leave the others away",
            )
        return _raw(destination.icr)
    mode = _MODES.get(request.delivery_mode)
    if mode is None:
        raise InvalidArgumentError(
            f"delivery mode {request.delivery_mode} does not exist",
            advice="use fixed, lowest, smi, nmi, init or sipi",
        )
    vector = request.vector
    if vector >= NR_VECTORS:
        raise InvalidArgumentError(
            f"vector {vector} is out of range", advice="vectors are 0 to 255; 16 to 255 for fixed"
        )
    if vector == 0 and mode in _CARRY_A_VECTOR:
        vector = MULTIKERNEL_VECTOR
    field, target, shorthand = _where(destination, first_cpu)
    return icr_word(
        vector=vector,
        destination=target,
        delivery_mode=mode,
        destination_mode=field,
        shorthand=shorthand,
    )


def _raw(word: int) -> int:
    reserved = reserved_bits_x2apic(word)
    if reserved:
        raise InvalidArgumentError(
            f"malformed ICR {word:#018x}: reserved bits {reserved:#x} are set",
            advice="bits 31:20, 17:16 and 13 must be 0: a real WRMSR would take #GP",
        )
    return word


def _where(
    destination: pb.Destination, first_cpu: Callable[[int | str], int]
) -> tuple[DestinationMode, int, Shorthand]:
    match destination.WhichOneof("to"):
        case "apic_id":
            return DestinationMode.PHYSICAL, destination.apic_id, Shorthand.NONE
        case "instance_id":
            return DestinationMode.PHYSICAL, first_cpu(destination.instance_id), Shorthand.NONE
        case "instance_name":
            return DestinationMode.PHYSICAL, first_cpu(destination.instance_name), Shorthand.NONE
        case "logical":
            return DestinationMode.LOGICAL, destination.logical, Shorthand.NONE
        case "shorthand":
            shorthand = _SHORTHANDS.get(destination.shorthand)
            if shorthand is not None:
                return DestinationMode.PHYSICAL, 0, shorthand
    raise InvalidArgumentError(
        "the request names no destination",
        advice="set one of apic_id, instance_id, instance_name, shorthand, logical, icr",
    )


def cpu_action(request: pb.SetCpuRequest) -> str:
    """The tokens of a ``SET_CPU`` command. :class:`InvalidArgumentError` if nothing is asked."""
    tokens = []
    if request.HasField("online"):
        if any(request.HasField(other) for other in ("tpr", "interrupts_enabled", "halt")):
            raise InvalidArgumentError(
                "online goes with nothing else in one request",
                advice="ask for it first, then for IF, halt or the TPR",
            )
        return f"online={int(request.online)}"
    if request.HasField("tpr"):
        if request.tpr > 0xFF:
            raise InvalidArgumentError(
                f"task priority {request.tpr} is out of range", advice="the TPR holds 0 to 255"
            )
        tokens.append(f"tpr={request.tpr}")
    if request.HasField("interrupts_enabled"):
        tokens.append(f"if={int(request.interrupts_enabled)}")
    if request.HasField("halt"):
        tokens.append(f"hlt={int(request.halt)}")
    if not tokens:
        raise InvalidArgumentError("nothing to set", advice="give IF, halt, the TPR or online")
    return " ".join(tokens)


def known_instance(name: int | str, known: dict[str, int]) -> NotFoundError:
    """The error for an instance that is not there, naming those that are."""
    names = ", ".join(f"{i} ({n})" for n, i in sorted(known.items(), key=lambda pair: pair[1]))
    return NotFoundError(
        f"no instance {name!r} is attached" if isinstance(name, str) else f"no instance {name}",
        advice=f"attached: {names}" if names else "no instance is attached",
    )
