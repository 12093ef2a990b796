"""``python -m mkrpc.benchmarks.destination``: what a burst costs at its destination, in CPU time.

The whole path of an instance, from the bytes of the interconnect's frames to the bytes of its own,
and the model alone, which is given the same words. Both in this one process and in turns, by the
clock of its CPU time, so that what else the machine does counts little. ``MKRPC_PURE=1`` runs the
model as Python where it is compiled.
"""

import json
import statistics
import time
from array import array

import click

from mkrpc.compiled.finder import state
from mkrpc.frame_codec import decode_down, encode_down, encode_up
from mkrpc.instance.attachment import Attachment
from mkrpc.instance.boot_clock import BootClock
from mkrpc.instance.config import KernelConfig
from mkrpc.instance.cpu import Cpu
from mkrpc.instance.kernel import Kernel
from mkrpc.link.frames import (
    MAX_FRAME_WORDS,
    WIRE_VERSION,
    DownFrame,
    Legs,
    ResolvedRun,
    SourceFloor,
    Welcome,
)
from mkrpc.x86.icr import fixed
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

__all__ = ["Destination", "main"]

CPUS = 4
FIRST_APIC_ID = 4
SOURCE = bytes(range(16))


def _kernel(runs: list[int]) -> Kernel:
    apic_ids = tuple(range(FIRST_APIC_ID, FIRST_APIC_ID + CPUS))
    config = KernelConfig(instance_id=1, name="mk1", apic_ids=apic_ids)
    kernel = Kernel(config, incarnation=bytes(range(1, 17)), now_us=BootClock())

    def handler(_cpu: Cpu) -> None:
        runs[0] += 1

    kernel.register_handler(handler)
    return kernel


class Destination:
    """An attached instance of four CPUs, and who sends it bursts. ``runs``: of its handler."""

    def __init__(self) -> None:
        self.runs = [0]
        self._attachment = Attachment(_kernel(self.runs))
        self._attachment.hello(pid=1)
        welcome = Welcome(wire_version=WIRE_VERSION, epoch=1, generation=1, born=1, roster=1)
        self._attachment.welcome(welcome)
        self._frames = self._seq = self._acknowledged = 0

    def frames(self, words: int) -> list[bytes]:
        """The next burst, as the interconnect sends it; what came before the last is resolved."""
        found = []
        while words:
            count = min(words, MAX_FRAME_WORDS)
            words -= count
            cpus = array("I", [number % CPUS for number in range(count)])
            icrs = array("Q", [fixed(FIRST_APIC_ID + cpu, MULTIKERNEL_VECTOR) for cpu in cpus])
            self._frames += 1
            frame = DownFrame(frame=self._frames)
            if self._seq:
                frame.floors = [SourceFloor(SOURCE, (ResolvedRun(1, self._seq),))]
            seqs = range(self._seq + 1, self._seq + count + 1)
            frame.legs = [Legs(SOURCE, seqs, icrs, cpus)]
            self._seq += count
            found.append(encode_down(frame))
        return found

    def take(self, frames: list[bytes]) -> int:
        """Apply them, and say what there is to say; the bytes of that."""
        size = 0
        for content in frames:
            frame = decode_down(content)
            assert isinstance(frame, DownFrame)
            frame.ack = self._acknowledged
            self._attachment.receive(frame)
            while (answer := self._attachment.next_frame()) is not None:
                size += len(encode_up(answer))
                self._acknowledged = max(self._acknowledged, answer.frame)
        return size


@click.command(help=__doc__)
@click.option("--words", type=click.IntRange(1), default=10_000, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=30, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def main(words: int, rounds: int, as_json: bool) -> None:
    """The command."""
    destination, runs = Destination(), [0]
    accept = _kernel(runs).accept
    legs = [
        (number % CPUS, fixed(FIRST_APIC_ID + number % CPUS, MULTIKERNEL_VECTOR))
        for number in range(words)
    ]
    path: list[float] = []
    alone: list[float] = []
    for _ in range(rounds):
        frames = destination.frames(words)
        begin = time.process_time()
        destination.take(frames)
        middle = time.process_time()
        for cpu, word in legs:
            accept(cpu, word)
        path.append((middle - begin) / words * 1e9)
        alone.append((time.process_time() - middle) / words * 1e9)
    assert destination.runs == runs == [words * rounds]
    found = {
        "model": state().text,
        "path_ns": round(statistics.median(path)),
        "model_alone_ns": round(statistics.median(alone)),
        "path_over_model_alone": round(statistics.median(alone) / statistics.median(path), 2),
    }
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(f"the model is {found['model']}")
    click.echo(f"a word takes {found['path_ns']} ns, of the model alone {found['model_alone_ns']}")
    click.echo(f"the rate is {found['path_over_model_alone']} of the model's alone")


if __name__ == "__main__":
    main()
