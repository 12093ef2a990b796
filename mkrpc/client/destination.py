"""Where an IPI goes and of what kind it is, as a client says it.

::

    client.inject(to=apic(3))
    client.inject(to=instance("web"), count=1000)
    client.write_icr(from_apic_id=0, to=shorthand("others"))
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from mkrpc.client.numbers import check_apic_id, check_bits
from mkrpc.errors import InvalidArgumentError
from mkrpc.v1 import control_pb2 as pb
from mkrpc.x86.icr import DeliveryMode, DestinationMode, Shorthand, icr_word, reserved_bits_x2apic
from mkrpc.x86.irq_vectors import FIRST_LEGAL_VECTOR, MULTIKERNEL_VECTOR, NR_VECTORS

__all__ = [
    "DELIVERY_MODES",
    "MAX_COUNT",
    "SHORTHANDS",
    "Destination",
    "Ipi",
    "apic",
    "icr",
    "instance",
    "logical",
    "shorthand",
]

MAX_COUNT = 1_000_000
"""ICR writes that one call may ask for; a stream, :meth:`Client.bulk`, takes any number."""

SHORTHANDS = {
    "self": pb.SHORTHAND_SELF,
    "all": pb.SHORTHAND_ALL_INCLUDING_SELF,
    "others": pb.SHORTHAND_ALL_EXCLUDING_SELF,
}
"""The ICR's destination shorthands, by the words of the command line."""

DELIVERY_MODES = {
    "fixed": pb.DELIVERY_MODE_FIXED,
    "lowest": pb.DELIVERY_MODE_LOWEST_PRIORITY,
    "smi": pb.DELIVERY_MODE_SMI,
    "nmi": pb.DELIVERY_MODE_NMI,
    "init": pb.DELIVERY_MODE_INIT,
    "sipi": pb.DELIVERY_MODE_STARTUP,
}
"""The ICR's delivery modes (SDM vol. 3, 10.6.1), by the words of the command line."""

