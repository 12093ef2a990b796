"""Messages that instances send each other through the interconnect.

A message is routed to the incarnation that lives under its target's id when it comes, and to no
other. It may go where the doorbell may.
"""

from collections import Counter, deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mkrpc.errors import ProtocolError
from mkrpc.interconnect.policy import Policy
from mkrpc.limits import MAX_INSTANCE_ID
from mkrpc.link.messages import (
    MAX_FRAME_MESSAGES,
    MAX_MESSAGE_BYTES,
    MAX_MESSAGES_OF_ONE,
    MESSAGE_WINDOW,
    Arrival,
    Doorbell,
    Message,
    SettledMessages,
    Taken,
)
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import decode, fixed
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

if TYPE_CHECKING:
    from mkrpc.interconnect.registry import Registry
    from mkrpc.interconnect.session import Session
    from mkrpc.link.frames import DownFrame

__all__ = ["MessageBox", "Messages"]

_HELD = b""
"""In the place of an incarnation: it waits behind the roster barrier."""


class MessageBox:
    """Of one session: what it is to be handed, what it is to be told, and what it has sent.

    ``unsettled``: by target the numbers of its messages, the incarnation that each is for, and
    whether an earlier interconnect may have handed it over. ``doorbells``: that it is to be told.
    ``untaken``: by source the numbers of the messages for it that it has not taken out, in the
    queue or in its hands, whether the source lives or not; ``holds``: how many of each instance,
    all its lives together. ``untold``: by target, of how many of its own it has not been told what
    became of them.
    """

    __slots__ = (
        "_sender",
        "doorbells",
        "holds",
        "last",
        "queue",
        "settled",
        "unsettled",
        "untaken",
        "untold",
    )

    def __init__(self) -> None:
        self.queue: deque[Arrival] = deque()
        self.untaken: dict[bytes, deque[int]] = {}
        self.holds: Counter[int] = Counter()
        self._sender: dict[bytes, int] = {}
        """Which instance an incarnation is one of; as long as it has anything here."""
        self.settled: list[SettledMessages] = []
        self.untold: Counter[int] = Counter()
        self.unsettled: dict[int, deque[tuple[int, bytes, bool]]] = {}
        self.last: dict[int, int] = {}
        self.doorbells: dict[int, int] = {}

    def fill(self, frame: "DownFrame") -> bool:
        """Put into a frame what there is; whether there was anything. While messages are left in
        the queue, the doorbells that came behind them must wait."""
        if self.doorbells:
            frame.doorbells = [Doorbell(*each) for each in self.doorbells.items()]
            self.doorbells = {}
        queue = self.queue
        if queue:
            room = min(len(queue), MAX_FRAME_MESSAGES)
            frame.messages = [queue.popleft() for _ in range(room)]
        if self.settled:
            frame.settled = self.settled[:MAX_FRAME_MESSAGES]
            self.settled = self.settled[MAX_FRAME_MESSAGES:]
            for each in frame.settled:
                self.untold[each.target] -= each.last - each.first + 1
        return bool(frame.messages or frame.settled or frame.doorbells)

    def put(self, arrival: Arrival) -> None:
        """A message for it."""
        self.queue.append(arrival)
        self.untaken.setdefault(arrival.source, deque()).append(arrival.seq)
        self._sender[arrival.source] = arrival.sender
        self.holds[arrival.sender] += 1

    def is_full(self, sender: int) -> bool:
        """Whether it can be given no more of this instance's messages."""
        return self.holds[sender] >= MAX_MESSAGES_OF_ONE

    def take(self, taken: Taken) -> None:
        """It has taken messages out."""
        untaken = self.untaken.get(taken.source)
        if untaken is None:
            return
        sender = self._sender[taken.source]
        while untaken and untaken[0] <= taken.seq:
            untaken.popleft()
            self.holds[sender] -= 1
        if not untaken:
            del self.untaken[taken.source], self._sender[taken.source]
        if not self.holds[sender]:
            del self.holds[sender]


