"""An attachment whose kernel is watched: every leg that its CPUs are given is told.

The journal must not rest on what it checks, so it looks at the doors on both sides: which leg was
looked for in the outcomes that are remembered, and what was then given to a CPU.
"""

from collections import deque
from collections.abc import Callable, Sequence

from mkrpc.instance.attachment import Attachment
from mkrpc.instance.kernel import Kernel
from mkrpc.link.memory import OutcomeMemory
from mkrpc.outcome import Outcome
from mkrpc.simulation.events import Applied

__all__ = ["witness"]


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

    def may_record_row(
        self, source: bytes, seqs: Sequence[int], cpus: Sequence[int], *, cpus_below: int
    ) -> bool:
        self.asked.clear()
        may = super().may_record_row(source, seqs, cpus, cpus_below=cpus_below)
        if may:
            self.asked.extend((source, seq, cpu) for seq, cpu in zip(seqs, cpus, strict=True))
        return may


_NOBODY_ASKED = (b"", 0, -1)


def witness(kernel: Kernel, show: Callable[[object], None]) -> Attachment:
    """Attach a kernel, and show an :class:`Applied` for each leg that it is given."""
    memory = _WatchedMemory()
    kernel.outcomes = memory
    accept = kernel.accept

    def watched_accept(cpu: int, word: int) -> Outcome:
        source, seq, asked_cpu = memory.asked.popleft() if memory.asked else _NOBODY_ASKED
        outcome = accept(cpu, word)
        show(Applied(kernel, source if asked_cpu == cpu else b"", seq, cpu, word, outcome))
        return outcome

    kernel.accept = watched_accept  # type: ignore[method-assign] # this one object's
    return Attachment(kernel)
