"""External agents and their calls: what is remembered of them until they have their answers."""

import heapq
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mkrpc.errors import LimitReachedError
from mkrpc.interconnect.injected_words import EqualWords, SeveralWords
from mkrpc.interconnect.ledger import Party, Row, RowKey
from mkrpc.interconnect.legs import Ended
from mkrpc.interconnect.policy import SourceKind
from mkrpc.interconnect.takeover import BookRow, CallKey, KeptCall
from mkrpc.interconnect.tally import Tally
from mkrpc.link.frames import ResolvedRun
from mkrpc.link.runs import RunSet
from mkrpc.link.source import MAX_PUBLISHED_RUNS
from mkrpc.outcome import Outcome

if TYPE_CHECKING:
    from mkrpc.interconnect.singles import Singles

__all__ = ["KEPT_WRITES", "Call", "Client"]

KEPT_WRITES = 16_384
"""Writes of one client, those settled last, that destinations keep the outcomes of until it says
``resolved_below``, over all its calls.

Destinations remember a bounded number of writes, and a client can make more. A named departure,
for one that leaves at least twice as many unacknowledged: of its older writes no destination could
tell the outcome to another interconnect. Clients that say ``resolved_below`` in time avoid it.
"""


class Call:
    """One injection: its words, how many have been made, and who waits for the answer."""

    def __init__(
        self,
        client: "Client",
        *,
        first_seq: int,
        words: EqualWords | SeveralWords,
        tally: Tally,
    ) -> None:
        self.client = client
        self.first_seq = first_seq
        self.words = words
        self.word = words.word
        self.count = words.count
        self.tally = tally
        self.waiters: list[Tally] = []
        self.stamp = 0
        """Of one that may have reached an earlier interconnect; see Write."""
        self.books: dict[tuple[Row, Outcome], int] = {}
        """How the legs of its resolved writes ended."""
        self.refill_due = False

    def book(self, ended: Sequence[Ended]) -> None:
        """Writes are resolved; their legs ended like this."""
        for row, outcome, count in ended:
            key = row, outcome
            self.books[key] = self.books.get(key, 0) + count

    @classmethod
    def again(cls, client: "Client", kept: KeptCall) -> "Call":
        """One that an earlier interconnect has answered."""
        words = EqualWords(kept.word, kept.count)
        call = cls(client, first_seq=kept.first_seq, words=words, tally=Tally())
        call.tally.written = call.tally.resolved = kept.count
        call.tally.legs.update(dict(kept.legs))
        call.tally.done = True
        return call

    def to_keep(self) -> KeptCall:
        """Once it is answered: as plain data."""
        assert self.tally.done
        rows: dict[RowKey, dict[Outcome, int]] = {}
        for (row, outcome), count in self.books.items():
            outcomes = rows.setdefault(row.key, {})
            outcomes[outcome] = outcomes.get(outcome, 0) + count
        return KeptCall(
            client=self.client.party.identity,
            first_seq=self.first_seq,
            count=self.count,
            word=self.word,
            legs=tuple(self.tally.legs.items()),
            rows=tuple(
                BookRow(key, sum(outcomes.values()), tuple(outcomes.items()))
                for key, outcomes in rows.items()
            ),
        )

    @property
    def key(self) -> CallKey:
        """What names it."""
        return self.client.party.identity, self.first_seq

    @property
    def last_seq(self) -> int:
        """The number of its last write."""
        return self.first_seq + self.count - 1

    @property
    def unsettled(self) -> int:
        """Writes that were made and have legs without an outcome."""
        return self.tally.written - self.tally.resolved


