"""``python -m mkrpc.benchmarks.streams``: how long it takes until everybody is connected.

A real interconnect, and light clients in a few processes that all open their streams at one moment,
each over a connection of its own. A machine has 512 instances at most, so the streams beyond are
second ones: an instance that finds its first stream of no use opens another and resumes. Every
stream says hello and waits for its welcome.
"""

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import click

from mkrpc.benchmarks.warden import guarded_directory
from mkrpc.errors import MkrpcError, StartUpError
from mkrpc.frame_codec import ATTACH, decode_down, encode_up
from mkrpc.limits import MAX_INSTANCE_ID
from mkrpc.link.frames import WIRE_VERSION, CpuAddress, Hello, Welcome
from mkrpc.transport.address import parse
from mkrpc.transport.aio import connect
from mkrpc.transport.stream import MAX_CONNECTIONS, Connection
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.destination import x2apic_ldr

__all__ = ["BOUND_S", "Report", "connect_all", "main", "measure", "work"]

BOUND_S = 5.0
"""Seconds until the last welcome."""

DEADLINE_S = 60.0


@dataclass(slots=True, kw_only=True)
class Report:
    """``refused``: what those were told who got no welcome, each text once with its count."""

    streams: int
    processes: int
    address: str
    cores: int
    load_before: float
    welcomed: int = 0
    accepted_s: float = 0.0
    welcomed_s: float = 0.0
    refused: dict[str, int] = field(default_factory=dict)

    @property
    def as_promised(self) -> bool:
        """Everybody in time."""
        return self.welcomed == self.streams and self.welcomed_s < BOUND_S


