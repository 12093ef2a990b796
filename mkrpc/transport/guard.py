"""What unary servicers may raise: typed errors travel whole, bugs do not travel at all.

grpc.aio answers an unexpected exception with its text, which may hold paths and secrets, and goes
on serving. Under this interceptor an :class:`mkrpc.errors.MkrpcError` ends the call with its own
status and reason; anything else is reported here and reads INTERNAL over there.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from mkrpc.errors import InternalError, InvalidArgumentError, MkrpcError
from mkrpc.transport.status import abort_arguments

__all__ = ["Guard"]

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Guard(grpc.aio.ServerInterceptor):
    """Wraps every method save ``unguarded`` ones, which see to themselves."""

    def __init__(
        self, *, unguarded: frozenset[str], report_bug: Callable[[BaseException], None]
    ) -> None:
        self._unguarded = unguarded
        self._report_bug = report_bug

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Find the handler and put its behaviour behind the guard."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method in self._unguarded:
            return handler
        return self.wrap(handler)

    def wrap(self, handler: _Handler) -> _Handler:
        """The handler with its behaviour behind the guard."""
        kind = f"{_ARITY[handler.request_streaming]}_{_ARITY[handler.response_streaming]}"
        behaviour = getattr(handler, kind)
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        guarded: Any
        # grpc.aio answers what cannot be read with the exception's own text: it is read here,
        # where a message comes by itself; one of a stream is read where the servicer asks for it.
        read = None if handler.request_streaming else handler.request_deserializer
        if inspect.isasyncgenfunction(behaviour):
            guarded = self._guard_generator(behaviour, read or _as_it_is)
        else:
            # A blocking servicer would stop the reactor's only thread: it has no place here.
            assert inspect.iscoroutinefunction(behaviour), "servicers are coroutines"
            guarded = self._guard_coroutine(behaviour, read or _as_it_is)
        wrapped: _Handler = make(
            guarded,
            request_deserializer=None if read else handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        return wrapped

    def _guard_coroutine(
        self, behaviour: Callable[[Any, _Context], Awaitable[Any]], read: Callable[[Any], Any]
    ) -> Callable[[Any, _Context], Awaitable[Any]]:
        async def guarded(request: Any, context: _Context) -> Any:
            try:
                return await behaviour(read(request), context)
            except Exception as error:  # noqa: BLE001 - passed on whole, to abort or to report_bug
                await self._abort(context, error)

        return guarded

    def _guard_generator(
        self, behaviour: Callable[[Any, _Context], AsyncIterator[Any]], read: Callable[[Any], Any]
    ) -> Callable[[Any, _Context], AsyncIterator[Any]]:
        async def guarded(request: Any, context: _Context) -> AsyncIterator[Any]:
            try:
                async for answer in behaviour(read(request), context):
                    yield answer
            except Exception as error:  # noqa: BLE001 - passed on whole, to abort or to report_bug
                await self._abort(context, error)

        return guarded

    async def _abort(self, context: _Context, error: Exception) -> NoReturn:
        if isinstance(error, grpc.aio.BaseError):
            # The servicer aborted by itself, or the call ended under it: grpc's own business.
            raise error
        if isinstance(error, DecodeError):
            error = InvalidArgumentError("the request is no such message")
        if isinstance(error, MkrpcError):
            await context.abort(*abort_arguments(error))
        self._report_bug(error)
        await context.abort(*abort_arguments(InternalError()))


def _as_it_is(request: Any) -> Any:
    return request


_ARITY = {False: "unary", True: "stream"}
