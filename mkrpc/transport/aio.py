"""The transport over the public grpc.aio: works with every grpcio in the declared range.

One HTTP/2 stream carries one connection, with identity serializers, so that a stock gRPC client
can speak to it and another implementation of the interface can stand beside it. The traps of
grpcio that shape this file are named where they are avoided.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

import grpc

from mkrpc.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    MkrpcError,
    UnavailableError,
)
from mkrpc.transport.address import Address, AddressLock, bind_error, check_listen
from mkrpc.transport.admission import Admission
from mkrpc.transport.aio_connection import AioConnection
from mkrpc.transport.guard import Guard
from mkrpc.transport.status import abort_arguments, error_of
from mkrpc.transport.stream import (
    CONNECT_DEADLINE_S,
    MAX_ANSWER_BYTES,
    MAX_CONNECTIONS,
    MAX_FRAME_BYTES,
    BugReporter,
    HandlerFactory,
    stop_loudly,
)

__all__ = ["SERVER_OPTIONS", "AioServer", "Options", "channel_options", "connect"]

Options: TypeAlias = Sequence[tuple[str, Any]]
"""grpc channel arguments, as (key, value) pairs."""

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_Call: TypeAlias = "grpc.aio.StreamStreamCall[Any, Any]"

KEEPALIVE_TIME_S: Final = 10
"""Silence after which an end asks whether the other still lives."""

PING_TIMEOUT_S: Final = 5
"""How long it waits for the answer. ``grpc.keepalive_timeout_ms`` does nothing in C-core: this
does. A connection whose peer stopped without a word is found after at most 15 s; a finer clock
is the business of leases."""

MIN_PING_INTERVAL_S: Final = 5
"""A server takes a client that asks more often than this for an attacker and drops it."""

HANDSHAKE_TIMEOUT_S: Final = 10
"""A TCP or Unix connection that does not speak HTTP/2 by then is closed; the default is 120 s."""

MAX_CONCURRENT_STREAMS: Final = 128
"""Calls at a time on one TCP or Unix connection; a client's further calls wait at the client."""

MAX_PENDING_REQUESTS: Final = 100_000
"""Calls that wait to be picked up. The default drops streams at random when thousands of
instances come back together."""

EOF_SETTLE_S: Final = 0.02
"""After the last message, how long to wait for the news that the peer is dead.

grpcio reports a reset stream first as its end, exactly like a half-close, and as cancelled about
0.1 ms later: without this wait 7 of 1,000 killed peers were taken for a clean goodbye, with it
none. Only closing pays for it. A protocol that must be sure says goodbye in a frame of its own."""

_COMMON_OPTIONS: Final[Options] = (
    ("grpc.keepalive_time_ms", KEEPALIVE_TIME_S * 1000),
    ("grpc.http2.ping_timeout_ms", PING_TIMEOUT_S * 1000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
SERVER_OPTIONS: Final[Options] = (
    *_COMMON_OPTIONS,
    # Without this a second server silently shares a TCP port, and with it the clients.
    ("grpc.so_reuseport", 0),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_TIMEOUT_S * 1000),
    ("grpc.max_receive_message_length", MAX_FRAME_BYTES),
    ("grpc.max_send_message_length", MAX_ANSWER_BYTES),
    ("grpc.max_concurrent_streams", MAX_CONCURRENT_STREAMS),
    ("grpc.server.max_pending_requests", MAX_PENDING_REQUESTS),
    ("grpc.server.max_pending_requests_hard_limit", 2 * MAX_PENDING_REQUESTS),
    ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL_S * 1000),
)
"""Options of every server of the project."""


def channel_options(max_receive_bytes: int = MAX_ANSWER_BYTES) -> Options:
    """Options for a client's channel to an mkrpc server, for unary calls by default.

    The channel shares no connection with others of this process, and so no back-off and no
    fate; and an ``http_proxy`` of the environment stays out of the way.
    """
    return (
        *_COMMON_OPTIONS,
        ("grpc.max_receive_message_length", max_receive_bytes),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
    )


