"""The interface of a transport: one ordered byte stream each way, driven by callbacks.

A transport moves whole frames in order and without loss while a connection lives; what becomes
of a frame once the connection is gone is for :mod:`mkrpc.link` to find out, because a completed
write proves nothing. Everything here runs on one thread: the transport calls the handler on the
thread of its own loop, and the handler calls the connection on that thread only.

The life of a connection, as its handler sees it::

    factory(connection)                         once; may already send or close
    ( on_frame | on_writable )*                 in any mixture
    on_closed(connection, error)                exactly once, and the last call

After ``close()`` the handler hears nothing but ``on_closed``.
"""

from collections.abc import Callable
from typing import Final, NoReturn, Protocol, TypeAlias

from mkrpc.errors import MkrpcError
from mkrpc.limits import MAX_FRAME_BYTES
from mkrpc.transport.address import Address
from mkrpc.transport.supervision import end_loudly

__all__ = [
    "CLOSE_TIMEOUT_S",
    "CONNECT_DEADLINE_S",
    "MAX_ANSWER_BYTES",
    "MAX_CONNECTIONS",
    "MAX_FRAME_BYTES",
    "BugReporter",
    "Connection",
    "ConnectionHandler",
    "HandlerFactory",
    "StreamServer",
    "stop_loudly",
]

MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
"""The largest unary answer that a client accepts; a client's own limit, not a server's."""

MAX_CONNECTIONS: Final = 1024
"""Byte streams that one server holds at a time: 511 instances, twice over while they reconnect.

The next one is closed with :class:`mkrpc.errors.LimitReachedError`.
"""

CONNECT_DEADLINE_S: Final = 10.0
"""Seconds for a connection to be accepted, then :class:`mkrpc.errors.DeadlineExceededError`."""

CLOSE_TIMEOUT_S: Final = 1.0
"""Seconds that a closing connection waits for its pending send, and a client for the farewell."""


class Connection(Protocol):
    """One end of an accepted byte stream."""

    @property
    def peer(self) -> str:
        """Who is at the other end, for people: over a Unix socket the kernel names nobody."""

    @property
    def writable(self) -> bool:
        """True when ``send`` may be called: at most one send is outstanding at a time."""

    def send(self, frame: bytes) -> None:
        """Hand over one whole frame of 0 to :data:`MAX_FRAME_BYTES` bytes.

        Raises ``AssertionError`` when not writable or beyond the limit: bugs of the caller.
        """

    def close(self, error: MkrpcError | None = None) -> None:
        """End the stream; idempotent, the first call decides.

        A send that is outstanding is flushed first, for at most :data:`CLOSE_TIMEOUT_S`. The server
        side ends the call with the status, reason, message and advice of ``error``. A client has no
        status to send. With an error it cancels the call, which looks to the server like a peer
        that vanished. Without one it says that it has nothing more to send.
        """


class ConnectionHandler(Protocol):
    """What the owner of a connection implements. A callback that raises is a bug."""

    def on_frame(self, connection: Connection, frame: bytes) -> None:
        """One whole frame has come, in the order in which the peer sent it."""

    def on_writable(self, connection: Connection) -> None:
        """The last send has been handed to the network: natural batching hangs on this."""

    def on_closed(self, connection: Connection, error: MkrpcError | None) -> None:
        """The stream is over.

        ``error`` is None when either side closed without one, the error given to ``close`` on this
        side, the error with which a server ended the call, or
        :class:`mkrpc.errors.UnavailableError` when the peer vanished.
        """


class StreamServer(Protocol):
    """A server of byte streams beside ordinary unary services."""

    @property
    def bound_address(self) -> Address:
        """Where it listens, with the port that the kernel chose for port 0."""

    async def start(self, address: Address, *, insecure: bool = False) -> None:
        """Listen; see :class:`mkrpc.transport.aio.AioServer` for the errors raised."""

    async def stop(self, grace_s: float) -> None:
        """Close every connection with UnavailableError, let calls end for ``grace_s`` seconds."""


HandlerFactory: TypeAlias = Callable[[Connection], ConnectionHandler]
"""Makes the handler of a new connection, on the transport's thread."""

BugReporter: TypeAlias = Callable[[BaseException], None]
"""Told of every exception that a callback raised, in a loop callback of its own.

What a reporter raises goes to the loop.
"""


def stop_loudly(bug: BaseException) -> NoReturn:
    """The default reporter: as :func:`mkrpc.transport.supervision.end_loudly`.

    A server that lost one of its parts must not go on answering as if nothing had happened.
    """
    end_loudly(bug, "a callback")
