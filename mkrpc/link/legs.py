"""Legs as a frame carries them: columns, since there may be thousands of them."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from mkrpc.link.recovery import Resent

__all__ = ["Legs"]


@dataclass(slots=True)
class Legs:
    """Legs from one source, in its order; three columns of equal length.

    ``words[i]`` (x2APIC layout) was write number ``seqs[i]`` of the source and goes to the local
    CPU ``cpus[i]``. ``arbitrated``: lowest priority, one destination chosen among several.

    Columns are lists, or, of many legs, dense: ``words`` an array of ``Q``, ``cpus`` one of ``I``,
    and ``seqs`` a range or an array of ``Q`` that never falls.
    """

    source: bytes
    seqs: Sequence[int] = field(default_factory=list)
    words: Sequence[int] = field(default_factory=list)
    cpus: Sequence[int] = field(default_factory=list)
    resent: Resent = Resent.NO
    arbitrated: bool = False

    @property
    def dense(self) -> bool:
        """Whether its columns travel as bytes."""
        return isinstance(self.words, array)

    def __len__(self) -> int:
        return len(self.seqs)
