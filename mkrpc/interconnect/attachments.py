"""The gRPC driver of the data plane: pumps frames between connections and the bus."""

import structlog

from mkrpc.errors import MkrpcError, ProtocolError, UnavailableError
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

_log = structlog.get_logger("mkrpc.interconnect")


class Pump:
    """Sends whatever the bus has for anybody, as far as connections take it."""

    def __init__(self, bus: ApicBus) -> None:
        self.bus = bus
        self._links: dict[Session, InstanceLink] = {}

    def open(self, connection: Connection) -> "InstanceLink":
        """An instance has connected."""
        return InstanceLink(self, connection)

    def add(self, session: Session, link: "InstanceLink") -> None:
        """From now on ``link`` carries what the bus has for ``session``."""
        self._links[session] = link

    def remove(self, session: Session) -> None:
        """The session is over."""
        del self._links[session]

    def drain(self) -> None:
        """Call after anything has happened at the bus."""
        while (session := self.bus.take_ready()) is not None:
            link = self._links.get(session)
            if link is not None:
                link.pump()

    def goodbye(self, reason: str) -> None:
        """Tell every instance that the interconnect leaves."""
        for link in list(self._links.values()):
            link.goodbye(reason)


class InstanceLink:
    """One instance's stream; a ``ConnectionHandler``."""

    def __init__(self, pump: Pump, connection: Connection) -> None:
        self._pump = pump
        self._bus = pump.bus
        self._connection = connection
        self._session: Session | None = None
        self._hello_timer = close_unless_hello(connection)

    def on_frame(self, connection: Connection, frame: bytes) -> None:
        """The instance spoke: apply it, then send whatever follows from it to anybody."""
        try:
            message = decode_up(frame)
            if isinstance(message, Hello):
                self._hello(message)
            elif self._session is None:
                raise ProtocolError("a frame before the hello")
            elif isinstance(message, UpFrame):
                self._bus.receive(self._session, message)
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
        if self._session is not None:
            self._detach(_ending(error))
            self._pump.drain()

    def pump(self) -> None:
        """Send the next frame, if there is one and the connection takes it."""
        session, connection = self._session, self._connection
        if session is None or not connection.writable:
            return
        frame = self._bus.next_frame(session)
        if frame is not None:
            connection.send(encode_down(frame))

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
        self._pump.add(session, self)
        self._connection.send(encode_down(self._bus.welcome(session)))
        _log.info("attached", instance=hello.instance_id, name=hello.name, pid=hello.pid)

    def _goodbye(self, goodbye: Goodbye) -> None:
        self._detach(f"{FAILED if goodbye.failed else LEFT} {goodbye.reason}")
        self._connection.close()

    def _detach(self, reason: str) -> None:
        session, self._session = self._session, None
        if session is not None:
            self._pump.remove(session)
            self._bus.detach(session, reason)
            _log.info("detached", instance=session.hello.instance_id, reason=reason)


def _ending(error: MkrpcError | None) -> str:
    if error is None or isinstance(error, UnavailableError):
        return "vanished without a goodbye"
    return f"its stream ended: {error}"
