"""The APIC bus: every ICR write of the machine passes here (design section 5).

A plain object without I/O, time or chance. A driver hands it frames and takes frames from it;
whatever follows from a call has happened when the call returns, callbacks included.
"""

from collections import deque
from collections.abc import Callable

from mkrpc.errors import MkrpcError, NotFoundError, ProtocolError
from mkrpc.interconnect.balance import discrepancies
from mkrpc.interconnect.commands import Asked, Commands
from mkrpc.interconnect.injection import Injections
from mkrpc.interconnect.intake import Intake
from mkrpc.interconnect.ledger import Ledger, Totals
from mkrpc.interconnect.mirror import Mirror
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.registry import InstanceRecord, Registry
from mkrpc.interconnect.routing import Arbitration, Router
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.tally import Tally
from mkrpc.link.frames import (
    WIRE_VERSION,
    CommandKind,
    CpuAccount,
    DownFrame,
    Hello,
    Reply,
    UpFrame,
    Welcome,
)
from mkrpc.trace import InstanceAttached, InstanceDetached, InstanceRefused, Sink

__all__ = ["ApicBus"]


class ApicBus:
    """The interconnect without its driver.

    ``epoch``: 64 random bits drawn by the driver. ``arbitration``: of lowest-priority IPIs.
    """

    def __init__(self, *, epoch: int, policy: Policy, arbitration: Arbitration = "ppr") -> None:
        self.epoch = epoch
        self.policy = policy
        self.arbitration = arbitration
        self.ledger = Ledger()
        self.mirror = Mirror()
        self._sink: Sink | None = None
        self._registry = Registry()
        self._ready: dict[Session, None] = {}
        self._later: deque[Callable[[], None]] = deque()
        self._router = Router(
            registry=self._registry, policy=policy, ledger=self.ledger, arbitration=arbitration
        )
        self._injections = Injections(
            registry=self._registry,
            router=self._router,
            ledger=self.ledger,
            sink=None,
            later=self._later.append,
        )
        self._commands = Commands(self._later.append)
        self._intake = Intake(
            registry=self._registry,
            router=self._router,
            ledger=self.ledger,
            commands=self._commands,
        )

    # --- instances come and go ------------------------------------------------------------------

    def attach(self, hello: Hello) -> Session:
        """A new incarnation; its CPUs are in the map when this returns.

        :raises ProtocolError: another wire version, or an incarnation used before.
        :raises InvalidArgumentError: an instance id, name, incarnation or CPUs that cannot be.
        :raises AlreadyExistsError: a live instance has the instance id or an APIC id; it is named.
        """
        try:
            self._registry.check(hello)
            if self._injections.knows(hello.incarnation):
                raise ProtocolError("the incarnation is the id of a client")
        except MkrpcError as error:
            if self._sink is not None:
                self._sink(
                    InstanceRefused(hello.instance_id, hello.name, hello.incarnation, str(error))
                )
            raise
        row = self.mirror.open(
            hello.incarnation, instance_id=hello.instance_id, cpus=len(hello.cpus)
        )
        session = Session(hello, mirror=row, on_ready=self._mark_ready)
        self._registry.add(session)
        if self._sink is not None:
            self._sink(
                InstanceAttached(
                    instance_id=hello.instance_id,
                    name=hello.name,
                    incarnation=hello.incarnation,
                    pid=hello.pid,
                    cpus=len(hello.cpus),
                )
            )
        return session

    def welcome(self, session: Session) -> Welcome:
        """The answer to the session's hello."""
        return Welcome(WIRE_VERSION, self.epoch, session.generation)

    def detach(self, session: Session, reason: str) -> None:
        """The incarnation has left or died; ``reason`` is one line. A second time does nothing.

        Its CPUs leave the map first. Legs that waited for it end as ``lost(target_dead)``, those in
        its hands as ``lost(target_dead, maybe_delivered)``. Open commands are answered with an
        error. Its own writes to others go on and settle.
        """
        if not session.alive:
            return
        session.alive = False
        self._registry.remove(session, reason)
        self._ready.pop(session, None)
        session.legs.abandon(self._router.settle)
        session.buried = True
        self._commands.fail_all(session, reason)
        self.mirror.close(session.party.identity)
        self._intake.finish_if_settled(session)
        if self._sink is not None:
            hello = session.hello
            self._sink(InstanceDetached(hello.instance_id, hello.name, hello.incarnation, reason))
        self._run_later()

    # --- frames ---------------------------------------------------------------------------------

    def receive(self, session: Session, frame: UpFrame) -> None:
        """Apply a frame.

        :raises ProtocolError: it says what cannot be. What came before the bad part has been
            applied, the books are sound, and the driver must detach the session.
        """
        assert session.alive, "a frame of a session that has been detached"
        try:
            if session.link.receive(frame):
                self._intake.apply(session, frame)
        finally:
            session.wake()
            self._run_later()

    def next_frame(self, session: Session) -> DownFrame | None:
        """The session's next frame: at most MAX_FRAME_WORDS legs; None if there is none to send."""
        return session.next_frame() if session.alive else None

    def take_ready(self) -> Session | None:
        """A session that may have something to send, longest ready first; None for no more.

        It comes again after :meth:`next_frame` has given a frame, and whenever something is added.
        """
        if not self._ready:
            return None
        session = next(iter(self._ready))
        del self._ready[session]
        return session

    # --- requests -------------------------------------------------------------------------------

    def inject(
        self,
        *,
        client_id: bytes,
        first_seq: int,
        word: int,
        count: int,
        resolved_below: int,
        on_done: Callable[[Tally], None],
    ) -> Tally:
        """An external agent, which has no APIC, makes ``count`` ICR writes of ``word``.

        They have the client's numbers from ``first_seq`` (from 1). The key (client, ``first_seq``)
        happens once: a repeated call gets the first one's outcomes, ``repeated`` set. All writes
        below ``resolved_below`` have been answered and may be forgotten. ``on_done`` is called once
        with the returned tally when every leg has ended, perhaps before this returns. Of one call
        at most INJECTION_WINDOW writes are unsettled at a time.

        :raises InvalidArgumentError: a client id that is not 16 bytes, a malformed word, self or
            all-but-self, a count outside 1..MAX_COUNT, or numbers used for something else.
        :raises LimitReachedError: too many clients, calls of this one, or repetitions of this call
            without an answer.
        """
        tally = self._injections.inject(
            client_id=client_id,
            first_seq=first_seq,
            word=word,
            count=count,
            resolved_below=resolved_below,
            on_done=on_done,
        )
        self._run_later()
        return tally

    def forget_client(self, client_id: bytes) -> None:
        """Nobody will repeat the calls of this client, as after one that named no client.

        Without this it is forgotten when MAX_CLIENTS others have come. Nothing happens while it has
        calls without an answer, or if it is unknown.
        """
        self._injections.forget_client(client_id)

    def write_icr(
        self, *, apic_id: int, word: int, count: int, on_done: Callable[[Tally], None]
    ) -> Tally:
        """Ask the CPU with this APIC id to write its ICR ``count`` times.

        ``on_done`` is called once, when the instance has answered and all that it wrote has its
        outcomes. ``error`` in the tally says why it wrote less than asked for.

        :raises NotFoundError: nobody that lives has the CPU.
        :raises InvalidArgumentError: a count outside 1..MAX_COUNT, a word beyond 64 bits.
        :raises LimitReachedError: the instance owes too many answers.
        """
        session, cpu = self._registry.cpu_owner(apic_id)
        return self._commands.write_icr(session, cpu=cpu, word=word, count=count, on_done=on_done)

    def command(
        self,
        instance_id: int,
        *,
        kind: CommandKind,
        cpu: int = 0,
        word: int = 0,
        count: int = 0,
        action: str = "",
        on_reply: Callable[[Reply], None],
    ) -> Asked:
        """Ask an instance; ``on_reply`` gets one reply, an UNAVAILABLE error if it goes away.

        The reply has what was asked for; what is returned is for :meth:`abandon` alone.

        :raises NotFoundError: the instance is not attached.
        :raises InvalidArgumentError: it has no such CPU, or a number does not fit.
        :raises LimitReachedError: the instance owes too many answers.
        """
        session = self._registry.session(instance_id)
        return self._commands.ask(
            session, kind=kind, cpu=cpu, word=word, count=count, action=action, on_reply=on_reply
        )

    def abandon(self, request: Tally | Asked) -> None:
        """Nobody waits for this any more: what inject, write_icr or command returned.

        Its callback is not called from here on. A command that waits to be sent is taken back; of
        one that was sent the answer is ignored when it comes. An injection goes on, and a
        repetition of its call gets the answer. What has been answered is left alone.
        """
        if isinstance(request, Tally):
            self._injections.abandon(request)
        self._commands.abandon(request)

    def watch(self, sink: Sink | None) -> None:
        """From now on trace events go to ``sink``; None for nobody, which costs nothing."""
        self._sink = sink
        self._router.sink = sink
        self._injections.sink = sink

    # --- looking --------------------------------------------------------------------------------

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
        """Initial APIC ids of an instance that lives, by CPU number.

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
        lines = discrepancies(self.ledger, self._registry.sessions())
        if not self.totals().balanced:
            lines.append(f"the totals do not balance: {self.totals()}")
        return lines

    def _mark_ready(self, session: Session) -> None:
        self._ready[session] = None

    def _run_later(self) -> None:
        """Call back, now that everything is consistent; callbacks may call the bus."""
        while self._later:
            self._later.popleft()()
