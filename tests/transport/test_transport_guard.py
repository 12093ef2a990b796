"""Unary services beside the streams: the size limits, and what a servicer may raise."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.message import DecodeError

from mkrpc.errors import NotFoundError
from mkrpc.transport import aio
from mkrpc.transport.status import error_of
from mkrpc.transport.stream import MAX_ANSWER_BYTES, MAX_FRAME_BYTES, StreamServer

if TYPE_CHECKING:
    from tests.transport.conftest import Bench

UNARY = "/mkrpc.test.Unary/Ask"
PATIENCE_S = 20.0


def unary_service(behaviour: Any) -> Callable[[grpc.aio.Server], None]:
    """A servicer of one unary method, bytes in and bytes out."""
    _, service, method = UNARY.split("/")
    handlers: dict[str, Any] = {method: grpc.unary_unary_rpc_method_handler(behaviour)}

    def add(server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))

    return add


def readable(message: bytes) -> bytes:
    """What a generated class does with what is no such message."""
    if message == b"garbage":
        raise DecodeError("Error parsing message with type 'mkrpc.secret'")
    return message


async def ask(server: StreamServer, request: bytes) -> bytes:
    channel = grpc.aio.insecure_channel(
        server.bound_address.connect_target, tuple(aio.channel_options())
    )
    async with channel:
        method: Any = channel.unary_unary(UNARY)
        answer: bytes = await method(request, timeout=PATIENCE_S)
        return answer


async def test_unary_answers_may_be_larger_than_frames(bench: "Bench") -> None:
    async def large(request: bytes, _context: Any) -> bytes:
        return request * 8

    server = await bench.serve(bench.recorder().factory, add_services=unary_service(large))
    assert len(await ask(server, bytes(MAX_FRAME_BYTES))) == 8 * MAX_FRAME_BYTES < MAX_ANSWER_BYTES
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(server, bytes(MAX_FRAME_BYTES + 1))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_servicer_raises_typed_errors_and_they_travel_whole(bench: "Bench") -> None:
    async def missing(_request: bytes, _context: Any) -> bytes:
        raise NotFoundError("no instance 9", advice="mkrpc show lists them")

    server = await bench.serve(bench.recorder().factory, add_services=unary_service(missing))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(server, b"")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    error = error_of(
        refused.value.code(), refused.value.details() or "", refused.value.trailing_metadata()
    )
    assert type(error) is NotFoundError
    assert (str(error), error.advice) == ("no instance 9", "mkrpc show lists them")
    assert not bench.bugs


async def test_a_bug_in_a_servicer_is_reported_and_not_leaked(
    bench: "Bench", caplog: pytest.LogCaptureFixture
) -> None:
    async def buggy(_request: bytes, _context: Any) -> bytes:
        raise KeyError("secret=/etc/mkrpc/key.pem")

    server = await bench.serve(bench.recorder().factory, add_services=unary_service(buggy))
    with caplog.at_level(logging.ERROR), pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(server, b"")
    assert refused.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in repr(refused.value)
    assert [type(bug) for bug in bench.bugs] == [KeyError]
    assert not caplog.records  # a bug is told once, to on_bug


@pytest.mark.parametrize("streams", [False, True])
async def test_a_message_that_cannot_be_read_is_its_senders_mistake_and_no_bug(
    bench: "Bench", streams: bool
) -> None:
    async def echo(request: bytes, _context: Any) -> bytes:
        return request

    async def echoes(requests: Any, _context: Any) -> Any:
        async for request in requests:
            yield request

    _, service, method = UNARY.split("/")
    make: Any = grpc.unary_unary_rpc_method_handler
    if streams:
        make = grpc.stream_stream_rpc_method_handler
    handler = make(echoes if streams else echo, request_deserializer=readable)

    def add(server: grpc.aio.Server) -> None:
        handlers = grpc.method_handlers_generic_handler(service, {method: handler})
        server.add_generic_rpc_handlers((handlers,))

    server = await bench.serve(bench.recorder().factory, add_services=add)
    channel = grpc.aio.insecure_channel(
        server.bound_address.connect_target, tuple(aio.channel_options())
    )
    async with channel:
        call: Any
        if streams:
            call = channel.stream_stream(UNARY)(iter([b"one", b"garbage"]), timeout=PATIENCE_S)
            assert await call.read() == b"one"
        else:
            call = channel.unary_unary(UNARY)(b"garbage", timeout=PATIENCE_S)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await (call.read() if streams else call)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "secret" not in repr(refused.value)
    assert not bench.bugs
