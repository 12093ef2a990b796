"""Baseline: a raw relay over mkrpc's own transport, client -> relay -> sink -> relay -> client.

Three processes, the same byte streams, the same hops; no local APIC, no routing, no ledger, no
sequence numbers. What this takes, no machine on this transport can be faster than. The sink notes
the time and sends it back.

Like for like with mkrpc's delay: topology, transport, placement. Not alike: it does nothing.
"""

import asyncio
import multiprocessing
import tempfile
import time
from collections import deque

from mkrpc.benchmarks.serving import ACKNOWLEDGEMENT, passed, serve, words_of
from mkrpc.benchmarks.stream_client import TICK_S
from mkrpc.transport.address import parse
from mkrpc.transport.choice import chosen

CLIENT, SINK = "/mkrpc.bench.Relay/Client", "/mkrpc.bench.Relay/Sink"
PATIENCE_S = 30.0


class End:
    """One end at the relay: what comes goes out at the other."""

    def __init__(self):
        self.connection = None
        self.other = None
        self.waiting = deque()

    def opened(self, connection):
        self.connection = connection
        self.on_writable(connection)  # what came before anybody was here
        return self

    def on_frame(self, connection, frame):
        self.other.forward(frame)

    def forward(self, frame):
        self.waiting.append(frame)
        if self.connection is not None and self.connection.writable:
            self.connection.send(self.waiting.popleft())

    def on_writable(self, connection):
        if self.waiting:
            connection.send(self.waiting.popleft())

    def on_closed(self, connection, error):
        if connection is self.connection:
            self.connection = None


def relay(address):
    """The process in the middle."""

    async def run():
        client, sink = End(), End()
        client.other, sink.other = sink, client
        server = chosen().server(methods={CLIENT: client.opened, SINK: sink.opened})
        await server.start(parse(address))
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=chosen().new_loop) as runner:
        runner.run(run())


class Sink(End):
    """The last process: the time, and back."""

    def on_frame(self, connection, frame):
        now_ns = time.monotonic_ns()
        self.forward(ACKNOWLEDGEMENT.pack(now_ns, len(frame) // 8, 0))


async def reach(address, method, factory):
    """Connect, however long the server takes to start."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await chosen().connect(parse(address), method, factory)
        except Exception:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


def sink(address):
    async def run():
        await reach(address, SINK, Sink().opened)
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=chosen().new_loop) as runner:
        runner.run(run())


class Client:
    """The first process, and the one that measures."""

    def __init__(self, address):
        self.address = address
        # One loop for all orders: grpc.aio still tells one that was closed of what has ended.
        self.runner = asyncio.Runner(loop_factory=chosen().new_loop)
        self.connection = None
        self.acknowledged = lambda frame: None
        self.go_on = lambda: None

    def opened(self, connection):
        self.connection = connection
        return self

    def on_frame(self, connection, frame):
        self.acknowledged(frame)

    def on_writable(self, connection):
        self.go_on()

    def on_closed(self, connection, error):
        self.closed.set_result(None)

    def run(self, acknowledged, go_on):
        """A stream, until ``acknowledged`` says that it is over; in the callbacks, without a hop.

        One for each order: while no loop runs, nobody would answer the pings of an idle one.
        Returns the seconds between the first send and the last acknowledgement.
        """

        async def work():
            loop = asyncio.get_running_loop()
            over, self.closed = loop.create_future(), loop.create_future()
            await reach(self.address, CLIENT, self.opened)

            def one(frame):
                if acknowledged(frame):
                    over.set_result(time.perf_counter())

            self.acknowledged, self.go_on = one, go_on
            began = time.perf_counter()
            go_on()
            ended = await asyncio.wait_for(over, PATIENCE_S)
            self.go_on = lambda: None
            self.connection.close()
            await asyncio.wait_for(self.closed, PATIENCE_S)
            return ended - began

        return self.runner.run(work())

    def delay(self, count, word):
        message = words_of([word])
        delays_us = []
        began_ns = 0
        due = True

        def go_on():
            # The answer may be here before the last send is reported as done.
            nonlocal began_ns, due
            if due and self.connection.writable:
                due = False
                began_ns = time.monotonic_ns()
                self.connection.send(message)

        def acknowledged(frame):
            nonlocal due
            delays_us.append((ACKNOWLEDGEMENT.unpack(frame)[0] - began_ns) / 1000)
            due = len(delays_us) < count
            go_on()
            return len(delays_us) == count

        self.run(acknowledged, go_on)
        return {"delays_us": delays_us}

    def offered(self, rate, count, word):
        """As mkrpc's client offers words: at every tick what is due, whatever became of others."""
        message = words_of([word])
        waiting = deque()
        written_ns, handled_ns = [], []

        def go_on():
            if waiting and self.connection.writable:
                self.connection.send(waiting.popleft())

        def tick():
            due = (time.monotonic_ns() - began_ns) * rate // 1_000_000_000 + 1
            while len(written_ns) < min(due, count):
                written_ns.append(time.monotonic_ns())
                waiting.append(message)
                go_on()
            if len(written_ns) < count:
                asyncio.get_running_loop().call_later(TICK_S, tick)

        def acknowledged(frame):
            handled_ns.append(ACKNOWLEDGEMENT.unpack(frame)[0])
            return len(handled_ns) == count

        def begin():
            nonlocal began_ns
            if not began_ns:
                began_ns = time.monotonic_ns()
                tick()
            go_on()

        began_ns = 0
        self.run(acknowledged, begin)
        delays_us = [(ran - each) / 1000 for ran, each in zip(handled_ns, written_ns, strict=True)]
        had = (count - 1) * 1e9 / max(1, written_ns[-1] - written_ns[0])
        return {"delays_us": delays_us, "offered_per_s": had}

    def stream(self, messages, words, window):
        message = words_of(words)
        sent = back = 0

        def go_on():
            nonlocal sent
            if sent < messages and sent - back < window and self.connection.writable:
                sent += 1
                self.connection.send(message)

        def acknowledged(frame):
            nonlocal back
            back += 1
            go_on()
            return back == messages

        seconds = self.run(acknowledged, go_on)
        written = messages * len(words)
        return passed(seconds, written, written, 0)


def main():
    with tempfile.TemporaryDirectory(prefix="rr") as directory:
        address = f"unix:{directory}/relay"
        spawn = multiprocessing.get_context("spawn")
        for role in (relay, sink):
            spawn.Process(target=role, args=(address,), daemon=True).start()
        client = Client(address)
        client.delay(1, 0)  # all three are there
        orders = (client.delay, client.offered, client.stream)
        serve({order.__name__: order for order in orders}, transport=chosen().name)


if __name__ == "__main__":
    main()
