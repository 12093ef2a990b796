"""One end of a byte stream over grpc.aio: a reader task, a writer task, and one way to end.

Server and client ends differ only in the two awaitables they are given; how the call itself
begins and ends is with :mod:`mkrpc.transport.aio`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from mkrpc.errors import InternalError, MkrpcError
from mkrpc.transport.stream import (
    CLOSE_TIMEOUT_S,
    MAX_FRAME_BYTES,
    BugReporter,
    ConnectionHandler,
    HandlerFactory,
)

__all__ = ["AioConnection"]

# How grpc.aio says that a call has ended under a read or a write; its status says why.
_CALL_IS_OVER = (grpc.aio.BaseError, grpc.aio.AioRpcError, asyncio.InvalidStateError)


class AioConnection:
    """One end of a byte stream; see :class:`mkrpc.transport.stream.Connection`."""

    __slots__ = (
        "_closed_here",
        "_closing",
        "_ending",
        "_error",
        "_frame",
        "_handler",
        "_loop",
        "_on_bug",
        "_peer",
        "_wake",
        "_write",
    )

    def __init__(
        self, *, peer: str, write: Callable[[bytes], Awaitable[None]], on_bug: BugReporter
    ) -> None:
        self._peer = peer
        self._write = write
        self._on_bug = on_bug
        self._loop = asyncio.get_running_loop()
        self._handler: ConnectionHandler | None = None
        self._frame: bytes | None = None
        self._wake: asyncio.Future[None] | None = None
        self._ending: asyncio.Future[None] = self._loop.create_future()
        self._closing = False
        self._closed_here = False
        self._error: MkrpcError | None = None

    @property
    def peer(self) -> str:
        """Who is at the other end, for people."""
        return self._peer

    @property
    def writable(self) -> bool:
        """True when no send is outstanding and the connection is not closing."""
        return self._frame is None and not self._closing

    @property
    def closed_here(self) -> bool:
        """True once ``close`` on this side, not the peer, has ended the stream."""
        return self._closed_here

    def send(self, frame: bytes) -> None:
        """Hand over one frame; AssertionError when not writable or beyond MAX_FRAME_BYTES."""
        assert self.writable, "send on a connection that is not writable"
        assert len(frame) <= MAX_FRAME_BYTES, f"a frame of {len(frame)} bytes"
        self._frame = frame
        self._wake_writer()

    def close(self, error: MkrpcError | None = None) -> None:
        """Flush what is outstanding and end the stream; the first call decides."""
        if self._closing:
            return
        self._closing = self._closed_here = True
        self._error = error
        self._wake_writer()
        if not self._ending.done():
            self._ending.set_result(None)

    def open(self, factory: HandlerFactory) -> None:
        """Make the handler; a factory with a bug leaves a closed connection without one."""
        try:
            self._handler = factory(self)
        except Exception as bug:  # noqa: BLE001 - reported whole to on_bug
            self._report_bug(bug)

    async def pump(
        self,
        read: Callable[[], Awaitable[Any]],
        half_close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Move frames both ways until either side ends the stream, then flush.

        With ``half_close`` (a client's farewell) a clean close here waits for the peer's own end.
        """
        reader = asyncio.create_task(self._read_frames(read))
        writer = asyncio.create_task(self._write_frames())
        tasks = {reader, writer}
        try:
            await asyncio.wait({*tasks, self._ending}, return_when=asyncio.FIRST_COMPLETED)
            if not self._closing and not reader.done():
                # A write failed because the call is over: the reader is about to learn how.
                await asyncio.wait({reader}, timeout=CLOSE_TIMEOUT_S)
            self._closing = True
            self._wake_writer()
            await asyncio.wait({writer}, timeout=CLOSE_TIMEOUT_S)
            clean = writer.done() and self._closed_here and self._error is None
            if half_close is not None and clean:
                tasks.add(asyncio.create_task(self._say_goodbye(half_close)))
                await asyncio.wait({reader}, timeout=CLOSE_TIMEOUT_S)
        finally:
            # Cancelled and awaited, never left behind: a read that outlives its call leaks.
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled() and (bug := task.exception()) is not None:
                    self._report_bug(bug)

    def finish(self, error: MkrpcError | None) -> MkrpcError | None:
        """Tell the handler that it is over, and why: ``error`` unless this side closed first."""
        self._closing = True
        if self._closed_here:
            error = self._error
        handler, self._handler = self._handler, None
        if handler is not None:
            self._call(handler.on_closed, error)
        return error

    async def _read_frames(self, read: Callable[[], Awaitable[Any]]) -> None:
        while True:
            try:
                frame = await read()
            except grpc.aio.UsageError:
                raise
            except _CALL_IS_OVER:
                return
            if frame is grpc.aio.EOF:
                return
            if not self._closing and self._handler is not None:
                self._call(self._handler.on_frame, frame)

    async def _write_frames(self) -> None:
        while True:
            if self._frame is None:
                if self._closing:
                    return
                self._wake = self._loop.create_future()
                await self._wake
                continue
            try:
                await self._write(self._frame)
            except grpc.aio.UsageError:
                raise
            except _CALL_IS_OVER:
                return
            self._frame = None
            if not self._closing and self._handler is not None:
                self._call(self._handler.on_writable)

    async def _say_goodbye(self, half_close: Callable[[], Awaitable[None]]) -> None:
        try:
            await half_close()
        except _CALL_IS_OVER:
            # The peer ended it at the same moment: the goodbye has nobody left to hear it.
            return

    def _wake_writer(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _call(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            callback(self, *arguments)
        except Exception as bug:  # noqa: BLE001 - reported whole to on_bug
            self._report_bug(bug)

    def _report_bug(self, bug: BaseException) -> None:
        # In a loop callback of its own: what a reporter raises reaches the loop, not the peer.
        self._loop.call_soon(self._on_bug, bug)
        self.close(InternalError())
