"""What writes beyond a source's rate cost the interconnect: frames of them, all refused.

``python -m mkrpc.benchmarks.refused`` drives one bus in this process with the frames of an instance
whose bucket is empty, bytes in and bytes out, words to two CPUs in turn. It prints microseconds of
CPU time a frame, and beside it those of a frame with no word in it, which is what the frame itself
costs; medians of rounds in turn.
"""

import statistics
import time

from mkrpc.benchmarks.routing import hello_of
from mkrpc.frame_codec import decode_up, encode_down, encode_up
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.bucket import Rate, Rates
from mkrpc.interconnect.policy import Policy
from mkrpc.link.frames import DownFrame, UpFrame, Writes
from mkrpc.x86.icr import fixed

__all__ = ["main", "measure"]

WORDS = (0, 1, 20, 100, 1000)
ROUNDS = 5
FRAMES = 2000


def measure(words: int, *, frames: int = FRAMES) -> float:
    """Microseconds of CPU time a frame of so many words, from its bytes to what is told of it."""
    rates = Rates(instances=Rate(1, 1))
    bus = ApicBus(epoch=1, policy=Policy.named("bare-metal", rates=rates))
    session = bus.attach(hello_of(0, range(2)))
    bus.attach(hello_of(1, range(2, 4)))
    content = [fixed(2 + number % 2, 0xEA) for number in range(words)]
    seq, ack, spent_s = 1, 0, 0.0
    for number in range(1, frames + 1):
        events = [Writes(0, seq, content)] if words else []
        data = encode_up(UpFrame(frame=number, ack=ack, events=list(events)))
        seq += words
        began = time.process_time()
        frame = decode_up(data)
        assert isinstance(frame, UpFrame)
        bus.receive(session, frame)
        told: list[DownFrame] = []
        while bus.take_ready() is not None:
            while (down := bus.next_frame(session)) is not None:
                encode_down(down)
                told.append(down)
        spent_s += time.process_time() - began
        ack = max([ack, *(down.frame for down in told)])
    assert bus.totals().rejected >= bus.totals().written - 1, "writes that were not refused"
    return spent_s / frames * 1e6


def main(rounds: int = ROUNDS, frames: int = FRAMES) -> None:
    """Print the table."""
    found: dict[int, list[float]] = {words: [] for words in WORDS}
    for _ in range(rounds):
        for words in WORDS:
            found[words].append(measure(words, frames=frames))
    bare = statistics.median(found[0])
    print("words  us a frame  us beyond an empty one")
    for words, each in found.items():
        taken = statistics.median(each)
        print(f"{words:>5}  {taken:>10.1f}  {taken - bare:>22.1f}")


if __name__ == "__main__":
    main()
