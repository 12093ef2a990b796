"""Both ends of a byte stream over grpcio's completion queue; see :mod:`mkrpc.transport.reactor`.

An end is told of completions one after another and does what is next: there is no task and no
future between a frame and its handler.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

import grpc

from mkrpc.errors import InternalError, MkrpcError, UnavailableError
from mkrpc.transport.aio import EOF_SETTLE_S
from mkrpc.transport.completion_queue import ChannelQueue, Metadata
from mkrpc.transport.queue_calls import ClientCall, ServerCall
from mkrpc.transport.status import abort_arguments, error_of
from mkrpc.transport.stream import (
    CLOSE_TIMEOUT_S,
    MAX_FRAME_BYTES,
    BugReporter,
    ConnectionHandler,
    HandlerFactory,
)

__all__ = ["ClientConnection", "ReactorConnection", "ServerConnection"]

ACCEPT_SETTLE_S: Final = 0.002
"""After a server's headers, how long to wait for the news that it has refused.

A server that refuses sends headers and status in one; grpcio tells the client of both, a few
microseconds apart, and of the headers first as often as not."""

READ_AHEAD_BYTES: Final = 4096
"""From this size of a frame on the next one is asked for before it is handled, so that the stream's
window opens again meanwhile. To ask takes as long as to handle a small one, which goes first."""


class ReactorConnection(ABC):
    """What both ends share; see :class:`mkrpc.transport.stream.Connection`."""

    __slots__ = (
        "_closed_here",
        "_closing",
        "_error",
        "_handler",
        "_loop",
        "_on_bug",
        "_peer",
        "_sending",
        "_timer",
    )

    def __init__(self, *, peer: str, on_bug: BugReporter, loop: asyncio.AbstractEventLoop) -> None:
        self._peer = peer
        self._on_bug = on_bug
        self._loop = loop
        self._handler: ConnectionHandler | None = None
        self._sending = False
        self._closing = False
        self._closed_here = False
        self._error: MkrpcError | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def peer(self) -> str:
        """Who is at the other end, for people."""
        return self._peer

    @property
    def writable(self) -> bool:
        """True when no send is outstanding and the connection is not closing."""
        return not self._sending and not self._closing

    def send(self, frame: bytes) -> None:
        """Hand over one frame; AssertionError when not writable or beyond MAX_FRAME_BYTES."""
        assert not self._sending and not self._closing, "send on a connection that is not writable"  # noqa: PT018
        assert len(frame) <= MAX_FRAME_BYTES, f"a frame of {len(frame)} bytes"
        self._sending = True
        self._send(frame)

    def close(self, error: MkrpcError | None = None) -> None:
        """Flush what is outstanding and end the stream; the first call decides."""
        if self._closing:
            return
        self._closing = self._closed_here = True
        self._error = error
        if self._sending:
            self._timer = self._loop.call_later(CLOSE_TIMEOUT_S, self._flushed)
        else:
            # Not now: nobody is told anything from inside close().
            self._loop.call_soon(self._flushed)

    @abstractmethod
    def _send(self, frame: bytes) -> None:
        """Begin to send it."""

    @abstractmethod
    def _flushed(self) -> None:
        """What was to be sent has been sent, or will not be: end the call."""

    def _sent(self, ok: bool) -> None:
        if not ok:
            return  # The call is over, and its end is on its way.
        self._sending = False
        if not self._closing:
            if self._handler is not None:
                self._call(self._handler.on_writable)
        elif self._timer is not None:
            self._forget_timer()
            self._flushed()

    def _tell(self, error: MkrpcError | None) -> None:
        """Tell the handler that it is over, and why: ``error`` unless this side closed first."""
        self._closing = True
        self._forget_timer()
        handler, self._handler = self._handler, None
        if handler is not None:
            self._call(handler.on_closed, self._error if self._closed_here else error)

    def _open(self, factory: HandlerFactory) -> None:
        """Make the handler; a factory with a bug leaves a closed connection without one."""
        try:
            self._handler = factory(self)
        except Exception as bug:  # noqa: BLE001 - reported whole to on_bug
            self._report_bug(bug)

    def _call(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            callback(self, *arguments)
        except Exception as bug:  # noqa: BLE001 - reported whole to on_bug
            self._report_bug(bug)

    def _report_bug(self, bug: BaseException) -> None:
        # In a loop callback of its own: what a reporter raises reaches the loop, not the peer.
        self._loop.call_soon(self._on_bug, bug)
        self.close(InternalError())

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class ServerConnection(ReactorConnection):
    """The server's end. ``on_over``: it counts no more."""

    __slots__ = ("_call_", "_early", "_finished", "_headers", "_on_over", "_vanished")

    def __init__(
        self,
        call: ServerCall,
        *,
        peer: str,
        on_bug: BugReporter,
        loop: asyncio.AbstractEventLoop,
        on_over: Callable[["ServerConnection"], None],
    ) -> None:
        super().__init__(peer=peer, on_bug=on_bug, loop=loop)
        self._call_ = call
        self._on_over = on_over
        self._headers: Metadata | None = ()
        """What has not been sent yet."""
        self._early: bytes | None = None
        self._finished = False
        self._vanished = False

    def open(self, factory: HandlerFactory) -> None:
        """Begin, unless the factory refuses."""
        self._call_.watch(self._call_ended)
        self._open(factory)
        frame, self._early = self._early, None
        if frame is not None or not self._closing:
            # The client's connect() returns on the headers.
            headers, self._headers = self._headers, None
            done = self._sent if frame is not None else _nothing
            self._call_.send(frame, done, headers=headers)
        if not self._closing:
            self._call_.receive(self._received)

    def _send(self, frame: bytes) -> None:
        if self._headers is not None:
            self._early = frame
        else:
            self._call_.send(frame, self._sent)

    def _received(self, frame: bytes | None) -> None:
        if self._closing:
            return
        if frame is None:
            self._closing = True
            self._timer = self._loop.call_later(EOF_SETTLE_S, self._said_goodbye)
            return
        ahead = len(frame) >= READ_AHEAD_BYTES
        if ahead:
            self._call_.receive(self._received)
        if self._handler is not None:
            self._call(self._handler.on_frame, frame)
        if not (ahead or self._closing):
            self._call_.receive(self._received)

    def _said_goodbye(self) -> None:
        """The peer has closed, and is alive: flush, then let it go."""
        self._timer = None
        if self._sending:
            self._timer = self._loop.call_later(CLOSE_TIMEOUT_S, self._flushed)
        else:
            self._flushed()

    def _flushed(self) -> None:
        if self._finished:
            return
        self._finished = True
        error = self._error
        if not self._vanished:
            status = (grpc.StatusCode.OK, "", ())
            headers, self._headers = self._headers, None
            self._call_.finish(
                *(status if error is None else abort_arguments(error)), _nothing, headers=headers
            )
        self._end(error)

    def _call_ended(self, cancelled: bool) -> None:
        self._vanished = True
        self._forget_timer()
        if cancelled and not self._finished:
            self._finished = True
            self._end(
                UnavailableError(
                    f"the peer at {self._peer} vanished, cancelled, or sent more than "
                    f"{MAX_FRAME_BYTES} bytes in one frame"
                )
            )

    def _end(self, error: MkrpcError | None) -> None:
        self._on_over(self)
        self._tell(error)
        if not self._vanished:
            # A peer that does not read would keep the status waiting for ever.
            self._timer = self._loop.call_later(CLOSE_TIMEOUT_S, self._call_.cancel)


