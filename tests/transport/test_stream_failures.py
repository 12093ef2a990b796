"""What every transport promises when something dies, lies, is refused or has a bug."""

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from mkrpc.errors import (
    AddressInUseError,
    DeadlineExceededError,
    FrameTooLargeError,
    InternalError,
    InvalidArgumentError,
    LimitReachedError,
    MkrpcError,
    PermissionDeniedError,
    ProtocolError,
    UnavailableError,
)
from mkrpc.transport.address import Address, parse
from mkrpc.transport.aio import HANDSHAKE_TIMEOUT_S, SERVER_OPTIONS, AioServer
from mkrpc.transport.status import error_of
from mkrpc.transport.stream import MAX_FRAME_BYTES, Connection, ConnectionHandler

if TYPE_CHECKING:
    from tests.transport.conftest import Bench, Recorder

CROWD = 50  # as the child of conftest.py
NO_KEEPALIVE = (("grpc.keepalive_time_ms", 2**31 - 1),)
"""Only the end of its socket tells of a peer that is dead."""


async def test_a_killed_client_is_noticed_at_once(bench: "Bench") -> None:
    far = bench.recorder()
    server = await bench.serve(far.factory, options=NO_KEEPALIVE)
    async with bench.spawn("client", server.bound_address) as child:
        assert await bench.first_line(child) == "ready"
        await far.until(lambda: far.connection is not None)
        child.kill()
        assert isinstance(await far.end(), UnavailableError)


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_none_of_1000_killed_peers_passes_for_a_goodbye(bench: "Bench") -> None:
    """grpcio tells of a reset stream first as of its end; see EOF_SETTLE_S."""
    gone: list[MkrpcError | None] = []
    all_gone = asyncio.Event()

    class Witness:
        def on_frame(self, connection: Connection, frame: bytes) -> None: ...

        def on_writable(self, connection: Connection) -> None: ...

        def on_closed(self, connection: Connection, error: MkrpcError | None) -> None:
            gone.append(error)
            all_gone.set() if len(gone) % CROWD == 0 else None

    server = await bench.serve(lambda _connection: Witness())
    for _ in range(1000 // CROWD):
        all_gone.clear()
        async with bench.spawn("crowd", server.bound_address) as child:
            assert await bench.first_line(child) == "ready"
            child.kill()
            async with asyncio.timeout(bench.patience_s):
                await all_gone.wait()
    assert [error for error in gone if not isinstance(error, UnavailableError)] == []
    assert len(gone) == 1000


async def test_a_killed_server_is_noticed_at_once_and_its_address_is_free(bench: "Bench") -> None:
    async with bench.spawn("server", bench.address) as child:
        where = parse(await bench.first_line(child))
        near = bench.recorder()
        await bench.transport.connect(
            where, bench.method, near.factory, on_bug=bench.bugs.append, options=NO_KEEPALIVE
        )
        child.kill()
        assert isinstance(await near.end(), UnavailableError)
    with pytest.raises(UnavailableError, match="nobody answers at"):
        await bench.transport.connect(where, bench.method, bench.recorder().factory)
    bench.address = where  # a stale socket, or a port in TIME_WAIT
    server = await bench.serve(bench.recorder().factory)
    await bench.connect(server, bench.recorder())


async def test_an_oversized_frame_ends_its_sender_and_harms_nobody(bench: "Bench") -> None:
    recorders: list[Recorder] = []

    def factory(connection: Connection) -> ConnectionHandler:
        recorders.append(bench.recorder())
        return recorders[-1].factory(connection)

    server = await bench.serve(factory)
    bystander = bench.recorder()
    theirs = await bench.connect(server, bystander)
    async with grpc.aio.insecure_channel(server.bound_address.connect_target) as channel:
        call: Any = channel.stream_stream(bench.method)()
        await call.write(bytes(MAX_FRAME_BYTES))
        await call.write(bytes(MAX_FRAME_BYTES + 1))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call.read()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        details = refused.value.details() or ""
        assert isinstance(error_of(refused.value.code(), details), FrameTooLargeError)
    assert isinstance(await recorders[1].end(), UnavailableError)
    assert [len(frame) for frame in recorders[1].frames] == [MAX_FRAME_BYTES]
    theirs.send(b"still here")
    await recorders[0].until(lambda: recorders[0].frames == [b"still here"])
    assert not bystander.closed
    assert not bench.bugs


async def test_our_own_end_asserts_the_limit_before_sending(bench: "Bench") -> None:
    server = await bench.serve(bench.recorder().factory)
    connection = await bench.connect(server, bench.recorder())
    with pytest.raises(AssertionError, match=f"{MAX_FRAME_BYTES + 1} bytes"):
        connection.send(bytes(MAX_FRAME_BYTES + 1))
    assert connection.writable


async def test_a_second_server_is_refused_and_the_first_still_answers(bench: "Bench") -> None:
    first = await bench.serve(bench.echo)
    second = bench.transport.server(methods={bench.method: bench.recorder().factory})
    with pytest.raises(AddressInUseError) as refused:
        await second.start(first.bound_address)
    if bench.address.is_unix:
        assert f"process {os.getpid()}" in str(refused.value)
    near = bench.recorder()
    connection = await bench.connect(first, near)
    connection.send(b"who?")
    await near.until(lambda: near.frames == [b"who?"])


async def test_stop_tells_every_stream_and_frees_the_address(bench: "Bench") -> None:
    far = bench.recorder()
    server = await bench.serve(far.factory)
    near = bench.recorder()
    await bench.connect(server, near)
    async with asyncio.timeout(bench.patience_s):
        await server.stop(3600)  # streams do not hold it for the whole grace
    assert isinstance(await far.end(), UnavailableError)
    assert isinstance(await near.end(), UnavailableError)
    await server.stop(30)
    if bench.address.is_unix:
        assert os.path.basename(bench.address.path) not in os.listdir(
            os.path.dirname(bench.address.path)
        )
    bench.address = server.bound_address
    await bench.connect(await bench.serve(bench.recorder().factory), bench.recorder())


@pytest.mark.parametrize("callback", ["factory", "on_frame", "on_writable", "on_closed"])
async def test_a_bug_in_a_callback_is_reported_and_not_leaked(
    bench: "Bench", callback: str
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("secret=/etc/mkrpc/key.pem")

    buggy = bench.recorder()
    setattr(buggy, callback, fail)
    server = await bench.serve(buggy.factory)
    near = bench.recorder()
    try:
        connection = await bench.connect(server, near)
        connection.send(b"x")
        if callback == "on_writable":
            assert buggy.connection is not None
            buggy.connection.send(b"y")
        elif callback == "on_closed":
            connection.close()
        error = await near.end()
    except MkrpcError as refused:
        assert callback == "factory"
        error = refused
    await near.until(lambda: bool(bench.bugs))
    assert [str(bug) for bug in bench.bugs] == ["secret=/etc/mkrpc/key.pem"]
    if callback == "on_closed":  # the goodbye was already said
        return
    assert isinstance(error, InternalError)
    assert "secret" not in f"{error} {error.advice}"
    if callback != "factory":
        assert isinstance(await buggy.end(), InternalError)


async def test_by_default_a_bug_stops_the_process_loudly(bench: "Bench") -> None:
    near = bench.recorder()
    async with bench.spawn("buggy", bench.address) as child:
        where = parse(await bench.first_line(child))
        connection = await bench.transport.connect(where, bench.method, near.factory)
        connection.send(b"x")
        async with asyncio.timeout(bench.patience_s):
            _, stderr = await child.communicate()
    assert child.returncode == os.EX_SOFTWARE
    assert b"RuntimeError: secret=/etc/key.pem" in stderr
    assert "secret" not in str(await near.end())


async def test_the_connection_limit_has_a_name(bench: "Bench") -> None:
    server = await bench.serve(bench.recorder().factory, max_connections=1)
    first = bench.recorder()
    connection = await bench.connect(server, first)
    with pytest.raises(LimitReachedError, match="holds 1 connections"):
        await bench.connect(server, bench.recorder())
    connection.close()
    await first.end()
    await bench.connect(server, bench.recorder())


async def test_connect_names_what_went_wrong(bench: "Bench", short_directory: str) -> None:
    connect = bench.transport.connect
    with pytest.raises(UnavailableError, match="nobody answers at") as refused:
        await connect(
            Address(path=f"{short_directory}/none"), bench.method, bench.recorder().factory
        )
    assert refused.value.advice
    server = await bench.serve(bench.recorder().factory)
    with pytest.raises(ProtocolError, match="does not know this method"):
        await connect(server.bound_address, "/mkrpc.test.Bytes/Other", bench.recorder().factory)
    with pytest.raises(InvalidArgumentError, match="no port"):
        await connect(Address(host="127.0.0.1", port=0), bench.method, bench.recorder().factory)


async def test_a_server_that_never_answers_meets_the_deadline(bench: "Bench") -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # the kernel accepts, nobody speaks HTTP/2
        where = Address(host="127.0.0.1", port=silent.getsockname()[1])
        with pytest.raises(DeadlineExceededError, match=r"0\.2 s"):
            await bench.transport.connect(
                where, bench.method, bench.recorder().factory, deadline_s=0.2
            )


async def test_a_connection_that_never_speaks_is_closed() -> None:
    """With a shorter time than the default's: the option has the right name."""
    options = dict(SERVER_OPTIONS)
    assert options["grpc.server_handshake_timeout_ms"] == 1000 * HANDSHAKE_TIMEOUT_S
    server = AioServer(methods={}, options=(("grpc.server_handshake_timeout_ms", 200),))
    await server.start(Address(host="127.0.0.1", port=0))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.bound_address.port)
    async with asyncio.timeout(10):
        await reader.read()
    writer.close()
    await server.stop(0)


async def test_listening_beyond_this_host_needs_insecure(bench: "Bench") -> None:
    server = bench.transport.server(methods={bench.method: bench.recorder().factory})
    with pytest.raises(PermissionDeniedError):
        await server.start(parse("0.0.0.0:0"))
    await server.start(parse("0.0.0.0:0"), insecure=True)
    assert server.bound_address.port != 0
    await server.stop(0)
