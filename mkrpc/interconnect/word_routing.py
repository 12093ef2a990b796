"""Bursts: many words of one source at a time, sorted by the instances that they go to.

A word that is fixed, physical and for one CPU that may have it is a matter of one look-up, and all
of a burst that go to one instance are one entry of its queue. Any other word takes the general path
of :mod:`mkrpc.interconnect.routing`, at its place in the order. What becomes of a word is the same
on both; tests compare them.
"""

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from mkrpc.interconnect.ledger import Ledger, Party, RowKey
from mkrpc.interconnect.leg_block import LegBlock, Place, Spread
from mkrpc.interconnect.legs import LegRun, Resolved
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.registry import Registry
from mkrpc.interconnect.routing import Router
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.tally import Tally
from mkrpc.interconnect.targets import Write
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode, DestinationMode, Shorthand, decode

__all__ = ["MAX_PLACES", "SPREAD_FROM", "WordRouter", "Words"]

SPREAD_FROM = 4
"""Words from which on a burst is sorted; below, each goes by itself. Measured."""

MAX_PLACES = 65_536
"""Words of all sources whose places are known at a time; at so many all are looked up again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Consecutive ICR writes of one source, of words that may differ; the rest as in Write."""

    source: Party
    apic_id: int | None
    first_seq: int
    words: Sequence[int]
    tally: Tally | None
    on_resolved: Resolved
    stamp: int = 0

    def runs(self) -> Iterator[Write]:
        """Runs of equal words."""
        words, seq = self.words, self.first_seq
        if words and words.count(words[0]) == len(words):
            yield self._run(seq, words[0], len(words))
            return
        for word, equal in groupby(words):
            count = sum(1 for _ in equal)
            yield self._run(seq, word, count)
            seq += count

    def _run(self, first_seq: int, word: int, count: int) -> Write:
        return Write(
            source=self.source,
            apic_id=self.apic_id,
            first_seq=first_seq,
            count=count,
            word=word,
            tally=self.tally,
            on_resolved=self.on_resolved,
            stamp=self.stamp,
        )

    def first_as_all(self) -> Write:
        """As so many writes of the first word."""
        return self._run(self.first_seq, self.words[0], len(self.words))

    def part(self, begin: int, end: int) -> "Words":
        """Those from index ``begin`` on and before ``end``."""
        if end - begin == len(self.words):
            return self
        return Words(
            source=self.source,
            apic_id=self.apic_id,
            first_seq=self.first_seq + begin,
            words=self.words[begin:end],
            tally=self.tally,
            on_resolved=self.on_resolved,
            stamp=self.stamp,
        )