class ClientConnection(ReactorConnection):
    """The client's end. ``accepted`` is set when it is known whether the server takes it.

    ``let_go``: nothing comes from the queue any more.
    """

    __slots__ = ("_call_", "_let_go", "_opened", "_over_with", "_queue", "accepted")

    def __init__(
        self,
        queue: ChannelQueue,
        method: str,
        *,
        peer: str,
        on_bug: BugReporter,
        loop: asyncio.AbstractEventLoop,
        let_go: Callable[[], None],
    ) -> None:
        super().__init__(peer=peer, on_bug=on_bug, loop=loop)
        self._queue = queue
        self._let_go = let_go
        self._opened = False
        self._over_with: tuple[MkrpcError | None] | None = None
        """How a call ended that was accepted and is not open yet."""
        self.accepted: asyncio.Future[MkrpcError | None] = loop.create_future()
        self._call_ = ClientCall(queue, method, on_accepted=self._headers_came, on_over=self._over)

    def open(self, factory: HandlerFactory) -> None:
        """Begin; after ``accepted``."""
        self._opened = True
        self._open(factory)
        if self._over_with is not None:
            self._loop.call_soon(self._tell, *self._over_with)
        elif not self._closing:
            self._call_.receive(self._received)

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self._closing = True
        self._call_.cancel()

    def _headers_came(self) -> None:
        if not self._call_.status_came:
            self._timer = self._loop.call_later(ACCEPT_SETTLE_S, self._settle, None)

    def _settle(self, error: MkrpcError | None) -> None:
        if not self.accepted.done():
            self.accepted.set_result(error)

    def _send(self, frame: bytes) -> None:
        self._call_.send(frame, self._sent)

    def _received(self, frame: bytes | None) -> None:
        if frame is None:
            return  # Its status is on its way.
        ahead = len(frame) >= READ_AHEAD_BYTES
        if ahead:
            self._call_.receive(self._received)
        if not self._closing and self._handler is not None:
            self._call(self._handler.on_frame, frame)
        if not ahead:
            self._call_.receive(self._received)

    def _flushed(self) -> None:
        self._timer = None
        if self._error is None and not self._sending:
            self._call_.half_close()
            self._timer = self._loop.call_later(CLOSE_TIMEOUT_S, self._call_.cancel)
        else:
            self._call_.cancel()

    def _over(self, code: grpc.StatusCode, details: str, trailers: Metadata) -> None:
        """The call is over, and nothing is under way on it."""
        self._forget_timer()
        self._let_go()
        self._queue.close()
        error = None if code is grpc.StatusCode.OK else error_of(code, details, trailers)
        if self._opened:
            self._tell(error)
        elif self.accepted.done():
            self._over_with = (error,)
        else:
            self._settle(error or UnavailableError(f"{self._peer} closed the stream at once"))


def _nothing(_ok: bool) -> None:
    """Nobody waits for this."""
