"""Legs that are handed over, as the columns of a frame."""

from collections.abc import Sequence

from mkrpc.interconnect.equal_legs import EqualLegs
from mkrpc.interconnect.fan_legs import FanLegs
from mkrpc.interconnect.floors import Floors
from mkrpc.interconnect.leg_block import LegBlock
from mkrpc.interconnect.legs import Piece
from mkrpc.link.frames import Legs

__all__ = ["frame_legs"]


def frame_legs(pieces: Sequence[Piece], floors: Floors) -> list[Legs]:
    """The columns, in the order of the legs; ``floors`` hear of the source of each."""
    columns: list[Legs] = []
    legs: Legs | None = None
    for piece in pieces:
        source = piece.batch.source.identity
        if isinstance(piece, LegBlock):
            columns.append(piece.columns())
            floors.hear(source)
            legs = None
            continue
        if (
            legs is None
            or legs.source != source
            or legs.resent is not piece.resent
            or legs.arbitrated is not piece.arbitrated
        ):
            seqs: list[int] = []
            words: list[int] = []
            cpus: list[int] = []
            legs = Legs(source, seqs, words, cpus, piece.resent, piece.arbitrated)
            columns.append(legs)
            floors.hear(source)
        if isinstance(piece, EqualLegs):
            cpu, word, seq, count = piece.batch.cpu, piece.batch.word, piece.first_seq, piece.count
            if count == 1:
                seqs.append(seq)
                words.append(word)
                cpus.append(cpu)
                continue
            seqs.extend(range(seq, seq + count))
            words.extend([word] * count)
            cpus.extend([cpu] * count)
            continue
        if isinstance(piece, FanLegs):
            word = piece.batch.word
            for place, seq, count in piece.by_cpu():
                seqs.extend(range(seq, seq + count))
                words.extend([word] * count)
                cpus.extend([place.cpu] * count)
            continue
        for run in piece.parts():
            seqs.extend(range(run.first_seq, run.first_seq + run.count))
            words.extend([run.batch.word] * run.count)
            cpus.extend([run.cpu] * run.count)
    return columns
