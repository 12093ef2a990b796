"""Who is attached: instance ids, APIC ids and incarnations, each claimed by one at most."""

from dataclasses import dataclass

from mkrpc.errors import (
    AlreadyExistsError,
    FencedError,
    NotFoundError,
    ProtocolError,
)
from mkrpc.interconnect.cpu_owners import CpuOwners
from mkrpc.interconnect.floors import Publications
from mkrpc.interconnect.hello_shape import address_problem, check_hello
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.takeover import Incarnation
from mkrpc.link.endpoint import check_wire_version
from mkrpc.link.frames import CpuAddress, Hello
from mkrpc.link.moved import HAS_COME, Which, moved

__all__ = ["MAX_INCARNATIONS", "InstanceRecord", "Registry"]

MAX_INCARNATIONS = 65_536
"""Incarnations remembered so as to refuse a second use; the oldest beyond that has ended is
forgotten."""


@dataclass(slots=True)
class InstanceRecord:
    """What is known of an instance id: its incarnation that lives, or the last that did.

    ``reason`` says why it is not attached, and is empty if it is. ``incarnations`` counts all that
    were ever attached under this id.
    """

    instance_id: int
    name: str
    incarnation: bytes
    pid: int
    cpus: list[CpuAddress]
    session: Session | None
    reason: str = ""
    incarnations: int = 1

    @property
    def attached(self) -> bool:
        """Whether it lives."""
        return self.session is not None


