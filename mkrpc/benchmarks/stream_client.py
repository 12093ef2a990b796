"""A client of ``Control.InjectStream`` on mkrpc's own transport, as the raw relay's client is.

What it says is :class:`mkrpc.client.bulk_sender.BulkSender`'s, as of every client; what it adds is
a loop of its own and no thread.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Sequence

from mkrpc.client.bulk_sender import INJECT_STREAM, BulkSender
from mkrpc.errors import MkrpcError, UnavailableError
from mkrpc.transport.address import parse
from mkrpc.transport.choice import chosen
from mkrpc.transport.stream import Connection

__all__ = ["TICK_S", "StreamClient"]

PATIENCE_S = 60.0
"""Seconds until what was begun has to be over."""

TICK_S = 0.001
"""Seconds between two looks at the clock of whoever offers load: a loop's timers are no finer."""


class _Client:
    """One stream; ``go_on`` is called whenever something may have become possible."""

    def __init__(self, *, each: bool) -> None:
        self.sender = BulkSender(os.urandom(16), each=each)
        self.frames: deque[bytes] = deque()
        """Requests that were made and wait to be sent."""
        loop = asyncio.get_running_loop()
        self.greeted: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.go_on: Callable[[], None] = lambda: None
        self._connection: Connection | None = None

    def opened(self, connection: Connection) -> "_Client":
        """The stream stands."""
        self._connection = connection
        return self

    def write(self, word: int) -> None:
        """A request of its own for this word, at once."""
        self.sender.append_one(word)
        if self.frames or self._connection is None or not self._connection.writable:
            request = self.sender.next_request()
            if request is not None:
                self.frames.append(request)
        self.pump()
        assert not self.sender.gathered, "no credit for a request"

    def pump(self) -> None:
        """Send the next request: what was written while another one was on its way is in one."""
        connection = self._connection
        if connection is None or not connection.writable:
            return
        frame = self.frames.popleft() if self.frames else self.sender.next_request()
        if frame is not None:
            connection.send(frame)

    def close(self) -> None:
        """Nothing more is to be injected."""
        if self._connection is not None:
            self._connection.close()

    def on_frame(self, connection: Connection, frame: bytes) -> None:
        self.sender.received(frame)
        self.sender.outcomes.clear()
        if not self.greeted.done():
            self.greeted.set_result(None)
        self.pump()
        self.go_on()

    def on_writable(self, connection: Connection) -> None:
        self.pump()
        self.go_on()

    def on_closed(self, connection: Connection, error: MkrpcError | None) -> None:
        self._connection = None
        self.closed.set_result(None)
        if not self.over.done():
            self.over.set_exception(error or UnavailableError("the interconnect ended the stream"))


class StreamClient:
    """Streams to one interconnect, one after another, on one loop.

    One stream for each measurement, for nobody would answer the pings of an idle one while the loop
    does not run; one loop, for grpc.aio still tells a loop that was closed of what has ended.
    """

    def __init__(self, address: str) -> None:
        self._address = parse(address)
        self._runner = asyncio.Runner(loop_factory=chosen().new_loop)

    def close(self) -> None:
        """Close the loop."""
        self._runner.close()

    def closed_loop(self, words: Sequence[int], ran_ns: Callable[[int], int]) -> list[float]:
        """One word after another, each once the one before has its outcome.

        Returns for each the microseconds from before it was written until ``ran_ns`` of its number,
        in ns of CLOCK_MONOTONIC.
        """
        delays_us: list[float] = []

        def work(client: _Client) -> None:
            began_ns = 0

            def write() -> None:
                nonlocal began_ns
                number = len(delays_us)
                began_ns = time.monotonic_ns()
                client.write(words[number])

            def go_on() -> None:
                if client.over.done() or client.sender.answered <= len(delays_us):
                    return
                delays_us.append((ran_ns(len(delays_us)) - began_ns) / 1000)
                if len(delays_us) == len(words):
                    client.over.set_result(None)
                else:
                    write()

            client.go_on = go_on
            write()

        self._run(True, work)
        return delays_us

    def windowed(self, messages: int, words: Sequence[int], *, window: int, each: bool) -> float:
        """So many messages of these words, ``window`` of them without an outcome at most.

        ``each``: the outcome of every word is asked for, else counts. A message of more words than
        one request may have goes in several. Returns the seconds until the last outcome.
        """
        began = ended = 0.0

        def work(client: _Client) -> None:
            nonlocal began
            written = 0

            def go_on() -> None:
                nonlocal written, ended
                answered = client.sender.answered
                while written < messages and written * len(words) - answered < window * len(words):
                    written += 1
                    if len(words) == 1:
                        client.write(words[0])
                    else:
                        client.sender.append(words)
                        client.pump()
                if answered == messages * len(words) and not client.over.done():
                    ended = time.perf_counter()
                    client.over.set_result(None)

            client.go_on = go_on
            began = time.perf_counter()
            go_on()

        self._run(each, work)
        return ended - began

    def offered(self, word: int, *, rate: int, count: int) -> tuple[list[int], float]:
        """``count`` words at so many a second, whatever becomes of those before.

        At every tick of a millisecond what is due by the clock is written. Returns when each was,
        in ns of CLOCK_MONOTONIC, and how many a second that were.
        """
        written_ns: list[int] = []

        def work(client: _Client) -> None:
            loop = asyncio.get_running_loop()
            began_ns = time.monotonic_ns()

            def tick() -> None:
                due = (time.monotonic_ns() - began_ns) * rate // 1_000_000_000 + 1
                while len(written_ns) < min(due, count):
                    written_ns.append(time.monotonic_ns())
                    client.sender.append((word,))
                    client.pump()
                if len(written_ns) < count:
                    loop.call_later(TICK_S, tick)

            def go_on() -> None:
                if client.sender.answered == count and not client.over.done():
                    client.over.set_result(None)

            client.go_on = go_on
            tick()

        self._run(False, work)
        return written_ns, (count - 1) * 1e9 / max(1, written_ns[-1] - written_ns[0])

    def _run(self, each: bool, work: Callable[[_Client], None]) -> None:
        """Open a stream, let ``work`` begin, and wait until it is over."""

        async def main() -> None:
            client = _Client(each=each)
            await chosen().connect(self._address, INJECT_STREAM, client.opened)
            await asyncio.wait_for(client.greeted, PATIENCE_S)
            work(client)
            await asyncio.wait_for(client.over, PATIENCE_S)
            client.close()
            await asyncio.wait_for(client.closed, PATIENCE_S)

        self._runner.run(main())
