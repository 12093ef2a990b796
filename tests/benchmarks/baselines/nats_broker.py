"""Peer: NATS, publish and subscribe through nats-server on a free port of the loopback.

Not alike: the server cannot keep the books, so the client does; it has no Unix sockets.
"""

import asyncio
import re
import shutil
import subprocess
import tempfile
import time

from chain import Books, fork

from mkrpc.benchmarks.model import Model
from mkrpc.benchmarks.serving import ACKNOWLEDGEMENT, passed, serve, words_of

try:
    import nats
except ImportError:
    nats = None


def instance(url):
    async def run():
        connection = await nats.connect(url)
        model = Model()

        async def arrived(message):
            await connection.publish("acknowledgements", model.accept(message.data))

        await connection.subscribe("messages", cb=arrived)
        await connection.publish("acknowledgements", ACKNOWLEDGEMENT.pack(0, 0, 0))
        await asyncio.Event().wait()

    asyncio.run(run())


class Client:
    def __init__(self, loop):
        self.loop = loop
        self.books = Books()
        self.received = asyncio.Queue()

    async def open(self, url):
        self.connection = await nats.connect(url)

        async def arrived(message):
            self.received.put_nowait(message.data)

        await self.connection.subscribe("acknowledgements", cb=arrived)
        await self.connection.flush()

    async def send(self, message):
        self.books.write(message)
        await self.connection.publish("messages", message)

    async def receive(self):
        acknowledgement = await self.received.get()
        self.books.settle(acknowledgement)
        return acknowledgement

    def delay(self, count, word):
        return self.loop.run_until_complete(self._delay(count, words_of([word])))

    async def _delay(self, count, message):
        delays_us = []
        for _ in range(count):
            began_ns = time.monotonic_ns()
            await self.send(message)
            ran_ns, _, _ = ACKNOWLEDGEMENT.unpack(await self.receive())
            delays_us.append((ran_ns - began_ns) / 1000)
        return {"delays_us": delays_us}

    def stream(self, messages, words, window):
        return self.loop.run_until_complete(self._stream(messages, words_of(words), window))

    async def _stream(self, messages, message, window):
        ahead = min(window, messages)
        handled = coalesced = 0
        began = time.perf_counter()
        for number in range(messages + ahead):
            if number >= ahead:
                _, ran, merged = ACKNOWLEDGEMENT.unpack(await self.receive())
                handled += ran
                coalesced += merged
            if number < messages:
                await self.send(message)
        seconds = time.perf_counter() - began
        return passed(seconds, messages * len(message) // 8, handled, coalesced)


def listening(server):
    """The address that the server prints."""
    for line in server.stderr:
        if found := re.search(r"Listening for client connections on (\S+)", line):
            return f"nats://{found[1]}"
    raise SystemExit("nats-server did not start")


def main():
    program = shutil.which("nats-server")
    if nats is None or program is None:
        serve({}, missing="not installed: nats-server" if nats else "not installed: nats-py")
        return
    with tempfile.TemporaryDirectory(prefix="mkn") as directory:
        command = [program, "-a", "127.0.0.1", "-p", "-1", "-sd", directory]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            url = listening(server)
            loop = asyncio.new_event_loop()
            client = Client(loop)
            loop.run_until_complete(client.open(url))
            fork(instance, url)
            loop.run_until_complete(client.received.get())
            serve(
                {"delay": client.delay, "stream": client.stream},
                not_alike="the client keeps the books; over TCP",
            )
            loop.run_until_complete(client.connection.close())
        finally:
            server.kill()
            server.wait()
            server.stderr.close()


if __name__ == "__main__":
    main()
