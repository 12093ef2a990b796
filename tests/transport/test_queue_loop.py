"""The loop that waits in a completion queue is still asyncio's: its files, timers and callbacks.

Each test has a server attached, so that the loop waits in the queue; what it waits for comes from
elsewhere.
"""

import asyncio
import os
import selectors
import signal
import socket
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import closing

import pytest

from mkrpc.transport import aio
from mkrpc.transport.address import Address
from mkrpc.transport.queue_loop import QueueLoop, attach
from mkrpc.transport.reactor import ReactorServer, connect
from mkrpc.transport.stream import Connection

METHOD = "/mkrpc.test.Bytes/Attach"
PATIENCE_S = 20.0


class Sink:
    """Counts the frames of all that connect."""

    def __init__(self) -> None:
        self.frames = 0
        self.changed = asyncio.Event()

    def on_frame(self, connection: Connection, frame: bytes) -> None:
        self.frames += 1
        self.changed.set()

    def on_writable(self, connection: Connection) -> None:
        if connection.writable:
            connection.send(b"more")

    def on_closed(self, connection: Connection, error: object) -> None:
        self.changed.set()


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture(autouse=True)
async def server(sink: Sink) -> AsyncIterator[ReactorServer]:
    server = ReactorServer(methods={METHOD: lambda _connection: sink})
    await server.start(Address(host="127.0.0.1", port=0))
    async with asyncio.timeout(PATIENCE_S):
        yield server
    await server.stop(0)


async def test_timers_fire_in_order_and_not_early() -> None:
    loop = asyncio.get_running_loop()
    fired: list[int] = []
    started_s = loop.time()
    handles = [loop.call_later(ms / 1000, fired.append, ms) for ms in (30, 10, 20, 500)]
    handles[3].cancel()
    await asyncio.sleep(0.04)
    assert fired == [10, 20, 30]
    assert loop.time() - started_s >= 0.04
    # One that is earlier than what the loop waits for already.
    long = asyncio.ensure_future(asyncio.sleep(60))
    await asyncio.sleep(0.005)
    long.cancel()


async def test_other_threads_wake_it() -> None:
    loop = asyncio.get_running_loop()
    for _ in range(50):
        called = asyncio.Event()
        threading.Timer(0.001, loop.call_soon_threadsafe, (called.set,)).start()
        await called.wait()
    assert await asyncio.to_thread(lambda: 7) == 7


async def test_files_are_watched_also_while_it_waits() -> None:
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        for number in range(20):
            loop.call_later(0.002, far.send, bytes([number]))
            assert await loop.sock_recv(near, 1) == bytes([number])


async def test_signals_are_taken() -> None:
    loop = asyncio.get_running_loop()
    taken = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, taken.set)
    loop.call_later(0.01, os.kill, os.getpid(), signal.SIGUSR1)
    await taken.wait()
    loop.remove_signal_handler(signal.SIGUSR1)


async def test_a_loop_that_is_never_idle_hears_frames_files_and_timers(
    server: ReactorServer, sink: Sink
) -> None:
    """Callbacks that call each other for ever, as a kernel does that always has something to run"""
    loop = asyncio.get_running_loop()
    busy = True

    def again() -> None:
        if busy:
            loop.call_soon(again)

    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        client = Sink()
        loop.call_soon(again)
        connection = await connect(server.bound_address, METHOD, lambda _connection: client)
        connection.send(b"first")
        while sink.frames < 100:
            sink.changed.clear()
            await sink.changed.wait()
        far.send(b"x")
        assert await loop.sock_recv(near, 1) == b"x"
        await asyncio.sleep(0.01)
        busy = False
        connection.close()


class Script:
    """A queue with what is in it from the start; who waits for more waits for ever."""

    looks_cheaply = False

    def __init__(self, *completions: Callable[[], object]) -> None:
        self._left = deque(completions)
        self.handled = 0

    def take(self) -> Callable[[], object]:
        assert self._left, "the loop waits, and somebody waits for it"
        return self._left.popleft()

    def handle(self, completion: Callable[[], object]) -> None:
        self.handled += 1
        completion()

    def look(self) -> bool:
        return False

    def wake(self) -> None:
        """Nobody is asleep."""

    def abandon(self) -> None:
        """There is nothing to end."""


def passes(loop: QueueLoop, script: Script) -> int:
    """Run until the loop is stopped; how often it has begun to wait."""
    select, times = loop.selector.select, 0

    def counted(timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        nonlocal times
        times += 1
        return select(timeout)

    loop.selector.select = counted  # type: ignore[method-assign]
    attach(loop, script)
    loop.run_forever()
    return times


@pytest.mark.parametrize(
    "ask",
    [
        lambda loop: loop.stop(),
        lambda loop: loop.call_soon(loop.stop),
        lambda loop: loop.call_later(0, loop.stop),
    ],
    ids=["to stop", "soon", "later"],
)
def test_what_a_completion_asks_of_the_loop_is_done_before_the_next_one(
    ask: Callable[[QueueLoop], object],
) -> None:
    with closing(QueueLoop()) as loop:
        script = Script(lambda: ask(loop), lambda: None)
        assert passes(loop, script) == 1
        assert script.handled == 1


def test_completions_that_ask_for_nothing_cost_no_pass_of_the_loop() -> None:
    with closing(QueueLoop()) as loop:
        script = Script(*[lambda: None] * 9, loop.stop)
        assert passes(loop, script) == 1
        assert script.handled == 10


async def test_grpc_aio_runs_on_it_as_well(server: ReactorServer, sink: Sink) -> None:
    connection = await aio.connect(server.bound_address, METHOD, lambda _connection: Sink())
    connection.send(b"one")
    while not sink.frames:
        await sink.changed.wait()
    connection.close()


def test_a_loop_that_is_closed_over_a_live_server_ends_it_and_its_threads() -> None:
    before = threading.active_count()

    async def leave() -> Address:
        server = ReactorServer(methods={METHOD: lambda _connection: Sink()})
        await server.start(Address(host="127.0.0.1", port=0))
        for _ in range(3):
            await connect(server.bound_address, METHOD, lambda _connection: Sink())
        return server.bound_address

    with asyncio.Runner(loop_factory=QueueLoop) as runner:
        where = runner.run(leave())
    assert threading.active_count() <= before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((where.host, where.port))


async def test_connections_leave_neither_threads_nor_descriptors(server: ReactorServer) -> None:
    def held() -> tuple[int, int]:
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    async def come_and_go() -> None:
        ended = asyncio.Event()
        client = Sink()
        client.on_closed = lambda *_: ended.set()  # type: ignore[method-assign]
        connection = await connect(server.bound_address, METHOD, lambda _connection: client)
        connection.close()
        await ended.wait()

    for _ in range(3):
        await come_and_go()
    before = held()
    for _ in range(20):
        await come_and_go()
    threads, descriptors = held()
    assert threads <= before[0]
    assert descriptors <= before[1] + 3  # the last ones may be on their way out
