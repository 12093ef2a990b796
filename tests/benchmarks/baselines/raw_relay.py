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

    def __init__(self, loop):
        self.loop = loop
        self.connection = None

    def opened(self, connection):
        self.connection = connection
        return self

    def on_frame(self, connection, frame):
        self.acknowledged(frame)

    def on_writable(self, connection):
        self.go_on()

    def on_closed(self, connection, error):
        return

    def run(self, acknowledged, go_on):
        """Until ``acknowledged`` says that it is over; in the callbacks, without another hop."""
        over = self.loop.create_future()

        def one(frame):
            if acknowledged(frame):
                over.set_result(None)

        self.acknowledged, self.go_on = one, go_on
        go_on()
        self.loop.run_until_complete(asyncio.wait_for(over, PATIENCE_S))

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

        began = time.perf_counter()
        self.run(acknowledged, go_on)
        seconds = time.perf_counter() - began
        written = messages * len(words)
        return passed(seconds, written, written, 0)


def main():
    with tempfile.TemporaryDirectory(prefix="rr") as directory:
        address = f"unix:{directory}/relay"
        spawn = multiprocessing.get_context("spawn")
        for role in (relay, sink):
            spawn.Process(target=role, args=(address,), daemon=True).start()
        loop = chosen().new_loop()
        client = Client(loop)
        loop.run_until_complete(reach(address, CLIENT, client.opened))
        serve({"delay": client.delay, "stream": client.stream}, transport=chosen().name)


if __name__ == "__main__":
    main()
