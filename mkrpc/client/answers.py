"""What a client gets to see: the answers of the Control service as frozen dataclasses.

Made from ``mkrpc.v1`` messages here and nowhere else; what both planes share (accounts, CPU views,
addresses) is translated by :mod:`mkrpc.codec`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mkrpc.client.faults import InjectedFault
from mkrpc.client.lifecycle import Image
from mkrpc.client.stalls import StallView
from mkrpc.codec import cpu_account_from_pb, cpu_address_from_pb, cpu_view_from_pb
from mkrpc.errors import ProtocolError
from mkrpc.lifecycle import InstanceState
from mkrpc.link.frames import CpuAccount, CpuAddress, CpuView
from mkrpc.outcome import Outcome, OutcomeKind
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import types_pb2

__all__ = [
    "Accounts",
    "ClusterView",
    "CpuAnswer",
    "InstanceState",
    "InstanceView",
    "IpiResult",
    "LegCount",
    "Log",
    "LogRecord",
    "MirroredCpu",
    "RateLimit",
    "Recovery",
    "legs_of",
    "outcome_of",
]


@dataclass(frozen=True, slots=True)
class MirroredCpu:
    """One CPU as the interconnect's mirror has it."""

    address: CpuAddress
    account: CpuAccount

    @property
    def apic_id(self) -> int:
        """Its initial APIC id."""
        return self.address.apic_id


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A source's token bucket. ``available``: ICR writes that would pass now. ``passed`` and
    ``refused`` count those that did, and those that were ``rejected(rate_limited)``."""

    writes_per_s: int
    burst: int
    available: int
    passed: int
    refused: int

    @classmethod
    def of(cls, message: pb.RateLimit) -> "RateLimit":
        """Translate."""
        return cls(
            writes_per_s=message.writes_per_s,
            burst=message.burst,
            available=message.available,
            passed=message.passed,
            refused=message.refused,
        )


@dataclass(frozen=True, slots=True)
class InstanceView:
    """One instance, alive or not.

    ``incarnation``: 16 bytes, empty if it never ran. ``pid``: 0 if it does not run. ``detail``: why
    it is not active, or what is wrong with the link of one that is. ``incarnations``: how many were
    seen under this id, this one included. ``switches``: what its topology sets apart from the
    defaults, or, as ``apic.KEY``, from the machine's. ``rate``: None if it is not limited.
    ``apic_ids``: the CPUs that it is given, also while it does not run; empty if no host agent has
    it. ``image``: what is loaded, None for nothing.
    """

    id: int
    name: str
    state: InstanceState
    incarnation: bytes
    pid: int
    cpus: tuple[MirroredCpu, ...]
    detail: str
    incarnations: int
    switches: Mapping[str, str] = field(default_factory=dict)
    rate: RateLimit | None = None
    apic_ids: tuple[int, ...] = ()
    image: Image | None = None

    @classmethod
    def of(cls, message: pb.Instance) -> "InstanceView":
        """Translate; ProtocolError if the message says what cannot be."""
        return cls(
            id=message.id,
            name=message.name,
            state=_state(message.state),
            incarnation=message.incarnation,
            pid=message.pid,
            cpus=tuple(
                MirroredCpu(cpu_address_from_pb(cpu.address), cpu_account_from_pb(cpu.account))
                for cpu in message.cpus
            ),
            detail=message.detail,
            incarnations=message.incarnations,
            switches=dict(sorted(message.switches.items())),
            rate=RateLimit.of(message.rate) if message.HasField("rate") else None,
            apic_ids=tuple(message.apic_ids),
            image=Image.of(message.image) if message.HasField("image") else None,
        )


@dataclass(frozen=True, slots=True)
class Recovery:
    """An interconnect that takes over: ``back`` of ``expected`` instances have come back to it.

    It goes on without the others in ``left_us`` microseconds at most.
    """

    back: int
    expected: int
    left_us: int


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The cluster. ``epoch``: 64 random bits of this life of the interconnect.

    ``apic``: switches of its local APICs that differ from their defaults. ``roster``: rises with
    every instance that attaches or ends. ``recovery``: while the interconnect takes over from one
    that died. ``restarts``: how many have died before it, as far as its books tell.
    ``books_trouble``: why another one could not take over from it; empty if it could.
    ``client_rate``: of all clients together; None if they are not limited. ``faults``: of now.
    ``stalls``: interrupts that nobody takes, oldest first. ``pool``: APIC ids of CPUs that no
    instance has.
    """

    address: str
    epoch: int
    interconnect_pid: int
    policy: str
    instances: tuple[InstanceView, ...]
    apic: Mapping[str, str] = field(default_factory=dict)
    roster: int = 0
    recovery: Recovery | None = None
    restarts: int = 0
    books_trouble: str = ""
    client_rate: RateLimit | None = None
    faults: tuple[InjectedFault, ...] = ()
    stalls: tuple[StallView, ...] = ()
    pool: tuple[int, ...] = ()

    @classmethod
    def of(cls, message: pb.GetClusterResponse) -> "ClusterView":
        """Translate; ProtocolError if the message says what cannot be."""
        recovery = message.recovery
        return cls(
            address=message.address,
            epoch=message.epoch,
            interconnect_pid=message.interconnect_pid,
            policy=message.policy,
            instances=tuple(InstanceView.of(instance) for instance in message.instances),
            apic=dict(sorted(message.apic.items())),
            roster=message.roster,
            recovery=(
                Recovery(recovery.back, recovery.expected, recovery.left_us)
                if message.HasField("recovery")
                else None
            ),
            restarts=message.restarts,
            books_trouble=message.books_trouble,
            client_rate=(
                RateLimit.of(message.client_rate) if message.HasField("client_rate") else None
            ),
            faults=tuple(InjectedFault.of(fault) for fault in message.faults),
            stalls=tuple(StallView.of(stall) for stall in message.stalls),
            pool=tuple(message.pool),
        )


