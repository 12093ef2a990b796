"""Common frames straight from bytes: what protobuf would read, or nothing.

Read is what :mod:`mkrpc.frame_writer` writes: known fields in the order of their numbers. For
everything else, damaged bytes, foreign fields and valid but uncommon ones, this returns None, and
:mod:`mkrpc.frame_codec` asks protobuf, which knows.
"""

from struct import unpack_from
from typing import Final

from mkrpc.account_bytes import account_from_bytes
from mkrpc.dense_legs import dense_from_bytes
from mkrpc.errors import ProtocolError
from mkrpc.limits import IDENTITY_BYTES
from mkrpc.link.accounts import CpuAccount
from mkrpc.link.frames import DownFrame, OutcomeRun, ResolvedRun, SourceFloor, UpFrame, Writes
from mkrpc.link.legs import Legs
from mkrpc.outcome import Outcome
from mkrpc.wire_fields import UncommonError, flag, inside, short, varint, word_at
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

__all__ = ["down_frame_from_bytes", "up_frame_from_bytes"]

_U32: Final = 0xFFFF_FFFF
_LONG: Final = 64
"""Bytes of a column of varints that is not read here."""

_OUTCOMES: Final = {int(outcome): outcome for outcome in Outcome}


def up_frame_from_bytes(message: bytes) -> UpFrame | None:
    """The frame in the message AttachRequest; None if it has none, or one that is not common."""
    try:
        return _up_frame(message)
    except (UncommonError, IndexError, UnicodeDecodeError):
        return None


def down_frame_from_bytes(message: bytes) -> DownFrame | None:
    """The frame in the message AttachResponse; None if it has none, or one that is not common."""
    try:
        return _down_frame(message)
    except (UncommonError, IndexError, ProtocolError):
        return None


# The frames.


