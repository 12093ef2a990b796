"""The one list of trace events: what the machine says about itself as it runs.

A sink gets one object per event, in the order in which things happened. Runs of equal ICR writes,
and of legs that end alike, are one event with a count, so that a burst costs little to watch.
Identities are 16 bytes: an instance's incarnation or a client's id.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

from mkrpc.link.frames import NOBODY
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode

__all__ = [
    "KINDS",
    "BooksNotKept",
    "BarrierClosed",
    "BarrierOpened",
    "ClientInjected",
    "FaultBegan",
    "FaultEnded",
    "IcrWritten",
    "InstanceAttached",
    "InstanceDetached",
    "InstanceDisconnected",
    "InstanceRefused",
    "InstanceResumed",
    "InterruptStalled",
    "InstanceTakenOver",
    "LeaseExpired",
    "LegEnded",
    "Sink",
    "StallEnded",
    "TraceEvent",
    "event_fields",
    "kind",
]


@dataclass(frozen=True, slots=True)
class IcrWritten:
    """``count`` equal ICR writes with sequence numbers from ``seq`` have reached the interconnect.

    ``apic_id`` is the writing CPU's; :data:`NOBODY` for a client, which has no APIC.
    """

    source: bytes
    apic_id: int
    seq: int
    count: int
    word: int


@dataclass(frozen=True, slots=True)
class LegEnded:
    """The legs of writes ``seq`` to ``seq + count - 1`` to one CPU have their outcome.

    ``apic_id`` is :data:`NOBODY` for a leg to nobody; ``delivery_mode`` as in the ICR, 0 to 7.
    """

    source: bytes
    seq: int
    count: int
    apic_id: int
    delivery_mode: int
    vector: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class InstanceAttached:
    """A new incarnation has been welcomed; its CPUs are in the map from now on."""

    instance_id: int
    name: str
    incarnation: bytes
    pid: int
    cpus: int


@dataclass(frozen=True, slots=True)
class InstanceDetached:
    """An incarnation has left or died; its CPUs are gone from the map."""

    instance_id: int
    name: str
    incarnation: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class InstanceDisconnected:
    """The link of an incarnation has broken; it may come back while its lease runs."""

    instance_id: int
    name: str
    incarnation: bytes
    generation: int


@dataclass(frozen=True, slots=True)
class InstanceResumed:
    """An incarnation is back over link ``generation``; ``again`` frames are sent to it again."""

    instance_id: int
    name: str
    incarnation: bytes
    generation: int
    again: int


@dataclass(frozen=True, slots=True)
class InstanceTakenOver:
    """An incarnation that was attached to an earlier interconnect is attached to this one."""

    instance_id: int
    name: str
    incarnation: bytes


@dataclass(frozen=True, slots=True)
class BarrierClosed:
    """The interconnect takes over, and routes nothing until ``expected`` incarnations, which may
    still hold a lease, are back or have certainly ended."""

    expected: int


@dataclass(frozen=True, slots=True)
class BarrierOpened:
    """It routes. ``back``: incarnations that are back, or were known to have ended; ``missing``:
    those that are booked as ended since they did not come."""

    back: int
    missing: int
    after_us: int


@dataclass(frozen=True, slots=True)
class LeaseExpired:
    """Nothing has been received from an incarnation for ``silent_us``; it is detached next."""

    instance_id: int
    name: str
    incarnation: bytes
    silent_us: int


@dataclass(frozen=True, slots=True)
class InstanceRefused:
    """Somebody asked to be an instance and was turned away; ``reason`` is one line."""

    instance_id: int
    name: str
    incarnation: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class ClientInjected:
    """An external agent has asked for ``count`` writes, numbered from ``seq``: a call. ``word`` is
    the first of them, and all of them unless they were given word by word."""

    client: bytes
    seq: int
    count: int
    word: int


@dataclass(frozen=True, slots=True)
class FaultBegan:
    """A fault is injected from now on; ``for_us`` microseconds long, 0: until it is cleared."""

    number: int
    fault: str
    what: str
    for_us: int


@dataclass(frozen=True, slots=True)
class FaultEnded:
    """A fault strikes no more; it has ``struck`` so many legs or frames, or cut so often."""

    number: int
    fault: str
    reason: str
    struck: int


@dataclass(frozen=True, slots=True)
class BooksNotKept:
    """From here on no other interconnect could take over; ``reason`` is one line."""

    reason: str


@dataclass(frozen=True, slots=True)
class InterruptStalled:
    """Something has not gone on for ``age_us``; told again as its age doubles.

    ``stall``: ``pending`` (in IRR), ``in-service`` (in ISR) or ``unanswered`` (``count`` legs, of
    which this is the oldest). ``source``: who wrote it, empty if it is not known who of
    ``sources``, which are for people; ``source_apic_id`` :data:`NOBODY` if unknown. ``reason``:
    why, in a line. ``reports`` counts the reports of it.
    """

    stall: str
    source: bytes
    sources: str
    source_apic_id: int
    instance_id: int
    name: str
    incarnation: bytes
    apic_id: int
    vector: int
    count: int
    age_us: int
    reason: str
    reports: int


@dataclass(frozen=True, slots=True)
class StallEnded:
    """It goes on again after ``lasted_us``, or is over: ``how`` says which."""

    stall: str
    instance_id: int
    name: str
    incarnation: bytes
    apic_id: int
    vector: int
    lasted_us: int
    how: str


TraceEvent = (
    IcrWritten
    | LegEnded
    | InstanceAttached
    | InstanceDetached
    | InstanceDisconnected
    | InstanceResumed
    | InstanceTakenOver
    | BarrierClosed
    | BarrierOpened
    | InstanceRefused
    | LeaseExpired
    | ClientInjected
    | FaultBegan
    | FaultEnded
    | BooksNotKept
    | InterruptStalled
    | StallEnded
)

Sink = Callable[[TraceEvent], None]
"""Takes each event as it happens; it must neither raise nor call back into what reports."""

KINDS: dict[type[TraceEvent], str] = {
    IcrWritten: "icr_write",
    LegEnded: "leg",
    InstanceAttached: "attach",
    InstanceDetached: "detach",
    InstanceDisconnected: "disconnect",
    InstanceResumed: "resume",
    InstanceTakenOver: "take_over",
    BarrierClosed: "barrier_closed",
    BarrierOpened: "barrier_opened",
    InstanceRefused: "refuse",
    LeaseExpired: "lease_expired",
    ClientInjected: "inject",
    FaultBegan: "fault_began",
    FaultEnded: "fault_ended",
    BooksNotKept: "books_not_kept",
    InterruptStalled: "stall",
    StallEnded: "stall_end",
}
"""The name of each event, on the wire and for people."""


def kind(event: TraceEvent) -> str:
    """The event's name, such as ``leg``."""
    return KINDS[type(event)]


def event_fields(event: TraceEvent) -> dict[str, str]:
    """The event as text: identities and ICR words in hex, outcomes as people read them."""
    texts = {each.name: _text(each.name, getattr(event, each.name)) for each in fields(event)}
    if isinstance(event, IcrWritten) and event.apic_id == NOBODY:
        texts["apic_id"] = "external"
    return texts


def _text(name: str, value: object) -> str:
    if isinstance(value, Outcome):
        return value.text
    if isinstance(value, bytes):
        return value.hex()
    if name == "word":
        return f"{value:#018x}"
    if name == "delivery_mode" and isinstance(value, int):
        return DeliveryMode(value).name.lower()
    if name == "vector":
        return f"{value:#04x}"
    if name == "apic_id" and value == NOBODY:
        return "nobody"
    if name == "source_apic_id" and value == NOBODY:
        return "unknown"
    return str(value)