class Registry:
    """Live sessions by instance id and, ``cpus``, by APIC id; ``map``: the destinations that they
    publish.
    ``publications``: what sources have published as resolved, and who is to be told."""

    def __init__(self) -> None:
        self.records: dict[int, InstanceRecord] = {}
        self._incarnations: dict[bytes, None] = {}
        self._alive: dict[bytes, Session] = {}
        self._expected: set[bytes] = set()
        self.cpus = CpuOwners()
        self.map = self.cpus.map
        self.publications = Publications()
        self.version = 0
        """Rises with every change of who has which CPU and of what routing goes by."""

    def sessions(self) -> list[Session]:
        """All that live."""
        return [r.session for r in self.records.values() if r.session is not None]

    def session(self, instance_id: int) -> Session:
        """The live session of an instance.

        :raises NotFoundError: it is not attached.
        """
        record = self.records.get(instance_id)
        if record is None:
            raise NotFoundError(
                f"instance {instance_id} is not attached, and never was",
                advice="'mkrpc show' lists those that there are, 'mkrpc exec' starts one",
            )
        if record.session is None:
            raise NotFoundError(
                f"instance {instance_id} ({record.name}) is not attached: {record.reason}",
                advice=f"start it again: mkrpc exec {instance_id}",
            )
        return record.session

    def cpu_owner(self, apic_id: int) -> tuple[Session, int]:
        """The session that has the CPU with this initial APIC id, and its number there.

        :raises NotFoundError: nobody that lives has it.
        """
        owner = self.cpus.owner(apic_id)
        if owner is not None:
            return owner
        for record in self.records.values():
            gone = not record.attached
            if gone and any(each.apic_id == apic_id and not each.vacant for each in record.cpus):
                raise NotFoundError(
                    f"APIC id {apic_id} belongs to instance {record.instance_id} ({record.name}), "
                    f"which is not attached: {record.reason}",
                    advice=f"start it again: mkrpc exec {record.instance_id}",
                )
        raise NotFoundError(
            f"no CPU has APIC id {apic_id} in a kernel that runs",
            advice="'mkrpc show' lists them",
        )

    def note_expected(self, each: Incarnation, reason: str) -> None:
        """An incarnation of an earlier interconnect, which may come back."""
        self._expected.add(each.incarnation)
        before = self.records.get(each.instance_id)
        self.records[each.instance_id] = InstanceRecord(
            instance_id=each.instance_id,
            name=each.name,
            incarnation=each.incarnation,
            pid=each.pid,
            cpus=[],
            session=None,
            reason=reason,
            incarnations=before.incarnations + 1 if before else 1,
        )

    def note_ended(self, each: Incarnation, reason: str) -> None:
        """An incarnation of an earlier interconnect has ended: it is never welcome again."""
        record = self.records.get(each.instance_id)
        if record is None or record.incarnation != each.incarnation:
            self.note_expected(each, reason)
        else:
            record.reason = reason
        self._remember(each.incarnation)

    def alive(self, incarnation: bytes) -> Session | None:
        """The session of an incarnation, while it lives."""
        return self._alive.get(incarnation)

    def knows_incarnation(self, identity: bytes) -> bool:
        """Whether an instance bears or bore this identity, or may come back with it."""
        return identity in self._incarnations or identity in self._expected

    def claimant(self, hello: Hello, epoch: int, *, takes_over: bool) -> Session | None:
        """The session that somebody comes back to; None for a new incarnation, which may attach.

        ``takes_over``: whether instances of the hello's epoch, another one, may still come back.

        :raises ProtocolError: another wire version, an incarnation that was used before, or one
            that comes back as somebody else or over a link older than its current one.
        :raises FencedError: it comes back after its end, or from another interconnect.
        :raises InvalidArgumentError: an id, a name or CPUs that cannot be.
        :raises AlreadyExistsError: a live instance has the instance id or one of the APIC ids; the
            message names it.
        """
        check_wire_version(hello.wire_version)
        check_hello(hello)
        if hello.epoch or hello.generation:
            session = self._comes_back(hello, epoch, takes_over=takes_over)
            if session is not None:
                return session
        elif hello.incarnation in self._incarnations:
            raise ProtocolError(
                f"incarnation {hello.incarnation.hex()} was used before",
                advice="an instance draws a new incarnation each time it starts",
            )
        self._check_free(hello)
        return None

    def _comes_back(self, hello: Hello, epoch: int, *, takes_over: bool) -> Session | None:
        """Its proof is the incarnation, 128 bits that it drew by itself (3.3, rule 1)."""
        first = hello.epoch == 0
        if hello.epoch not in (0, epoch):
            # One that has been taken over, and has not heard so, still names the earlier epoch.
            first = takes_over
            if not takes_over and not self._is_taken_over(hello):
                raise FencedError(
                    f"instance {hello.instance_id} was attached to another interconnect",
                    advice="start it again: what it held ended with that one",
                )
        if hello.incarnation not in self._incarnations:
            if first:
                return None  # nobody here has heard its first hello
            raise FencedError(f"incarnation {hello.incarnation.hex()} ended too long ago")
        record = self.records.get(hello.instance_id)
        if record is None or record.incarnation != hello.incarnation or record.session is None:
            ended = record is not None and record.incarnation == hello.incarnation
            why = f": {record.reason}" if ended and record is not None else ""
            raise FencedError(
                f"this incarnation of instance {hello.instance_id} is over{why}",
                advice="'mkrpc exec' starts the instance again",
            )
        session = record.session
        known, cpus = session.addresses, sorted(hello.cpus, key=lambda address: address.cpu)
        # It may have taken in more since, which a frame says that has not come yet.
        if [a.apic_id for a in known] != [a.apic_id for a in cpus[: len(known)]]:
            raise ProtocolError(f"instance {hello.instance_id} comes back with other CPUs")
        if hello.generation < session.generation:
            raise ProtocolError(
                f"link {hello.generation + 1} of instance {hello.instance_id} comes after link "
                f"{session.generation}"
            )
        return session

    def _is_taken_over(self, hello: Hello) -> bool:
        session = self._alive.get(hello.incarnation)
        return session is not None and session.from_epoch == hello.epoch

    def _check_free(self, hello: Hello) -> None:
        """Whether nobody who lives has the instance id or an APIC id."""
        record = self.records.get(hello.instance_id)
        if record is not None and record.session is not None:
            who = f"instance id {hello.instance_id} belongs to {record.name!r} (pid {record.pid}), "
            if not record.session.connected:
                raise AlreadyExistsError(
                    f"{who}which is disconnected and may come back",
                    advice="try again when its lease is over, which takes a few seconds",
                )
            raise AlreadyExistsError(
                f"{who}which lives",
                advice="give the new instance another id, or end the old one first",
            )
        for address in hello.cpus:
            why = "" if address.vacant else self.why_not_free(address.apic_id)
            if why:
                raise AlreadyExistsError(
                    f"APIC id {address.apic_id} {why}",
                    advice="give every CPU of the machine its own APIC id",
                )

    def why_not_free(self, apic_id: int) -> str:
        """Who has an APIC id, or is about to have it or to be rid of it; empty for nobody."""
        return self.cpus.why_not_free(apic_id, self.sessions())

    def add(self, session: Session) -> None:
        """A checked session comes to life."""
        hello = session.hello
        before = self.records.get(hello.instance_id)
        self.records[hello.instance_id] = InstanceRecord(
            instance_id=hello.instance_id,
            name=hello.name,
            incarnation=hello.incarnation,
            pid=hello.pid,
            cpus=session.addresses,
            session=session,
            incarnations=_count(before, hello.incarnation),
        )
        for address in session.addresses:
            if not address.vacant:
                self.cpus.put(session, address)
        self._alive[hello.incarnation] = session
        self.version += 1
        self._remember(hello.incarnation)

    def _remember(self, incarnation: bytes) -> None:
        self._incarnations[incarnation] = None
        if len(self._incarnations) > MAX_INCARNATIONS:
            oldest = next(each for each in self._incarnations if each not in self._alive)
            del self._incarnations[oldest]

    def remove(self, session: Session, reason: str) -> None:
        """The session has ended; its CPUs leave the map."""
        record = self.records[session.instance_id]
        assert record.session is session
        record.session = None
        record.reason = reason
        del self._alive[record.incarnation]
        self.version += 1
        for address in session.addresses:
            if not address.vacant:
                self.cpus.remove(address.apic_id)

    def change_address(self, session: Session, address: CpuAddress) -> Which:
        """A CPU has written a register that routing goes by, has left or has come; returns what
        :func:`moved` does.

        :raises ProtocolError: the instance has no such CPU; the initial APIC id is not the one that
            this number has had; or somebody else has it.
        """
        problem = address_problem(address) or self.cpus.claim_problem(session, address)
        if problem:
            raise ProtocolError(problem)
        new = address.cpu == len(session.addresses)
        known = None if new else session.addresses[address.cpu]
        if known == address:
            return False, False, False
        self.version += 1
        if known is None:
            session.grow(address)
        else:
            session.addresses[address.cpu] = address
        if not address.vacant:
            self.cpus.put(session, address)
        elif known is not None and not known.vacant:
            self.cpus.remove(address.apic_id)
        return HAS_COME if known is None else moved(known, address)


def _count(before: InstanceRecord | None, incarnation: bytes) -> int:
    """How many incarnations an instance id has had, with this one."""
    if before is None:
        return 1
    return before.incarnations + (before.incarnation != incarnation)
