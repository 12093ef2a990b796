"""The interconnect's end of one link: what it owes an instance, and what the instance has said."""

from collections import deque
from collections.abc import Callable, Sequence

from mkrpc.errors import LimitReachedError, ProtocolError
from mkrpc.interconnect.asked import Asked
from mkrpc.interconnect.destination_outcomes import A_DESTINATIONS, A_DESTINATIONS_AGAIN
from mkrpc.interconnect.floors import Floors, Publications
from mkrpc.interconnect.handing_over import frame_legs
from mkrpc.interconnect.ledger import Party
from mkrpc.interconnect.legs import (
    Ended,
    LegQueue,
    Resolved,
    Settled,
)
from mkrpc.interconnect.mirror import MirrorRow
from mkrpc.interconnect.policy import SourceKind
from mkrpc.interconnect.roster_count import RosterCount
from mkrpc.interconnect.source_side import SourceSide
from mkrpc.interconnect.telling import MAX_FRAME_RUNS, Telling
from mkrpc.link.endpoint import LinkEnd
from mkrpc.link.frames import (
    MAX_FRAME_WORDS,
    Command,
    CpuAddress,
    DownFrame,
    Hello,
    Legs,
    OutcomeRun,
    UpFrame,
)
from mkrpc.link.moved import NEVER_MOVED
from mkrpc.link.source import PUBLISH_EVERY, WRITE_WINDOW
from mkrpc.outcome import Outcome

__all__ = [
    "LEG_WINDOW",
    "MAX_FRAME_COMMANDS",
    "MAX_PENDING_COMMANDS",
    "QUEUE_LIMIT",
    "QUEUE_PER_CPU",
    "Session",
]

QUEUE_LIMIT = 65_536
"""Legs that may wait for one instance; a write that finds no room is rejected(backpressure)."""

QUEUE_PER_CPU = 2 * WRITE_WINDOW
"""The same for each CPU of an instance with many, where that is more: broadcasts have a leg to each
of them, and what a sender that waits for its window may have outstanding must find room."""

LEG_WINDOW = 8192
"""Legs handed to an instance and not yet answered; what is over waits in the queue."""

MAX_PENDING_COMMANDS = 1024
"""Commands that an instance may owe an answer; one more is a :class:`LimitReachedError`."""

MAX_FRAME_COMMANDS = 64
"""Commands in one frame at most; the rest waits for the next."""

_TELL_AT_ONCE = PUBLISH_EVERY
"""Newly resolved writes that are worth a frame of their own; one is, where programs wait for it
(:attr:`mkrpc.link.frames.Hello.tell_resolved`)."""

_NEARLY_STALLED = WRITE_WINDOW - _TELL_AT_ONCE
"""Unresolved writes, as the source sees it, from which on every resolved one is told at once: a
hung destination must not keep what others have answered from reopening the source's window."""


