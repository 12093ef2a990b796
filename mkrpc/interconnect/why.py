"""The answers to "why": what the bus knows, what the instance says, as messages of Control.

The instance is asked too, and waited for :data:`ASK_TIMEOUT_S` at most: one that hangs, is stopped
or cut off is spoken of from here alone, and the answer says so.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from mkrpc.codec import core_state_to_pb, vector_count_to_pb
from mkrpc.errors import InvalidArgumentError, MkrpcError
from mkrpc.interconnect.answers import party_to_pb, row_to_pb
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.stall_report import Stall
from mkrpc.interconnect.standing import InFlight, Standing, Told, standing
from mkrpc.link.frames import CommandKind, PendingView, Reply
from mkrpc.v1 import control_pb2 as pb
from mkrpc.x86.irq_vectors import NR_VECTORS
from mkrpc.x86.pending import Hold, holds, why_in_service

__all__ = ["ASK_TIMEOUT_S", "explain", "stall_to_pb"]

ASK_TIMEOUT_S = 1.0
"""Seconds for which an instance that seems well is waited for."""


async def explain(
    bus: ApicBus, drain: Callable[[], None], request: pb.WhyRequest
) -> pb.WhyResponse:
    """Answer a WhyRequest; the bus has just been told the time.

    :raises InvalidArgumentError: no such vector.
    :raises NotFoundError: no CPU has or had the APIC id.
    """
    if request.vector >= NR_VECTORS:
        raise InvalidArgumentError(
            f"vector {request.vector} is out of range", advice="vectors are 0 to 255"
        )
    known = standing(bus, request.apic_id, request.vector)
    view, why_not = None, known.detail
    if not known.detail:
        view, why_not = await _ask(bus, drain, known)
        known = standing(bus, request.apic_id, request.vector)
    return _response(known, view, why_not)


async def _ask(
    bus: ApicBus, drain: Callable[[], None], known: Standing
) -> tuple[PendingView | None, str]:
    """What the instance says of the CPU, or None and why it does not."""
    answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    try:
        asked = bus.command(
            known.instance_id,
            kind=CommandKind.READ_PENDING,
            cpu=known.cpu,
            word=known.vector,
            on_reply=lambda reply: None if answer.done() else answer.set_result(reply),
        )
    except MkrpcError as error:
        return None, str(error)
    drain()
    try:
        reply = await asyncio.wait_for(answer, ASK_TIMEOUT_S)
    except TimeoutError:
        return None, f"it has not answered within {ASK_TIMEOUT_S:g} s"
    finally:
        bus.abandon(asked)
    return reply.pending, reply.error


def _response(known: Standing, view: PendingView | None, why_not: str) -> pb.WhyResponse:
    told, counts = known.told, known.counts
    if view is not None:
        told, counts = Told(core=view.core, by="instance", age_us=0), view.counts
    response = pb.WhyResponse(
        instance_id=known.instance_id,
        name=known.name,
        incarnation=known.incarnation,
        cpu=known.cpu,
        attached=known.attached,
        detail=known.detail,
        unanswered=why_not,
        counts=vector_count_to_pb(counts),
        pending_us=known.ages.pending,
        in_service_us=known.ages.in_service,
        handled_us=known.ages.handled,
        enabled_us=known.ages.enabled,
        in_flight=[_in_flight(legs) for legs in known.in_flight],
        delay=_holds(known.delay),
        legs_ahead=known.legs_ahead,
        rows=[row_to_pb(row, row.written - row.ended) for row in known.rows],
    )
    if told is not None:
        response.core.CopyFrom(core_state_to_pb(told.core))
        response.told_by, response.told_age_us = told.by, told.age_us
        response.where = told.where
        if told.core.is_pending(known.vector):
            response.holds.extend(_holds(holds(told.core, known.vector)))
        if told.core.is_in_service(known.vector):
            response.service.CopyFrom(_hold(why_in_service(told.core, known.vector)))
    return response


def _in_flight(legs: InFlight) -> pb.InFlightLegs:
    source = party_to_pb(legs.source)
    if legs.apic_id is not None:
        source.apic_id = legs.apic_id
    return pb.InFlightLegs(
        source=source,
        first_seq=legs.first_seq,
        waiting=legs.waiting,
        handed=legs.handed,
        age_us=legs.age_us,
    )


def _hold(hold: Hold) -> pb.Hold:
    vector: Any = None if hold.vector < 0 else hold.vector
    return pb.Hold(kind=hold.kind.value, vector=vector, text=hold.text)


def _holds(found: Iterable[Hold]) -> list[pb.Hold]:
    return [_hold(hold) for hold in found]


def stall_to_pb(stall: Stall) -> pb.Stall:
    """A stall as its message."""
    message = pb.Stall(
        kind=stall.kind.value,
        instance_id=stall.instance_id,
        name=stall.name,
        incarnation=stall.incarnation,
        apic_id=stall.apic_id,
        vector=stall.vector,
        sources=stall.sources,
        count=stall.count,
        age_us=stall.age_us,
        holds=_holds(stall.holds),
        reports=stall.reports,
    )
    if stall.source is not None:
        message.source.CopyFrom(party_to_pb(stall.source))
        if stall.source_apic_id is not None:
            message.source.apic_id = stall.source_apic_id
    return message
