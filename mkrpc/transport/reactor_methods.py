"""The methods that servicers written for grpc.aio serve on grpcio's completion queue."""

from collections.abc import Iterable
from typing import Any, TypeAlias

import grpc

from mkrpc.transport.guard import Guard
from mkrpc.transport.queue_calls import ServerCall

__all__ = ["Methods"]

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class CallDetails(grpc.HandlerCallDetails):
    """What a generic handler is asked with."""

    def __init__(self, call: ServerCall) -> None:
        self.method = call.method
        self.invocation_metadata = call.metadata


class Methods(grpc.aio.Server):
    """What servicers are registered with, as with a server of grpc.aio: it only collects them."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._generic: list[grpc.GenericRpcHandler] = []
        self._found: dict[str, _Handler] = {}

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[Any]) -> None:
        """As :meth:`grpc.aio.Server.add_generic_rpc_handlers`."""
        self._generic.extend(generic_rpc_handlers)

    def find(self, call: ServerCall) -> "_Handler | None":
        """The handler of a call's method, behind the guard; or None."""
        found = self._found.get(call.method)
        if found is None:
            details = CallDetails(call)
            for generic in self._generic:
                handler = generic.service(details)
                if handler is not None:
                    found = self._found[call.method] = self._guard.wrap(handler)
                    break
        return found

    def add_insecure_port(self, address: str) -> int:
        """Not for servicers."""
        raise AssertionError("the reactor begins and ends by itself")

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """Not for servicers."""
        raise AssertionError("the reactor begins and ends by itself")

    async def start(self) -> None:
        """Not for servicers."""
        raise AssertionError("the reactor begins and ends by itself")

    async def stop(self, grace: float | None) -> None:
        """Not for servicers."""
        raise AssertionError("the reactor begins and ends by itself")

    async def wait_for_termination(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109
        """Not for servicers."""
        raise AssertionError("the reactor begins and ends by itself")
