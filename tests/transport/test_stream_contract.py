"""What every transport promises while both ends behave (mkrpc.transport.stream).

Runs on every implementation and on every kind of address; see conftest.py.
"""

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from mkrpc.errors import (
    AlreadyExistsError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    UnavailableError,
)
from mkrpc.transport.stream import MAX_FRAME_BYTES, Connection, ConnectionHandler

if TYPE_CHECKING:
    from tests.transport.conftest import Bench

FRAMES = 3_000


async def test_order_over_3000_frames_both_ways(bench: "Bench") -> None:
    server = await bench.serve(bench.echo)
    sent = [index.to_bytes(4, "big") * (1 + index % 50) for index in range(FRAMES)]
    sent[7] = b""
    sent[8] = bytes(MAX_FRAME_BYTES)

    sender = bench.recorder()

    def send_next(connection: Connection) -> None:
        if sender.writables < FRAMES:
            connection.send(sent[sender.writables])

    sender.then_on_writable = send_next
    connection = await bench.connect(server, sender)
    connection.send(sent[0])
    await sender.until(lambda: len(sender.frames) == FRAMES)
    assert sender.frames == sent
    assert sender.writables == FRAMES
    assert not bench.bugs


async def test_every_client_speaks_to_every_server(bench: "Bench") -> None:
    server = await bench.serve(bench.echo)
    for transport in bench.all_transports:
        near = bench.recorder()
        connection = await transport.connect(
            server.bound_address, bench.method, near.factory, on_bug=bench.bugs.append
        )
        connection.send(b"hello")
        await near.until(lambda near=near: near.frames == [b"hello"])
        connection.close()
        assert await near.end() is None
    assert not bench.bugs


async def test_one_send_outstanding_and_on_writable_follows_each(bench: "Bench") -> None:
    sink = bench.recorder()
    server = await bench.serve(sink.factory)
    client = bench.recorder()
    connection = await bench.connect(server, client)
    assert connection.writable
    for count in range(1, 4):
        connection.send(b"one")
        assert not connection.writable
        with pytest.raises(AssertionError, match="not writable"):
            connection.send(b"two")
        await client.until(lambda count=count: client.writables == count)
        assert connection.writable
    await sink.until(lambda: len(sink.frames) == 3)


async def test_a_peer_that_does_not_read_holds_the_sender_back(bench: "Bench") -> None:
    """Flow control: sends stop being writable, nothing is dropped, and nothing piles up here."""
    release = asyncio.Event()

    async def read_nothing(_requests: Any, context: Any) -> None:
        await context.send_initial_metadata(())
        await release.wait()

    handlers: dict[str, Any] = {"Attach": grpc.stream_stream_rpc_method_handler(read_nothing)}
    service = grpc.method_handlers_generic_handler("mkrpc.test.Deaf", handlers)
    server = await bench.serve(
        bench.recorder().factory,
        add_services=lambda server: server.add_generic_rpc_handlers((service,)),
    )

    flood = bench.recorder()
    flood.then_on_writable = lambda connection: connection.send(bytes(MAX_FRAME_BYTES))
    connection = await bench.transport.connect(
        server.bound_address, "/mkrpc.test.Deaf/Attach", flood.factory, on_bug=bench.bugs.append
    )
    connection.send(bytes(MAX_FRAME_BYTES))
    quiet_at = -1
    while quiet_at != flood.writables:
        quiet_at = flood.writables
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await flood.until(lambda: flood.writables > 1_000)
    assert not connection.writable
    assert flood.writables < 200
    connection.close()  # the flush cannot succeed: it is bounded
    assert await flood.end() is None
    release.set()


async def test_the_client_closes_and_its_last_send_arrives(bench: "Bench") -> None:
    far = bench.recorder()
    server = await bench.serve(far.factory)
    near = bench.recorder()
    connection = await bench.connect(server, near)
    connection.send(b"last")
    connection.close()
    connection.close(NotFoundError("too late"))
    assert not near.closed  # never from inside close()
    assert await near.end() is None
    assert await far.end() is None
    assert far.frames == [b"last"]
    assert near.writables == 0  # after close() nothing but on_closed


async def test_the_server_closes_and_its_last_send_arrives(bench: "Bench") -> None:
    far = bench.recorder()
    server = await bench.serve(far.factory)
    near = bench.recorder()
    await bench.connect(server, near)
    assert far.connection is not None
    far.connection.send(b"last")
    far.connection.close()
    assert await far.end() is None
    assert await near.end() is None
    assert near.frames == [b"last"]


async def test_the_server_closes_with_an_error_that_arrives_whole(bench: "Bench") -> None:
    far = bench.recorder()
    server = await bench.serve(far.factory)
    near = bench.recorder()
    await bench.connect(server, near)
    assert far.connection is not None
    far.connection.send(b"last")
    given = AlreadyExistsError("instance 3 is näher", advice="kill it first")
    far.connection.close(given)
    assert await far.end() is given
    received = await near.end()
    assert near.frames == [b"last"]
    assert type(received) is AlreadyExistsError
    assert str(received) == "instance 3 is näher"
    assert received.advice == "kill it first"


async def test_a_factory_may_refuse_at_once(bench: "Bench") -> None:
    far = bench.recorder()

    def refuse(connection: Connection) -> ConnectionHandler:
        connection.close(PermissionDeniedError("not you"))
        return far.factory(connection)

    server = await bench.serve(refuse)
    near = bench.recorder()
    with pytest.raises(PermissionDeniedError, match="not you"):
        await bench.connect(server, near)
    assert isinstance(await far.end(), PermissionDeniedError)
    assert near.connection is None


async def test_a_factory_may_send_at_once(bench: "Bench") -> None:
    def greet(connection: Connection) -> ConnectionHandler:
        connection.send(b"hello")
        return bench.recorder().factory(connection)

    server = await bench.serve(greet)
    near = bench.recorder()
    await bench.connect(server, near)
    await near.until(lambda: near.frames == [b"hello"])


async def test_a_client_that_closes_with_an_error_is_one_that_vanished(bench: "Bench") -> None:
    far = bench.recorder()
    server = await bench.serve(far.factory)
    near = bench.recorder()
    connection = await bench.connect(server, near)
    given = ProtocolError("the peer speaks another version")
    connection.close(given)
    assert await near.end() is given
    assert isinstance(await far.end(), UnavailableError)
