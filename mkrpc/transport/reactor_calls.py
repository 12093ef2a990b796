"""Ordinary methods on grpcio's completion queue, served by servicers written for grpc.aio.

What a servicer is given does what grpc.aio documents for its ``ServicerContext``, as far as
Control, health and reflection go; there is no compression and no peer identity.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, NoReturn, TypeAlias

import grpc

from mkrpc.errors import InvalidArgumentError
from mkrpc.transport.completion_queue import Metadata
from mkrpc.transport.queue_calls import ServerCall
from mkrpc.transport.status import abort_arguments

__all__ = ["ServedCall"]

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class ServedCall(grpc.aio.ServicerContext[Any, Any]):
    """One call and the task that answers it; it is also what the servicer is given.

    ``on_over`` is told when the task has ended.
    """

    def __init__(
        self,
        call: ServerCall,
        handler: _Handler,
        *,
        loop: asyncio.AbstractEventLoop,
        on_over: Callable[["ServedCall"], None],
    ) -> None:
        self._call = call
        self._handler = handler
        self._loop = loop
        self._on_over = on_over
        self._headers: Metadata | None = ()
        """What has not been sent yet."""
        self._trailers: Metadata = ()
        self._code = grpc.StatusCode.OK
        self._details = ""
        self._finished = False
        self._cancelled = False
        self._callbacks: list[Callable[[Any], None]] = []
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Serve it. A single request is waited for before there is a task."""
        self._call.watch(self._ended)
        if self._handler.request_streaming:
            self._serve(_Requests(self))
        else:
            self._call.receive(self._requested)

    def _requested(self, message: bytes | None) -> None:
        if message is None or self._cancelled:
            self._over()
            return
        try:
            request = self._deserialized(message)
        except Exception:  # noqa: BLE001 - whatever a message makes of it, it is the client's
            self._refuse(InvalidArgumentError("the request is no such message"))
            self._over()
            return
        self._serve(request)

    def _refuse(self, error: InvalidArgumentError) -> None:
        code, details, trailers = abort_arguments(error)
        self._finished = True
        self._call.finish(code, details, trailers, _nothing, headers=())

    def _serve(self, request: Any) -> None:
        task = self._task = self._loop.create_task(self._run(request))
        task.add_done_callback(self._ran)

    async def _run(self, request: Any) -> None:
        handler: Any = self._handler
        if handler.response_streaming:
            stream = handler.stream_stream if handler.request_streaming else handler.unary_stream
            if inspect.isasyncgenfunction(stream):
                async with aclosing(stream(request, self)) as answers:
                    async for answer in answers:
                        await self.write(answer)
            else:
                await stream(request, self)
            await self._finish(None)
        else:
            unary = handler.stream_unary if handler.request_streaming else handler.unary_unary
            await self._finish(await unary(request, self))

    async def _finish(self, answer: Any) -> None:
        if self._finished:
            return
        message = None
        if self._code is grpc.StatusCode.OK and not self._handler.response_streaming:
            message = self._serialized(answer)
        await self._end(self._code, self._details, self._trailers, message)

    async def _end(
        self, code: grpc.StatusCode, details: str, trailers: Metadata, message: bytes | None = None
    ) -> None:
        self._finished = True
        headers, self._headers = self._headers, None
        done: asyncio.Future[bool] = self._loop.create_future()
        self._call.finish(
            *(code, details, trailers, _resolves(done)), message=message, headers=headers
        )
        await done

    def _ran(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (bug := task.exception()) is not None:
            # The guard lets through what says that the call is over, and nothing else.
            assert isinstance(bug, grpc.aio.BaseError), repr(bug)
        self._over()

    def _over(self) -> None:
        if not self._finished:
            self._finished = True
            self._call.cancel()
        self._on_over(self)
        for callback in self._callbacks:
            callback(self)

    def _ended(self, cancelled: bool) -> None:
        if cancelled:
            self._cancelled = True
            if self._task is not None:
                self._task.cancel()

    async def stop(self) -> None:
        """Nobody waits for the answer any more; returns when the servicer has seen that."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _deserialized(self, message: bytes) -> Any:
        make = self._handler.request_deserializer
        return message if make is None else make(message)

    def _serialized(self, answer: Any) -> bytes:
        make = self._handler.response_serializer
        return answer if make is None else make(answer)

    # For servicers; as :class:`grpc.aio.ServicerContext`.

    async def read(self) -> Any:
        """The next message of the client, or ``grpc.aio.EOF``."""
        self._check()
        came: asyncio.Future[bytes | None] = self._loop.create_future()
        self._call.receive(_resolves(came))
        message = await came
        return grpc.aio.EOF if message is None else self._deserialized(message)

    async def write(self, message: Any) -> None:
        """A message to the client."""
        await self._send(self._serialized(message), self._headers)

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        """Headers, before anything else."""
        if self._headers is None:
            raise grpc.aio.UsageError("the headers have been sent")
        await self._send(None, tuple(initial_metadata))

    async def _send(self, message: bytes | None, headers: Metadata | None) -> None:
        self._check()
        self._headers = None
        sent: asyncio.Future[bool] = self._loop.create_future()
        self._call.send(message, _resolves(sent), headers=headers)
        if not await sent:
            raise grpc.aio.InternalError("the call is over")

    def _check(self) -> None:
        if self._finished:
            raise grpc.aio.UsageError("the call has been finished")

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()
    ) -> NoReturn:
        """End the call with a status; raises, so that the servicer ends as well."""
        self._check()
        trailers = tuple(trailing_metadata) or self._trailers
        await self._end(code, details or self._details, trailers)
        raise grpc.aio.AbortError("aborted by the servicer")

    async def abort_with_status(self, status: Any) -> NoReturn:
        """As :meth:`abort`."""
        await self.abort(status.code, status.details, status.trailing_metadata)

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """What goes with the status."""
        self._trailers = tuple(trailing_metadata)

    def trailing_metadata(self) -> Any:
        """What goes with the status."""
        return self._trailers

    def invocation_metadata(self) -> Any:
        """What came with the call."""
        return self._call.metadata

    def set_compression(self, compression: grpc.Compression) -> None:
        """Not here: messages go as they are."""

    def disable_next_message_compression(self) -> None:
        """Not here: messages go as they are."""

    def peer_identities(self) -> None:
        """Nobody has one."""

    def peer_identity_key(self) -> None:
        """Nobody has one."""

    def auth_context(self) -> dict[str, Any]:
        """Nobody has one."""
        return {}

    def set_code(self, code: grpc.StatusCode) -> None:
        """The status, if the servicer returns."""
        self._code = code

    def code(self) -> Any:
        """The status as set."""
        return self._code

    def set_details(self, details: str) -> None:
        """The status's words, if the servicer returns."""
        self._details = details

    def details(self) -> str:
        """The status's words as set."""
        return self._details

    def peer(self) -> str:
        """Who calls."""
        return self._call.peer

    def time_remaining(self) -> Any:
        """Seconds until the client's deadline; None without one."""
        return self._call.remaining_s

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Called with this object when the call is over."""
        self._callbacks.append(callback)

    def cancelled(self) -> bool:
        """Whether the client has cancelled, or has gone."""
        return self._cancelled

    def done(self) -> bool:
        """Whether the status has been sent."""
        return self._finished


class _Requests:
    """The messages of a client, one after another."""

    def __init__(self, context: ServedCall) -> None:
        self._context = context

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        message = await self._context.read()
        if message is grpc.aio.EOF:
            raise StopAsyncIteration
        return message


def _resolves(future: "asyncio.Future[Any]") -> Callable[[Any], None]:
    def resolve(result: Any) -> None:
        if not future.done():
            future.set_result(result)

    return resolve


def _nothing(_ok: bool) -> None:
    """Nobody waits for this."""
