"""The model alone: the kernel of one instance, without link, process or transport.

What a burst costs at least, and what the peers of ``mkrpc bench`` run where mkrpc runs its own.
"""

import time
from array import array
from collections.abc import Callable
from typing import Any

from mkrpc.benchmarks.bench_programs import LAST_AT, on_ring
from mkrpc.benchmarks.serving import ACKNOWLEDGEMENT, passed, serve
from mkrpc.instance.boot_clock import BootClock
from mkrpc.instance.config import KernelConfig
from mkrpc.instance.kernel import Kernel
from mkrpc.instance.memory import SharedMemory
from mkrpc.outcome import Outcome
from mkrpc.x86 import lapic
from mkrpc.x86.icr import fixed
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

__all__ = ["MODEL_CPUS", "Model", "model_build", "model_words"]

MODEL_CPUS = 5
"""CPU 0 notes when its handler began, the others do not."""

_INSTANCE = 2
_MEMORY_BYTES = 1 << 20


def model_words(count: int) -> list[int]:
    """ICR words to all CPUs but the first, in turn; APIC ids are CPU numbers."""
    return [fixed(1 + number % (MODEL_CPUS - 1), MULTIKERNEL_VECTOR) for number in range(count)]


def model_build() -> str:
    """``compiled`` or ``pure``: what this process runs the local APIC as."""
    return "pure" if str(lapic.__file__).endswith(".py") else "compiled"


class Model:
    """A kernel with the handler of the bench, and the outcomes that it has had."""

    def __init__(self) -> None:
        apic_ids = tuple(range(MODEL_CPUS))
        config = KernelConfig(instance_id=_INSTANCE, name="model", apic_ids=apic_ids)
        self._memory = SharedMemory(bytearray(_MEMORY_BYTES))
        self.kernel = Kernel(
            config,
            incarnation=bytes(16),
            now_us=BootClock(),
            memory=self._memory,
        )
        self.kernel.register_handler(on_ring)
        self.outcomes: dict[Outcome, int] = dict.fromkeys(Outcome, 0)

    @property
    def handled(self) -> int:
        """Handlers that have run, on all CPUs."""
        return sum(cpu.multikernel_count for cpu in self.kernel.cpus)

    def accept(self, message: bytes) -> bytes:
        """The words of a message arrive, one after another; the acknowledgement."""
        accept, handled = self.kernel.accept, self.handled
        outcomes = [accept(word >> 32, word) for word in array("Q", message)]
        for outcome in set(outcomes):
            self.outcomes[outcome] += outcomes.count(outcome)
        return ACKNOWLEDGEMENT.pack(
            self._memory.load(LAST_AT + 8 * _INSTANCE, 8),
            self.handled - handled,
            outcomes.count(Outcome.COALESCED),
        )

    def commands(self) -> dict[str, Callable[..., Any]]:
        """What the model alone is asked to do."""

        def stream(messages: int, words: list[int]) -> dict[str, float]:
            message = array("Q", words).tobytes()
            handled = coalesced = 0
            began = time.perf_counter()
            for _ in range(messages):
                _, ran, merged = ACKNOWLEDGEMENT.unpack(self.accept(message))
                handled += ran
                coalesced += merged
            seconds = time.perf_counter() - began
            return passed(seconds, messages * len(words), handled, coalesced)

        return {"stream": stream}


def main() -> None:
    """A subject of ``mkrpc bench``."""
    serve(Model().commands(), model=model_build())


if __name__ == "__main__":
    main()
