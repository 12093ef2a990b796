"""``python -m mkrpc.benchmarks.drivers``: what one interrupt of a client costs, drivers and all.

A client's sender, the interconnect's drivers around its bus, and a destination's attachment, in one
thread; what would be sent is handed over as bytes. What the transport adds is what the raw relay of
``mkrpc bench`` measures. In a closed loop, as there: the next word once the one before has its
outcome. Microseconds, of each step the median over many words.

``--evict``: before each step, so many KiB are walked through, as other processes do that have the
core between two steps: what then counts is how much memory a step touches.
"""

import asyncio
import json
import logging
import os
import statistics
import time
from collections.abc import Callable

import click

from mkrpc import logs
from mkrpc.client.bulk_sender import BulkSender
from mkrpc.errors import MkrpcError
from mkrpc.frame_codec import decode_down, encode_up
from mkrpc.instance.assembly import assemble
from mkrpc.instance.attachment import Attachment
from mkrpc.instance.boot import Boot
from mkrpc.instance.config import KernelConfig
from mkrpc.instance.cpu import Cpu
from mkrpc.interconnect.attachments import Pump
from mkrpc.interconnect.beats import BeatServer
from mkrpc.interconnect.injection_stream import InjectionStreams
from mkrpc.interconnect.link_faults import LinkFaults
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.recording import open_bus
from mkrpc.link.frames import DownFrame, Welcome
from mkrpc.transport.stream import Connection, ConnectionHandler
from mkrpc.x86.icr import fixed
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

__all__ = ["STEPS", "TO_HANDLER", "measure"]

STEPS = {
    "request": "the client's message (bulk_sender.py)",
    "to the leg": "at the interconnect, from its bytes to those of the leg's frame",
    "to the handler": "at the destination, from these to the end of its handler",
    "outcome": "there, the frame with the outcome and the accounts",
    "to the answer": "at the interconnect, from its bytes to those of the client's answer",
    "learn": "the client takes its answer",
    "after": "at the interconnect, what is done once the leg and the answer have been handed over",
}

TO_HANDLER = 3
"""So many steps until the handler has run."""

_LEASE_US = 3_600_000_000
"""Nobody beats here, and it takes as long as it takes."""

_WARM_UP = 100


class _Stream:
    """One end of a byte stream, without the other: what is sent is there to be taken."""

    peer = "a benchmark"

    def __init__(self, open_: Callable[[Connection], ConnectionHandler]) -> None:
        self.sent: bytes | None = None
        self.sent_ns = 0
        self._handler = open_(self)

    @property
    def writable(self) -> bool:
        """Nothing has been sent that was not taken."""
        return self.sent is None

    def send(self, frame: bytes) -> None:
        """The handler has a frame for the other end."""
        self.sent_ns = time.perf_counter_ns()
        self.sent = frame

    def close(self, error: MkrpcError | None = None) -> None:
        """Nobody here says what cannot be."""
        raise AssertionError(f"a stream was closed: {error}")

    def say(self, frame: bytes) -> None:
        """The other end has said something."""
        self._handler.on_frame(self, frame)

    def take(self) -> bytes:
        """What was sent; the next one may come."""
        sent, self.sent = self.sent, None
        assert sent is not None, "nothing was sent"
        self._handler.on_writable(self)
        return sent


