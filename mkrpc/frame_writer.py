"""Common frames straight to bytes: the very bytes that protobuf makes of them.

Nearly all frames carry a few ICR writes, a few legs or those of a burst, or the account of a CPU,
and nothing else. For such a one the objects of protobuf cost more than all that it says. Any other
frame is :mod:`mkrpc.frame_codec`'s, which this returns None for.
"""

from collections.abc import Sequence
from typing import Final

from mkrpc.account_bytes import account_to_bytes
from mkrpc.dense_legs import dense_to_bytes
from mkrpc.limits import IDENTITY_BYTES
from mkrpc.link.frames import DownFrame, OutcomeRun, ResolvedRun, SourceFloor, UpFrame, Writes
from mkrpc.link.legs import Legs
from mkrpc.wire_fields import ONE_BYTE, number_to_bytes, short_to_bytes, sized
from mkrpc.wire_tags import (
    DOWN_ACK,
    DOWN_BEAT,
    DOWN_FLOORS,
    DOWN_FRAME,
    DOWN_LEGS,
    DOWN_RESOLVED,
    DOWN_ROSTER,
    EVENT_WRITES,
    FLOOR_RUNS,
    FLOOR_SOURCE,
    LEGS_CPUS,
    LEGS_SEQS,
    LEGS_SOURCE,
    LEGS_WORDS,
    OUTCOME_COUNT,
    OUTCOME_FIRST,
    OUTCOME_OUTCOME,
    REQUEST_FRAME,
    RESPONSE_FRAME,
    RUN_FIRST,
    RUN_LAST,
    UP_ACCOUNTS,
    UP_ACK,
    UP_APPLIED,
    UP_BEAT,
    UP_EVENTS,
    UP_FRAME,
    UP_MORE,
    UP_OUTCOMES,
    UP_RESOLVED,
    WRITES_COMMAND,
    WRITES_CPU,
    WRITES_FIRST_SEQ,
    WRITES_WORDS,
)

__all__ = ["MOST_IN_COLUMN", "down_frame_to_bytes", "up_frame_to_bytes"]

MOST_IN_COLUMN: Final = 16
"""Numbers in a list that is written here, one by one; protobuf takes a longer one at once."""

_REQUEST: Final = bytes((REQUEST_FRAME,))
_RESPONSE: Final = bytes((RESPONSE_FRAME,))

_UP_FRAME: Final = bytes((UP_FRAME,))
_UP_ACK: Final = bytes((UP_ACK,))
_UP_EVENTS: Final = bytes((UP_EVENTS,))
_UP_APPLIED: Final = bytes((UP_APPLIED,))
_UP_OUTCOMES: Final = bytes((UP_OUTCOMES,))
_UP_ACCOUNTS: Final = bytes((UP_ACCOUNTS,))
_UP_RESOLVED: Final = bytes((UP_RESOLVED,))
_UP_MORE: Final = bytes((UP_MORE, 1))
_UP_BEAT: Final = bytes((UP_BEAT,))

_EVENT_WRITES: Final = bytes((EVENT_WRITES,))
_WRITES_CPU: Final = bytes((WRITES_CPU,))
_WRITES_FIRST_SEQ: Final = bytes((WRITES_FIRST_SEQ,))
_WRITES_WORDS: Final = bytes((WRITES_WORDS,))
_WRITES_COMMAND: Final = bytes((WRITES_COMMAND,))

_DOWN_FRAME: Final = bytes((DOWN_FRAME,))
_DOWN_ACK: Final = bytes((DOWN_ACK,))
_DOWN_FLOORS: Final = bytes((DOWN_FLOORS,))
_DOWN_LEGS: Final = bytes((DOWN_LEGS,))
_DOWN_RESOLVED: Final = bytes((DOWN_RESOLVED,))
_DOWN_BEAT: Final = bytes((DOWN_BEAT,))
_DOWN_ROSTER: Final = bytes((DOWN_ROSTER,))