class _Stream:
    """One stream of a light client; ``welcome`` comes or an error does."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.accepted_s = time.monotonic()
        self.welcome: asyncio.Future[Welcome] = asyncio.get_running_loop().create_future()

    def say(self, hello: Hello) -> "asyncio.Future[Welcome]":
        """Say hello."""
        if not self.welcome.done():
            self._connection.send(encode_up(hello))
        return self.welcome

    def on_frame(self, connection: Connection, frame: bytes) -> None:
        message = decode_down(frame)
        if isinstance(message, Welcome) and not self.welcome.done():
            self.welcome.set_result(message)

    def on_writable(self, connection: Connection) -> None:
        return

    def on_closed(self, connection: Connection, error: MkrpcError | None) -> None:
        if not self.welcome.done():
            self.welcome.set_exception(error or StartUpError("closed without a welcome"))


def _hello(instance_id: int, incarnation: bytes, welcome: Welcome | None) -> Hello:
    address = CpuAddress(
        0, instance_id, ApicMode.X2APIC, instance_id & 0xFF, x2apic_ldr(instance_id), 0, True
    )
    return Hello(
        wire_version=WIRE_VERSION,
        instance_id=instance_id,
        name=f"light{instance_id}",
        incarnation=incarnation,
        pid=os.getpid(),
        cpus=(address,),
        epoch=welcome.epoch if welcome else 0,
        generation=welcome.generation if welcome else 0,
    )


async def _instance(address: str, instance_id: int, streams: int) -> list[tuple[float, float]]:
    """When each of its one or two streams was accepted, and welcomed."""
    incarnation = secrets.token_bytes(16)
    made: list[_Stream] = []

    def open_(connection: Connection) -> _Stream:
        made.append(_Stream(connection))
        return made[-1]

    opening = [
        connect(parse(address), ATTACH, open_, deadline_s=DEADLINE_S) for _ in range(streams)
    ]
    await asyncio.gather(*opening)
    times = []
    welcome: Welcome | None = None
    for stream in made:
        welcome = await stream.say(_hello(instance_id, incarnation, welcome))
        times.append((stream.accepted_s, time.monotonic()))
    return times


async def _instances(address: str, shares: dict[int, int]) -> dict[str, Any]:
    calls = [_instance(address, number, streams) for number, streams in shares.items()]
    found = await asyncio.gather(*calls, return_exceptions=True)
    times = [pair for each in found if not isinstance(each, BaseException) for pair in each]
    return {
        "times": times,
        "refused": [str(each) for each in found if isinstance(each, BaseException)],
    }


def work() -> None:
    """A worker: told where and which instances, waits for the word, reports, waits for the end."""
    order = json.loads(sys.stdin.readline())
    shares = {int(key): streams for key, streams in order["shares"].items()}
    print("ready", flush=True)
    sys.stdin.readline()

    async def run() -> None:
        print(json.dumps(await _instances(order["address"], shares)), flush=True)
        # Nobody lets go before all are connected.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        os._exit(0)  # a thousand farewells are not what is measured

    asyncio.run(run())


@contextmanager
def _interconnect(address: str) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "mkrpc.interconnect", "--listen", address, "--lease", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise StartUpError(f"the interconnect did not start at {address}")
        yield line.removeprefix("listening on ").strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def measure(*, streams: int = 1000, processes: int = 2, tcp: bool = False) -> Report:
    """Connect so many streams at once to an interconnect of its own; takes it down again."""
    report = Report(
        streams=streams,
        processes=processes,
        address="",
        cores=len(os.sched_getaffinity(0)),
        load_before=os.getloadavg()[0],
    )
    with guarded_directory("mk-streams") as directory:
        wanted = "127.0.0.1:0" if tcp else f"unix:{directory / 's'}"
        with _interconnect(wanted) as address:
            report.address = address
            connect_all(report)
    return report


def connect_all(report: Report) -> None:
    """Connect the streams of a report to its address, and fill in what comes of it."""
    instances = min(report.streams, MAX_INSTANCE_ID + 1)
    shares = {number: 1 + (number < report.streams - instances) for number in range(instances)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", "from mkrpc.benchmarks.streams import work; work()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(report.processes)
    ]
    try:
        for index, worker in enumerate(workers):
            own = {number: n for number, n in shares.items() if number % len(workers) == index}
            _tell(worker, json.dumps({"address": report.address, "shares": own}))
        for worker in workers:
            _answer(worker)
        begin = time.monotonic()
        for worker in workers:
            _tell(worker, "go")
        for worker in workers:
            _add(report, begin, json.loads(_answer(worker)))
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def _add(report: Report, begin: float, found: dict[str, Any]) -> None:
    for accepted, welcomed in found["times"]:
        report.welcomed += 1
        report.accepted_s = max(report.accepted_s, accepted - begin)
        report.welcomed_s = max(report.welcomed_s, welcomed - begin)
    for text in found["refused"]:
        report.refused[text] = report.refused.get(text, 0) + 1


def _tell(worker: "subprocess.Popen[str]", line: str) -> None:
    assert worker.stdin is not None
    worker.stdin.write(f"{line}\n")
    worker.stdin.flush()


def _answer(worker: "subprocess.Popen[str]") -> str:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise StartUpError("a process of light clients ended", advice="its traceback is above")
    return line


@click.command()
@click.option("--streams", type=click.IntRange(1, MAX_CONNECTIONS), default=1000, show_default=True)
@click.option("--processes", type=click.IntRange(1, 16), default=2, show_default=True)
@click.option("--tcp", is_flag=True, help="Over TCP on loopback, in place of a Unix socket.")
@click.option("--json", "as_json", is_flag=True)
def main(*, streams: int, processes: int, tcp: bool, as_json: bool) -> None:
    """Measure how long it takes until so many streams, opened at one moment, have their welcome.

    Exits 0 if none was refused and all took less than 5 s, 1 if not.
    """
    try:
        report = measure(streams=streams, processes=processes, tcp=tcp)
    except MkrpcError as error:
        click.echo(f"streams: {error}\n  → {error.advice}", err=True)
        sys.exit(3)
    if as_json:
        click.echo(json.dumps(asdict(report) | {"as_promised": report.as_promised}, indent=2))
    else:
        click.echo(
            f"{report.welcomed} of {report.streams} streams welcomed at {report.address}: the last "
            f"was accepted after {report.accepted_s:.2f} s and welcomed after "
            f"{report.welcomed_s:.2f} s (at most {BOUND_S:.0f} s)"
        )
        for text, count in report.refused.items():
            click.echo(f"{count} times: {text}")
    sys.exit(0 if report.as_promised else 1)


if __name__ == "__main__":
    main()