class Session(SourceSide):
    """One attached incarnation.

    As a source it has sequence numbers and what of them is resolved; as a destination a queue of
    legs. ``legs``, ``mirror`` and ``addresses`` are for the bus; nobody else changes them.
    """

    def __init__(
        self,
        hello: Hello,
        *,
        mirror: MirrorRow,
        on_ready: Callable[["Session"], object],
        count: RosterCount,
        publications: Publications,
        born: int,
        taken_over: bool = False,
    ) -> None:
        super().__init__(hello, taken_over=taken_over)
        self.hello = hello
        self.born = born
        self.from_epoch = hello.epoch
        """The epoch of its last hello."""
        self.party = Party(
            SourceKind.INSTANCE, hello.instance_id, hello.name or "instance", hello.incarnation
        )
        self.addresses: list[CpuAddress] = sorted(hello.cpus, key=lambda address: address.cpu)
        self.moved = list(hello.moved) or [NEVER_MOVED] * len(hello.cpus)
        self._queue_limit = max(QUEUE_LIMIT, QUEUE_PER_CPU * len(self.addresses))
        self.generation = hello.generation + 1
        """Counts the links; the newest is the current one."""
        self.alive = True
        self.connected = True
        """Whether the current link stands; if not, it broke at ``disconnected_us``."""
        self.disconnected_us = 0
        self.resumed = False
        self.process_ended = ""
        """Once its process is known to have ended: the reason to detach it with."""
        self.end_reason = ""
        self.beat = 0
        """The highest beat received."""
        self._beat_answered = 0
        self.buried = False
        """Dead, and every leg that it held has its outcome."""
        self.mirror = mirror
        self.mid_report = False
        """Frames follow at once: the accounts do not match the outcomes yet."""
        self.link: LinkEnd[DownFrame, UpFrame] = LinkEnd()
        self.legs = LegQueue()
        self.asked: dict[int, Asked] = {}
        self._telling = Telling()
        self._count = count
        self.told_roster = 0
        """The highest roster number that it has been told, by a welcome or a frame."""
        self._tell_from = 1 if hello.tell_resolved else _TELL_AT_ONCE
        self._commands: deque[Command] = deque()
        self.on_resolved: Resolved | None = None
        """What its own writes are resolved by, if no command asked for them; for the intake."""
        self.floors = Floors(publications, taken_over=hello.epoch != 0)
        self._on_ready = on_ready

    def __repr__(self) -> str:
        return f"<Session instance {self.instance_id} {self.hello.incarnation.hex()}>"

    @property
    def instance_id(self) -> int:
        """0 to :data:`~mkrpc.limits.MAX_INSTANCE_ID`."""
        return self.hello.instance_id

    def wake(self) -> None:
        """There may be something to send."""
        if self.alive:
            self._on_ready(self)

    def grow(self, address: CpuAddress) -> None:
        """One more CPU has come to the instance."""
        self.addresses.append(address)
        self.moved.append(NEVER_MOVED)
        self.mirror.grow()
        self._queue_limit = max(QUEUE_LIMIT, QUEUE_PER_CPU * len(self.addresses))

    # --- its link -------------------------------------------------------------------------------

    def speaks(self, generation: int) -> bool:
        """Whether the link of this generation stands and is the current one."""
        return self.alive and self.connected and generation == self.generation

    def disconnect(self, now_us: int) -> None:
        """The current link has broken. What there is for the instance gathers meanwhile."""
        self.connected = False
        self.disconnected_us = now_us

    def resume(self, hello: Hello, received: int) -> None:
        """The instance is back over a newer link: all goes on where each side had got to.

        ``received``: frames of this interconnect that it has applied.

        :raises ProtocolError: it says that it has received what it cannot have; nothing changes.
        """
        assert self.alive
        assert hello.generation >= self.generation, "the registry refuses older links"
        self.link.resume(received)
        self.from_epoch = hello.epoch
        self.generation = hello.generation + 1
        self.connected = self.resumed = True
        self._beat_answered = 0
        self.wake()

    # --- the instance as a source ---------------------------------------------------------------

    def writes_resolved(self, first: int, last: int, ended: Sequence[Ended]) -> None:
        """Own writes have all their outcomes; the instance is told when it is worth it."""
        self.resolved.add_run(first, last)
        if not self.alive:
            return
        self._telling.add(first, last, ended)
        if self._must_tell:
            self.wake()

    @property
    def _must_tell(self) -> bool:
        untold = self._telling.gathered
        if not untold:
            return self._telling.begun
        return (
            untold >= self._tell_from
            or self._beat_answered != self.beat  # nothing stays untold at rest
            or self._telling.begun
            or self.unsettled + untold > _NEARLY_STALLED
        )

    # --- the instance as a destination ----------------------------------------------------------

    def has_room(self, count: int) -> bool:
        """Whether so many legs of whomever fit into the queue. Where not all do, some may:
        :meth:`room_for`."""
        return self.legs.waiting + count <= self._queue_limit

    def room_for(self, lanes: int, source: Party) -> int:
        """How many writes of a source with this many legs here still fit into the queue."""
        return self.legs.room_for(source, self._queue_limit) // lanes

    def answer(self, frame: UpFrame, settled: Settled) -> None:
        """Settle what the frame answers: runs named in ``outcomes``, else ``delivered``.

        :raises ProtocolError: it answers what was never handed over, answers twice, or with an
            outcome that is not the destination's to give. Legs before the bad one are settled.
        """
        legs, applied = self.legs, frame.applied
        if applied == legs.answered and not frame.outcomes:
            return
        if not legs.answered <= applied <= legs.handed:
            raise ProtocolError(
                f"{applied} legs are called answered; {legs.answered} were before "
                f"and {legs.handed} were handed over"
            )
        for run in frame.outcomes:
            self._check_run(run, applied)
            if run.first - 1 > legs.answered:
                legs.answer(run.first - 1 - legs.answered, Outcome.DELIVERED, settled)
            self._check_outcome(run)
            legs.answer(run.count, run.outcome, settled)
        if applied > legs.answered:
            legs.answer(applied - legs.answered, Outcome.DELIVERED, settled)

    def _check_run(self, run: OutcomeRun, applied: int) -> None:
        if run.first <= self.legs.answered or run.count < 1 or run.first + run.count - 1 > applied:
            raise ProtocolError(
                f"outcomes of {run.count} legs from {run.first} on, "
                f"where {self.legs.answered + 1} to {applied} are answered"
            )

    def _check_outcome(self, run: OutcomeRun) -> None:
        again = run.outcome in A_DESTINATIONS_AGAIN and self.legs.all_resent(run.count)
        if run.outcome not in A_DESTINATIONS and not again:
            raise ProtocolError(f"an instance that lives calls a leg {run.outcome.text}")

    # --- commands -------------------------------------------------------------------------------

    def ask(self, asked: Asked) -> None:
        """Queue a command.

        :raises LimitReachedError: the instance owes :data:`MAX_PENDING_COMMANDS` answers already.
        """
        if len(self.asked) >= MAX_PENDING_COMMANDS:
            raise LimitReachedError(
                f"instance {self.instance_id} owes {MAX_PENDING_COMMANDS} answers already",
                advice="wait for them, or see whether the instance hangs",
            )
        self.asked[asked.command.number] = asked
        self._commands.append(asked.command)
        self.wake()

    def withdraw(self, asked: Asked) -> None:
        """Take a command back, if it has not been sent yet; else its answer is still owed."""
        number = asked.command.number
        if number not in self.asked:
            return
        for index, command in enumerate(self._commands):
            if command.number == number:
                del self._commands[index]
                del self.asked[number]
                return

    def asked_for(self, number: int) -> Asked:
        """The open command of this number.

        :raises ProtocolError: there is none.
        """
        asked = self.asked.get(number)
        if asked is None:
            raise ProtocolError(f"command {number} is not open")
        return asked

    # --- sending --------------------------------------------------------------------------------

    def next_frame(self) -> DownFrame | None:
        """The next frame for the instance; None if there is nothing to say, no window or no link.

        After a resume first what the last link lost, as it was.
        """
        if not self.connected:
            return None
        again = self.link.next_again()
        if again is not None:
            self.wake()
            return self._answer_beat(again)
        if not self.link.may_send:
            return self._bare_ack()
        box, commands = self.box, self._commands
        parcel = box.queue or box.settled or box.doorbells
        if not (self.legs.waiting or commands or parcel or self._must_tell):
            return self._bare_ack()
        frame = DownFrame()
        carried = bool(parcel) and box.fill(frame)
        if self.legs.waiting and not box.queue:
            frame.legs = self._next_legs()
        if commands:
            frame.commands = [
                commands.popleft() for _ in range(min(len(commands), MAX_FRAME_COMMANDS))
            ]
        if not (frame.legs or frame.commands or carried or self._must_tell):
            return self._bare_ack()
        self._telling.take(frame)
        self.floors.take(frame, MAX_FRAME_RUNS - len(frame.resolved))
        self.wake()
        frame = self._answer_beat(self.link.stamp(frame))
        self.told_roster = frame.roster or self.told_roster
        return frame

    def _bare_ack(self) -> DownFrame | None:
        if not self.link.ack_due and self._beat_answered == self.beat:
            return None
        return self._answer_beat(self.link.stamp_ack(DownFrame()))

    def _answer_beat(self, frame: DownFrame) -> DownFrame:
        frame.beat, self._beat_answered = self.beat, self.beat
        if self.told_roster != self._count.number:
            frame.roster = self._count.number
        return frame

    def _next_legs(self) -> list[Legs]:
        limit = min(MAX_FRAME_WORDS, LEG_WINDOW - self.legs.unanswered)
        return frame_legs(self.legs.hand_over(limit), self.floors)
