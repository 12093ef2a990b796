"""Legs that are handed over, as the columns of a frame."""

from collections.abc import Callable, Iterable

from mkrpc.interconnect.leg_block import LegBlock
from mkrpc.interconnect.legs import LegRun
from mkrpc.link.frames import Legs

__all__ = ["frame_legs"]


def frame_legs(pieces: Iterable[LegRun | LegBlock], hear: Callable[[bytes], None]) -> list[Legs]:
    """The columns, in the order of the legs; ``hear`` is told the source of each."""
    columns: list[Legs] = []
    legs: Legs | None = None
    for piece in pieces:
        source = piece.batch.source.identity
        if isinstance(piece, LegBlock):
            columns.append(piece.columns())
            hear(source)
            legs = None
            continue
        marks = (piece.resent, piece.arbitrated)
        if legs is None or legs.source != source or (legs.resent, legs.arbitrated) != marks:
            seqs, words, cpus = list[int](), list[int](), list[int]()
            legs = Legs(source, seqs, words, cpus, piece.resent, piece.arbitrated)
            columns.append(legs)
            hear(source)
        seqs.extend(range(piece.first_seq, piece.first_seq + piece.count))
        words.extend([piece.batch.word] * piece.count)
        cpus.extend([piece.cpu] * piece.count)
    return columns
