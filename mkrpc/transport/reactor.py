"""The transport on grpcio's completion queue: one thread, and no hop between a frame and Python.

The same promises as :mod:`mkrpc.transport.aio`, with the same options; what is private of grpcio is
in :mod:`mkrpc.transport.completion_queue`. It runs on any event loop of asyncio, and is fast on a
:class:`mkrpc.transport.queue_loop.QueueLoop`.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import unquote

import grpc

from mkrpc.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    StartUpError,
    UnavailableError,
)
from mkrpc.transport.address import Address, AddressLock, bind_error, check_listen
from mkrpc.transport.admission import Admission
from mkrpc.transport.aio import SERVER_OPTIONS, Options, channel_options
from mkrpc.transport.completion_queue import ChannelQueue, ServerQueue
from mkrpc.transport.guard import Guard
from mkrpc.transport.queue_calls import ServerCall
from mkrpc.transport.queue_loop import attach
from mkrpc.transport.reactor_calls import ServedCall
from mkrpc.transport.reactor_connection import ClientConnection, ServerConnection
from mkrpc.transport.reactor_methods import Methods
from mkrpc.transport.status import abort_arguments
from mkrpc.transport.stream import (
    CONNECT_DEADLINE_S,
    MAX_CONNECTIONS,
    MAX_FRAME_BYTES,
    BugReporter,
    HandlerFactory,
    stop_loudly,
)

__all__ = ["ReactorServer", "connect"]


class ReactorServer:
    """A server of byte streams, and of other methods beside them.

    Takes what :class:`mkrpc.transport.aio.AioServer` takes.
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
        self._connections: set[ServerConnection] = set()
        self._calls: set[ServedCall] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._services: Methods | None = None
        self._queue: ServerQueue | None = None
        self._detach: Callable[[], None] | None = None
        self._lock: AddressLock | None = None
        self._bound: Address | None = None

    @property
    def bound_address(self) -> Address:
        """Where it listens, with the port that the kernel chose for port 0."""
        assert self._bound is not None, "not started"
        return self._bound

    async def start(self, address: Address, *, insecure: bool = False) -> None:
        """Lock the address, bind it and serve; raises as AioServer.start does."""
        assert self._queue is None, "started twice"
        check_listen(address, insecure)
        loop = self._loop = asyncio.get_running_loop()

        def report_bug(bug: BaseException) -> None:
            loop.call_soon(self._on_bug, bug)

        self._services = Methods(Guard(unguarded=frozenset(), report_bug=report_bug))
        if self._add_services is not None:
            self._add_services(self._services)
        lock = AddressLock(address)
        lock.acquire()
        try:
            queue = _queue(tuple(self._options.items()))
            try:
                port = queue.bind(address.listen_target)
            except (RuntimeError, OSError) as failure:
                queue.discard()
                raise bind_error(address) from failure
            queue.start(self._came)
        except BaseException:
            lock.release()
            raise
        self._lock = lock
        self._queue = queue
        self._bound = address if address.is_unix else replace(address, port=port)
        self._detach = attach(loop, queue)

    async def stop(self, grace_s: float) -> None:
        """Close every byte stream, give calls ``grace_s`` seconds to end, free the address.

        Idempotent; see :meth:`mkrpc.transport.aio.AioServer.stop`.
        """
        if self._queue is None:
            return
        queue, self._queue = self._queue, None
        self._admission.stopping = True
        for connection in tuple(self._connections):
            connection.close(UnavailableError(f"the server at {self._bound} is stopping"))
        down = asyncio.Event()
        queue.shut_down(down.set)
        try:
            async with asyncio.timeout(grace_s):
                await down.wait()
        except TimeoutError:
            queue.cancel_all()
            await down.wait()
        await asyncio.gather(*(call.stop() for call in tuple(self._calls)))
        assert self._detach is not None
        assert self._lock is not None
        self._detach()
        queue.close()
        self._lock.release()

    def _came(self, completion: object) -> None:
        """A call has come, of whatever method."""
        queue, loop, services = self._queue, self._loop, self._services
        assert loop is not None
        assert services is not None
        if queue is None:
            return  # It comes too late, and is cancelled with the rest.
        call = ServerCall(queue, completion)
        factory = self._methods.get(call.method)
        if factory is not None:
            self._stream(call, factory, loop)
            return
        handler = services.find(call)
        if handler is None:
            status = (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", ())
            call.finish(*status, _nothing, headers=())
            return
        served = ServedCall(call, handler, loop=loop, on_over=self._calls.discard)
        self._calls.add(served)
        served.begin()

    def _stream(
        self, call: ServerCall, factory: HandlerFactory, loop: asyncio.AbstractEventLoop
    ) -> None:
        refusal = self._admission.refusal(len(self._connections), self._bound)
        if refusal is not None:
            call.finish(*abort_arguments(refusal), _nothing, headers=())
            return
        connection = ServerConnection(
            call,
            peer=unquote(call.peer),
            on_bug=self._on_bug,
            loop=loop,
            on_over=self._connections.discard,
        )
        self._connections.add(connection)
        connection.open(factory)


async def connect(
    address: Address,
    method: str,
    handler_factory: HandlerFactory,
    *,
    deadline_s: float = CONNECT_DEADLINE_S,
    on_bug: BugReporter = stop_loudly,
    options: Options = (),
) -> ClientConnection:
    """Open a byte stream; returns once the server has accepted it.

    Raises what :func:`mkrpc.transport.aio.connect` raises.
    """
    if not address.is_unix and address.port == 0:
        raise InvalidArgumentError(
            f"{address} has no port to connect to", advice="give the port that the server prints"
        )
    loop = asyncio.get_running_loop()
    arguments = {**dict(channel_options(MAX_FRAME_BYTES)), **dict(options)}
    queue = ChannelQueue(address.connect_target, tuple(arguments.items()))
    connection = ClientConnection(
        queue, method, peer=str(address), on_bug=on_bug, loop=loop, let_go=attach(loop, queue)
    )
    try:
        async with asyncio.timeout(deadline_s):
            error = await connection.accepted
    except TimeoutError:
        connection.cancel()
        raise DeadlineExceededError(
            f"{address} did not accept a connection within {deadline_s:g} s",
            advice="the server may be hung or stopped",
        ) from None
    except BaseException:
        connection.cancel()
        raise
    if isinstance(error, UnavailableError) and not error.advice:
        raise UnavailableError(
            f"nobody answers at {address}: {error}",
            advice="check that the server runs and that this is its address",
        )
    if error is not None:
        raise error
    connection.open(handler_factory)
    return connection


def _queue(options: Options) -> ServerQueue:
    try:
        return ServerQueue(tuple(options))
    except RuntimeError as failure:
        raise StartUpError(
            f"the reactor cannot be used: {failure}", advice="set MKRPC_TRANSPORT=aio"
        ) from failure


def _nothing(_ok: bool) -> None:
    """Nobody waits for this."""
