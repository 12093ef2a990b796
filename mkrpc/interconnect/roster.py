"""Who is attached, over which link, and for how long: attach, resume, lease (design 3.3).

An incarnation is attached from its first hello until it says goodbye, its process is known to be
dead, or its lease ends. Its stream may break and come back in between: each one is a generation of
its link, the newest is the one that counts, and whatever still comes over an older one is ignored.
"""

from collections.abc import Callable

from mkrpc.errors import MkrpcError, ProtocolError
from mkrpc.interconnect.changes import ChangeLog, incarnation_of
from mkrpc.interconnect.lease import Leases, granted_us
from mkrpc.interconnect.mirror import Mirror
from mkrpc.interconnect.recovery import Recovery
from mkrpc.interconnect.registry import Registry
from mkrpc.interconnect.roster_count import RosterCount
from mkrpc.interconnect.session import Session
from mkrpc.link.frames import WIRE_VERSION, Hello, Welcome
from mkrpc.link.moved import NOT_TOLD_YET
from mkrpc.trace import (
    InstanceAttached,
    InstanceDisconnected,
    InstanceRefused,
    InstanceResumed,
    InstanceTakenOver,
    LeaseExpired,
    Sink,
)

__all__ = ["Roster"]


class Roster:
    """Sessions come, break off, resume and expire here.

    ``is_client``: whether an identity is a client's. ``sink`` takes the trace events; None, at any
    time, for nobody.
    """

    def __init__(
        self,
        *,
        epoch: int,
        registry: Registry,
        mirror: Mirror,
        leases: Leases,
        is_client: Callable[[bytes], bool],
        on_ready: Callable[[Session], object],
        count: RosterCount,
        changes: ChangeLog,
        recovery: Recovery,
    ) -> None:
        self._epoch = epoch
        self._registry = registry
        self._mirror = mirror
        self._leases = leases
        self._is_client = is_client
        self._on_ready = on_ready
        self._count = count
        self._changes = changes
        self._recovery = recovery
        self.sink: Sink | None = None

    def attach(self, hello: Hello) -> Session:
        """Attach a new incarnation, or resume the session of one that lives.

        :raises MkrpcError: as :meth:`mkrpc.interconnect.apic_bus.ApicBus.attach` says.
        """
        begun = False
        try:
            session = self._registry.claimant(
                hello, self._epoch, takes_over=self._recovery.takes_over_from(hello.epoch)
            )
            if session is not None:
                # Of another epoch, it cannot have received anything from this one.
                mine = hello.epoch in (0, self._epoch)
                session.resume(hello, hello.received if mine else 0)
            elif self._is_client(hello.incarnation):
                raise ProtocolError("the incarnation is the id of a client")
            else:
                self._recovery.check(hello)
                session, begun = self._new(hello), True
        except MkrpcError as error:
            if self.sink is not None:
                self.sink(
                    InstanceRefused(hello.instance_id, hello.name, hello.incarnation, str(error))
                )
            raise
        if begun:
            self._begin(session)
        elif self.sink is not None:
            again = len(session.link.unacknowledged)
            self.sink(
                InstanceResumed(
                    instance_id=hello.instance_id,
                    name=session.hello.name,
                    incarnation=hello.incarnation,
                    generation=session.generation,
                    again=again,
                )
            )
        self._leases.hear(session)
        session.told_roster = self._count.number  # by the welcome
        return session

    def _new(self, hello: Hello) -> Session:
        """A session, which begins only after this: the hello may have been bad."""
        known = self._recovery.expects(hello.incarnation)
        born = hello.born if hello.epoch else known.born if known is not None else 0
        session = Session(
            hello,
            mirror=self._mirror.new_row(hello.instance_id, len(hello.cpus)),
            on_ready=self._on_ready,
            count=self._count,
            publications=self._registry.publications,
            born=born or self._count.number + 1,
            taken_over=hello.epoch != 0,
        )
        if not born:
            self._count.born()
        if any(NOT_TOLD_YET in each for each in session.moved):
            # It takes the number of its welcome for that of the change.
            self._recovery.heard_of(session)
            self._count.moved()
        return session

    def _begin(self, session: Session) -> None:
        hello = session.hello
        self._mirror.open(hello.incarnation, session.mirror)
        self._registry.add(session)
        self._recovery.came_back(session)
        self._changes.attached(session)
        if self.sink is not None and session.recovering:
            self.sink(InstanceTakenOver(hello.instance_id, hello.name, hello.incarnation))
        elif self.sink is not None:
            self.sink(
                InstanceAttached(
                    instance_id=hello.instance_id,
                    name=hello.name,
                    incarnation=hello.incarnation,
                    pid=hello.pid,
                    cpus=len(hello.cpus),
                )
            )

    def welcome(self, session: Session) -> Welcome:
        """The answer to the session's last hello."""
        return Welcome(
            wire_version=WIRE_VERSION,
            epoch=self._epoch,
            generation=session.generation,
            received=session.link.received,
            resumed=session.resumed,
            lease_us=granted_us(self._leases.lease_us),
            taken_over=session.from_epoch not in (0, self._epoch),
            born=session.born,
            roster=self._count.number,
        )

    def hear(self, session: Session, beat: int, generation: int | None) -> bool:
        """Whether a frame that came over a link counts. If so, the lease begins anew."""
        if not session.speaks(session.generation if generation is None else generation):
            assert generation is not None, "a frame of a session that is detached or disconnected"
            return False
        session.beat = max(session.beat, beat)
        self._leases.hear(session)
        return True

    def beat(self, incarnation: bytes) -> None:
        """A beat has come by another way than the link, whether that stands or not."""
        session = self._registry.alive(incarnation)
        if session is not None:
            self._leases.hear(session)

    def disconnect(self, session: Session, generation: int) -> None:
        """A link has broken; nothing happens if it is not the current one."""
        if not session.speaks(generation):
            return
        session.disconnect(self._leases.now_us)
        if self.sink is not None:
            hello = session.hello
            self.sink(
                InstanceDisconnected(hello.instance_id, hello.name, hello.incarnation, generation)
            )

    def take_expired(self) -> tuple[Session, str] | None:
        """A session whose lease is over, and the reason to detach it with; None for no more."""
        session = self._leases.first_expired()
        if session is None:
            return None
        if self.sink is not None:
            hello = session.hello
            self.sink(
                LeaseExpired(
                    hello.instance_id, hello.name, hello.incarnation, self._leases.lease_us
                )
            )
        where = "" if session.connected else ", its link broken"
        return session, f"lease expired: silent for {self._leases.lease_us / 1e6:g} s{where}"

    def end(self, session: Session, reason: str) -> None:
        """The incarnation is over: its CPUs leave the map."""
        self._registry.remove(session, reason)
        self._leases.end(session)
        session.floors.end()
        self._changes.ended(incarnation_of(session), reason)
        self._recovery.ended(session)
