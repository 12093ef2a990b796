"""Legs as a frame carries them: columns, since there may be thousands of them."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mkrpc.link.recovery import Resent

__all__ = ["Legs"]

_NOT_RESENT: Final = Resent.NO


@dataclass(slots=True, init=False)
class Legs:
    """Legs from one source, in its order; three columns of equal length.

    ``words[i]`` (x2APIC layout) was write number ``seqs[i]`` of the source and goes to the local
    CPU ``cpus[i]``. ``arbitrated``: lowest priority, one destination chosen among several.

    Columns are lists, or, of many legs, dense: ``words`` an array of ``Q``, ``cpus`` one of ``I``,
    and ``seqs`` a range or an array of ``Q`` that never falls.
    """

    source: bytes
    seqs: Sequence[int]
    words: Sequence[int]
    cpus: Sequence[int]
    resent: Resent
    arbitrated: bool

    def __init__(  # noqa: PLR0917 - by place, as columns
        self,
        source: bytes,
        seqs: Sequence[int] | None = None,
        words: Sequence[int] | None = None,
        cpus: Sequence[int] | None = None,
        resent: Resent = _NOT_RESENT,
        arbitrated: bool = False,
    ) -> None:
        self.source = source
        self.seqs = [] if seqs is None else seqs
        self.words = [] if words is None else words
        self.cpus = [] if cpus is None else cpus
        self.resent = resent
        self.arbitrated = arbitrated

    @property
    def dense(self) -> bool:
        """Whether its columns travel as bytes."""
        return isinstance(self.words, array)

    def __len__(self) -> int:
        return len(self.seqs)
