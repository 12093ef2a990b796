"""The streams of an instance to its interconnect, one after another."""

import asyncio
import random
from collections.abc import Callable
from typing import Protocol

import structlog

from mkrpc.errors import (
    AlreadyExistsError,
    FencedError,
    FrameTooLargeError,
    InvalidArgumentError,
    MkrpcError,
    PermissionDeniedError,
    ProtocolError,
)
from mkrpc.frame_codec import ATTACH
from mkrpc.transport.address import Address
from mkrpc.transport.choice import chosen
from mkrpc.transport.stream import CONNECT_DEADLINE_S, Connection
from mkrpc.transport.supervision import core_task

__all__ = ["BACK_OFF_FIRST_S", "BACK_OFF_MOST_S", "Uplink", "UplinkOwner", "is_passing"]

BACK_OFF_FIRST_S = 0.05
BACK_OFF_MOST_S = 0.5
"""Seconds between two attempts to come back, at first and at most; each pause is a random part of
that, so that a thousand instances do not come back at one moment."""

_log = structlog.get_logger("mkrpc.instance")


_FINAL = (
    AlreadyExistsError,
    FencedError,
    FrameTooLargeError,
    InvalidArgumentError,
    PermissionDeniedError,
    ProtocolError,
)


def is_passing(error: MkrpcError | None) -> bool:
    """Whether it is worth coming back after a stream that ended like this.

    What the interconnect said by name is final. Everything else may be the network: a connection
    that is cut in mid-call comes out of gRPC as UNAVAILABLE, CANCELLED, UNKNOWN or INTERNAL.
    """
    return not isinstance(error, _FINAL)


class UplinkOwner(Protocol):
    """What stands behind the streams."""

    def hello(self) -> bytes | None:
        """The first message of a new stream; None if there is to be none any more."""

    def frame_came(self, frame: bytes) -> None:
        """A message over the current stream."""

    def frame_went(self) -> None:
        """The current stream takes the next message."""

    def stream_ended(self, error: MkrpcError | None) -> None:
        """The current stream is over; also if a stream that should follow it was refused."""


class Uplink:
    """Opens streams; what still comes over an older one goes no further."""

    def __init__(self, address: Address, owner: UplinkOwner) -> None:
        self._address = address
        self._owner = owner
        self._stream: _Stream | None = None
        self._back_off_s = BACK_OFF_FIRST_S
        self._coming_back: asyncio.Task[None] | None = None

    @property
    def connection(self) -> Connection | None:
        """The current stream, if one stands."""
        return self._stream.connection if self._stream is not None else None

    async def open(self, deadline_s: float = CONNECT_DEADLINE_S) -> None:
        """Open a stream and say hello; raises as :func:`mkrpc.transport.aio.connect`."""
        await chosen().connect(self._address, ATTACH, self._opened, deadline_s=deadline_s)

    def come_back(self, patience_s: Callable[[], float]) -> None:
        """Open streams until one stands, or ``patience_s`` says that there is none left.

        The first attempt may take half of what ``patience_s`` says, so that one that hangs leaves
        time for another; each further one twice as long as the one before.
        """
        if self._coming_back is None or self._coming_back.done():
            self._coming_back = core_task(self._come_back(patience_s), "coming back")

    def give_up(self, error: MkrpcError) -> None:
        """The current stream stands and is of no use: it is over."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.connection.close(error)
            self._owner.stream_ended(error)

    def welcomed(self) -> None:
        """The current stream is a good one: begin with a short pause when it breaks."""
        self._back_off_s = BACK_OFF_FIRST_S

    def stop(self) -> None:
        """Open no more."""
        if self._coming_back is not None:
            self._coming_back.cancel()

    async def _come_back(self, patience_s: Callable[[], float]) -> None:
        patience = 0.5
        while self._stream is None:
            await asyncio.sleep(random.uniform(0, self._back_off_s))
            self._back_off_s = min(2 * self._back_off_s, BACK_OFF_MOST_S)
            try:
                await self.open(max(0.0, min(patience * patience_s(), CONNECT_DEADLINE_S)))
            except MkrpcError as error:
                _log.debug("cannot come back", error=str(error))
                if not is_passing(error) or patience_s() <= 0:
                    self._owner.stream_ended(error)
                    return
            patience *= 2

    def _opened(self, connection: Connection) -> "_Stream":
        stream = _Stream(self, connection)
        hello = self._owner.hello()
        if hello is None:
            connection.close()
        else:
            self._stream = stream
            connection.send(hello)
        return stream

    def frame_came(self, stream: "_Stream", frame: bytes) -> None:
        """A message over one of the streams."""
        if stream is self._stream:
            self._owner.frame_came(frame)

    def frame_went(self, stream: "_Stream") -> None:
        """One of the streams takes the next message."""
        if stream is self._stream:
            self._owner.frame_went()

    def closed(self, stream: "_Stream", error: MkrpcError | None) -> None:
        """One of the streams is over."""
        if stream is self._stream:
            self._stream = None
            self._owner.stream_ended(error)


class _Stream:
    """One of them; a :class:`mkrpc.transport.stream.ConnectionHandler`."""

    __slots__ = ("_uplink", "connection")

    def __init__(self, uplink: Uplink, connection: Connection) -> None:
        self._uplink = uplink
        self.connection = connection

    def on_frame(self, connection: Connection, frame: bytes) -> None:
        self._uplink.frame_came(self, frame)

    def on_writable(self, connection: Connection) -> None:
        self._uplink.frame_went(self)

    def on_closed(self, connection: Connection, error: MkrpcError | None) -> None:
        self._uplink.closed(self, error)