def _up_frame(data: bytes) -> UpFrame | None:
    size = len(data)
    if not size or data[0] != REQUEST_FRAME:
        return None
    at, end = inside(data, 1)
    if end != size:
        return None
    up = UpFrame()
    tag = data[at] if at < end else 0
    if tag == UP_FRAME:
        up.frame, at = varint(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == UP_ACK:
        up.ack, at = varint(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == UP_EVENTS:
        events: list[Writes] = []
        while tag == UP_EVENTS:
            event, at = _event(data, at + 1)
            events.append(event)
            tag = data[at] if at < end else 0
        up.events = events
    if tag == UP_APPLIED:
        up.applied, at = varint(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == UP_OUTCOMES:
        outcomes: list[OutcomeRun] = []
        while tag == UP_OUTCOMES:
            run, at = _outcome_run(data, at + 1)
            outcomes.append(run)
            tag = data[at] if at < end else 0
        up.outcomes = outcomes
    if tag == UP_ACCOUNTS:
        accounts: list[CpuAccount] = []
        while tag == UP_ACCOUNTS:
            account, at = account_from_bytes(data, at + 1)
            accounts.append(account)
            tag = data[at] if at < end else 0
        up.accounts = accounts
    if tag == UP_RESOLVED:
        up.resolved, at, tag = _resolved(data, at, end, UP_RESOLVED)
    if tag == UP_MORE:
        up.more, at = flag(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == UP_BEAT:
        up.beat, at = varint(data, at + 1)
    return up if at == end else None


def _down_frame(data: bytes) -> DownFrame | None:
    size = len(data)
    if not size or data[0] != RESPONSE_FRAME:
        return None
    at, end = inside(data, 1)
    if end != size:
        return None
    down = DownFrame()
    tag = data[at] if at < end else 0
    if tag == DOWN_FRAME:
        down.frame, at = varint(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == DOWN_ACK:
        down.ack, at = varint(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == DOWN_FLOORS:
        floors: list[SourceFloor] = []
        while tag == DOWN_FLOORS:
            floor, at = _floor(data, at + 1)
            floors.append(floor)
            tag = data[at] if at < end else 0
        down.floors = floors
    if tag == DOWN_LEGS:
        rows: list[Legs] = []
        while tag == DOWN_LEGS:
            legs, at = _legs(data, at + 1)
            rows.append(legs)
            tag = data[at] if at < end else 0
        down.legs = rows
    if tag == DOWN_RESOLVED:
        down.resolved, at, tag = _resolved(data, at, end, DOWN_RESOLVED)
    if tag == DOWN_BEAT:
        down.beat, at = varint(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == DOWN_ROSTER:
        down.roster, at = varint(data, at + 1)
    return down if at == end else None


# Their parts.


def _event(data: bytes, at: int) -> tuple[Writes, int]:
    """A SourceEvent that is Writes."""
    at, event_end = inside(data, at)
    if data[at] != EVENT_WRITES:
        raise UncommonError
    at, end = inside(data, at + 1)
    if end != event_end:
        raise UncommonError
    cpu = first_seq = command = 0
    words: list[int] = []
    tag = data[at] if at < end else 0
    if tag == WRITES_CPU:
        cpu, at = short(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == WRITES_FIRST_SEQ:
        first_seq, at = varint(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == WRITES_WORDS:
        words, at = _words(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == WRITES_COMMAND:
        command, at = varint(data, at + 1)
    if at != end:
        raise UncommonError
    return Writes(cpu, first_seq, words, command), end


def _words(data: bytes, at: int) -> tuple[list[int], int]:
    at, end = inside(data, at)
    if end - at == 8:
        return [word_at(data, at)], end
    count, rest = divmod(end - at, 8)
    if rest:
        raise UncommonError
    return list(unpack_from(f"<{count}Q", data, at)), end


def _varints(data: bytes, at: int) -> tuple[list[int], int]:
    """A column of numbers; protobuf reads a long one in a quarter of the time."""
    at, end = inside(data, at)
    if end - at > _LONG:
        raise UncommonError
    numbers: list[int] = []
    while at < end:
        number, at = varint(data, at)
        numbers.append(number)
    if at != end:
        raise UncommonError
    return numbers, end


def _floor(data: bytes, at: int) -> tuple[SourceFloor, int]:
    at, end = inside(data, at)
    source, at = _source(data, at, FLOOR_SOURCE)
    runs: list[ResolvedRun] = []
    tag = data[at] if at < end else 0
    if tag == FLOOR_RUNS:
        runs, at, tag = _resolved(data, at, end, FLOOR_RUNS)
    if at != end:
        raise UncommonError
    return SourceFloor(source, tuple(runs)), end


def _source(data: bytes, at: int, tag: int) -> tuple[bytes, int]:
    """An identity, which is there."""
    if data[at] != tag or data[at + 1] != IDENTITY_BYTES:
        raise UncommonError
    end = at + 2 + IDENTITY_BYTES
    return data[at + 2 : end], end


def _legs(data: bytes, at: int) -> tuple[Legs, int]:
    """Legs that have not been sent before."""
    at, end = inside(data, at)
    source, at = _source(data, at, LEGS_SOURCE)
    words: list[int] = []
    cpus: list[int] = []
    tag = data[at] if at < end else 0
    if tag == LEGS_WORDS:
        # Read for nothing if the frame goes on with what is not common, as a command: bursts and
        # commands hardly ever meet.
        return dense_from_bytes(data, at, end, source), end
    if tag != LEGS_SEQS:
        raise UncommonError
    seqs, at = _varints(data, at + 1)
    tag = data[at] if at < end else 0
    if tag == LEGS_WORDS:
        words, at = _words(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == LEGS_CPUS:
        cpus, at = _varints(data, at + 1)
    if at != end or not len(seqs) == len(words) == len(cpus):
        raise UncommonError
    for cpu in cpus:
        if cpu > _U32:
            raise UncommonError
    return Legs(source, seqs, words, cpus), end


def _outcome_run(data: bytes, at: int) -> tuple[OutcomeRun, int]:
    at, end = inside(data, at)
    first = count = number = 0
    tag = data[at] if at < end else 0
    if tag == OUTCOME_FIRST:
        first, at = varint(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == OUTCOME_COUNT:
        count, at = short(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == OUTCOME_OUTCOME:
        number, at = varint(data, at + 1)
    outcome = _OUTCOMES.get(number)
    if outcome is None or at != end:
        raise UncommonError
    return OutcomeRun(first, count, outcome), end


def _resolved(data: bytes, at: int, end: int, tag: int) -> tuple[list[ResolvedRun], int, int]:
    """Runs in one field after the other; the tag after them, too."""
    runs: list[ResolvedRun] = []
    found = tag
    while found == tag:
        at, run_end = inside(data, at + 1)
        first = last = 0
        if at < run_end and data[at] == RUN_FIRST:
            first, at = varint(data, at + 1)
        if at < run_end and data[at] == RUN_LAST:
            last, at = varint(data, at + 1)
        if at != run_end or not 0 < first <= last:
            raise UncommonError
        runs.append(ResolvedRun(first, last))
        found = data[at] if at < end else 0
    return runs, at, found
