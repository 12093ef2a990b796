"""``python -m mkrpc.benchmarks.transports``: the two transports against each other, in one run.

For each a server and a client, processes of their own, over a Unix socket: frames of 16 bytes go
there and back, one at a time, and then one way as fast as they are taken. The transports take turns
in every round, so that what else the machine does meets both. The polling of grpcio follows
``GRPC_EXPERIMENTS``, as everywhere.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Any

from mkrpc.benchmarks.warden import guarded_directory
from mkrpc.transport.address import parse
from mkrpc.transport.choice import TRANSPORT_VARIABLE, chosen
from mkrpc.transport.stream import Connection

__all__ = ["main"]

METHOD = "/mkrpc.benchmark.Bytes/Attach"
FRAME = bytes(16)
NAMES = ("aio", "reactor")


class Echo:
    """The server's end: sends every frame back; counts those that begin with a 1 instead."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._counted = 0

    def on_frame(self, connection: Connection, frame: bytes) -> None:
        """Send it back, or count it; the last of those that are counted is answered."""
        if frame[0]:
            self._counted += 1
            if frame[0] == 1:
                return
        self._waiting.append(frame)
        self.on_writable(connection)

    def on_writable(self, connection: Connection) -> None:
        """Send what waits."""
        if self._waiting and connection.writable:
            connection.send(self._waiting.pop())

    def on_closed(self, connection: Connection, error: object) -> None:
        """Nothing is to be done."""


class Pinger:
    """The client's end: one frame at a time there and back, or many one way."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._done = asyncio.Event()
        self._round_trips_us: list[float] = []
        self._waiting: list[bytes] = []
        """Frames to be sent, the last one first."""
        self._one_way = False
        self._left = 0
        self._sent_ns = 0

    async def ping(self, count: int) -> dict[str, float]:
        """Frames there and back: percentiles in us."""
        self._left, self._one_way, self._round_trips_us = count, False, []
        self._waiting = [FRAME]
        await self._run()
        cuts = statistics.quantiles(self._round_trips_us, n=100)
        return {"p50_us": cuts[49], "p99_us": cuts[98]}

    async def flood(self, count: int) -> dict[str, float]:
        """Frames one way, until the last one has been answered: frames per second."""
        self._left, self._one_way = 1, True
        self._waiting = [bytes([2]) + FRAME[1:]] + [bytes([1]) + FRAME[1:]] * (count - 1)
        started_ns = time.monotonic_ns()
        await self._run()
        return {"frames_per_s": count * 1e9 / (time.monotonic_ns() - started_ns)}

    async def _run(self) -> None:
        self._done.clear()
        self.on_writable(self.connection)
        await self._done.wait()

    def on_frame(self, connection: Connection, frame: bytes) -> None:
        """It has come back."""
        self._left -= 1
        if not self._one_way:
            self._round_trips_us.append((time.monotonic_ns() - self._sent_ns) / 1000)
        if not self._left:
            self._done.set()
        else:
            self._waiting.append(FRAME)
            self.on_writable(connection)

    def on_writable(self, connection: Connection) -> None:
        """The next one, if it is time for it."""
        if self._waiting and connection.writable:
            self._sent_ns = time.monotonic_ns()
            connection.send(self._waiting.pop())

    def on_closed(self, connection: Connection, error: object) -> None:
        """Nothing is to be done."""


async def _serve(address: str) -> None:
    server = chosen().server(methods={METHOD: lambda _connection: Echo()})
    await server.start(parse(address))
    print("ready", flush=True)
    await asyncio.Event().wait()


async def _ask(address: str) -> None:
    pingers: list[Pinger] = []

    def made(connection: Connection) -> Pinger:
        pingers.append(Pinger(connection))
        return pingers[0]

    await chosen().connect(parse(address), METHOD, made)
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        order, count = line.split()
        found = await getattr(pingers[0], order)(int(count))
        print(json.dumps(found), flush=True)


def _start(stack: ExitStack, role: str, address: str, name: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-m", "mkrpc.benchmarks.transports", f"--role={role}", address],
        env=os.environ | {TRANSPORT_VARIABLE: name},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    stack.callback(process.wait)
    stack.callback(process.kill)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _order(client: "subprocess.Popen[str]", order: str) -> dict[str, float]:
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(order + "\n")
    client.stdin.flush()
    found: dict[str, float] = json.loads(client.stdout.readline())
    return found


def measure(rounds: int, pings: int, frames: int) -> dict[str, Any]:
    """All rounds of each transport by its name, and the medians."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in NAMES}
    with guarded_directory("mk-") as directory, ExitStack() as stack:
        clients = {}
        for name in NAMES:
            address = f"unix:{directory}/{name}"
            _start(stack, "server", address, name)
            clients[name] = _start(stack, "client", address, name)
            _order(clients[name], f"ping {pings // 10 + 2}")
        for number in range(rounds):
            for name in NAMES if number % 2 else reversed(NAMES):
                there_and_back = _order(clients[name], f"ping {pings}")
                found[name].append(there_and_back | _order(clients[name], f"flood {frames}"))
    medians = {
        name: {key: statistics.median(one[key] for one in all_) for key in all_[0]}
        for name, all_ in found.items()
    }
    experiments = os.environ.get("GRPC_EXPERIMENTS", "")
    return {"experiments": experiments, "medians": medians, "rounds": found}


def main() -> None:
    """Measure and print; with ``--json`` every round."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pings", type=int, default=2000)
    parser.add_argument("--frames", type=int, default=20000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--role", choices=("server", "client"), help=argparse.SUPPRESS)
    parser.add_argument("address", nargs="?", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role is not None:
        with asyncio.Runner(loop_factory=chosen().new_loop) as runner:
            runner.run((_serve if given.role == "server" else _ask)(given.address))
        return
    found = measure(given.rounds, given.pings, given.frames)
    if given.json:
        print(json.dumps(found))
        return
    print(f"{'':10}{'p50 us':>10}{'p99 us':>10}{'frames/s':>12}")
    for name, median in found["medians"].items():
        p50, p99, rate = median["p50_us"], median["p99_us"], median["frames_per_s"]
        print(f"{name:10}{p50:10.0f}{p99:10.0f}{rate:12.0f}")


if __name__ == "__main__":
    main()
