"""What became of one request: its legs, counted by where they went and how they ended."""

from collections import Counter
from dataclasses import dataclass, field

from mkrpc.errors import MkrpcError
from mkrpc.outcome import Outcome

__all__ = ["LegKind", "Tally"]

LegKind = tuple[int, int | None, Outcome]
"""APIC id (or :data:`~mkrpc.link.frames.NOBODY`), instance id (None for nobody), outcome."""


@dataclass(slots=True, eq=False)
class Tally:
    """The answer to an injection or to a request for ICR writes, as it grows.

    ``written`` is how many ICR writes were made, ``resolved`` how many of them have all their
    outcomes. ``done`` turns true once, and nothing changes after that. ``error`` says why fewer
    writes were made than asked for. ``repeated``: the call had been made before, this is its answer
    again.
    """

    written: int = 0
    resolved: int = 0
    legs: Counter[LegKind] = field(default_factory=Counter)
    done: bool = False
    repeated: bool = False
    error: MkrpcError | None = None

    def add(self, kind: LegKind, count: int) -> None:
        """``count`` more legs have ended alike."""
        assert not self.done
        self.legs[kind] += count

    def take_over(self, original: "Tally") -> None:
        """Become the answer to a repetition of the call that ``original`` answers."""
        self.written, self.resolved = original.written, original.resolved
        self.legs = Counter(original.legs)
        self.error = original.error
        self.done = True