class Messages:
    """Routes them. ``outcomes``: of all that were settled. ``hold``: while the roster barrier is
    closed, until :meth:`release`."""

    def __init__(self, registry: "Registry", policy: Policy, *, hold: bool) -> None:
        self._registry = registry
        self._policy = policy
        self._held: list[tuple[Session, Message]] | None = [] if hold else None
        self._listeners: dict[Session, None] = {}
        self._announced: dict[Session, None] = {}
        self.outcomes: dict[Outcome, int] = {}

    def attached(self, session: "Session") -> None:
        """One has said hello, perhaps not for the first time: who listens is told where it is
        rung."""
        if session not in self._announced:
            self._announced[session] = None
            for listener in self._listeners:
                listener.box.doorbells[session.instance_id] = session.addresses[0].apic_id
                listener.wake()
        if session.hello.listens:
            self.listens(session)

    def listens(self, session: "Session") -> None:
        """It takes messages: it is told where all the others are rung, and those to come."""
        if session in self._listeners:
            return
        self._listeners[session] = None
        for other in self._announced:
            if other is not session:
                session.box.doorbells[other.instance_id] = other.addresses[0].apic_id
        session.wake()

    def route(self, session: "Session", message: Message) -> None:
        """One has come from an instance.

        :raises ProtocolError: it cannot be, or is beyond its window.
        """
        box = session.box
        if not (
            0 <= message.target <= MAX_INSTANCE_ID
            and message.target != session.instance_id
            and 1 <= len(message.data) <= MAX_MESSAGE_BYTES
            and message.seq > box.last.get(message.target, 0)
        ):
            raise ProtocolError(f"message {message.seq} to instance {message.target} cannot be")
        unsettled = box.unsettled.setdefault(message.target, deque())
        if len(unsettled) + box.untold[message.target] >= MESSAGE_WINDOW:
            raise ProtocolError(f"more than {MESSAGE_WINDOW} messages to one instance")
        box.last[message.target] = message.seq
        if self._held is not None:
            unsettled.append((message.seq, _HELD, bool(message.stamp)))
            self._held.append((session, message))
            return
        self._hand_on(session, message)

    def release(self) -> None:
        """Everybody is back who can come back."""
        held, self._held = self._held or [], None
        for session, message in held:
            if session.alive:
                session.box.unsettled[message.target].popleft()
                self._hand_on(session, message)

    def taken(self, session: "Session", taken: Iterable[Taken]) -> None:
        """An instance has taken messages out."""
        own = session.hello.incarnation
        for each in taken:
            session.box.take(each)
            source = self._registry.alive(each.source)
            if source is None:
                continue
            unsettled = source.box.unsettled.get(session.instance_id, ())
            while unsettled and unsettled[0][0] <= each.seq and unsettled[0][1] == own:
                self._settle(source, session.instance_id, unsettled.popleft()[0], _DELIVERED)

    def ended(self, session: "Session") -> None:
        """What was for this incarnation is for nobody any more."""
        self._announced.pop(session, None)
        self._listeners.pop(session, None)
        own, instance_id = session.hello.incarnation, session.instance_id
        waiting = {(each.source, each.seq) for each in session.box.queue}
        session.box.queue.clear()
        for source in self._registry.sessions():
            unsettled = source.box.unsettled.get(instance_id, ())
            while unsettled and unsettled[0][1] == own:
                seq, _, again = unsettled.popleft()
                certain = (source.hello.incarnation, seq) in waiting and not again
                self._settle(source, instance_id, seq, _LOST if certain else _MAYBE)

    def _hand_on(self, session: "Session", message: Message) -> None:
        refusal = self._refusal(session, message)
        if refusal is not None:
            self._settle(session, message.target, message.seq, refusal)
            return
        target = self._registry.session(message.target)
        arrival = Arrival(
            sender=session.instance_id,
            source=session.hello.incarnation,
            seq=message.seq,
            ipi_type=message.ipi_type,
            data=message.data,
            doorbell=session.addresses[0].apic_id,
        )
        target.box.put(arrival)
        ticket = message.seq, target.hello.incarnation, bool(message.stamp)
        session.box.unsettled[message.target].append(ticket)
        target.wake()

    def _refusal(self, session: "Session", message: Message) -> Outcome | None:
        """Why it is not handed on."""
        record = self._registry.records.get(message.target)
        if record is None or record.session is None:
            return _MAYBE if message.stamp else Outcome.REJECTED_NO_SUCH_APIC
        target = record.session
        if message.stamp and target.born > message.stamp:
            return _MAYBE  # made for an incarnation before this one, perhaps
        refused = self._policy.decide(
            source_id=session.instance_id,
            destination_id=message.target,
            icr=decode(fixed(target.addresses[0].apic_id, MULTIKERNEL_VECTOR)),
        )
        if refused is None and target.box.is_full(session.instance_id):
            refused = Outcome.REJECTED_BACKPRESSURE
        if refused is not None and message.stamp:
            return Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED
        return refused

    def _settle(self, source: "Session", target: int, seq: int, outcome: Outcome) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        source.box.untold[target] += 1
        settled = source.box.settled
        last = settled[-1] if settled else None
        if last is not None and (last.target, last.last + 1, last.outcome) == (
            target,
            seq,
            outcome,
        ):
            settled[-1] = SettledMessages(target, last.first, seq, outcome)
        else:
            settled.append(SettledMessages(target, seq, seq, outcome))
        source.wake()


_DELIVERED = Outcome.DELIVERED
_LOST = Outcome.LOST_TARGET_DEAD
_MAYBE = Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED
