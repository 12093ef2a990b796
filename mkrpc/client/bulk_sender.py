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
from mkrpc.columns import column_to_wire, twins_of
from mkrpc.errors import InvalidArgumentError, ProtocolError
from mkrpc.limits import IDENTITY_BYTES
from mkrpc.outcome import Outcome
from mkrpc.v1 import control_pb2 as pb

__all__ = ["INJECT_STREAM", "MAX_REQUEST_WORDS", "BulkSender", "WordOutcomes"]

INJECT_STREAM = "/mkrpc.v1.Control/InjectStream"
"""The full method name."""

MAX_REQUEST_WORDS = 4096
"""Words in one request at most."""

(_Request,) = twins_of(pb.DESCRIPTOR, {"InjectStreamRequest": ("words",)})

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
        self._each = each
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
            raise InvalidArgumentError(
                "ICR words are integers from 0 to 2^64 - 1", advice="destination in the high half"
            ) from None

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
        self._greeted = False
        self._before.update(self._legs)
        self._legs = {}
        self._again = deque(self._unanswered)

    def next_request(self) -> bytes | None:
        """The next message for the stream; None while there is none, or no credit."""
        if not self._greeted:
            return None
        if self._again:
            return self._request(self._again.popleft(), again=True)
        room = min(MAX_REQUEST_WORDS, self._window - self._in_flight)
        if not self._gathered or room <= 0 or len(self._since_floor) >= self._requests:
            return None
        words, first = self._gathered[:room], self._next
        del self._gathered[:room]
        self._next += len(words)
        self._in_flight += len(words)
        self._unanswered[first] = column_to_wire(words), self._roster
        self._since_floor.append(first)
        return self._request(first, again=False)

    def _request(self, first: int, *, again: bool) -> bytes:
        words, roster = self._unanswered[first]
        request = _Request(
            client_id=self._client_id,
            first_seq=first,
            words=words,
            resolved_below=self._since_floor[0],
            roster=roster,
            again=again,
            each=self._each,
            runs=True,
        )
        return bytes(request.SerializeToString())

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


def _outcomes_from_pb(message: pb.InjectedOutcomes) -> WordOutcomes:
    return WordOutcomes(
        first=message.first_seq,
        outcomes=tuple(outcome_of(number) if number else None for number in message.outcomes),
        several=MappingProxyType({word.seq: legs_of(word.legs) for word in message.several}),
        counts_only=message.counts_only,
    )
