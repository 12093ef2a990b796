"""The gRPC driver of the data plane: pumps frames between connections and the bus.

It also tells the bus the time: before everything that comes in, and when a lease may have ended.

Frames are read as soon as they come, and heard: a beat must not wait behind the writes of a flood.
What is in them is applied in turn (:mod:`mkrpc.interconnect.rota`).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import structlog

from mkrpc.errors import FencedError, MkrpcError, ProtocolError, UnavailableError
from mkrpc.frame_codec import decode_up, encode_down
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.beats import BeatServer
from mkrpc.interconnect.handshake import close_unless_hello
from mkrpc.interconnect.rota import Rota, Worker
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.timekeeping import Timekeeper
from mkrpc.link.endpoint import FRAME_WINDOW
from mkrpc.link.frames import Goodbye, Hello, UpFrame
from mkrpc.transport.stream import Connection

__all__ = ["FAILED", "LEFT", "InstanceLink", "Pump"]

LEFT: Final = "left:"
FAILED: Final = "failed:"
"""How the reason of an instance begins that said goodbye: because it was asked to, or not."""

VANISHED: Final = "vanished without a goodbye"
"""The reason of an instance whose process has ended, as its host agent says."""

_log = structlog.get_logger("mkrpc.interconnect")


class Pump:
    """Sends whatever the bus has for anybody, as far as connections take it.

    ``beat_address``: where ``beats`` is served, for welcomes. ``keep`` is called whenever somebody
    has come or gone, before anybody is told; it may refuse who has come, by a MkrpcError.
    ``recovered`` is set while nobody is waited for who was attached to an earlier interconnect.
    """

    def __init__(
        self,
        bus: ApicBus,
        beats: BeatServer | None = None,
        *,
        keep: Callable[[], None] = lambda: None,
    ) -> None:
        self.bus = bus
        self.keep = keep
        self.recovered = asyncio.Event()
        self._routes = False
        """As ``recovered``, which takes a call to look at."""
        self.beat_address = ""
        self._kept = 0
        self._beats = beats if beats is not None else BeatServer()
        self._links: dict[Session, InstanceLink | None] = {}
        """Every session that lives, with the link that carries it, if it has one."""
        self._ended = 0
        self._timer: asyncio.TimerHandle | None = None
        self._time = Timekeeper(bus, self._beats)
        self.rota = Rota(before=self.tick, after=self.drain)
        self._goes_on = False

    def tick(self) -> None:
        """As :class:`Timekeeper` does."""
        self._time.tick()

    def tell_time(self) -> None:
        """As :class:`Timekeeper` does."""
        self._time.tell()

    def begin(self) -> None:
        """The time begins: call this before anybody can connect."""
        self.tell_time()
        if (recovering := self.bus.recovering) is not None:
            _back, expected, left_us = recovering
            _log.warning("recovering", expected=expected, at_most_s=left_us / 1e6)
        self.drain()
        self._set_timer()

    def open(self, connection: Connection) -> "InstanceLink":
        """An instance has connected."""
        return InstanceLink(self, connection)

    def add(self, session: Session, link: "InstanceLink") -> None:
        """From now on ``link`` carries what the bus has for ``session``; an older one is closed."""
        older = self._links.get(session)
        self._links[session] = link
        self._beats.open.add(session.hello.incarnation)
        if older is not None:
            older.close(UnavailableError("the instance has come back over a newer stream"))
        self._set_timer()

    def remove(self, session: Session, link: "InstanceLink") -> None:
        """The link carries nothing any more."""
        if self._links.get(session) is link:
            self._links[session] = None

    def drain(self) -> None:
        """Call after anything has happened at the bus."""
        if self.bus.unmade and not self._goes_on:
            self._goes_on = True
            self.rota.submit(self._go_on)
        self._send()
        if self._time.due:
            self.tell_time()
            self._send()

    def _go_on(self) -> None:
        """It is the clients' turn: large calls have their next instalment."""
        self._goes_on = False
        self.bus.go_on()
        if self.bus.unmade:
            self._goes_on = True
            self.rota.submit(self._go_on)

    def _send(self) -> None:
        if not self._routes and self.bus.recovering is None:
            self._routes = True
            self.recovered.set()
            with suppress(UnavailableError):
                self.keep()  # who did not come back
            _log.info("routing", instances=len(self.bus.sessions()))
        if self._kept != self.bus.roster_number:
            # Nobody is told a number that a successor could give out again.
            self._kept = self.bus.roster_number
            with suppress(UnavailableError):
                self.keep()
        while (session := self.bus.take_ready()) is not None:
            link = self._links.get(session)
            if link is not None:
                link.pump()
        if self._ended != self.bus.ended:
            self._clear_ended()

    def process_ended(self, instance_id: int, pid: int) -> None:
        """A host agent has seen a process end."""
        self.tell_time()
        self.bus.process_ended(instance_id, pid, VANISHED)
        self.drain()

    def goodbye(self, reason: str) -> None:
        """Tell every instance that the interconnect leaves."""
        for link in list(self._links.values()):
            if link is not None:
                link.goodbye(reason)

    def _clear_ended(self) -> None:
        """Sessions have ended. Who still has a stream then, as one whose lease is over, is told."""
        self._ended = self.bus.ended
        with suppress(UnavailableError):
            self.keep()
        self._beats.open = self.bus.may_beat()
        for session, link in list(self._links.items()):
            if session.alive:
                continue
            del self._links[session]
            reason = session.end_reason
            _log.info("detached", instance=session.instance_id, reason=reason)
            if link is not None:
                who = f"this incarnation of instance {session.instance_id}"
                link.close(FencedError(f"{who} is over: {reason}"))

    def _set_timer(self) -> None:
        """One timer for all leases. What is heard meanwhile only makes it come too early."""
        deadline = self.bus.deadline_us
        if self._timer is None and deadline is not None:
            delay_s = max(0, deadline - time.monotonic_ns() // 1000) / 1e6
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        self.tell_time()
        self.drain()
        self._beats.open = self.bus.may_beat()
        self._set_timer()


@dataclass(frozen=True, slots=True)
class _Ended:
    """The stream is over: the last that comes over it."""

    reason: str


class InstanceLink(Worker):
    """One instance's stream; a ``ConnectionHandler``."""

    def __init__(self, pump: Pump, connection: Connection) -> None:
        self._pump = pump
        self._bus = pump.bus
        self._connection = connection
        self._session: Session | None = None
        self._generation = 0
        self._inbox: deque[UpFrame | Goodbye | _Ended] = deque()
        self._hello_timer = close_unless_hello(connection)

    def on_frame(self, connection: Connection, frame: bytes) -> None:
        """The instance spoke: hear it, have it applied in turn, and send what follows from it."""
        self._pump.tick()
        try:
            message = decode_up(frame)
            if isinstance(message, Hello):
                self._hello(message)
            elif self._session is None:
                raise ProtocolError("a frame before the hello")
            elif isinstance(message, UpFrame) and not message.frame:
                # Nothing to apply: its acknowledgement and its beat count at once.
                self._bus.receive(self._session, message, self._generation)
            else:
                self._take(self._session, message)
        except MkrpcError as error:
            self._fail(error)
        self._pump.drain()

    def on_writable(self, connection: Connection) -> None:
        """The last frame is on its way: what has gathered meanwhile goes as the next one."""
        self.pump()

    def on_closed(self, connection: Connection, error: MkrpcError | None) -> None:
        """The stream has ended, after what has come over it."""
        self._hello_timer.cancel()
        self._pump.tell_time()
        if self._session is not None:
            self._put(_Ended(str(error or "its end of the stream was closed")))
        self._pump.drain()

    def _take(self, session: Session, message: UpFrame | Goodbye) -> None:
        if len(self._inbox) >= FRAME_WINDOW:
            raise ProtocolError(f"{FRAME_WINDOW} frames wait that nobody has acknowledged")
        self._put(message)
        if self._inbox and isinstance(message, UpFrame):
            # It waits: it is heard now, all the same. If not, it was when it was applied.
            self._bus.hear(session, message.beat, self._generation)

    def _put(self, message: "UpFrame | Goodbye | _Ended") -> None:
        self._inbox.append(message)
        if len(self._inbox) == 1:
            self._pump.rota.offer(self)

    @property
    def has_room(self) -> bool:
        """Whether another frame may come before one of those that wait has been applied."""
        return len(self._inbox) < FRAME_WINDOW

    def apply_next(self) -> bool:
        """Apply the oldest message that waits; whether there are more."""
        session = self._session
        if session is None:
            self._inbox.clear()
            return False
        message = self._inbox[0]
        try:
            if isinstance(message, UpFrame):
                self._bus.receive(session, message, self._generation)
            elif isinstance(message, Goodbye):
                self._goodbye(message)
            else:
                self._disconnect(session, message)
        except MkrpcError as error:
            self._fail(error)
        # Only now: what comes while it is applied finds that this link has its place in the queue.
        self._inbox.popleft()
        return bool(self._inbox)

    def _fail(self, error: MkrpcError) -> None:
        _log.warning("closed a stream", peer=self._connection.peer, error=str(error))
        self._detach(str(error))
        self._connection.close(error)

    def _disconnect(self, session: Session, ended: "_Ended") -> None:
        self._session = None
        self._pump.remove(session, self)
        if session.speaks(self._generation):
            self._bus.disconnect(session, self._generation)
            _log.info(
                "disconnected",
                instance=session.instance_id,
                generation=self._generation,
                error=ended.reason,
            )

    def pump(self) -> None:
        """Send the next frame, if there is one and the connection takes it."""
        session, connection = self._session, self._connection
        if session is None or not connection.writable:
            return
        frame = self._bus.next_frame(session)
        if frame is not None:
            connection.send(encode_down(frame))

    def close(self, error: MkrpcError) -> None:
        """The session goes on over another stream, or is over."""
        self._session = None
        self._connection.close(error)

    def goodbye(self, reason: str) -> None:
        """The interconnect leaves."""
        if self._connection.writable:
            self._connection.send(encode_down(Goodbye(reason)))
        self._connection.close()

    def _hello(self, hello: Hello) -> None:
        if self._session is not None:
            raise ProtocolError("a second hello on one stream")
        session = self._bus.attach(hello)
        self._hello_timer.cancel()
        self._session = session
        self._generation = session.generation
        self._pump.keep()
        self._pump.add(session, self)
        welcome = replace(self._bus.welcome(session), beat_address=self._pump.beat_address)
        self._connection.send(encode_down(welcome))
        _log.info(
            "resumed" if session.resumed else "attached",
            instance=hello.instance_id,
            name=hello.name,
            pid=hello.pid,
            generation=self._generation,
        )

    def _goodbye(self, goodbye: Goodbye) -> None:
        self._detach(f"{FAILED if goodbye.failed else LEFT} {goodbye.reason}")
        self._connection.close()

    def _detach(self, reason: str) -> None:
        """It has left, or broken the protocol; over an older stream that means nothing."""
        session, self._session = self._session, None
        if session is None:
            return
        self._pump.remove(session, self)
        if session.speaks(self._generation):
            self._bus.detach(session, reason)