class WordRouter:
    """Routes bursts."""

    def __init__(
        self, *, router: Router, registry: Registry, policy: Policy, ledger: Ledger
    ) -> None:
        self._router = router
        self._registry = registry
        self._policy = policy
        self._ledger = ledger
        self._places: dict[Party, dict[int, tuple[Session, Place] | None]] = {}
        self._known = 0
        self._as_of = (-1, -1)

    def route(self, words: Words) -> None:
        """Send each write to every CPU that its destination names."""
        router, count = self._router, len(words.words)
        drops = router.faults is not None and router.faults.drops
        if count < SPREAD_FROM or words.stamp or router.hold is not None or drops:
            self._one_by_one(words)
            return
        different = dict.fromkeys(words.words)
        if len(different) == 1:
            self._one_by_one(words)
            return
        found = self._find(words.source, different)
        if None not in found.values():
            self._spread(words, found)
            return
        begin = 0
        for simple, equal in groupby(words.words, key=lambda word: found[word] is not None):
            end = begin + sum(1 for _ in equal)
            part = words.part(begin, end)
            if simple and end - begin >= SPREAD_FROM:
                self._spread(part, found)
            else:
                self._one_by_one(part)
            begin = end

    def _one_by_one(self, words: Words) -> None:
        for write in words.runs():
            self._router.route(write)

    # --- where words go -------------------------------------------------------------------------

    def _find(
        self, source: Party, different: Mapping[int, None]
    ) -> dict[int, tuple[Session, Place] | None]:
        """Where these words go, and perhaps others; None for those of the general path."""
        as_of = (self._registry.version, self._ledger.folds)
        if as_of != self._as_of or self._known >= MAX_PLACES:
            self._as_of, self._known = as_of, 0
            self._places.clear()
        places = self._places.setdefault(source, {})
        for word in different:
            if word not in places:
                places[word] = self._look_up(source, word)
                self._known += 1
        if self._ledger.folds != as_of[1]:
            # A row that was opened has had others folded, perhaps one that has just been found.
            return self._find(source, different)
        return {word: places[word] for word in different}

    def _look_up(self, source: Party, word: int) -> tuple[Session, Place] | None:
        icr = decode(word)
        if (
            icr.delivery_mode is not DeliveryMode.FIXED
            or icr.shorthand is not Shorthand.NONE
            or icr.destination_mode is not DestinationMode.PHYSICAL
        ):
            return None
        found = self._registry.map.resolve(word, None)
        if len(found) != 1:
            return None
        apic_id = found[0]
        session, cpu = self._registry.cpu_owner(apic_id)
        refusal = self._policy.decide(
            source_id=source.instance_id, destination_id=session.instance_id, icr=icr
        )
        if refusal is not None:
            return None
        vector = self._ledger.vector_of(icr.delivery_mode, icr.vector)
        row = self._ledger.row(RowKey(source, session.party, apic_id, icr.delivery_mode, vector))
        if row is None:
            return None
        return session, Place(session.instance_id, cpu, apic_id, row)

    # --- bursts ---------------------------------------------------------------------------------

    def _spread(self, words: Words, found: Mapping[int, tuple[Session, Place] | None]) -> None:
        """All of them have a place: book them, and queue a block for every instance."""
        session_of = {word: at[0] for word, at in found.items() if at is not None}
        blocks = _sort(words, session_of)
        for session, seqs, _ in blocks:
            if session.room_for(1, words.source) < len(seqs):
                self._one_by_one(words)
                return
        router = self._router
        if router.sink is not None:
            for write in words.runs():
                router.trace_write(write)
        spread = Spread(
            source=words.source,
            apic_id=words.apic_id,
            places={word: at[1] for word, at in found.items() if at is not None},
            tally=words.tally,
            on_resolved=words.on_resolved,
            routed_us=router.clock.now_us,
        )
        for session, seqs, column in blocks:
            block = LegBlock(spread, seqs, column, Counter(column))
            for place, count in block.counted():
                self._ledger.book(place.row, count)
            session.legs.enqueue(block)
            session.wake()

    def settle(self, legs: LegRun | LegBlock, outcome: Outcome) -> None:
        """Legs have ended: the books, the request and the source learn of it."""
        if isinstance(legs, LegBlock):
            self._settle_block(legs, outcome)
        else:
            self._router.settle(legs, outcome)

    def _settle_block(self, block: LegBlock, outcome: Outcome) -> None:
        batch = block.batch
        tally = batch.tally
        ended = []
        for place, count in block.counted():
            self._ledger.settle(place.row, outcome, count)
            ended.append((place.row, outcome, count))
            if tally is not None:
                tally.legs[place.apic_id, place.instance_id, outcome] += count
        if tally is not None and tally.each is not None:
            for first, last in block.resolved():
                tally.each.note(first, last - first + 1, (0, None, outcome), several=False)
        if self._router.sink is not None:
            for part in block.parts():
                self._router.trace_end(part, part.apic_id, outcome)
        for first, last in block.resolved():
            batch.on_resolved(first, last, ended)
            ended = []


def _sort(
    words: Words, session_of: Mapping[int, Session]
) -> list[tuple[Session, Sequence[int], "array[int]"]]:
    """The words by session, in their order, and their numbers."""
    sessions = dict.fromkeys(session_of[word] for word in dict.fromkeys(words.words))
    first, count = words.first_seq, len(words.words)
    if len(sessions) == 1:
        (session,) = sessions
        column = words.words
        if not isinstance(column, array):
            column = array("Q", column)
        return [(session, range(first, first + count), column)]
    columns = {session: (array("Q"), array("Q")) for session in sessions}
    adders = {
        word: (columns[session][0].append, columns[session][1].append)
        for word, session in session_of.items()
        if session in columns
    }
    for seq, word in enumerate(words.words, first):
        add_seq, add_word = adders[word]
        add_seq(seq)
        add_word(word)
    return [(session, seqs, column) for session, (seqs, column) in columns.items()]
