"""What goes over ``Control.InjectStream``, straight from bytes and to bytes.

A request is read here if it has the known fields in the order of their numbers, as every client
writes them that is likely to come; of what else there may be protobuf knows. The fields of a
response are written here, each by itself: the bytes are those that protobuf would write.
"""

from collections.abc import Mapping
from typing import Final

from mkrpc.interconnect.tally import LegKind
from mkrpc.wire_fields import UncommonError, flag, inside, number_to_bytes, sized, varint
from mkrpc.wire_tags import (
    INJECT_AGAIN,
    INJECT_CLIENT_ID,
    INJECT_EACH,
    INJECT_FIRST_SEQ,
    INJECT_RESOLVED_BELOW,
    INJECT_ROSTER,
    INJECT_RUNS,
    INJECT_WORDS,
    INJECTED_ANSWERED,
    INJECTED_LEGS,
    INJECTED_OUTCOMES,
    INJECTED_ROSTER,
    LEG_APIC_ID,
    LEG_COUNT,
    LEG_INSTANCE_ID,
    LEG_OUTCOME,
    SEVERAL_LEGS,
    SEVERAL_SEQ,
    TOLD_COUNTS_ONLY,
    TOLD_FIRST_SEQ,
    TOLD_OUTCOMES,
    TOLD_SEVERAL,
    WORDS_FIRST,
    WORDS_LAST,
    WORDS_REPEATED_CALL,
)

__all__ = [
    "StreamRequest",
    "answered_to_bytes",
    "legs_to_bytes",
    "outcomes_to_bytes",
    "request_from_bytes",
    "roster_to_bytes",
]

_WORD_BYTES: Final = 8

_RUNS: Final = number_to_bytes(INJECT_RUNS)
"""A tag of two bytes."""

_ANSWERED: Final = bytes((INJECTED_ANSWERED,))
_LEGS: Final = bytes((INJECTED_LEGS,))
_OUTCOMES: Final = bytes((INJECTED_OUTCOMES,))
_FIRST: Final = bytes((WORDS_FIRST,))
_LAST: Final = bytes((WORDS_LAST,))
_REPEATED: Final = bytes((WORDS_REPEATED_CALL, 1))
_APIC_ID: Final = bytes((LEG_APIC_ID,))
_INSTANCE_ID: Final = bytes((LEG_INSTANCE_ID,))
_OUTCOME: Final = bytes((LEG_OUTCOME,))
_COUNT: Final = bytes((LEG_COUNT,))
_TOLD_FIRST: Final = bytes((TOLD_FIRST_SEQ,))
_TOLD_OUTCOMES: Final = bytes((TOLD_OUTCOMES,))
_SEVERAL: Final = bytes((TOLD_SEVERAL,))
_COUNTS_ONLY: Final = bytes((TOLD_COUNTS_ONLY, 1))
_SEVERAL_SEQ: Final = bytes((SEVERAL_SEQ,))
_SEVERAL_LEGS: Final = bytes((SEVERAL_LEGS,))
_ROSTER: Final = bytes((INJECTED_ROSTER,))


class StreamRequest:
    """An InjectStreamRequest; ``words``: 8 bytes each, little-endian."""

    __slots__ = (
        "again",
        "client_id",
        "each",
        "first_seq",
        "resolved_below",
        "roster",
        "runs",
        "words",
    )

    def __init__(self) -> None:
        self.client_id = self.words = b""
        self.first_seq = self.resolved_below = self.roster = 0
        self.again = self.each = self.runs = False


def request_from_bytes(data: bytes) -> StreamRequest | None:
    """The request in a message; None if it is not a common one."""
    try:
        return _request(data)
    except (UncommonError, IndexError):
        return None


def _request(data: bytes) -> StreamRequest:
    request = StreamRequest()
    end = len(data)
    at = 0
    tag = data[0]
    if tag == INJECT_CLIENT_ID:
        at, to = inside(data, 1)
        request.client_id, at = data[at:to], to
        tag = data[at] if at < end else 0
    if tag == INJECT_FIRST_SEQ:
        request.first_seq, at = varint(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == INJECT_WORDS:
        at, to = inside(data, at + 1)
        request.words, at = data[at:to], to
        tag = data[at] if at < end else 0
    if tag == INJECT_RESOLVED_BELOW:
        request.resolved_below, at = varint(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == INJECT_ROSTER:
        request.roster, at = varint(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == INJECT_AGAIN:
        request.again, at = flag(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == INJECT_EACH:
        request.each, at = flag(data, at + 1)
    if data[at : at + 2] == _RUNS:
        request.runs, at = flag(data, at + 2)
    if at != end or len(request.words) % _WORD_BYTES:
        raise UncommonError
    return request


# Written. What is 0 or empty is left out, but for numbers that say by being there that they are
# known.


def answered_to_bytes(first: int, last: int, *, repeated: bool) -> bytes:
    """An InjectedRun within a response: words that are answered now."""
    content = _FIRST + number_to_bytes(first) + _LAST + number_to_bytes(last)
    return _ANSWERED + sized(content + _REPEATED if repeated else content)


def legs_to_bytes(kind: LegKind, count: int) -> bytes:
    """A LegCount within a response."""
    return _LEGS + sized(_leg(kind, count))


def outcomes_to_bytes(
    first: int,
    outcomes: bytes,
    several: Mapping[int, Mapping[LegKind, int]],
    *,
    counts_only: bool,
) -> bytes:
    """InjectedOutcomes within a response."""
    content = _TOLD_FIRST + number_to_bytes(first)
    if outcomes:
        content += _TOLD_OUTCOMES + sized(outcomes)
    for seq, legs in several.items():
        told = [_SEVERAL_SEQ + number_to_bytes(seq)]
        told += [_SEVERAL_LEGS + sized(_leg(kind, count)) for kind, count in legs.items()]
        content += _SEVERAL + sized(b"".join(told))
    return _OUTCOMES + sized(content + _COUNTS_ONLY if counts_only else content)


def roster_to_bytes(roster: int) -> bytes:
    """The roster number within a response."""
    return _ROSTER + number_to_bytes(roster) if roster else b""


def _leg(kind: LegKind, count: int) -> bytes:
    apic_id, instance_id, outcome = kind
    content = _OUTCOME + number_to_bytes(int(outcome))
    if count:
        content += _COUNT + number_to_bytes(count)
    if instance_id is None:
        return content
    where = _APIC_ID + number_to_bytes(apic_id) + _INSTANCE_ID + number_to_bytes(instance_id)
    return where + content
