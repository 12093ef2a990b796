"""Servicers written for grpc.aio: the same on every transport, for stock clients of either kind."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from mkrpc.errors import NotFoundError, UnavailableError
from mkrpc.transport.status import error_of
from mkrpc.transport.stream import StreamServer

if TYPE_CHECKING:
    from tests.transport.conftest import Bench

SERVICE = "mkrpc.test.Kinds"
PATIENCE_S = 20.0


class Kinds:
    """One method of each kind, and what became of their calls."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended: list[str] = []
        self.over = asyncio.Event()
        self.release = asyncio.Event()

    async def ask(self, request: bytes, context: Any) -> bytes:
        """Unary: answers with what it was told, headers and peer."""
        told = dict(context.invocation_metadata())
        context.set_trailing_metadata((("left", str(context.time_remaining() is not None)),))
        assert context.peer().startswith(("unix:", "ipv4:"))
        return request + str(told["key"]).encode()

    async def count(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """Server stream."""
        for number in range(int(request)):
            yield str(number).encode()

    async def write(self, request: bytes, context: Any) -> None:
        """Server stream, by ``write``."""
        await context.send_initial_metadata((("first", "yes"),))
        for number in range(int(request)):
            await context.write(str(number).encode())

    async def join(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        """Client stream."""
        return b",".join([request async for request in requests])

    async def echo(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        """Both."""
        async for request in requests:
            if request == b"fail":
                raise NotFoundError("no such thing", advice="ask for another")
            yield request

    async def hang(self, request: bytes, context: Any) -> bytes:
        """Unary: until somebody ends it."""
        context.add_done_callback(lambda _context: self.over.set())
        self.begun.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        return b"released"

    def add(self, server: grpc.aio.Server) -> None:
        """Register them."""
        handlers: dict[str, Any] = {
            "Ask": grpc.unary_unary_rpc_method_handler(self.ask),
            "Hang": grpc.unary_unary_rpc_method_handler(self.hang),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "Write": grpc.unary_stream_rpc_method_handler(self.write),
            "Join": grpc.stream_unary_rpc_method_handler(self.join),
            "Echo": grpc.stream_stream_rpc_method_handler(self.echo),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


@pytest.fixture
def kinds() -> Kinds:
    return Kinds()


async def serve(bench: "Bench", add: Callable[[grpc.aio.Server], None]) -> StreamServer:
    return await bench.serve(bench.recorder().factory, add_services=add)


def method(channel: Any, kind: str, name: str) -> Any:
    return getattr(channel, kind)(f"/{SERVICE}/{name}")


async def test_all_four_kinds_of_method(bench: "Bench", kinds: Kinds) -> None:
    server = await serve(bench, kinds.add)
    async with grpc.aio.insecure_channel(server.bound_address.connect_target) as channel:
        call = method(channel, "unary_unary", "Ask")(
            b"x", metadata=(("key", "y"),), timeout=PATIENCE_S
        )
        assert await call == b"xy"
        assert dict(await call.trailing_metadata())["left"] == "True"
        numbers = [b"0", b"1", b"2"]
        assert [one async for one in method(channel, "unary_stream", "Count")(b"3")] == numbers
        written = method(channel, "unary_stream", "Write")(b"3")
        assert dict(await written.initial_metadata())["first"] == "yes"
        assert [one async for one in written] == numbers
        assert await method(channel, "stream_unary", "Join")(iter(numbers)) == b"0,1,2"
        assert [one async for one in method(channel, "stream_stream", "Echo")(iter(numbers))] == (
            numbers
        )
    assert not bench.bugs


async def test_the_blocking_client_as_well(bench: "Bench", kinds: Kinds) -> None:
    server = await serve(bench, kinds.add)

    def ask() -> tuple[bytes, list[bytes]]:
        with grpc.insecure_channel(server.bound_address.connect_target) as channel:
            answer = method(channel, "unary_unary", "Ask")(
                b"x", metadata=(("key", "y"),), timeout=PATIENCE_S
            )
            stream = method(channel, "stream_stream", "Echo")(iter([b"a", b""]), timeout=PATIENCE_S)
            return answer, list(stream)

    assert await asyncio.to_thread(ask) == (b"xy", [b"a", b""])


async def test_an_error_in_the_middle_of_a_stream_travels_whole(
    bench: "Bench", kinds: Kinds
) -> None:
    server = await serve(bench, kinds.add)
    async with grpc.aio.insecure_channel(server.bound_address.connect_target) as channel:
        call = method(channel, "stream_stream", "Echo")()
        await call.write(b"a")
        assert await call.read() == b"a"
        await call.write(b"fail")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call.read()
    status = refused.value
    error = error_of(status.code(), status.details() or "", status.trailing_metadata())
    assert type(error) is NotFoundError
    assert error.advice == "ask for another"
    assert not bench.bugs


async def test_a_method_that_is_none(bench: "Bench", kinds: Kinds) -> None:
    server = await serve(bench, kinds.add)
    async with grpc.aio.insecure_channel(server.bound_address.connect_target) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await method(channel, "unary_unary", "None")(b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("how", ["cancels", "deadline", "vanishes"])
async def test_a_servicer_hears_that_its_client_is_gone(
    bench: "Bench", kinds: Kinds, how: str
) -> None:
    server = await serve(bench, kinds.add)
    channel = grpc.aio.insecure_channel(server.bound_address.connect_target)
    call = method(channel, "unary_unary", "Hang")(b"", timeout=0.3 if how == "deadline" else None)
    await kinds.begun.wait()
    if how == "cancels":
        call.cancel()
    elif how == "vanishes":
        await channel.close()
    with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)) as ended:
        await call
    async with asyncio.timeout(PATIENCE_S):
        await kinds.over.wait()
    assert kinds.ended == ["cancelled"]
    if how == "deadline":
        assert isinstance(ended.value, grpc.aio.AioRpcError)
        assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await channel.close()
    assert not bench.bugs


async def test_a_server_that_stops_lets_calls_end_or_ends_them(
    bench: "Bench", kinds: Kinds
) -> None:
    for patient in (True, False):
        kinds.begun.clear()
        kinds.release.clear()
        server = await serve(bench, kinds.add)
        async with grpc.aio.insecure_channel(server.bound_address.connect_target) as channel:
            call = method(channel, "unary_unary", "Hang")(b"")
            await kinds.begun.wait()
            stopping = asyncio.ensure_future(server.stop(PATIENCE_S if patient else 0))
            if patient:
                kinds.release.set()
                assert await call == b"released"
            else:
                with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
                    await call
            await stopping
        assert kinds.ended == ([] if patient else ["cancelled"])


async def test_a_request_that_is_no_message_harms_nobody(bench: "Bench") -> None:
    servicer = health.aio.HealthServicer()
    server = await serve(
        bench, lambda server: health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    )
    async with grpc.aio.insecure_channel(server.bound_address.connect_target) as channel:
        raw: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
        with pytest.raises(grpc.aio.AioRpcError):
            await raw(b"\xff\xff\xff", timeout=PATIENCE_S)
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_health_is_watched_and_reflection_lists_services(bench: "Bench") -> None:
    servicer = health.aio.HealthServicer()
    own = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

    def add(server: grpc.aio.Server) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        reflection.enable_server_reflection((own, reflection.SERVICE_NAME), server)

    server = await serve(bench, add)
    async with grpc.aio.insecure_channel(server.bound_address.connect_target) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="later"))
        seen = [(await watch.read()).status]
        await servicer.set("later", health_pb2.HealthCheckResponse.SERVING)
        seen.append((await watch.read()).status)
        watch.cancel()
        assert seen == [
            health_pb2.HealthCheckResponse.SERVICE_UNKNOWN,
            health_pb2.HealthCheckResponse.SERVING,
        ]
        reflected: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        async for answer in reflected.ServerReflectionInfo(iter([question])):
            names = {service.name for service in answer.list_services_response.service}
        assert names == {own, reflection.SERVICE_NAME}


async def test_nothing_is_answered_after_the_stop(bench: "Bench", kinds: Kinds) -> None:
    server = await serve(bench, kinds.add)
    where = server.bound_address
    await server.stop(0)
    with pytest.raises(UnavailableError):
        await bench.transport.connect(where, bench.method, bench.recorder().factory)
