"""The interconnect alone: what a word of a burst costs it, one by one, sorted, and with numpy.

``python -m mkrpc.benchmarks.routing`` drives one :class:`~mkrpc.interconnect.apic_bus.ApicBus` in
this process: bytes in, bytes out, destinations that answer everything at once. It prints
nanoseconds of CPU time a word, from the words of the request to the outcome in the books; medians
of rounds in turn. Bursts are round robin over the CPUs.
"""

import statistics
import time
from array import array
from collections.abc import Callable

from mkrpc.frame_codec import decode_up, encode_down, encode_up
from mkrpc.interconnect import word_kinds, word_routing
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.injected_words import MAX_REQUEST_WORDS
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.session import Session
from mkrpc.link.frames import WIRE_VERSION, CpuAddress, DownFrame, Hello, UpFrame
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.destination import x2apic_ldr
from mkrpc.x86.icr import fixed

__all__ = ["WAYS", "hello_of", "main", "measure"]

WAYS = {"one by one": (1 << 62, 1 << 62), "sorted": (2, 1 << 62), "numpy": (2, 256)}
"""From how many words on bursts are sorted, and counted with numpy."""

SHAPES = ((1, 4), (4, 2))
"""Instances, and CPUs of each."""

BURSTS = (1, 16, 100, 1000, 10_000)
ROUNDS = 5
WORDS = 20_000
"""Words in a round, or a thousand bursts if these are fewer."""

_CLIENT = b"c" * 16


def hello_of(number: int, apic_ids: range) -> Hello:
    """That of an instance with CPUs of these ids."""
    cpus = tuple(
        CpuAddress(cpu, each, int(ApicMode.X2APIC), each & 0xFF, x2apic_ldr(each), 0, True)
        for cpu, each in enumerate(apic_ids)
    )
    identity = number.to_bytes(16, "big")
    return Hello(WIRE_VERSION, number, f"mk{number}", identity, 1 + number, cpus)


class _Destination:
    """An instance that has applied everything that it has been sent."""

    def __init__(self, bus: ApicBus, number: int, apic_ids: range) -> None:
        self.session: Session = bus.attach(hello_of(number, apic_ids))
        self._frames = self._applied = self._got = 0

    def take(self, frame: DownFrame) -> None:
        """A frame has come."""
        self._got = frame.frame
        self._applied += sum(len(legs) for legs in frame.legs)

    def answer(self) -> bytes:
        """All of it was delivered."""
        self._frames += 1
        return encode_up(UpFrame(frame=self._frames, ack=self._got, applied=self._applied))


class _Machine:
    """A bus with destinations; ``spent_s``: CPU time of the bus and of its frames."""

    def __init__(self, instances: int, cpus: int) -> None:
        self.bus = ApicBus(epoch=1, policy=Policy.bare_metal())
        ids = [range(number * cpus, (number + 1) * cpus) for number in range(instances)]
        made = [_Destination(self.bus, number, of) for number, of in enumerate(ids)]
        self._by_session = {each.session: each for each in made}
        self._next = 1
        self.spent_s = 0.0

    def inject(self, words: "array[int]") -> None:
        """One burst, until all of it has ended."""
        for begin in range(0, len(words), MAX_REQUEST_WORDS):
            part = words[begin : begin + MAX_REQUEST_WORDS]
            self._time(lambda part=part: self._inject(part.tobytes()))  # type: ignore[misc]
            self._next += len(part)
        while heard := self._send():
            for each in heard:
                answer = each.answer()
                self._time(lambda each=each, answer=answer: self._hear(each, answer))  # type: ignore[misc]
        assert not self.bus.in_flight()

    def _inject(self, words: bytes) -> None:
        self.bus.inject_words(
            client_id=_CLIENT,
            first_seq=self._next,
            words=words,
            resolved_below=self._next,
            on_done=lambda _tally: None,
        )

    def _hear(self, each: _Destination, answer: bytes) -> None:
        frame = decode_up(answer)
        assert isinstance(frame, UpFrame)
        self.bus.receive(each.session, frame)

    def _send(self) -> list[_Destination]:
        sent: list[tuple[Session, DownFrame]] = []

        def send() -> None:
            while (session := self.bus.take_ready()) is not None:
                frame = self.bus.next_frame(session)
                if frame is not None and frame.frame:
                    encode_down(frame)
                    sent.append((session, frame))

        self._time(send)
        for session, frame in sent:
            self._by_session[session].take(frame)
        return list(dict.fromkeys(self._by_session[session] for session, _ in sent))

    def _time(self, work: Callable[[], None]) -> None:
        began = time.process_time()
        work()
        self.spent_s += time.process_time() - began


def measure(burst: int, instances: int, cpus: int, *, words: int = WORDS) -> float:
    """Nanoseconds a word, of bursts of this size."""
    machine = _Machine(instances, cpus)
    content = array("Q", [fixed(each % (instances * cpus), 0xEA) for each in range(burst)])
    bursts = max(1, min(words // burst, 1000))
    for _ in range(bursts):
        machine.inject(content)
    return machine.spent_s / (bursts * burst) * 1e9


def main(rounds: int = ROUNDS, words: int = WORDS) -> None:
    """Print the table."""
    print("ns a word", *(f"{way:>12}" for way in WAYS), sep="  ")
    before = word_routing.SPREAD_FROM, word_kinds.NUMPY_FROM
    try:
        for instances, cpus in SHAPES:
            for burst in BURSTS:
                found: dict[str, list[float]] = {way: [] for way in WAYS}
                for _ in range(rounds):
                    for way, (spread_from, numpy_from) in WAYS.items():
                        word_routing.SPREAD_FROM = spread_from
                        word_kinds.NUMPY_FROM = numpy_from
                        found[way].append(measure(burst, instances, cpus, words=words))
                medians = (f"{statistics.median(each):12.0f}" for each in found.values())
                print(f"{burst:>6} to {instances}x{cpus}", *medians, sep="  ")
    finally:
        word_routing.SPREAD_FROM, word_kinds.NUMPY_FROM = before


if __name__ == "__main__":
    main()
