"""Which session has the CPU with which APIC id: one at most, at any time.

A CPU that leaves an instance takes its id along at once: from then on no write is routed to it
there. What was routed before is on its way, and is rejected where the CPU was. Until all of that
has its outcome the id is nobody's, so that what goes to its next owner never overtakes it: order
holds from each source to a CPU, whichever kernel has the CPU.
"""

from collections.abc import Iterable

from mkrpc.interconnect.session import Session
from mkrpc.limits import MAX_CPUS
from mkrpc.link.frames import CommandKind, CpuAddress
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.destination import ApicAddress, DestinationMap

__all__ = ["CpuOwners"]


class CpuOwners:
    """``map``: the destinations that the owners publish."""

    def __init__(self) -> None:
        self._owners: dict[int, tuple[Session, int]] = {}
        self._leaving: dict[int, tuple[Session, int]] = {}
        """Who had a CPU, and up to which of its legs some may be for it."""
        self.map = DestinationMap()

    def owner(self, apic_id: int) -> tuple[Session, int] | None:
        """The session that has a CPU, and the CPU's number there."""
        return self._owners.get(apic_id)

    def put(self, session: Session, address: CpuAddress) -> None:
        """A CPU that has come, or another address of one that is there."""
        self._owners[address.apic_id] = (session, address.cpu)
        self.map.put(_apic_address(address))

    def remove(self, apic_id: int) -> None:
        """A CPU leaves, with all its instance or alone."""
        session, _ = self._owners.pop(apic_id)
        self.map.discard(apic_id)
        if session.alive:
            self._leaving[apic_id] = session, session.legs.handed + session.legs.waiting

    def on_the_way_to(self, apic_id: int) -> Session | None:
        """Who had the CPU, while there may be legs for it that have no outcome."""
        left = self._leaving.get(apic_id)
        if left is None:
            return None
        session, last = left
        if session.alive and session.legs.answered < last:
            return session
        del self._leaving[apic_id]
        return None

    def claim_problem(self, session: Session, address: CpuAddress) -> str:
        """Why a CPU of an instance cannot have this number or this APIC id; empty if it can."""
        cpu, apic_id, cpus = address.cpu, address.apic_id, session.addresses
        if not 0 <= cpu < min(len(cpus) + 1, MAX_CPUS):
            return f"an address of CPU {cpu}, which does not exist"
        if cpu < len(cpus) and cpus[cpu].apic_id != apic_id:
            return f"CPU {cpu} had APIC id {cpus[cpu].apic_id}, now {apic_id}"
        if cpu == len(cpus) and any(each.apic_id == apic_id for each in cpus):
            return f"CPU {cpu} has come with APIC id {apic_id}, which another number has"
        owner = self.owner(apic_id)
        if address.vacant or owner == (session, cpu):
            return ""
        other = owner[0] if owner is not None else self.on_the_way_to(apic_id)
        if other is None:
            return ""
        return f"CPU {cpu} has come with APIC id {apic_id}, which instance {other.instance_id} has"

    def why_not_free(self, apic_id: int, sessions: Iterable[Session]) -> str:
        """Who has an APIC id, or is about to have it or to be rid of it; empty for nobody."""
        owner = self.owner(apic_id)
        if owner is not None:
            session, cpu = owner
            name = session.hello.name
            return f"belongs to CPU {cpu} of instance {session.instance_id} ({name!r})"
        left = self.on_the_way_to(apic_id)
        if left is not None:
            return f"has left instance {left.instance_id}, and something is on its way to it"
        for session in sessions:
            for asked in session.asked.values():
                command = asked.command
                if command.kind is CommandKind.ADD_CPU and command.word == apic_id:
                    return f"is promised to instance {session.instance_id}"
        return ""


def _apic_address(address: CpuAddress) -> ApicAddress:
    return ApicAddress(
        initial_id=address.apic_id,
        mode=ApicMode(address.mode),
        xapic_id=address.xapic_id,
        ldr=address.ldr,
        dfr=address.dfr,
        software_enabled=address.software_enabled,
    )