_VECTOR_MODES = ("fixed", "lowest")
_SHORTHAND_OF = {
    "self": Shorthand.SELF,
    "all": Shorthand.ALL_INCLUDING_SELF,
    "others": Shorthand.ALL_EXCLUDING_SELF,
}
_MODE_OF = {
    number: DeliveryMode[pb.DeliveryMode.Name(number).removeprefix("DELIVERY_MODE_")]
    for number in DELIVERY_MODES.values()
}


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination; made by :func:`apic`, :func:`instance`, :func:`shorthand` and their like."""

    kind: Literal["apic_id", "instance_id", "instance_name", "shorthand", "logical", "icr"]
    value: int | str

    @property
    def needs_an_apic(self) -> bool:
        """True for self and all-but-self, which mean nothing without an APIC that sends."""
        return self.kind == "shorthand" and self.value in ("self", "others")

    def to_pb(self) -> pb.Destination:
        """The message that says so on the wire."""
        message = pb.Destination()
        value = SHORTHANDS[str(self.value)] if self.kind == "shorthand" else self.value
        setattr(message, self.kind, value)
        return message


def apic(apic_id: int) -> Destination:
    """One CPU by its APIC id, 32 bits; 0xFFFFFFFF is the broadcast. InvalidArgumentError beyond."""
    check_apic_id(apic_id)
    return Destination("apic_id", apic_id)


def instance(which: int | str) -> Destination:
    """The first CPU of an instance, by id (0 to 511) or name."""
    if isinstance(which, str):
        return Destination("instance_name", which)
    check_bits("instance id", which, 9)
    return Destination("instance_id", which)


def shorthand(word: str) -> Destination:
    """``self``, ``all`` (including self) or ``others`` (all but self); rules R21 and R22."""
    if word not in SHORTHANDS:
        raise InvalidArgumentError(
            f"{word!r} is not a destination shorthand", advice=f"one of {', '.join(SHORTHANDS)}"
        )
    return Destination("shorthand", word)


def logical(mask: int) -> Destination:
    """A logical destination, 32 bits, matched against the LDR (rules R25 to R28)."""
    check_bits("logical destination", mask, 32)
    return Destination("logical", mask)


def icr(word: int) -> Destination:
    """A whole ICR word in x2APIC layout, 64 bits: vector, mode and destination are all in it."""
    check_bits("ICR word", word, 64)
    return Destination("icr", word)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipi:
    """One command to an ICR, ``count`` times; checked when it is made.

    ``vector``: 16 to 255 for fixed and lowest priority, MULTIKERNEL_VECTOR (0xEA) if not given;
    0 to 255 and required for a SIPI; NMI, INIT and SMI have none. ``delivery_mode``: a word of
    :data:`DELIVERY_MODES`. A raw ICR word takes neither. ``count``: 1 to 1 000 000. Whatever else
    an ICR can say, legal or not, a raw word can. Raises InvalidArgumentError.
    """

    to: Destination
    vector: int | None = None
    delivery_mode: str | None = None
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_COUNT:
            raise InvalidArgumentError(
                f"count {self.count} is not between 1 and {MAX_COUNT}",
                advice="repeat the call for more, or send words over a stream",
            )
        if self.to.kind == "icr":
            if self.vector is not None or self.delivery_mode is not None:
                raise InvalidArgumentError(
                    "a raw ICR word has its own vector and delivery mode",
                    advice="leave out --vector and --mode, or give a destination that is no word",
                )
            return
        mode = self.delivery_mode or "fixed"
        if mode not in DELIVERY_MODES:
            raise InvalidArgumentError(
                f"{mode!r} is not a delivery mode", advice=f"one of {', '.join(DELIVERY_MODES)}"
            )
        self._check_vector(mode)

    def _check_vector(self, mode: str) -> None:
        if mode in _VECTOR_MODES:
            vector = MULTIKERNEL_VECTOR if self.vector is None else self.vector
            if not FIRST_LEGAL_VECTOR <= vector < NR_VECTORS:
                raise InvalidArgumentError(
                    f"vector {vector:#x} is not between 0x10 and 0xff",
                    advice="vectors below 16 are illegal (SDM 10.5.2); a raw ICR word can try one",
                )
        elif mode == "sipi":
            if self.vector is None or not 0 <= self.vector < NR_VECTORS:
                raise InvalidArgumentError(
                    "a start-up IPI needs a vector between 0 and 0xff",
                    advice="the CPU starts at vector << 12 (SDM 10.4.4)",
                )
        elif self.vector is not None:
            raise InvalidArgumentError(
                f"delivery mode {mode} has no vector", advice="leave out the vector"
            )

    def fields(self) -> dict[str, Any]:
        """Keyword arguments that ``InjectRequest`` and ``WriteIcrRequest`` have in common."""
        common: dict[str, Any] = {"destination": self.to.to_pb(), "count": self.count}
        if self.to.kind == "icr":
            return common
        mode = self.delivery_mode or "fixed"
        vector = self.vector
        if vector is None:
            vector = MULTIKERNEL_VECTOR if mode in _VECTOR_MODES else 0
        return common | {"vector": vector, "delivery_mode": DELIVERY_MODES[mode]}

    def word(self, first_cpu: Callable[[int | str], int]) -> int:
        """The ICR word in x2APIC layout that the interconnect makes of the same request.

        ``first_cpu``: the APIC id of the first CPU of an instance, by its id or name; raises
        NotFoundError. InvalidArgumentError for a raw word with reserved bits (R18).
        """
        to = self.to.value
        if self.to.kind == "icr":
            if reserved := reserved_bits_x2apic(int(to)):
                raise InvalidArgumentError(
                    f"malformed ICR {to:#018x}: reserved bits {reserved:#x} are set",
                    advice="bits 31:20, 17:16 and 13 must be 0: a real WRMSR would take #GP",
                )
            return int(to)
        shorthand, field = Shorthand.NONE, DestinationMode.PHYSICAL
        match self.to.kind:
            case "shorthand":
                shorthand, to = _SHORTHAND_OF[str(to)], 0
            case "instance_id" | "instance_name":
                to = first_cpu(to)
            case "logical":
                field = DestinationMode.LOGICAL
        wanted = self.fields()
        return icr_word(
            vector=wanted["vector"],
            destination=int(to),
            delivery_mode=_MODE_OF[wanted["delivery_mode"]],
            destination_mode=field,
            shorthand=shorthand,
        )
