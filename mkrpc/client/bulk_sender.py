"""What a stream of injected words says and hears, without the stream: bytes out, bytes in.

Whoever has a stream sends what :meth:`BulkSender.next_request` gives whenever it takes another
message, and hands in what comes. That is natural batching: what is appended while a message is
outstanding goes as the next one.
"""

from array import array
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from google.protobuf.message import DecodeError

from mkrpc.client.answers import IpiResult, LegCount, legs_of, outcome_of
from mkrpc.columns import column_to_wire
from mkrpc.errors import InvalidArgumentError, ProtocolError
from mkrpc.limits import IDENTITY_BYTES
from mkrpc.outcome import Outcome
from mkrpc.v1 import control_pb2 as pb
from mkrpc.wire_fields import number_to_bytes

__all__ = ["INJECT_STREAM", "MAX_REQUEST_WORDS", "BulkSender", "WordOutcomes"]

INJECT_STREAM = "/mkrpc.v1.Control/InjectStream"
"""The full method name."""

MAX_REQUEST_WORDS = 4096
"""Words in one request at most."""

# The fields of an InjectStreamRequest: tags, and with them what is always the same.
_CLIENT_ID = b"\x0a\x10"
_FIRST_SEQ = b"\x10"
_WORDS = b"\x1a"
_ONE_WORD = b"\x1a\x08"
_RESOLVED_BELOW = b"\x20"
_ROSTER = b"\x28"
_AGAIN = b"\x30\x01"
_EACH = b"\x38\x01"
_RUNS = b"\xa0\x01\x01"

_WORD_BYTES = 8

_Kind = tuple[int | None, int | None, int]


@dataclass(frozen=True, slots=True)
class WordOutcomes:
    """What became of consecutive words, the first of which has number ``first``.

    ``outcomes``: of each word that of its leg; None for one that had several, whose legs are in
    ``several`` by its number. ``counts_only``: of all words, or of those with several legs, only
    the counts are known.
    """

    first: int
    outcomes: tuple[Outcome | None, ...]
    several: Mapping[int, tuple[LegCount, ...]]
    counts_only: bool = False