class AioServer:
    """A server of byte streams, and of ordinary unary services beside them.

    ``methods`` maps full method names (``/mkrpc.v1.Interconnect/Attach``) to handler factories.
    ``add_services`` is given the grpc server before it starts, to register servicers, which must
    be coroutines; they may raise :class:`MkrpcError` (see :class:`mkrpc.transport.guard.Guard`).
    ``options`` are grpc channel arguments that override the defaults of this module.
    """

    def __init__(
        self,
        *,
        methods: Mapping[str, HandlerFactory],
        add_services: Callable[[grpc.aio.Server], None] | None = None,
        options: Options = (),
        on_bug: BugReporter = stop_loudly,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._methods = dict(methods)
        self._add_services = add_services
        self._options = {**dict(SERVER_OPTIONS), **dict(options)}
        self._on_bug = on_bug
        self._admission = Admission(max_connections)
        self._connections: set[AioConnection] = set()
        self._server: grpc.aio.Server | None = None
        self._lock: AddressLock | None = None
        self._bound: Address | None = None

    @property
    def bound_address(self) -> Address:
        """Where it listens, with the port that the kernel chose for port 0."""
        assert self._bound is not None, "not started"
        return self._bound

    async def start(self, address: Address, *, insecure: bool = False) -> None:
        """Lock the address, bind it and serve.

        Raises :class:`PermissionDeniedError` (beyond this host without ``insecure``, or a directory
        that is not private), :class:`AddressInUseError` (somebody serves it and is left
        untouched), :class:`InvalidArgumentError` and :class:`StartUpError`.
        """
        assert self._server is None, "started twice"
        check_listen(address, insecure)
        loop = asyncio.get_running_loop()

        def report_bug(bug: BaseException) -> None:
            loop.call_soon(self._on_bug, bug)

        guard = Guard(unguarded=frozenset(self._methods), report_bug=report_bug)
        lock = AddressLock(address)
        lock.acquire()
        try:
            server = grpc.aio.server(interceptors=(guard,), options=tuple(self._options.items()))
            streams = _StreamMethods(self._methods, self._serve)
            server.add_generic_rpc_handlers((streams,))
            if self._add_services is not None:
                self._add_services(server)
            # A service may name a byte stream among its methods: the stream's handler serves it.
            for name, handler in streams.handlers.items():
                _, service, method = name.split("/")
                server.add_registered_method_handlers(service, {method: handler})
            try:
                port = server.add_insecure_port(address.listen_target)
            except (RuntimeError, OSError) as failure:
                raise bind_error(address) from failure
            await server.start()
        except BaseException:
            lock.release()
            raise
        self._lock = lock
        self._server = server
        self._bound = address if address.is_unix else replace(address, port=port)

    async def stop(self, grace_s: float) -> None:
        """Close every byte stream, give calls ``grace_s`` seconds to end, free the address.

        Idempotent. Streams are told at once (UnavailableError): a stream left alone would hold the
        server for the whole grace.
        """
        if self._server is None:
            return
        server, self._server = self._server, None
        self._admission.stopping = True
        for connection in tuple(self._connections):
            connection.close(UnavailableError(f"the server at {self._bound} is stopping"))
        await server.stop(grace_s)
        assert self._lock is not None
        self._lock.release()

    async def _serve(self, factory: HandlerFactory, context: _Context) -> None:
        refusal = self._admission.refusal(len(self._connections), self._bound)
        if refusal is not None:
            await context.abort(*abort_arguments(refusal))
        peer = unquote(context.peer())
        connection = AioConnection(peer=peer, write=context.write, on_bug=self._on_bug)
        self._connections.add(connection)
        error: MkrpcError | None = UnavailableError(
            f"the peer at {peer} vanished, cancelled, or sent more than {MAX_FRAME_BYTES} bytes "
            "in one frame"
        )
        try:
            connection.open(factory)
            if not connection.closed_here:
                # The client's connect() returns on these.
                await context.send_initial_metadata(())
            await connection.pump(context.read)
            if not connection.closed_here:
                await asyncio.sleep(EOF_SETTLE_S)
                error = None
        except grpc.aio.InternalError:
            # Gone before the first byte; grpc has nobody left to tell.
            return
        finally:
            self._connections.discard(connection)
            error = connection.finish(error)
        if error is not None:
            await context.abort(*abort_arguments(error))


class _StreamMethods(grpc.GenericRpcHandler):
    """Finds byte-stream methods by name, with no serializers: bytes in, bytes out."""

    def __init__(
        self,
        methods: Mapping[str, HandlerFactory],
        serve: Callable[[HandlerFactory, _Context], Awaitable[None]],
    ) -> None:
        self.handlers = {name: self._handler(factory, serve) for name, factory in methods.items()}

    @staticmethod
    def _handler(
        factory: HandlerFactory, serve: Callable[[HandlerFactory, _Context], Awaitable[None]]
    ) -> Any:
        async def attach(_requests: object, context: _Context) -> None:
            await serve(factory, context)

        return grpc.stream_stream_rpc_method_handler(attach)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a method, or None."""
        return self.handlers.get(handler_call_details.method)


_drivers: set[asyncio.Task[None]] = set()
"""The loop holds its tasks weakly (asyncio documentation, create_task): these must live."""


async def connect(
    address: Address,
    method: str,
    handler_factory: HandlerFactory,
    *,
    deadline_s: float = CONNECT_DEADLINE_S,
    on_bug: BugReporter = stop_loudly,
    options: Options = (),
) -> AioConnection:
    """Open a byte stream; returns once the server has accepted it.

    Raises :class:`UnavailableError` (nobody answers), :class:`DeadlineExceededError` (no answer in
    ``deadline_s`` seconds), :class:`ProtocolError` (no such method) or whatever error the server
    refused with. After that, an error arrives at ``on_closed``.
    """
    if not address.is_unix and address.port == 0:
        raise InvalidArgumentError(
            f"{address} has no port to connect to", advice="give the port that the server prints"
        )
    arguments = {**dict(channel_options(MAX_FRAME_BYTES)), **dict(options)}
    channel = grpc.aio.insecure_channel(address.connect_target, tuple(arguments.items()))
    call: _Call = channel.stream_stream(method)()
    try:
        await _wait_until_accepted(call, address, deadline_s)
    except BaseException:
        call.cancel()
        await channel.close()
        raise
    connection = AioConnection(peer=str(address), write=call.write, on_bug=on_bug)
    connection.open(handler_factory)
    driver = asyncio.create_task(_drive(connection, channel, call))
    _drivers.add(driver)
    driver.add_done_callback(_drivers.discard)
    return connection


async def _wait_until_accepted(call: _Call, address: Address, deadline_s: float) -> None:
    accepted = asyncio.ensure_future(call.initial_metadata())
    try:
        done, _ = await asyncio.wait({accepted}, timeout=deadline_s)
    finally:
        accepted.cancel()
    if not done:
        raise DeadlineExceededError(
            f"{address} did not accept a connection within {deadline_s:g} s",
            advice="the server may be hung or stopped",
        )
    error = await _status_of(call) if call.done() else None
    if isinstance(error, UnavailableError) and not error.advice:
        raise UnavailableError(
            f"nobody answers at {address}: {error}",
            advice="check that the server runs and that this is its address",
        )
    if error is not None:
        raise error


async def _status_of(call: _Call) -> MkrpcError | None:
    code = await call.code()
    if code is grpc.StatusCode.OK:
        return None
    return error_of(code, await call.details() or "", await call.trailing_metadata() or ())


async def _drive(connection: AioConnection, channel: grpc.aio.Channel, call: _Call) -> None:
    error: MkrpcError | None = UnavailableError(f"this end of {connection.peer} was shut down")
    try:
        await connection.pump(call.read, half_close=call.done_writing)
        if not connection.closed_here:
            error = await _status_of(call)
    finally:
        call.cancel()
        connection.finish(error)
        await channel.close()
