"""What an interconnect that takes over from an earlier one has to be told (design 3.3, rule 4)."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from mkrpc.outcome import Outcome

__all__ = [
    "TO_OVERFLOW",
    "MAX_FRAME_BOOKS",
    "TO_NOBODY",
    "Arbitrated",
    "BookKey",
    "EndedLegs",
    "Resent",
    "SourceBook",
]

MAX_FRAME_BOOKS = 1024
"""Rows of a source's books in one frame, either way, about 100 KiB at most; the rest in the next
ones."""

TO_NOBODY = 0xFFFF_FFFF
"""The instance id, in a source's books, of legs to nobody."""

TO_OVERFLOW = 0xFFFF_FFFE
"""The same of legs that found no room for a row of their own in the ledger."""


class BookKey(NamedTuple):
    """Where legs of one source went: a row of its books (design 3.4).

    ``destination``: an incarnation; empty for nobody, and for several booked as one.
    ``instance_id``: of the destination; :data:`TO_NOBODY`, or :data:`TO_OVERFLOW`
    of rows in the ledger. ``delivery_mode`` and ``vector`` as the ledger has them.
    """

    destination: bytes
    instance_id: int
    apic_id: int
    delivery_mode: int
    vector: int


@dataclass(frozen=True, slots=True)
class EndedLegs:
    """How many legs ended alike."""

    outcome: Outcome
    count: int


@dataclass(frozen=True, slots=True)
class SourceBook:
    """How many legs of a source's resolved writes ended how, in one row."""

    key: BookKey
    outcomes: tuple[EndedLegs, ...]


@dataclass(frozen=True, slots=True)
class Arbitrated:
    """The lowest-priority write ``seq`` of ``source`` has been applied to ``cpu``, here."""

    source: bytes
    seq: int
    cpu: int


class Resent(IntEnum):
    """Whether legs may have come to an instance before, from an earlier interconnect."""

    NO = 0
    IN_ORDER = 1
    """Answered with the recorded outcome; without one applied, unless a later write was."""
    BORN_LATER = 2
    """The destination was born after the writes were made (3.3, rule 3)."""
    ANY_ORDER = 3
    """Of a client, whose calls have no order: without a recorded outcome applied."""
    ASKED_ONLY = 4
    """The destination has another address than when the writes were made: not applied."""
