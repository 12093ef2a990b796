"""The gRPC driver of the data plane: pumps frames between connections and the bus.

It also tells the bus the time: before everything that comes in, and when a lease may have ended.
"""

import asyncio
import time

import structlog

from mkrpc.errors import FencedError, MkrpcError, ProtocolError, UnavailableError
from mkrpc.frame_codec import decode_up, encode_down
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.handshake import close_unless_hello
from mkrpc.interconnect.session import Session
from mkrpc.link.frames import Goodbye, Hello, UpFrame
from mkrpc.transport.stream import Connection

__all__ = ["FAILED", "LEFT", "InstanceLink", "Pump"]

LEFT = "left:"
FAILED = "failed:"
"""How the reason of an instance begins that said goodbye: because it was asked to, or not."""

VANISHED = "vanished without a goodbye"
"""The reason of an instance whose process has ended, as its host agent says."""

_log = structlog.get_logger("mkrpc.interconnect")


class Pump:
    """Sends whatever the bus has for anybody, as far as connections take it."""

    def __init__(self, bus: ApicBus) -> None:
        self.bus = bus
        self._links: dict[Session, InstanceLink | None] = {}
        """Every session that lives, with the link that carries it, if it has one."""
        self._ended = 0
        self._timer: asyncio.TimerHandle | None = None

    def open(self, connection: Connection) -> "InstanceLink":
        """An instance has connected."""
        return InstanceLink(self, connection)

    def add(self, session: Session, link: "InstanceLink") -> None:
        """From now on ``link`` carries what the bus has for ``session``; an older one is closed."""
        older = self._links.get(session)
        self._links[session] = link
        if older is not None:
            older.close(UnavailableError("the instance has come back over a newer stream"))
        self._set_timer()

    def remove(self, session: Session, link: "InstanceLink") -> None:
        """The link carries nothing any more."""
        if self._links.get(session) is link:
            self._links[session] = None

    def tell_time(self) -> None:
        """Tell the bus what time it is; leases may end with that."""
        self.bus.advance(time.monotonic_ns() // 1000)

    def drain(self) -> None:
        """Call after anything has happened at the bus."""
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
        self._set_timer()


class InstanceLink:
    """One instance's stream; a ``ConnectionHandler``."""

    def __init__(self, pump: Pump, connection: Connection) -> None:
        self._pump = pump
        self._bus = pump.bus
        self._connection = connection
        self._session: Session | None = None
        self._generation = 0
        self._hello_timer = close_unless_hello(connection)

    def on_frame(self, connection: Connection, frame: bytes) -> None:
        """The instance spoke: apply it, then send whatever follows from it to anybody."""
        self._pump.tell_time()
        try:
            message = decode_up(frame)
            if isinstance(message, Hello):
                self._hello(message)
            elif self._session is None:
                raise ProtocolError("a frame before the hello")
            elif isinstance(message, UpFrame):
                self._bus.receive(self._session, message, self._generation)
            else:
                self._goodbye(message)
        except MkrpcError as error:
            _log.warning("closed a stream", peer=connection.peer, error=str(error))
            self._detach(str(error))
            connection.close(error)
        self._pump.drain()

    def on_writable(self, connection: Connection) -> None:
        """The last frame is on its way: what has gathered meanwhile goes as the next one."""
        self.pump()

    def on_closed(self, connection: Connection, error: MkrpcError | None) -> None:
        """The stream has ended."""
        self._hello_timer.cancel()
        session, self._session = self._session, None
        if session is None:
            return
        self._pump.tell_time()
        self._pump.remove(session, self)
        if session.speaks(self._generation):
            self._bus.disconnect(session, self._generation)
            _log.info(
                "disconnected",
                instance=session.instance_id,
                generation=self._generation,
                error=str(error or "its end of the stream was closed"),
            )
        self._pump.drain()

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
        self._pump.add(session, self)
        self._connection.send(encode_down(self._bus.welcome(session)))
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
