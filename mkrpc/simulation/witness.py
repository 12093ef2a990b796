"""An attachment whose kernel is watched: every leg that its CPUs are given is told.

The journal must not rest on what it checks, so it looks at the doors on both sides: which leg was
looked for in the outcomes that are remembered, and what was then given to a CPU.
"""

from collections.abc import Callable

from mkrpc.instance.attachment import Attachment
from mkrpc.instance.kernel import Kernel
from mkrpc.link.memory import OutcomeMemory
from mkrpc.outcome import Outcome
from mkrpc.simulation.events import Applied

__all__ = ["witness"]


class _WatchedMemory(OutcomeMemory):
    """Notes which leg was asked for last."""

    __slots__ = ("asked",)

    def __init__(self) -> None:
        super().__init__()
        self.asked: tuple[bytes, int, int] = (b"", 0, 0)

    def recall(self, source: bytes, seq: int, cpu: int) -> Outcome | None:
        self.asked = source, seq, cpu
        return super().recall(source, seq, cpu)


def witness(kernel: Kernel, show: Callable[[object], None]) -> Attachment:
    """Attach a kernel, and show an :class:`Applied` for each leg that it is given."""
    memory = _WatchedMemory()
    kernel.outcomes = memory
    accept = kernel.accept

    def watched_accept(cpu: int, word: int) -> Outcome:
        source, seq, asked_cpu = memory.asked
        memory.asked = b"", 0, 0
        outcome = accept(cpu, word)
        show(Applied(kernel, source if asked_cpu == cpu else b"", seq, cpu, word, outcome))
        return outcome

    kernel.accept = watched_accept  # type: ignore[method-assign] # this one object's
    return Attachment(kernel)
