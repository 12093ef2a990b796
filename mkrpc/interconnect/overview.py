"""What can be seen of the machine: who is attached, what the mirror and the books say."""

from mkrpc.compiled.marks import mypyc_attr
from mkrpc.errors import NotFoundError
from mkrpc.interconnect.balance import discrepancies
from mkrpc.interconnect.bucket import Buckets, Rates
from mkrpc.interconnect.clock import Clock
from mkrpc.interconnect.late import LateLoops
from mkrpc.interconnect.lease import Leases
from mkrpc.interconnect.ledger import Ledger, Totals
from mkrpc.interconnect.mirror import Mirror
from mkrpc.interconnect.registry import InstanceRecord, Registry
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.stalls import Stalls
from mkrpc.interconnect.unbooked import Unbooked
from mkrpc.link.frames import CpuAccount, CpuAddress

__all__ = ["Overview"]


@mypyc_attr(allow_interpreted_subclasses=True)
class Overview:
    """The part of the bus that changes nothing."""

    _leases: Leases

    def __init__(self, rates: Rates) -> None:
        self.buckets = Buckets(rates)
        self.ledger = Ledger()
        self._registry = Registry()
        self.clock = Clock()
        self.mirror = Mirror(self.clock)
        self.late = LateLoops(self.clock, self._registry.alive)
        self.stalls = Stalls(self.clock)

    @property
    def now_us(self) -> int:
        """The time that the bus was last told."""
        return self._leases.now_us

    @property
    def lease_us(self) -> int:
        """The silence after which an instance is taken for dead."""
        return self._leases.lease_us

    def lease_left_us(self, session: Session) -> int:
        """How long a session that lives may still be silent."""
        return self._leases.left_us(session)

    def cpu_owner(self, apic_id: int) -> tuple[Session, int]:
        """The live session that has a CPU, and the CPU's number there.

        :raises NotFoundError: nobody has it.
        """
        return self._registry.cpu_owner(apic_id)

    def session(self, instance_id: int) -> Session:
        """The live session of an instance.

        :raises NotFoundError: it is not attached.
        """
        return self._registry.session(instance_id)

    def is_moving(self, apic_id: int) -> bool:
        """Whether nobody has a CPU, and nobody may have it yet: something is on its way to where it
        was, or who has been told to take it in has not answered."""
        registry = self._registry
        return registry.cpus.owner(apic_id) is None and bool(registry.why_not_free(apic_id))

    def cpu_record(self, apic_id: int) -> tuple[InstanceRecord, int]:
        """Whose CPU this is or last was, and its number there.

        :raises NotFoundError: no CPU has or had the id.
        """
        found = [
            (address.vacant, not record.attached, record.instance_id, record, address.cpu)
            for record in self._registry.records.values()
            for address in record.cpus
            if address.apic_id == apic_id
        ]
        if found:
            return min(found)[3:]
        raise NotFoundError(
            f"no CPU has APIC id {apic_id} in a kernel that runs or ran",
            advice="'mkrpc show' lists them",
        )

    def address_of(self, incarnation: bytes, cpu: int) -> CpuAddress:
        """The routing registers of a CPU as last published, of who lives or was the last."""
        session = self._registry.alive(incarnation)
        if session is not None:
            return session.addresses[cpu]
        records = self._registry.records.values()
        return next(r.cpus[cpu] for r in records if r.incarnation == incarnation)

    def sessions(self) -> list[Session]:
        """All live sessions."""
        return self._registry.sessions()

    def instances(self) -> list[InstanceRecord]:
        """Every instance id ever attached, ascending: the incarnation that lives, or the last."""
        return [record for _, record in sorted(self._registry.records.items())]

    def attached_ids(self) -> list[int]:
        """Instance ids that live, ascending."""
        return sorted(session.instance_id for session in self.sessions())

    def attached_names(self) -> dict[int, str]:
        """Names of the instances that live, by id."""
        return {session.instance_id: session.hello.name for session in self.sessions()}

    def apic_ids(self, instance_id: int) -> list[int]:
        """Initial APIC ids of an instance that lives, by CPU number, those that have left among
        them.

        :raises NotFoundError: it is not attached.
        """
        return [address.apic_id for address in self._registry.session(instance_id).addresses]

    def mirrored(self, instance_id: int) -> tuple[bytes, list[CpuAccount]]:
        """The last incarnation of an instance, and its accounting as last reported, whole.

        :raises NotFoundError: there never was one, or it is too long dead.
        """
        record = self._registry.records.get(instance_id)
        row = self.mirror.row(record.incarnation) if record is not None else None
        if record is None or row is None:
            raise NotFoundError(
                f"nothing is known of instance {instance_id}", advice="'mkrpc show' lists them"
            )
        return record.incarnation, row.accounts()

    def written(self) -> int:
        """Legs written since the epoch began."""
        return self.totals().written

    def in_flight(self) -> int:
        """Legs that wait or are in an instance's hands, as the sessions count them."""
        return sum(s.legs.waiting + s.legs.unanswered for s in self._registry.sessions())

    def quiet(self) -> bool:
        """Nothing is in flight, and nobody that was asked for ICR writes has still to make some."""
        return self.in_flight() == 0 and not any(
            asked.tally is not None
            for session in self._registry.sessions()
            for asked in session.asked.values()
        )

    def totals(self) -> Totals:
        """The sum of the books."""
        return self.ledger.totals(in_flight=self.in_flight())

    def balance(self) -> list[str]:
        """What does not balance, a line each: empty at every moment, or there is a bug."""
        return self._balance(None)

    def _balance(self, unbooked: Unbooked | None) -> list[str]:
        lines = discrepancies(self.ledger, self._registry.sessions(), unbooked=unbooked)
        if not self.totals().balanced:
            lines.append(f"the totals do not balance: {self.totals()}")
        return lines
