"""How a client calls: deadlines, repetition where it changes nothing, typed errors."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from mkrpc.client.repeating import repeat_while_broken
from mkrpc.errors import (
    ClusterStateError,
    DeadlineExceededError,
    MkrpcError,
    UnavailableError,
)
from mkrpc.transport.status import error_of

__all__ = ["Caller", "closed", "while_open"]

_INSTANCE_SILENT = (
    "the instance may be stopped or stuck in a handler: look with `mkrpc show`, end it with "
    "`mkrpc kill --force`"
)


def closed() -> ClusterStateError:
    """What every call of a closed client ends with."""
    return ClusterStateError("the client is closed", advice="make another one")


@contextmanager
def while_open() -> Iterator[None]:
    """Around what begins a call, while which another thread may close the client."""
    try:
        yield
    except ValueError as error:  # gRPC's word for a channel that is closed
        if "closed" not in str(error):
            raise
        raise closed() from None


class Caller:
    """The part of a client that knows no method of the service."""

    def __init__(self, address: str, *, timeout_s: float) -> None:
        self.address = address
        self.timeout_s = timeout_s

    def _call(
        self,
        method: Callable[..., Any],
        request: object,
        *,
        limit_s: float | None = None,
        if_silent: str = _INSTANCE_SILENT,
    ) -> Any:
        """One unary call; ``if_silent`` is the advice when nobody answers in time."""
        try:
            with while_open():
                return method(request, timeout=self.timeout_s if limit_s is None else limit_s)
        except grpc.RpcError as error:
            raise self._typed(error, if_silent=if_silent) from None

    def _read(
        self, method: Callable[..., Any], request: object, *, if_silent: str = _INSTANCE_SILENT
    ) -> Any:
        """A call that changes nothing: repeated while an interconnect is started again."""
        try:
            with while_open():
                return repeat_while_broken(lambda: method(request, timeout=self.timeout_s))
        except grpc.RpcError as error:
            raise self._typed(error, if_silent=if_silent) from None

    def _typed(self, error: grpc.RpcError, *, if_silent: str = _INSTANCE_SILENT) -> MkrpcError:
        # A failed call is also a grpc.Call; the stubs' RpcError does not say so.
        call: Any = error
        typed = error_of(call.code(), call.details() or "", call.trailing_metadata() or ())
        if typed.advice:
            return typed
        if isinstance(typed, UnavailableError):
            advice = "what was asked for may have happened: look with `mkrpc show`"
            return UnavailableError(f"{self.address}: {typed}", advice=advice)
        if isinstance(typed, DeadlineExceededError):
            return DeadlineExceededError(
                f"{self.address}: no answer in time ({typed})", advice=if_silent
            )
        return typed
