"""A server on the completion queue that stops while a call comes: nobody is served, all are told.

The order is made by hand: what has come is handed to the server when its stop has begun.
"""

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from mkrpc.errors import UnavailableError
from mkrpc.transport.address import Address
from mkrpc.transport.reactor import ReactorServer, connect
from mkrpc.transport.stream import Connection, ConnectionHandler

if TYPE_CHECKING:
    from tests.transport.conftest import Bench

METHOD = "/mkrpc.test.Bytes/Attach"
GRACE_S = 3600.0
"""Longer than any test: who waits for it is found out by the timeout."""

PATIENCE_S = 20.0


class Stopping(ReactorServer):
    """Stops when the first call comes, and looks at that call and all others afterwards."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.stopped: asyncio.Task[None] | None = None
        self.late = 0

    def _came(self, completion: object) -> None:
        loop = asyncio.get_running_loop()
        if self.stopped is None:
            self.stopped = loop.create_task(self.stop(GRACE_S))
        # Behind the first step of the stop.
        loop.call_soon(self._came_late, completion)

    def _came_late(self, completion: object) -> None:
        self.late += 1
        super()._came(completion)


async def ended(server: Stopping) -> None:
    assert server.stopped is not None
    async with asyncio.timeout(PATIENCE_S):
        await server.stopped


def no_handler(connection: Connection) -> ConnectionHandler:
    raise AssertionError("a stream was opened by a server that stops")


async def test_a_stream_that_comes_while_the_server_stops_is_refused_and_holds_nothing_up(
    address: Address,
) -> None:
    bugs: list[BaseException] = []
    server = Stopping(methods={METHOD: no_handler}, on_bug=bugs.append)
    await server.start(address)
    with pytest.raises(UnavailableError):
        await connect(server.bound_address, METHOD, no_handler, on_bug=bugs.append)
    await ended(server)
    assert (server.late, bugs) == (1, [])
    again = ReactorServer(methods={METHOD: no_handler})
    await again.start(server.bound_address)
    await again.stop(0)


@pytest.mark.parametrize("method", ["/mkrpc.test.Bytes/Call", METHOD])
async def test_calls_that_come_while_the_server_stops_are_told(
    address: Address, method: str
) -> None:
    """Many at a time, of a method that is there and of one that is not."""
    server = Stopping(methods={METHOD: no_handler})
    await server.start(address)
    async with grpc.aio.insecure_channel(server.bound_address.connect_target) as channel:
        call: Any = channel.unary_unary(method)
        answers = await asyncio.gather(
            *(call(b"", timeout=PATIENCE_S) for _ in range(50)), return_exceptions=True
        )
    await ended(server)
    assert server.late >= 1
    told = {answer.code() for answer in answers if isinstance(answer, grpc.RpcError)}
    assert told <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert len([answer for answer in answers if isinstance(answer, grpc.RpcError)]) == 50


@pytest.mark.parametrize("when", ["at the factory", "at a frame"])
async def test_a_server_that_is_stopped_by_a_stream_tells_that_stream(
    bench: "Bench", when: str
) -> None:
    """The stop begins within the stream's own callback: it is told once, like all others."""
    stopped: list[asyncio.Task[None]] = []
    far, near = bench.recorder(), bench.recorder()

    def stop() -> None:
        stopped.append(asyncio.ensure_future(server.stop(GRACE_S)))

    def factory(connection: Connection) -> ConnectionHandler:
        if when == "at the factory":
            stop()
        return far.factory(connection)

    far.then_on_frame = lambda _connection: stop()
    server = await bench.serve(factory)
    try:
        connection = await bench.connect(server, near)
        if when == "at a frame":
            connection.send(b"stop")
        error = await near.end()
    except UnavailableError as refusal:
        assert when == "at the factory", "it had been accepted"
        error = refusal
    assert isinstance(error, UnavailableError)
    assert isinstance(await far.end(), UnavailableError)
    async with asyncio.timeout(PATIENCE_S):
        await stopped[0]
    assert bench.bugs == []
