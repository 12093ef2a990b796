"""The APIC bus: every ICR write of the machine passes here (design section 5).

A plain object without I/O, time or chance. A driver hands it frames and takes frames from it;
whatever follows from a call has happened when the call returns, callbacks included.
"""

from collections import deque
from collections.abc import Callable, Iterable

from mkrpc.compiled.marks import mypyc_attr
from mkrpc.interconnect.asking import Asking
from mkrpc.interconnect.commands import Commands
from mkrpc.interconnect.end_reason import end_reason
from mkrpc.interconnect.injection import Injections
from mkrpc.interconnect.intake import Intake
from mkrpc.interconnect.lease import LEASE_US, Leases
from mkrpc.interconnect.messages import Messages
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.roster import Roster
from mkrpc.interconnect.routing import Arbitration, Router
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.takeover import Takeover
from mkrpc.interconnect.word_routing import WordRouter
from mkrpc.link.frames import DownFrame, Hello, UpFrame, Welcome
from mkrpc.link.lease import PATIENCE_LEASES
from mkrpc.trace import InstanceDetached, Sink

__all__ = ["ApicBus"]


@mypyc_attr(allow_interpreted_subclasses=True)
class ApicBus(Asking):
    """The interconnect without its driver.

    ``epoch``: 64 random bits drawn by the driver, not 0. ``arbitration``: of lowest-priority IPIs.
    ``lease_us``: the silence after which an instance is taken for dead. ``takeover``: what outlived
    earlier interconnects; None: whoever was attached to another one is fenced. ``ended`` counts
    the sessions that are over, ``stale_frames`` those that came over links that are no more.
    """

    def __init__(
        self,
        *,
        epoch: int,
        policy: Policy,
        arbitration: Arbitration = "ppr",
        lease_us: int = LEASE_US,
        takeover: Takeover | None = None,
    ) -> None:
        assert epoch != 0, "0 stands for no interconnect"
        super().__init__(lease_us, takeover, policy.rates)
        self.epoch = epoch
        self.ended = 0
        self.stale_frames = 0
        self.policy = policy
        self.arbitration = arbitration
        self._sink: Sink | None = None
        self._ready: dict[Session, None] = {}
        self._later: deque[Callable[[], None]] = deque()
        self._router = Router(
            registry=self._registry,
            policy=policy,
            ledger=self.ledger,
            arbitration=arbitration,
            resent=self._recovery.resent,
        )
        if self._recovery.closed:
            self._router.hold = self._recovery.held.append
        self._router.faults = self.faults
        self._router.clock = self.clock
        self._words = WordRouter(
            router=self._router, registry=self._registry, policy=policy, ledger=self.ledger
        )
        self._injections = Injections(
            registry=self._registry,
            router=self._router,
            words=self._words,
            ledger=self.ledger,
            buckets=self.buckets,
            changes=self._changes,
            later=self._later.append,
        )
        if takeover is not None:
            self._injections.restore(takeover.calls)
        self._leases = Leases(lease_us)
        self._roster = Roster(
            epoch=epoch,
            registry=self._registry,
            mirror=self.mirror,
            leases=self._leases,
            is_client=self._injections.clients.__contains__,
            on_ready=self._ready.setdefault,
            count=self._count,
            changes=self._changes,
            recovery=self._recovery,
        )
        self._commands = Commands(self._later.append)
        self._messages = Messages(self._registry, policy, hold=self._recovery.closed)
        self._intake = Intake(
            registry=self._registry,
            router=self._router,
            words=self._words,
            ledger=self.ledger,
            buckets=self.buckets,
            commands=self._commands,
            recovery=self._recovery,
            changes=self._changes,
            messages=self._messages,
        )

    # --- instances come and go ------------------------------------------------------------------

    def attach(self, hello: Hello) -> Session:
        """A new incarnation; its CPUs are in the map when this returns.

        If it lives already, its session is resumed over the new link: what the peer says that it
        has not received is sent again, and all else goes on. The older link counts no more. One of
        an earlier interconnect is taken over until the roster barrier opens.

        :raises ProtocolError: another wire version, an incarnation used before, or a resume that
            cannot be.
        :raises FencedError: it comes back after its end, or from another interconnect.
        :raises InvalidArgumentError: an instance id, name, incarnation or CPUs that cannot be.
        :raises AlreadyExistsError: a live instance has the instance id or an APIC id; it is named.
        :raises UnavailableError: a newcomer while the roster barrier is closed.
        """
        session = self._roster.attach(hello)
        self._messages.attached(session)
        self._run_later()
        return session

    def welcome(self, session: Session) -> Welcome:
        """The answer to the session's hello."""
        return self._roster.welcome(session)

    def disconnect(self, session: Session, generation: int) -> None:
        """A link broke without a goodbye: the incarnation may come back while its lease runs.

        Its CPUs stay in the map and legs for it wait. Nothing happens if it has a newer link. One
        whose process is known to have ended is detached.
        """
        self._roster.disconnect(session, generation)
        if session.process_ended and session.alive and not session.connected:
            self.detach(session, session.process_ended)

    def process_ended(self, instance_id: int, pid: int, reason: str) -> None:
        """A host agent has seen the process of an instance end: nobody need wait for its lease.

        While its link still stands, the last that it said may be on its way: it is detached when
        the link breaks, which the end of the process makes it do.
        """
        reason = end_reason(reason)
        record = self._registry.records.get(instance_id)
        if self._recovery.process_ended(instance_id, pid, reason):
            self._run_later()
        if record is None or record.session is None or record.pid != pid:
            return
        record.session.process_ended = reason
        if not record.session.connected:
            self.detach(record.session, reason)

    def detach(self, session: Session, reason: str) -> None:
        """The incarnation has left or died; of ``reason`` one line is kept. A second time does
        nothing.

        Its CPUs leave the map first. Legs that waited for it end as ``lost(target_dead)``, those in
        its hands as ``lost(target_dead, maybe_delivered)``. Open commands are answered with an
        error. Its own writes to others go on and settle.
        """
        if not session.alive:
            return
        reason = end_reason(reason)
        session.alive = session.connected = False
        session.end_reason = reason
        self._roster.end(session, reason)
        self.ended += 1
        self._ready.pop(session, None)
        self._messages.ended(session)
        session.legs.abandon(self._words.settle)
        session.buried = True
        self._commands.fail_all(session, reason)
        self.mirror.close(session.party.identity)
        self._intake.finish_if_settled(session)
        if self._sink is not None:
            hello = session.hello
            self._sink(InstanceDetached(hello.instance_id, hello.name, hello.incarnation, reason))
        self._run_later()

    # --- time -----------------------------------------------------------------------------------

    def advance(self, now_us: int, beats: Iterable[bytes] = ()) -> None:
        """It is ``now_us``, on a clock that never runs backwards: detach whose lease is over.

        ``beats``: incarnations whose beats have been answered by another way than their links.
        The driver says so before it hands in what it has received, and at :attr:`deadline_us`; what
        it says later than that does not count as silence of anybody. A bus that is never told the
        time lives at 0, and no lease ends.
        """
        self._leases.advance(now_us)
        self.buckets.now_us = self.faults.now_us = now_us
        if self.faults.standing:
            self.faults.advance(now_us)
        for incarnation in beats:
            self._roster.beat(incarnation)
        while (expired := self._roster.take_expired()) is not None:
            self.detach(*expired)
        self.clock.now_us = now_us
        if now_us >= self.stalls.due_us:
            self.stalls.look(self)
        if self._recovery.closed:
            leases = self._leases
            leases.also_us = self._recovery.begin(leases.looked_us, leases.lease_us)
            if leases.looked_us >= leases.also_us:
                self._open_barrier()
                self._run_later()

    def may_beat(self) -> set[bytes]:
        """Incarnations whose beats may be answered by another way than their links.

        One without a link is not kept alive by that for ever.
        """
        return {
            session.hello.incarnation
            for session in self._registry.sessions()
            if session.connected
            or self.now_us - session.disconnected_us < PATIENCE_LEASES * self.lease_us
        }

    @property
    def deadline_us(self) -> int | None:
        """When to call :meth:`advance` at the latest; None for never."""
        times = (self._leases.deadline_us, self.faults.deadline_us)
        return min((time_us for time_us in times if time_us is not None), default=None)

    # --- frames ---------------------------------------------------------------------------------

    def hear(self, session: Session, beat: int, generation: int) -> None:
        """A frame with this beat, or 0, has come over a link, and may yet wait for its turn at
        :meth:`receive`: a lease is about who speaks."""
        if self._roster.hear(session, beat, generation) and beat:
            session.wake()

    def receive(self, session: Session, frame: UpFrame, generation: int | None = None) -> None:
        """Apply a frame that came over the link of ``generation``; None: the current one.

        One of a link that is no more is ignored and counted: what it has is sent again over the
        newer one.

        :raises ProtocolError: it says what cannot be. What came before the bad part has been
            applied, the books are sound, and the driver must detach the session.
        """
        if not self._roster.hear(session, frame.beat, generation):
            self.stale_frames += 1
            return
        try:
            if session.link.receive(frame):
                self._intake.apply(session, frame)
        finally:
            session.wake()
            self._run_later()

    def next_frame(self, session: Session) -> DownFrame | None:
        """The next frame for the session's current link: at most MAX_FRAME_WORDS legs; None if
        there is none to send, or no link."""
        return session.next_frame() if session.alive else None

    def take_ready(self) -> Session | None:
        """A session that may have something to send, longest ready first; None for no more.

        It comes again after :meth:`next_frame` has given a frame, and whenever something is added.
        """
        ready = self._ready
        for session in ready:
            del ready[session]  # and not one step further
            return session
        return None

    def watch(self, sink: Sink | None) -> None:
        """From now on trace events go to ``sink``; None for nobody, which costs nothing."""
        self._sink = sink
        self._router.sink = self._injections.sink = self.faults.sink = sink
        self._roster.sink = self._recovery.sink = self.stalls.sink = sink

    def _run_later(self) -> None:
        """Call back, now that everything is consistent; callbacks may call the bus."""
        if self._recovery.closed and self._recovery.complete:
            self._open_barrier()
        while self._later:
            self._later.popleft()()

    def _open_barrier(self) -> None:
        """Everybody is back, or cannot come any more: what was held goes on."""
        self._leases.also_us = self._router.hold = None
        self._messages.release()
        self._recovery.open(self._leases.looked_us, self._router.route)