_FLOOR_SOURCE: Final = bytes((FLOOR_SOURCE, IDENTITY_BYTES))
_FLOOR_RUNS: Final = bytes((FLOOR_RUNS,))

_LEGS_SOURCE: Final = bytes((LEGS_SOURCE, IDENTITY_BYTES))
_LEGS_SEQS: Final = bytes((LEGS_SEQS,))
_LEGS_WORDS: Final = bytes((LEGS_WORDS,))
_LEGS_CPUS: Final = bytes((LEGS_CPUS,))

_ONE_WORD: Final = bytes((8,))
"""The size of a column of one word."""
_LEGS_ONE_WORD: Final = _LEGS_WORDS + _ONE_WORD
_ONE_LEG_BYTES: Final = len(_LEGS_SOURCE) + IDENTITY_BYTES + 2 + len(_LEGS_ONE_WORD) + 8 + 2
"""Bytes of the message Legs with a single leg, without those of its number and of its CPU's."""

_OUTCOME_FIRST: Final = bytes((OUTCOME_FIRST,))
_OUTCOME_COUNT: Final = bytes((OUTCOME_COUNT,))
_OUTCOME_OUTCOME: Final = bytes((OUTCOME_OUTCOME,))
_RUN_FIRST: Final = bytes((RUN_FIRST,))
_RUN_LAST: Final = bytes((RUN_LAST,))


def up_frame_to_bytes(frame: UpFrame) -> bytes | None:
    """An instance's frame as the message AttachRequest; None for one that is not common."""
    if frame.replies or frame.taken or frame.books or frame.arbitrated or frame.recovered:
        return None
    if frame.listens:
        return None
    # ``out = out + ...``: the compiler knows how bytes are joined, and not how they are extended.
    out = b""
    if frame.frame:
        out = _UP_FRAME + number_to_bytes(frame.frame)
    if frame.ack:
        out = out + _UP_ACK + number_to_bytes(frame.ack)
    for event in frame.events:
        if not isinstance(event, Writes) or event.stamp or len(event.words) > MOST_IN_COLUMN:
            return None
        out = out + _UP_EVENTS + sized(_EVENT_WRITES + sized(_writes(event)))
    if frame.applied:
        out = out + _UP_APPLIED + number_to_bytes(frame.applied)
    for run in frame.outcomes:
        out = out + _UP_OUTCOMES + sized(_outcome_run(run))
    for account in frame.accounts:
        out = out + _UP_ACCOUNTS + sized(account_to_bytes(account))
    for resolved in frame.resolved:
        out = out + _UP_RESOLVED + sized(_resolved_run(resolved))
    if frame.more:
        out = out + _UP_MORE
    if frame.beat:
        out = out + _UP_BEAT + number_to_bytes(frame.beat)
    return _REQUEST + sized(out)


def down_frame_to_bytes(frame: DownFrame) -> bytes | None:
    """The interconnect's frame as the message AttachResponse; None for one that is not common."""
    if frame.commands or frame.books or frame.partial:
        return None
    if frame.messages or frame.settled or frame.doorbells:
        return None
    if len(frame.legs) == 1 and frame.frame and frame.ack:
        common = _one_leg(frame, frame.legs[0])
        if common is not None:
            return common
    out = b""
    if frame.frame:
        out = _DOWN_FRAME + number_to_bytes(frame.frame)
    if frame.ack:
        out = out + _DOWN_ACK + number_to_bytes(frame.ack)
    if frame.floors:
        for floor in frame.floors:
            if len(floor.runs) > MOST_IN_COLUMN:
                return None
            out = out + _DOWN_FLOORS + sized(_floor(floor))
    for legs in frame.legs:
        if legs.resent or legs.arbitrated:
            return None
        if legs.dense:
            content = dense_to_bytes(legs)
        elif len(legs.words) <= MOST_IN_COLUMN:
            content = _legs(legs)
        else:
            return None
        out = b"".join((out, _DOWN_LEGS, number_to_bytes(len(content)), content))
    if frame.resolved:
        for resolved in frame.resolved:
            out = out + _DOWN_RESOLVED + sized(_resolved_run(resolved))
    if frame.beat:
        out = out + _DOWN_BEAT + number_to_bytes(frame.beat)
    if frame.roster:
        out = out + _DOWN_ROSTER + number_to_bytes(frame.roster)
    return b"".join((_RESPONSE, number_to_bytes(len(out)), out))


