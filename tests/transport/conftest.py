"""The bench of the transport tests: a handler that takes notes, and servers that get stopped.

``TRANSPORTS`` lists the implementations: a second one adds a line and must pass unchanged.
"""

import asyncio
import importlib
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from mkrpc.errors import MkrpcError
from mkrpc.transport import aio, reactor
from mkrpc.transport.address import Address, parse
from mkrpc.transport.queue_loop import QueueLoop
from mkrpc.transport.stream import Connection, ConnectionHandler, StreamServer

METHOD = "/mkrpc.test.Bytes/Attach"
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Transport:
    """One implementation of the interface."""

    name: str
    server: Callable[..., StreamServer]
    connect: Callable[..., Awaitable[Connection]]


TRANSPORTS = {
    "aio": Transport("aio", aio.AioServer, aio.connect),
    "reactor": Transport("reactor", reactor.ReactorServer, reactor.connect),
}


def pytest_asyncio_loop_factories(config: pytest.Config) -> dict[str, Any]:
    """Everything runs on the loop that the reactor is fast on; with --full on asyncio's own and,
    where it is installed, on uvloop too."""
    if not config.getoption("--full"):
        return {"queue": QueueLoop}
    loops: dict[str, Any] = {"queue": QueueLoop, "asyncio": asyncio.new_event_loop}
    with suppress(ImportError):
        loops["uvloop"] = importlib.import_module("uvloop").new_event_loop
    return loops


@dataclass
class Recorder:
    """A handler that writes down what it is told, checks the order, and then does as asked."""

    frames: list[bytes] = field(default_factory=list)
    writables: int = 0
    closed: list[MkrpcError | None] = field(default_factory=list)
    connection: Connection | None = None
    then_on_frame: Callable[[Connection], None] | None = None
    then_on_writable: Callable[[Connection], None] | None = None
    is_closed: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def factory(self, connection: Connection) -> ConnectionHandler:
        self.connection = connection
        self.changed.set()
        return self

    def on_frame(self, connection: Connection, frame: bytes) -> None:
        assert connection is self.connection
        assert not self.closed
        self.frames.append(frame)
        self.changed.set()
        if self.then_on_frame is not None:
            self.then_on_frame(connection)

    def on_writable(self, connection: Connection) -> None:
        assert connection.writable
        assert not self.closed
        self.writables += 1
        self.changed.set()
        if self.then_on_writable is not None:
            self.then_on_writable(connection)

    def on_closed(self, connection: Connection, error: MkrpcError | None) -> None:
        assert not connection.writable
        self.closed.append(error)
        self.is_closed.set()
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def end(self) -> MkrpcError | None:
        """What on_closed said: once, and only once."""
        async with asyncio.timeout(PATIENCE_S):
            await self.is_closed.wait()
        assert len(self.closed) == 1
        return self.closed[0]


def echo() -> Recorder:
    """A handler that sends every frame back, one send at a time."""
    recorder = Recorder()

    def send_next(connection: Connection) -> None:
        if connection.writable and recorder.frames:
            connection.send(recorder.frames.pop(0))

    recorder.then_on_frame = recorder.then_on_writable = send_next
    return recorder


CROWD = 50
"""Connections of a child that plays a crowd."""

CHILD = (
    f"CROWD = {CROWD}"
    + """
import asyncio, sys
from mkrpc.transport import aio, reactor
from mkrpc.transport.address import parse
from mkrpc.transport.queue_loop import QueueLoop

class Quiet:
    def on_frame(self, connection, frame): pass
    def on_writable(self, connection): pass
    def on_closed(self, connection, error): pass

class Buggy(Quiet):
    def on_frame(self, connection, frame): raise RuntimeError("secret=/etc/key.pem")

async def main():
    role, address, method = sys.argv[1], parse(sys.argv[2]), sys.argv[3]
    server_class, connect = {
        "aio": (aio.AioServer, aio.connect), "reactor": (reactor.ReactorServer, reactor.connect)
    }[sys.argv[4]]
    if role in ("client", "crowd"):
        for _ in range(1 if role == "client" else CROWD):
            await connect(address, method, lambda connection: Quiet())
        print("ready", flush=True)
    else:
        handler = Buggy() if role == "buggy" else Quiet()
        server = server_class(methods={method: lambda connection: handler})
        await server.start(address)
        print(server.bound_address, flush=True)
    await asyncio.Event().wait()

with asyncio.Runner(loop_factory=QueueLoop) as runner:
    runner.run(main())
"""
)


@asynccontextmanager
async def spawn(
    role: str, address: Address, transport: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A child that plays ``role``, killed at the end if it still runs."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CHILD, role, str(address), METHOD, transport),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        await child.communicate()


@dataclass
class Bench:
    """A transport, an address, and the servers to be stopped afterwards."""

    transport: Transport
    address: Address
    method: str = METHOD
    patience_s: float = PATIENCE_S
    bugs: list[BaseException] = field(default_factory=list)
    servers: list[StreamServer] = field(default_factory=list)
    all_transports: tuple[Transport, ...] = tuple(TRANSPORTS.values())

    async def serve(self, factory: Any, **more: Any) -> StreamServer:
        server = self.transport.server(methods={METHOD: factory}, on_bug=self.bugs.append, **more)
        await server.start(self.address)
        self.servers.append(server)
        return server

    async def connect(self, server: StreamServer, handler: Recorder, **more: Any) -> Connection:
        return await self.transport.connect(
            server.bound_address, METHOD, handler.factory, on_bug=self.bugs.append, **more
        )

    def recorder(self) -> Recorder:
        return Recorder()

    def echo(self, connection: Connection) -> ConnectionHandler:
        return echo().factory(connection)

    def spawn(
        self, role: str, address: Address
    ) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
        return spawn(role, address, self.transport.name)

    async def first_line(self, child: asyncio.subprocess.Process) -> str:
        assert child.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            return (await child.stdout.readline()).decode().strip()


@pytest.fixture
def short_directory() -> Iterator[str]:
    path = tempfile.mkdtemp(prefix="mk-", dir="/tmp")
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=["unix", "tcp"])
def address(request: pytest.FixtureRequest, short_directory: str) -> Address:
    odd = f"unix:{short_directory}/private/a b%20#é"  # grpc reads targets as URIs
    return parse(odd if request.param == "unix" else "127.0.0.1:0")


@pytest.fixture(params=sorted(TRANSPORTS))
async def bench(request: pytest.FixtureRequest, address: Address) -> AsyncIterator[Bench]:
    bench = Bench(TRANSPORTS[request.param], address)
    yield bench
    for server in bench.servers:
        await server.stop(0)