class Client:
    """One external agent."""

    def __init__(self, identity: bytes) -> None:
        self.party = Party(SourceKind.CLIENT, None, "client", identity)
        self.calls: dict[int, Call] = {}
        self.used = RunSet()
        self.floor = 1
        """All numbers below are resolved and their answers forgotten."""
        self.told_below = 1
        """The floor when destinations were last told what they may forget."""
        self.resolved_below = 1
        """What it says of that; forgotten is what there is once it has another answer."""
        self.published = RunSet()
        """What destinations may forget."""
        self._settled: deque[ResolvedRun] = deque()
        self._kept = 0
        self._last_added = 0
        self._in_order = True
        """Whether the numbers of ``calls`` ascend in the order in which they were made."""
        self.singles: dict[int, Singles] = {}
        """Calls of one word each that were made together, by the first number."""
        self.latest_call = 0
        """Counted over all clients, from 1; 0: it has made none since it was restored."""
        self.open_singles = 0
        """How many of them have no answer."""
        self._singles_known = 0
        self._last_singles = 0
        self._singles_in_order = True

    @property
    def idle(self) -> bool:
        """Whether all its calls have their answers. The latest is the likeliest to have none."""
        return not self.open_singles and all(
            call.tally.done for call in reversed(self.calls.values())
        )

    @property
    def waits(self) -> bool:
        """Whether anybody waits for an answer to one of its calls."""
        if any(call.waiters for call in self.calls.values()):
            return True
        return any(
            (each.unanswered and each.on_answer is not None)
            or any(call.waiters for call in each.repeated.values())
            for each in self.singles.values()
        )

    @property
    def remembered(self) -> int:
        """How many of its calls are."""
        return len(self.calls) + self._singles_known

    def find(self, first_seq: int) -> Call | None:
        """The call that began with this number, if it is remembered."""
        call = self.calls.get(first_seq)
        if call is not None or not self.singles or first_seq > self.used.highest:
            return call
        for singles in self.singles.values():
            if singles.first_seq <= first_seq <= singles.last_seq:
                return singles.repeat(first_seq)
        return None

    def add_singles(self, singles: "Singles") -> None:
        """Remember calls of one word each."""
        first_seq = singles.first_seq
        if self.singles:
            self._singles_in_order = self._singles_in_order and first_seq > self._last_singles
        else:
            self._singles_in_order = True
        self._last_singles = first_seq
        self.singles[first_seq] = singles
        self.open_singles += singles.count
        self._singles_known += singles.count

    def drop_singles(self, singles: "Singles") -> None:
        """Nobody will repeat any of them."""
        del self.singles[singles.first_seq]
        self._singles_known -= singles.count

    def singles_below(self, number: int) -> "list[Singles]":
        """As :meth:`calls_below`, of calls of one word each."""
        found: list[Singles] = []
        for singles in self.singles.values():
            if singles.first_seq < number:
                found.append(singles)
            elif self._singles_in_order:
                break
        return found

    def add(self, call: Call) -> Call:
        """Remember a call by its first number."""
        self._in_order = not self.calls or (self._in_order and call.first_seq > self._last_added)
        self._last_added = call.first_seq
        self.calls[call.first_seq] = call
        return call

    def calls_below(self, number: int) -> list[Call]:
        """Those whose first number is below, in the order in which they were made.

        A client that counts upwards has hundreds under way; only what is found is looked at then.
        """
        found: list[Call] = []
        for call in self.calls.values():
            if call.first_seq < number:
                found.append(call)
            elif self._in_order:
                break
        return found

    def settle(self, first: int, last: int) -> bool:
        """Some writes have all their outcomes; whether that lets older ones go.

        See :data:`KEPT_WRITES`. Half of them go at once, so that publications stay few.
        """
        settled = self._settled
        if settled and settled[-1].last + 1 == first:
            settled[-1] = ResolvedRun(settled[-1].first, last)
        else:
            settled.append(ResolvedRun(first, last))
        self._kept += last - first + 1
        if self._kept < 2 * KEPT_WRITES:
            return False
        while self._kept > KEPT_WRITES:
            run = settled.popleft()
            excess = self._kept - KEPT_WRITES
            if run.last - run.first >= excess:
                settled.appendleft(ResolvedRun(run.first + excess, run.last))
                run = ResolvedRun(run.first, run.first + excess - 1)
            self._let_go(run)
        return True

    def acknowledge(self, floor: int) -> None:
        """The client has the answers to all writes below ``floor``."""
        self.published.add_run(1, floor - 1)
        for _ in range(len(self._settled)):
            run = self._settled.popleft()
            if run.last >= floor:
                self._settled.append(run)
            else:
                self._kept -= run.last - run.first + 1

    def publication(self) -> tuple[ResolvedRun, ...]:
        """What destinations may forget: the longest runs of it, should there be too many."""
        runs = self.published.runs()
        if len(runs) <= MAX_PUBLISHED_RUNS:
            return runs
        longest = heapq.nlargest(MAX_PUBLISHED_RUNS, runs, key=lambda run: run.last - run.first)
        return tuple(sorted(longest, key=lambda run: run.first))

    def _let_go(self, run: ResolvedRun) -> None:
        self._kept -= run.last - run.first + 1
        try:
            self.published.add_run(run.first, run.last)
        except LimitReachedError:
            # Too scattered to be told. Destinations keep it, and refuse by name when they are full.
            return
