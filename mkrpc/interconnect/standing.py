"""How one vector of one CPU stands, as far as the interconnect knows by itself.

Nothing here asks the instance: it is what can be said of one that hangs, is stopped or has gone.
What holds an interrupt inside its CPU is judged by :mod:`mkrpc.x86.pending`, from the last that was
heard; what holds a leg on its way is the link, or the event loop at its other end.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mkrpc.interconnect.ledger import Party, Row
from mkrpc.interconnect.session import Session
from mkrpc.link.frames import VectorCount
from mkrpc.link.lease import BEATS_PER_LEASE
from mkrpc.x86.icr import DeliveryMode, decode
from mkrpc.x86.irq_vectors import NMI_VECTOR
from mkrpc.x86.pending import CoreState, Hold, HoldKind, holds

if TYPE_CHECKING:
    from mkrpc.interconnect.apic_bus import ApicBus

__all__ = [
    "MAX_IN_FLIGHT_SOURCES",
    "MAX_STANDING_ROWS",
    "Ages",
    "InFlight",
    "Standing",
    "Told",
    "delay_of_legs",
    "in_flight",
    "last_told",
    "link_state",
    "standing",
]

MAX_IN_FLIGHT_SOURCES = 64
"""Sources of legs in flight that an answer names; the youngest beyond are left away."""

MAX_STANDING_ROWS = 64
"""Rows of the ledger in an answer, those with the most legs."""

_SILENT_BEATS = 2
"""An instance is called silent when nothing has come for the time of more than so many beats."""

_MODES = (DeliveryMode.FIXED, DeliveryMode.LOWEST_PRIORITY)


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """Legs of one source CPU that have no outcome yet.

    ``apic_id``: of the CPU that wrote, None for a client. ``waiting``: in the queue. ``handed``: to
    the instance, which has not answered. ``age_us``: of the oldest, since its write was routed.
    """

    source: Party
    apic_id: int | None
    first_seq: int
    waiting: int
    handed: int
    age_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A CPU as last heard of. ``by``: "report", "beat" or, for who has asked it, "instance".

    ``where``: what holds the event loop of its process, as a beat past its stream says.
    """

    core: CoreState
    by: str
    age_us: int
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ages:
    """Microseconds since when something is so; None if it is not, or never was.

    ``enabled``: that IF has been what it is, in every report. ``handled``: the last time that the
    vector went from IRR to ISR.
    """

    pending: int | None = None
    in_service: int | None = None
    handled: int | None = None
    enabled: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of a vector of a CPU. ``detail``: why its instance is not attached, or what is
    wrong with its link; empty if nothing is. ``told``: None of a CPU that nobody has heard of.
    ``legs_ahead``: to whomever of its instance, before the first of ``in_flight``. ``delay``: why
    legs have no outcome, or would have none."""

    instance_id: int
    name: str
    incarnation: bytes
    cpu: int
    apic_id: int
    vector: int
    attached: bool
    detail: str
    told: Told | None
    counts: VectorCount
    ages: Ages
    in_flight: tuple[InFlight, ...]
    legs_ahead: int
    delay: tuple[Hold, ...]
    rows: tuple[Row, ...]


def standing(bus: "ApicBus", apic_id: int, vector: int) -> Standing:
    """How a vector, 0 to 255, of the CPU with this APIC id stands; 2 is the NMI.

    :raises NotFoundError: no CPU has or had the id.
    """
    record, cpu = bus.cpu_record(apic_id)
    session, row = record.session, bus.mirror.row(record.incarnation)
    told = last_told(bus, record.incarnation, cpu)
    ages, counts = Ages(), VectorCount(vector, 0, 0, 0, 0, 0)
    if row is not None:
        counts = row.counts(cpu, vector)
        ages = _ages(bus, record.incarnation, cpu, vector)
    legs: tuple[InFlight, ...] = ()
    delay: tuple[Hold, ...] = ()
    detail, ahead = record.reason, 0
    if session is not None:
        detail = link_state(bus, session)
        if session.addresses[cpu].vacant:
            detail = "no longer its owner: nobody is"
        legs, ahead = in_flight(session, cpu, vector, bus.now_us)
        if legs or bus.late.of(record.incarnation) is not None:
            delay = delay_of_legs(bus, session, cpu, vector)
    return Standing(
        instance_id=record.instance_id,
        name=record.name,
        incarnation=record.incarnation,
        cpu=cpu,
        apic_id=apic_id,
        vector=vector,
        attached=session is not None,
        detail=detail,
        told=told,
        counts=counts,
        ages=ages,
        in_flight=legs,
        legs_ahead=ahead,
        delay=delay,
        rows=_rows(bus.ledger, apic_id, vector),
    )


def last_told(bus: "ApicBus", incarnation: bytes, cpu: int) -> Told | None:
    """The last that was heard of a CPU: its report, or a beat past the stream after that."""
    row = bus.mirror.row(incarnation)
    late = bus.late.of(incarnation)
    beaten = late.core(cpu) if late is not None else None
    reported_us = None if row is None else row.last(cpu)[1].reported_us
    if late is not None and beaten is not None:
        age_us = bus.now_us - late.heard_us
        return Told(core=beaten, by="beat", age_us=age_us, where=late.where)
    if row is None or reported_us is None:
        return None
    account, _ = row.last(cpu)
    address = bus.address_of(incarnation, cpu)
    core = CoreState(
        cpu=cpu,
        irr=account.irr,
        isr=account.isr,
        tpr=account.tpr,
        ppr=account.ppr,
        interrupts_enabled=account.interrupts_enabled,
        activity=account.activity,
        mode=address.mode,
        software_enabled=address.software_enabled,
        known=False,
    )
    return Told(core=core, by="report", age_us=bus.now_us - reported_us)


def _ages(bus: "ApicBus", incarnation: bytes, cpu: int, vector: int) -> Ages:
    row = bus.mirror.row(incarnation)
    assert row is not None
    account, seen = row.last(cpu)
    if seen.reported_us is None:
        return Ages()
    now_us, handled_us = bus.now_us, seen.handled_us(vector)
    handled = None if handled_us is None else now_us - handled_us
    return Ages(
        pending=now_us - seen.pending_us(vector) if account.irr >> vector & 1 else None,
        in_service=handled if account.isr >> vector & 1 else None,
        handled=handled,
        enabled=now_us - seen.if_us,
    )


def in_flight(
    session: Session, cpu: int, vector: int, now_us: int
) -> tuple[tuple[InFlight, ...], int]:
    """Legs to a CPU and vector that have no outcome yet, by source, the oldest first; and how many
    legs to whomever were there before them."""
    found: dict[tuple[bytes, int | None], InFlight] = {}
    ahead = 0
    for run, handed in session.legs.runs():
        icr = decode(run.batch.word)
        meant = (
            icr.delivery_mode is DeliveryMode.NMI
            if vector == NMI_VECTOR
            else icr.delivery_mode in _MODES and icr.vector == vector
        )
        if not meant or run.cpu != cpu:
            ahead += 0 if found else run.count
            continue
        batch = run.batch
        key = batch.source.identity, batch.apic_id
        last = found.get(key)
        if last is None and len(found) >= MAX_IN_FLIGHT_SOURCES:
            continue
        found[key] = InFlight(
            source=batch.source,
            apic_id=batch.apic_id,
            first_seq=last.first_seq if last else run.first_seq,
            waiting=(last.waiting if last else 0) + (0 if handed else run.count),
            handed=(last.handed if last else 0) + (run.count if handed else 0),
            age_us=last.age_us if last else now_us - batch.routed_us,
        )
    return tuple(found.values()), ahead if found else 0


def delay_of_legs(bus: "ApicBus", session: Session, cpu: int, vector: int) -> tuple[Hold, ...]:
    """Why legs to a CPU and vector have no outcome yet.

    Of one whose event loop is held up, also what will hold them in its APIC.
    """
    detail = link_state(bus, session)
    if detail:
        return (Hold(HoldKind.LINK, f"its instance is {detail}"),)
    incarnation = session.hello.incarnation
    late = bus.late.of(incarnation)
    if late is None:
        return (Hold(HoldKind.LINK, "its instance beats, and has not answered yet"),)
    if late.holder is None and not late.where:
        return (Hold(HoldKind.LINK, "its stream is late, and its process waits for nothing else"),)
    at = f" at {late.where}" if late.where else ""
    text, holder = f"the event loop of its process is held up{at}", -1
    if late.holder is not None:
        number, holder = late.holder
        text = (
            f"the event loop of its process is held by the handler of vector {holder:#04x} on "
            f"CPU {number}, which has not returned{at}"
        )
    there = late.core(cpu)
    inside = holds(there, vector) if there is not None else ()
    rest = [hold for hold in inside if hold.kind is not HoldKind.NEXT_BOUNDARY]
    return (Hold(HoldKind.LOOP, text, holder), *rest)


def link_state(bus: "ApicBus", session: Session) -> str:
    """What is wrong with the link of an instance that lives; empty if nothing is."""
    left_us = bus.lease_left_us(session)
    if not session.connected:
        what = f"disconnected for {(bus.now_us - session.disconnected_us) / 1e6:.1f} s"
    elif bus.lease_us - left_us > bus.lease_us * _SILENT_BEATS // BEATS_PER_LEASE:
        what = f"silent for {(bus.lease_us - left_us) / 1e6:.1f} s"
    else:
        return ""
    return f"{what}; its lease ends in {left_us / 1e6:.1f} s"


def _rows(ledger: Iterable[Row], apic_id: int, vector: int) -> tuple[Row, ...]:
    """The rows to a CPU and vector, of all its incarnations, those with the most legs first."""
    found = [
        row
        for row in ledger
        if row.key.apic_id == apic_id
        and (
            (row.key.vector == vector and row.key.mode in _MODES)
            or (vector == NMI_VECTOR and row.key.mode is DeliveryMode.NMI)
        )
    ]
    return tuple(sorted(found, key=lambda row: -row.written)[:MAX_STANDING_ROWS])