@dataclass(frozen=True, slots=True)
class LegCount:
    """``count`` legs to the same CPU that ended alike; both ids are None for legs to nobody."""

    apic_id: int | None
    instance_id: int | None
    outcome: Outcome
    count: int


def legs_of(messages: Iterable[pb.LegCount]) -> tuple[LegCount, ...]:
    """Translate, by APIC id, those to nobody last; ProtocolError for unknown outcomes."""
    return tuple(
        LegCount(
            apic_id=leg.apic_id if leg.HasField("apic_id") else None,
            instance_id=leg.instance_id if leg.HasField("instance_id") else None,
            outcome=outcome_of(leg.outcome),
            count=leg.count,
        )
        for leg in sorted(messages, key=_leg_order)
    )


@dataclass(frozen=True, slots=True)
class IpiResult:
    """What became of ``written`` ICR writes, every leg counted.

    ``at_least_once``: the call named no client, so that a retry would have happened again.
    ``repeated_call``: the interconnect had answered this very call before and did not repeat it.
    """

    written: int
    legs: tuple[LegCount, ...]
    at_least_once: bool = False
    repeated_call: bool = False

    @property
    def all_arrived(self) -> bool:
        """True if there were legs and each was delivered or coalesced."""
        arrived = (OutcomeKind.DELIVERED, OutcomeKind.COALESCED)
        return bool(self.legs) and all(leg.outcome.kind in arrived for leg in self.legs)

    @classmethod
    def of(cls, message: pb.InjectResponse | pb.WriteIcrResponse) -> "IpiResult":
        """Translate, legs by APIC id, those to nobody last; ProtocolError for unknown outcomes."""
        legs = legs_of(message.legs)
        if isinstance(message, pb.WriteIcrResponse):
            return cls(written=message.written, legs=legs)
        return cls(
            written=message.written,
            legs=legs,
            at_least_once=message.at_least_once,
            repeated_call=message.repeated_call,
        )


@dataclass(frozen=True, slots=True)
class CpuAnswer:
    """One CPU as its instance sees it, and whose it is (None where the answer does not say)."""

    view: CpuView
    instance_id: int | None = None

    @classmethod
    def of(cls, message: pb.GetCpuResponse | pb.SetCpuResponse) -> "CpuAnswer":
        """Translate; ProtocolError if the message says what cannot be."""
        owner = message.instance_id if isinstance(message, pb.GetCpuResponse) else None
        return cls(view=cpu_view_from_pb(message.cpu), instance_id=owner)


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounting of one incarnation: the mirror's copy, and the instance's own if asked for."""

    incarnation: bytes
    mirror: tuple[CpuAccount, ...]
    instance: tuple[CpuAccount, ...]

    @classmethod
    def of(cls, message: pb.GetAccountsResponse) -> "Accounts":
        """Translate; ProtocolError if the message says what cannot be."""
        return cls(
            incarnation=message.incarnation,
            mirror=tuple(cpu_account_from_pb(account) for account in message.mirror),
            instance=tuple(cpu_account_from_pb(account) for account in message.instance),
        )


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One printk record: ``level`` 0 (emerg) to 7 (debug), ``time_us`` since the instance began.

    ``cpu`` is the CPU's number within its instance.
    """

    number: int
    level: int
    time_us: int
    cpu: int
    text: str

    @classmethod
    def of(cls, message: types_pb2.LogRecord) -> "LogRecord":
        """Translate."""
        return cls(message.number, message.level, message.time_us, message.cpu, message.text)


@dataclass(frozen=True, slots=True)
class Log:
    """Records of a printk ring in order, and how many older ones the ring has overwritten."""

    records: tuple[LogRecord, ...]
    dropped: int


def _leg_order(leg: pb.LegCount) -> tuple[bool, int, int]:
    return not leg.HasField("apic_id"), leg.apic_id, leg.outcome


_STATES: Sequence[InstanceState | None] = (None, *InstanceState)
"""Members in the order of the enum's numbers on the wire, which leave 0 for unspecified."""


def _state(number: int) -> InstanceState:
    state = _STATES[number] if 0 <= number < len(_STATES) else None
    if state is None:
        raise ProtocolError(f"instance state {number} is unknown here", advice=_VERSION_ADVICE)
    return state


def outcome_of(number: int) -> Outcome:
    """The outcome of that number; ProtocolError for one that is unknown here."""
    outcome = _OUTCOMES.get(number)
    if outcome is None:
        raise ProtocolError(f"outcome {number} is unknown here", advice=_VERSION_ADVICE)
    return outcome


_OUTCOMES = {int(outcome): outcome for outcome in Outcome}
_VERSION_ADVICE = "use the same version of mkrpc on both ends"
