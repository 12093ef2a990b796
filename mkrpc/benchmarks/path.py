"""``python -m mkrpc.benchmarks.path``: the path of one interrupt, and what each step costs.

Two kernels and the interconnect's bus in one thread, with the frames between them encoded and
decoded as on the wire, and no transport. What the transport adds is what the raw relay of
``mkrpc bench`` measures. Microseconds a word, of each step the median over many rings, which is not
moved by what else the machine does now and then.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from mkrpc.frame_codec import decode_down, decode_up, encode_down, encode_up
from mkrpc.instance.assembly import assemble
from mkrpc.instance.attachment import Attachment
from mkrpc.instance.boot import Boot
from mkrpc.instance.config import KernelConfig
from mkrpc.instance.cpu import Cpu
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.recording import open_bus
from mkrpc.interconnect.session import Session
from mkrpc.link.frames import DownFrame, UpFrame
from mkrpc.x86.icr import fixed
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

__all__ = ["STEPS", "TO_HANDLER", "measure"]

STEPS = {
    "write": "the CPU writes its ICR: local APIC, sequence number (kernel.py)",
    "up frame": "the source's frame (attachment.py)",
    "encode up": "to bytes (frame_codec.py)",
    "decode up": "from bytes, at the interconnect",
    "route": "destinations, policy, ledger, queue (apic_bus.py)",
    "down frame": "the destination's frame (session.py)",
    "encode down": "to bytes",
    "decode down": "from bytes, at the destination",
    "accept and handle": "IRR, boundary, sysvec_multikernel, EOI, handler (arrivals.py, cpu.py)",
    "outcome frame": "outcomes and accounts (attachment.py, accounting.py)",
    "encode outcome": "to bytes",
    "decode outcome": "from bytes, at the interconnect",
    "settle": "mirror and ledger (mirror.py, ledger.py)",
    "resolved frame": "what the source is told (session.py)",
    "codec of resolved": "to bytes and back",
    "learn": "the source forgets the write (source.py)",
}
"""In the order of the path; the handler begins within the ninth."""

TO_HANDLER = 9
"""So many steps until the handler has run."""

MOST_WORDS = 1000
"""At a time, so that no window stops the writer."""

_WITHOUT_RESULT = ("write", "route", "accept and handle", "settle", "learn")

ResultT = TypeVar("ResultT")


class _Clock:
    """Nanoseconds by step."""

    def __init__(self) -> None:
        self.taken_ns = dict.fromkeys(STEPS, 0)

    def __call__(self, step: str, work: Callable[..., ResultT], *arguments: Any) -> ResultT:
        """Do it and note what it took, unless nothing came of it: a frame that was not there."""
        began = time.perf_counter_ns()
        result = work(*arguments)
        taken_ns = time.perf_counter_ns() - began
        if result is not None or step in _WITHOUT_RESULT:
            self.taken_ns[step] += taken_ns
        return result


class _Machine:
    """Instances 0 and 1 of one CPU each, and a bus."""

    def __init__(self, bus: ApicBus) -> None:
        self.bus = bus
        self.now_us = 1
        bus.advance(self.now_us)
        self.handled = 0
        self.ends: list[Attachment] = []
        self.sessions: list[Session] = []
        self.cpus: list[Cpu] = []
        for number in (0, 1):
            config = KernelConfig(instance_id=number, name=f"mk{number}", apic_ids=(number,))
            boot = Boot(config=config, address="unix:/none", handlers=(self._handle,))
            kernel, attachment = assemble(boot)
            attachment.advance(self.now_us)
            session = bus.attach(attachment.hello(1))
            attachment.welcome(bus.welcome(session))
            self.ends.append(attachment)
            self.sessions.append(session)
            self.cpus.append(kernel.cpu(0))
        self.settle(_Clock())

    def _handle(self, _cpu: Cpu) -> None:
        self.handled += 1

    def ring(self, words: int, clock: _Clock) -> None:
        """CPU 0 rings CPU 1 so often; until all is settled and its source has learnt it."""
        word = fixed(1, MULTIKERNEL_VECTOR)
        write = self.cpus[0].write_icr
        wanted = self.handled + words

        def write_all() -> None:
            for _ in range(words):
                write(word)

        clock("write", write_all)
        self.settle(clock)
        assert self.handled == wanted, "handlers that did not run"

    def settle(self, clock: _Clock) -> None:
        """Move frames until there are none."""
        moved = True
        while moved:
            self.now_us += 1
            self.bus.advance(self.now_us)
            moved = False
            for number in (0, 1):
                while (up := self._take_up(number, clock)) is not None:
                    moved = True
                    self._bring_up(number, up, clock)
            for number in (1, 0):
                while (down := self._take_down(number, clock)) is not None:
                    moved = True
                    self._bring_down(number, down, clock)

    def _take_up(self, number: int, clock: _Clock) -> UpFrame | None:
        self.ends[number].advance(self.now_us)
        step = "outcome frame" if number else "up frame"
        return clock(step, self.ends[number].next_frame)

    def _bring_up(self, number: int, frame: UpFrame, clock: _Clock) -> None:
        data = clock("encode outcome" if number else "encode up", encode_up, frame)
        decoded = clock("decode outcome" if number else "decode up", decode_up, data)
        assert isinstance(decoded, UpFrame)
        session = self.sessions[number]
        self.bus.hear(session, decoded.beat, 1)
        clock("settle" if number else "route", self.bus.receive, session, decoded, 1)

    def _take_down(self, number: int, clock: _Clock) -> DownFrame | None:
        step = "down frame" if number else "resolved frame"
        return clock(step, self.bus.next_frame, self.sessions[number])

    def _bring_down(self, number: int, frame: DownFrame, clock: _Clock) -> None:
        data = clock("encode down" if number else "codec of resolved", encode_down, frame)
        decoded = clock("decode down" if number else "codec of resolved", decode_down, data)
        assert isinstance(decoded, DownFrame)
        step = "accept and handle" if number else "learn"
        clock(step, self.ends[number].receive, decoded, 1)


def measure(*, words: int = 1, rings: int = 2000) -> dict[str, float]:
    """Microseconds a word by step, ``words`` (1 to 1000) written at a time, so many times."""
    assert 1 <= words <= MOST_WORDS
    taken_ns: dict[str, list[int]] = {step: [] for step in STEPS}
    with open_bus(None, epoch=1, policy=Policy.named("bare-metal")) as bus:
        machine = _Machine(bus)
        machine.ring(words, _Clock())
        for _ in range(rings):
            clock = _Clock()
            machine.ring(words, clock)
            for step, taken in clock.taken_ns.items():
                taken_ns[step].append(taken)
        assert not bus.balance(), "the books do not balance"
    return {step: statistics.median(taken) / words / 1000 for step, taken in taken_ns.items()}


@click.command()
@click.option("--words", type=click.IntRange(1, MOST_WORDS), default=1, show_default=True)
@click.option("--rings", type=click.IntRange(1, 1_000_000), default=2000, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(*, words: int, rings: int, as_json: bool) -> None:
    """Print the path of an interrupt between two instances, and what each step costs a word."""
    found = measure(words=words, rings=rings)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    print(f"| step | us a word, {words} at a time | what |\n|---|---|---|")
    for step, taken_us in found.items():
        print(f"| {step} | {taken_us:.2f} | {STEPS[step]} |")
    taken = list(found.values())
    print(f"| to the handler | {sum(taken[:TO_HANDLER]):.2f} | without transport |")
    print(f"| in all | {sum(taken):.2f} | |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
