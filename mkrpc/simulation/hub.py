"""The interconnect's driver in a simulated run: the bus, and the streams to its sessions.

It does what the gRPC driver does: moves frames, tells the time, closes streams. No rule is here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mkrpc.errors import FencedError, MkrpcError, ProtocolError
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.client_streams import ClientStreams
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.takeover import Takeover
from mkrpc.link.frames import Goodbye, Hello, UpFrame
from mkrpc.simulation.events import Arrived, BusTurn, Reported
from mkrpc.simulation.network import Message, Stream

if TYPE_CHECKING:
    from mkrpc.simulation.call_link import CallLink
    from mkrpc.simulation.node import Life
    from mkrpc.simulation.world import World

__all__ = ["Hub"]


_CLIENTS_TURN_US = 100
"""Until it is the clients' turn again."""


class Hub:
    """One process. ``paused``: SIGSTOP; what comes meanwhile waits in ``backlog``. ``over``: it has
    been killed."""

    def __init__(
        self, world: "World", *, epoch: int, takeover: Takeover | None, clock_us: int
    ) -> None:
        self._world = world
        self.bus = ApicBus(
            epoch=epoch,
            policy=Policy.named(world.options.policy),
            lease_us=world.options.lease_us,
            takeover=takeover,
        )
        self.takeover = takeover
        self.over = False
        self.bus.watch(world.trace)
        self.streams: dict[Session, Stream] = {}
        self.call_streams: ClientStreams[CallLink] = ClientStreams(
            forget=self.bus.forget_client, latest_call=self.bus.latest_call
        )
        self.paused = False
        self._ahead_us = clock_us
        self.backlog: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._timer_us: int | None = None
        self._lag_us = world.options.hub_lag_us
        self._ended = 0
        self._goes_on = False
        self._may_beat: set[bytes] = set()
        self._beats_heard: dict[bytes, None] = {}
        self._turn = BusTurn(self.bus)

    @property
    def now_us(self) -> int:
        """The time on its clock."""
        return self._world.now_us + self._ahead_us

    def leap(self, by_us: int) -> None:
        """Its clock leaps forward, and timers go by the clock."""
        self._ahead_us += by_us
        self._timer_us = None
        self.turn(_nothing)

    def turn(self, action: Callable[..., None], *arguments: Any) -> None:
        """Do something as the interconnect's process: tell the time, act, send what follows."""
        if self.over:
            return
        if self.paused:
            self.backlog.append((self.turn, (action, *arguments)))
            return
        heard, self._beats_heard = self._beats_heard, {}
        self.bus.advance(self.now_us, heard)
        action(*arguments)
        if self.bus.unmade and not self._goes_on:
            self._goes_on = True
            self._world.at(self._world.now_us + _CLIENTS_TURN_US, self.turn, self._go_on)
        self._world.outages.commit(self.bus)
        while (session := self.bus.take_ready()) is not None:
            stream = self.streams.get(session)
            if stream is not None:
                self.pump(stream)
        if self._ended != self.bus.ended:
            self._close_ended()
        self._set_timer()
        self._world.show(self._turn)

    def _go_on(self) -> None:
        """It is the clients' turn: large calls have their next instalment."""
        self._goes_on = False
        self.bus.go_on()

    def receive(self, stream: Stream, message: Message) -> None:
        """A message has come over a stream: hear it, and apply it in turn."""
        if isinstance(message, Hello):
            self._hello(stream, message)
            return
        session = stream.session
        if session is None or not isinstance(message, UpFrame | Goodbye):
            return  # late, or a duplicate, of a stream that was refused
        if isinstance(message, UpFrame):
            if self.streams.get(session) is stream and not stream.broken and not stream.ended:
                self._world.show(Arrived(session.hello.incarnation))
            if not message.frame or not self._lag_us:
                self._apply(stream, session, message)
                return
            self.bus.hear(session, message.beat, stream.session_generation)
        self._put(stream, message)

    def closed(self, stream: Stream) -> None:
        """A stream has ended without a goodbye, after what has come over it."""
        stream.ended = True
        if stream.session is not None:
            self._put(stream, None)

    def beat(self, life: "Life", sent_us: int) -> None:
        """A beat has come by a way of its own, past all that waits for a turn."""
        if self.over:
            return
        if self.paused:
            self.backlog.append((self.beat, (life, sent_us)))
        elif life.kernel.incarnation in self._may_beat:
            self._beats_heard[life.kernel.incarnation] = None
            self._world.show(Arrived(life.kernel.incarnation))
            self._world.network.call(life.node, lambda: life.answered(sent_us), upward=False)

    def _put(self, stream: Stream, message: UpFrame | Goodbye | None) -> None:
        stream.inbox.append(message)
        if not self._lag_us:
            self._apply_next(stream)
        elif len(stream.inbox) == 1:
            self._world.at(self._world.now_us + self._lag_us, self.turn, self._apply_next, stream)

    def _apply_next(self, stream: Stream) -> None:
        message = stream.inbox.popleft()
        session = stream.session
        assert session is not None
        if isinstance(message, UpFrame):
            self._apply(stream, session, message)
        elif message is None:
            self.bus.disconnect(session, stream.session_generation)
        elif session.speaks(stream.session_generation):
            self.bus.detach(session, f"left: {message.reason}")
        if stream.inbox:
            self._world.at(self._world.now_us + self._lag_us, self.turn, self._apply_next, stream)

    def _apply(self, stream: Stream, session: Session, frame: UpFrame) -> None:
        counts = session.speaks(stream.session_generation)
        self.bus.receive(session, frame, stream.session_generation)
        if counts:
            self._world.show(Reported(self.bus, stream.life.kernel, frame))

    def pump(self, stream: Stream) -> None:
        """Send what there is, as far as the stream takes it."""
        session = stream.session
        if session is None or self.streams.get(session) is not stream:
            return
        while stream.down.writable:
            frame = self.bus.next_frame(session)
            if frame is None:
                return
            self._world.network.send(stream, stream.down, frame)

    def process_ended(self, instance_id: int, pid: int) -> None:
        """A host agent reports a death."""
        self.bus.process_ended(instance_id, pid, "killed by signal 9")

    def die(self) -> None:
        """SIGKILL: it does nothing any more, and forgets all that it had not written to its
        disk."""
        self.over = True
        self.paused = False
        self.backlog.clear()
        self.streams.clear()

    def wake(self) -> None:
        """SIGCONT: what has come meanwhile is there at once."""
        if not self.paused:
            return
        self.paused = False
        backlog, self.backlog = self.backlog, []
        for action, arguments in backlog:
            action(*arguments)
        self.turn(_nothing)

    def _hello(self, stream: Stream, hello: Hello) -> None:
        if stream.session is not None:
            return  # a hello that came twice; the driver closes such a stream
        try:
            session = self.bus.attach(hello)
        except MkrpcError as error:
            if isinstance(error, ProtocolError) and stream.life.expects(stream):
                raise  # nobody who lives and is in his right may be refused
            self._refuse(stream, error)
            return
        stream.session, stream.session_generation = session, session.generation
        self._world.outages.commit(self.bus)  # before it is welcomed
        self.streams[session] = stream
        self._may_beat.add(session.hello.incarnation)
        self._world.network.send(stream, stream.down, self.bus.welcome(session))
        if stream.broken:
            self._world.network.tell_hub(stream, self._world.now_us + 1)

    def _close_ended(self) -> None:
        """Sessions have ended: who still has a stream then is told."""
        self._ended = self.bus.ended
        self._may_beat = self.bus.may_beat()
        for session, stream in list(self.streams.items()):
            if not session.alive:
                del self.streams[session]
                self._refuse(stream, FencedError(f"over: {session.end_reason}"))

    def _refuse(self, stream: Stream, error: MkrpcError) -> None:
        self._world.network.send(stream, stream.down, error)

    def _set_timer(self) -> None:
        due = self.bus.deadline_us
        if due is not None and (self._timer_us is None or due < self._timer_us):
            self._timer_us = due
            self._world.at(due - self._ahead_us, self._timer, due)

    def _timer(self, due_us: int) -> None:
        if due_us != self._timer_us:
            return
        self._timer_us = None
        self.turn(_nothing)
        self._may_beat = self.bus.may_beat()


def _nothing() -> None:
    """The time is told, and what follows is sent."""
