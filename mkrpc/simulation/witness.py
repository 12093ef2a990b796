"""A kernel that is watched: every leg that its CPUs are given is told.

The journal must not rest on what it checks, so it looks at the doors on both sides: which leg was
looked for in the outcomes that are remembered, and what was then given to a CPU.
"""

from collections import deque
from collections.abc import Callable, Sequence

from mkrpc.instance.config import KernelConfig
from mkrpc.instance.kernel import Kernel
from mkrpc.instance.memory import SharedMemory
from mkrpc.link.memory import OutcomeMemory
from mkrpc.outcome import Outcome
from mkrpc.simulation.events import Applied

__all__ = ["WatchedKernel"]


class _WatchedMemory(OutcomeMemory):
    """Notes which legs were asked for last, one or a row of them."""

    __slots__ = ("asked",)

    def __init__(self) -> None:
        super().__init__()
        self.asked: deque[tuple[bytes, int, int]] = deque()

    def recall(self, source: bytes, seq: int, cpu: int) -> Outcome | None:
        self.asked.clear()
        self.asked.append((source, seq, cpu))
        return super().recall(source, seq, cpu)

    def row_cpus(
        self, source: bytes, seqs: Sequence[int], cpus: Sequence[int], *, cpus_below: int
    ) -> bytes:
        self.asked.clear()
        row = super().row_cpus(source, seqs, cpus, cpus_below=cpus_below)
        if row:
            self.asked.extend((source, seq, cpu) for seq, cpu in zip(seqs, row, strict=True))
        return row


_NOBODY_ASKED = (b"", 0, -1)


class WatchedKernel(Kernel):
    """Shows an :class:`Applied` for each leg that it is given."""

    def __init__(
        self,
        config: KernelConfig,
        *,
        incarnation: bytes,
        now_us: Callable[[], int],
        memory: SharedMemory | None,
        show: Callable[[object], None],
    ) -> None:
        super().__init__(config, incarnation=incarnation, now_us=now_us, memory=memory)
        self._memory = self.outcomes = _WatchedMemory()
        self._show = show

    def accept(self, cpu: int, word: int) -> Outcome:
        """As :meth:`Kernel.accept`."""
        asked = self._memory.asked
        source, seq, asked_cpu = asked.popleft() if asked else _NOBODY_ASKED
        outcome = super().accept(cpu, word)
        self._show(Applied(self, source if asked_cpu == cpu else b"", seq, cpu, word, outcome))
        return outcome