class BulkSender:
    """Words of one client, numbered from 1, each of which happens once.

    ``client_id``: 16 bytes that name this source of interrupts and nobody else. ``each``: ask for
    the outcome of every word; they gather in ``outcomes`` until somebody takes them.
    """

    def __init__(self, client_id: bytes, *, each: bool = False) -> None:
        if len(client_id) != IDENTITY_BYTES:
            raise InvalidArgumentError(
                f"a client id has {IDENTITY_BYTES} bytes, not {len(client_id)}",
                advice=f"use os.urandom({IDENTITY_BYTES})",
            )
        self._client_id = client_id
        self._gathered: array[int] = array("Q")
        self._next = 1
        self._roster = 0
        self._window = self._requests = 0
        self._unanswered: dict[int, tuple[bytes, int]] = {}
        """Words and roster number of those that were sent, by their first number."""
        self._since_floor: deque[int] = deque()
        """First numbers of requests from the oldest without an answer on."""
        self._again: deque[int] = deque()
        self._in_flight = 0
        self._before: Counter[_Kind] = Counter()
        self._legs: dict[_Kind, int] = {}
        self._greeted = False
        self._say_id = True
        """Whether the stream has not been told yet whose it is."""
        self._options = (_EACH if each else b"") + _RUNS
        self.answered = 0
        """Words that have their outcomes."""
        self.outcomes: list[WordOutcomes] = []

    # --- words ----------------------------------------------------------------------------------

    def append(self, words: Iterable[int]) -> None:
        """ICR words in x2APIC layout, destination in the high half, to be sent in this order.

        InvalidArgumentError for what does not fit 64 bits; nothing is appended then.
        """
        try:
            self._gathered.extend(array("Q", words))
        except (OverflowError, TypeError):
            raise _no_words() from None

    def append_one(self, word: int) -> None:
        """The same of one word. It may be done while another thread asks for the next request."""
        try:
            self._gathered.append(word)
        except (OverflowError, TypeError):
            raise _no_words() from None

    @property
    def gathered(self) -> int:
        """Words that wait to be sent."""
        return len(self._gathered)

    @property
    def unanswered(self) -> int:
        """Words that have no outcome yet, sent or not."""
        return self._in_flight + len(self._gathered)

    @property
    def result(self) -> IpiResult:
        """What became of the words that are answered, every leg counted."""
        totals = self._before + Counter(self._legs)
        message = pb.InjectResponse(written=self.answered)
        for (apic_id, instance_id, outcome), count in totals.items():
            number: Any = outcome
            message.legs.add(apic_id=apic_id, instance_id=instance_id, outcome=number, count=count)
        return IpiResult.of(message)

    # --- the stream -----------------------------------------------------------------------------

    def opened(self) -> None:
        """There is a new stream: what has no answer is sent again over it, just as it was."""
        self._greeted, self._say_id = False, True
        self._before.update(self._legs)
        self._legs = {}
        self._again = deque(self._unanswered)

    def next_request(self) -> bytes | None:
        """The next message for the stream; None while there is none, or no credit."""
        if not self._greeted:
            return None
        if self._again:
            return self._request(self._again.popleft(), again=True)
        gathered, first = self._gathered, self._next
        if not gathered or len(self._since_floor) >= self._requests:
            return None
        room = min(MAX_REQUEST_WORDS, self._window - self._in_flight)
        if room <= 0:
            return None
        words = gathered[:room]
        count = len(words)
        del gathered[:count]
        self._next += count
        self._in_flight += count
        self._unanswered[first] = column_to_wire(words), self._roster
        self._since_floor.append(first)
        return self._request(first, again=False)

    def _request(self, first: int, *, again: bool) -> bytes:
        """An InjectStreamRequest, written field by field: most are of one word, and all but its
        number is as in the one before."""
        words, roster = self._unanswered[first]
        identity, self._say_id = (_CLIENT_ID + self._client_id if self._say_id else b""), False
        return b"".join(
            (
                identity,
                _FIRST_SEQ,
                number_to_bytes(first),
                _ONE_WORD if len(words) == _WORD_BYTES else _WORDS + number_to_bytes(len(words)),
                words,
                _RESOLVED_BELOW,
                number_to_bytes(self._since_floor[0]),
                _ROSTER + number_to_bytes(roster) if roster else b"",
                _AGAIN if again else b"",
                self._options,
            )
        )

    def received(self, message: bytes) -> None:
        """A message over the stream. ProtocolError if it makes no sense."""
        try:
            response = pb.InjectStreamResponse.FromString(message)
        except DecodeError:
            raise ProtocolError("a message that is no InjectStreamResponse") from None
        if not self._greeted:
            self._greeted = True
            self._window, self._requests = response.window, response.requests
        self._roster = max(self._roster, response.roster)
        for run in response.answered:
            self._take_answered(run.first, run.last)
        while self._since_floor and self._since_floor[0] not in self._unanswered:
            self._since_floor.popleft()
        for leg in response.legs:
            apic_id = leg.apic_id if leg.HasField("apic_id") else None
            instance_id = leg.instance_id if leg.HasField("instance_id") else None
            self._legs[apic_id, instance_id, leg.outcome] = leg.count
        self.outcomes.extend(map(_outcomes_from_pb, response.outcomes))

    def _take_answered(self, first: int, last: int) -> None:
        """One request has its answer, or several that follow one another."""
        unanswered, seq = self._unanswered, first
        while seq <= last:
            words, _ = unanswered.pop(seq, (b"", 0))
            if not words:
                break
            seq += len(words) // _WORD_BYTES
        if seq != last + 1 or first > last:
            raise ProtocolError(f"words {first} to {last} are called answered")
        self._in_flight -= last - first + 1
        self.answered += last - first + 1


def _no_words() -> InvalidArgumentError:
    return InvalidArgumentError(
        "ICR words are integers from 0 to 2^64 - 1", advice="destination in the high half"
    )


def _outcomes_from_pb(message: pb.InjectedOutcomes) -> WordOutcomes:
    return WordOutcomes(
        first=message.first_seq,
        outcomes=tuple(outcome_of(number) if number else None for number in message.outcomes),
        several=MappingProxyType({word.seq: legs_of(word.legs) for word in message.several}),
        counts_only=message.counts_only,
    )
