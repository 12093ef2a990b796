"""Why an interrupt is not taken, as a client gets to see it: the answer of Control.Why.

Made from ``mkrpc.v1`` messages here and nowhere else.
"""

from dataclasses import dataclass

from mkrpc.client.books import LedgerParty, LedgerRow
from mkrpc.client.stalls import HoldView, holds_of
from mkrpc.codec import core_state_from_pb, vector_count_from_pb
from mkrpc.link.frames import VectorCount
from mkrpc.v1 import control_pb2 as pb
from mkrpc.x86.pending import CoreState

__all__ = ["InFlightLegs", "WhyAnswer"]


@dataclass(frozen=True, slots=True)
class InFlightLegs:
    """Legs of one source CPU that have no outcome yet: ``waiting`` in the interconnect's queue,
    ``handed`` to the instance. ``age_us``: of the oldest."""

    source: LedgerParty
    first_seq: int
    waiting: int
    handed: int
    age_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyAnswer:
    """How a vector of a CPU stands.

    ``detail``: why its instance is not attached, or what is wrong with its link. ``core``: the CPU,
    as ``told_by`` has it: ``instance``, which has just been asked, ``beat``, a thread of a process
    whose event loop is held up, or ``report``, the mirror; ``told_age_us`` ago. None if nobody has
    ever heard of it. ``unanswered``: why the instance has not answered; empty if it has.

    ``holds``: what keeps it from being taken, if it is pending. ``service``: who has still to write
    EOI, if it is in service. Ages by the reports: ``pending_us`` of the IRR bit, ``in_service_us``
    of the ISR bit, ``handled_us`` of the last time that it was taken, ``enabled_us`` of the IF.
    ``delay``: why legs in flight have no outcome. ``rows``: the ledger's, of all incarnations.
    """

    instance_id: int
    name: str
    incarnation: bytes
    cpu: int
    attached: bool
    detail: str
    core: CoreState | None
    told_by: str
    told_age_us: int
    where: str
    unanswered: str
    counts: VectorCount
    holds: tuple[HoldView, ...]
    service: HoldView | None
    pending_us: int | None
    in_service_us: int | None
    handled_us: int | None
    enabled_us: int | None
    in_flight: tuple[InFlightLegs, ...]
    delay: tuple[HoldView, ...]
    legs_ahead: int
    rows: tuple[LedgerRow, ...]

    @classmethod
    def of(cls, message: pb.WhyResponse) -> "WhyAnswer":
        """Translate; ProtocolError if the message says what cannot be."""
        return cls(
            instance_id=message.instance_id,
            name=message.name,
            incarnation=message.incarnation,
            cpu=message.cpu,
            attached=message.attached,
            detail=message.detail,
            core=core_state_from_pb(message.core) if message.HasField("core") else None,
            told_by=message.told_by,
            told_age_us=message.told_age_us,
            where=message.where,
            unanswered=message.unanswered,
            counts=vector_count_from_pb(message.counts),
            holds=holds_of(message.holds),
            service=HoldView.of(message.service) if message.HasField("service") else None,
            pending_us=_age(message, "pending_us"),
            in_service_us=_age(message, "in_service_us"),
            handled_us=_age(message, "handled_us"),
            enabled_us=_age(message, "enabled_us"),
            in_flight=tuple(
                InFlightLegs(
                    LedgerParty.of(legs.source),
                    legs.first_seq,
                    legs.waiting,
                    legs.handed,
                    legs.age_us,
                )
                for legs in message.in_flight
            ),
            delay=holds_of(message.delay),
            legs_ahead=message.legs_ahead,
            rows=tuple(LedgerRow.of(row) for row in message.rows),
        )


def _age(message: pb.WhyResponse, name: str) -> int | None:
    return int(getattr(message, name)) if message.HasField(name) else None