def _writes(writes: Writes) -> bytes:
    out = b""
    if writes.cpu:
        out = _WRITES_CPU + short_to_bytes(writes.cpu)
    if writes.first_seq:
        out += _WRITES_FIRST_SEQ + number_to_bytes(writes.first_seq)
    if writes.words:
        out += _WRITES_WORDS + _words(writes.words)
    if writes.command:
        out += _WRITES_COMMAND + number_to_bytes(writes.command)
    return out


def _words(words: Sequence[int]) -> bytes:
    if len(words) == 1:
        return _ONE_WORD + words[0].to_bytes(8, "little")
    return sized(b"".join([word.to_bytes(8, "little") for word in words]))


def _floor(floor: SourceFloor) -> bytes:
    assert len(floor.source) == IDENTITY_BYTES
    out = _FLOOR_SOURCE + floor.source
    for run in floor.runs:
        out += _FLOOR_RUNS + sized(_resolved_run(run))
    return out


def _one_leg(frame: DownFrame, legs: Legs) -> bytes | None:
    """A frame that brings a single interrupt and nothing else, in one go; None for any other."""
    words = legs.words
    if not isinstance(words, list) or len(words) != 1 or legs.resent or legs.arbitrated:
        return None
    if frame.beat or frame.roster or frame.floors or frame.resolved:
        return None
    assert len(legs.source) == IDENTITY_BYTES
    number, ack = number_to_bytes(frame.frame), number_to_bytes(frame.ack)
    seq, cpu = number_to_bytes(legs.seqs[0]), short_to_bytes(legs.cpus[0])
    of_legs = _ONE_LEG_BYTES + len(seq) + len(cpu)
    return b"".join(
        (
            _RESPONSE,
            ONE_BYTE[4 + len(number) + len(ack) + of_legs],  # and three tags, and the size of Legs
            _DOWN_FRAME,
            number,
            _DOWN_ACK,
            ack,
            _DOWN_LEGS,
            ONE_BYTE[of_legs],
            _LEGS_SOURCE,
            legs.source,
            _LEGS_SEQS,
            ONE_BYTE[len(seq)],
            seq,
            _LEGS_ONE_WORD,
            words[0].to_bytes(8, "little"),
            _LEGS_CPUS,
            ONE_BYTE[len(cpu)],
            cpu,
        )
    )


def _legs(legs: Legs) -> bytes:
    """In columns that are lists."""
    source, words = legs.source, legs.words
    assert len(source) == IDENTITY_BYTES
    if not words:
        return _LEGS_SOURCE + source
    seqs = b"".join([number_to_bytes(seq) for seq in legs.seqs])
    cpus = b"".join([short_to_bytes(cpu) for cpu in legs.cpus])
    columns = (_LEGS_SEQS, sized(seqs), _LEGS_WORDS, _words(words), _LEGS_CPUS, sized(cpus))
    return _LEGS_SOURCE + source + b"".join(columns)


def _outcome_run(run: OutcomeRun) -> bytes:
    out = b""
    if run.first:
        out = _OUTCOME_FIRST + number_to_bytes(run.first)
    if run.count:
        out += _OUTCOME_COUNT + short_to_bytes(run.count)
    if run.outcome:
        out += _OUTCOME_OUTCOME + number_to_bytes(int(run.outcome))
    return out


def _resolved_run(run: ResolvedRun) -> bytes:
    out = b""
    if run.first:
        out = _RUN_FIRST + number_to_bytes(run.first)
    if run.last:
        out += _RUN_LAST + number_to_bytes(run.last)
    return out