class _Machine:
    """An interconnect with one instance of one CPU, and a client."""

    def __init__(self, pump: Pump) -> None:
        self.handled = 0
        config = KernelConfig(instance_id=1, name="mk1", apic_ids=(1,))
        boot = Boot(config=config, address="unix:/none", handlers=(self._handle,))
        _kernel, self.end = assemble(boot)
        self.link = _Stream(LinkFaults(pump, BeatServer()).open)
        _tell_time(self.end)
        self.link.say(encode_up(self.end.hello(1)))
        welcome = decode_down(self.link.take())
        assert isinstance(welcome, Welcome)
        self.end.welcome(welcome)
        self.client = _Stream(InjectionStreams(pump).open)
        self.sender = BulkSender(os.urandom(16), each=True)
        self.sender.received(self.client.take())

    def _handle(self, _cpu: Cpu) -> None:
        self.handled += 1

    async def ring(self, word: int, rest: Callable[[], None]) -> dict[str, int]:
        """One word, until the client has its outcome: nanoseconds by step."""
        now = time.perf_counter_ns
        taken = dict.fromkeys(STEPS, 0)
        rest()
        began = now()
        self.sender.append_one(word)
        request = self.sender.next_request()
        taken["request"] = now() - began
        assert request is not None
        rest()
        leg = await self._pass_on(self.client, request, self.link, taken, "to the leg")
        rest()
        began = now()
        _tell_time(self.end)
        frame = decode_down(leg)
        assert isinstance(frame, DownFrame)
        self.end.receive(frame, self.end.generation)
        taken["to the handler"] = now() - began
        began = now()
        outcome = self.end.next_frame()
        assert outcome is not None
        said = encode_up(outcome)
        taken["outcome"] = now() - began
        rest()
        answer = await self._pass_on(self.link, said, self.client, taken, "to the answer")
        rest()
        began = now()
        self.sender.received(answer)
        self.sender.outcomes.clear()
        taken["learn"] = now() - began
        if self.link.sent is not None:  # an acknowledgement alone
            frame = decode_down(self.link.take())
            assert isinstance(frame, DownFrame)
            self.end.receive(frame, self.end.generation)
        return taken

    async def _pass_on(
        self, of: _Stream, frame: bytes, to: _Stream, taken: dict[str, int], step: str
    ) -> bytes:
        """One end says something, from which something follows for the other."""
        began = time.perf_counter_ns()
        of.say(frame)
        ended = time.perf_counter_ns()
        if to.sent is None:
            await asyncio.sleep(0)  # its turn is the loop's next
            ended = time.perf_counter_ns()
        sent = to.take()
        taken[step] = to.sent_ns - began
        taken["after"] += ended - to.sent_ns
        return sent


def _tell_time(end: Attachment) -> None:
    end.advance(time.monotonic_ns() // 1000)


def measure(*, words: int = 3000, evict_kib: int = 0) -> dict[str, float]:
    """Microseconds by step."""
    others = bytearray(evict_kib << 10)

    def rest() -> None:
        bytes(others)

    async def run() -> list[dict[str, int]]:
        policy = Policy.named("bare-metal")
        with open_bus(None, epoch=1, policy=policy, lease_us=_LEASE_US) as bus:
            pump = Pump(bus)
            pump.begin()
            machine = _Machine(pump)
            word = fixed(1, MULTIKERNEL_VECTOR)
            for _ in range(_WARM_UP):
                await machine.ring(word, lambda: None)
            rounds = [await machine.ring(word, rest) for _ in range(words)]
            assert machine.handled == machine.sender.answered == words + _WARM_UP
            assert not bus.balance(), "the books do not balance"
            return rounds

    rounds = asyncio.run(run())
    return {step: statistics.median(each[step] for each in rounds) / 1000 for step in STEPS}


@click.command(help=__doc__)
@click.option("--words", type=click.IntRange(1, 1_000_000), default=3000, show_default=True)
@click.option("--evict", type=click.IntRange(0, 1 << 20), default=0, show_default=True, help="KiB.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def main(*, words: int, evict: int, as_json: bool) -> None:
    """The command."""
    logs.configure("drivers", level=logging.WARNING)
    found = measure(words=words, evict_kib=evict)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo("| step | us | what |\n|---|---|---|")
    for step, taken_us in found.items():
        click.echo(f"| {step} | {taken_us:.1f} | {STEPS[step]} |")
    taken = list(found.values())
    click.echo(f"| until the handler has run | {sum(taken[:TO_HANDLER]):.1f} | without transport |")
    click.echo(f"| in all | {sum(taken):.1f} | |")


if __name__ == "__main__":
    main()
