"""Bursts: many words of one source at a time, sorted by the instances that they go to.

A word that is fixed, physical and for one CPU that may have it is a matter of one look-up, and all
of a burst that go to one instance are one entry of its queue. Any other word takes the general path
of :mod:`mkrpc.interconnect.routing`, at its place in the order. What becomes of a word is the same
on both; tests compare them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from mkrpc.interconnect.equal_legs import EqualLegs, Place
from mkrpc.interconnect.fan_legs import Fan, FanLegs
from mkrpc.interconnect.ledger import Ledger, Party
from mkrpc.interconnect.leg_block import LegBlock, OnBlock, Spread
from mkrpc.interconnect.legs import Piece, Resolved
from mkrpc.interconnect.places import Places
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.registry import Registry
from mkrpc.interconnect.routing import Router
from mkrpc.interconnect.tally import Tally
from mkrpc.interconnect.targets import Write
from mkrpc.interconnect.word_kinds import Kinds, kinds_of
from mkrpc.outcome import Outcome

__all__ = ["SPREAD_FROM", "WordRouter", "Words"]

SPREAD_FROM = 2
"""Words that are worth sorting: measured, two of them already."""


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
    kinds: Kinds | None = None
    """Of the words, if somebody has counted them already."""
    on_block: OnBlock | None = None
    """Who is told of those that go as blocks, if not ``tally`` and ``on_resolved``."""

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
            on_block=self.on_block,
        )


class WordRouter:
    """Routes bursts."""

    def __init__(
        self, *, router: Router, registry: Registry, policy: Policy, ledger: Ledger
    ) -> None:
        self._router = router
        self._ledger = ledger
        self._places = Places(registry=registry, policy=policy, ledger=ledger)

    def route(self, words: Words) -> None:
        """Send each write to every CPU that its destination names."""
        router, count = self._router, len(words.words)
        drops = router.faults is not None and router.faults.drops
        if count < SPREAD_FROM or words.stamp or router.hold is not None or drops:
            self._one_by_one(words)
            return
        kinds = words.kinds if words.kinds is not None else kinds_of(words.words)
        if len(kinds.counts) == 1:
            self._one_by_one(words)
            return
        found = self._places.find(words.source, kinds.counts)
        if None not in found.values():
            self._spread(words, kinds, found)
            return
        begin = 0
        for simple, equal in groupby(words.words, key=lambda word: found[word] is not None):
            end = begin + sum(1 for _ in equal)
            part = words.part(begin, end)
            if simple and end - begin >= SPREAD_FROM:
                self._spread(part, kinds_of(part.words), found)
            else:
                self._one_by_one(part)
            begin = end

    def refuse(self, words: Words, outcome: Outcome) -> None:
        """They get no further than here."""
        self._router.refuse(
            words.source,
            apic_id=words.apic_id,
            first_seq=words.first_seq,
            words=words.words,
            tally=words.tally,
            on_resolved=words.on_resolved,
            outcome=outcome,
        )

    def _one_by_one(self, words: Words) -> None:
        route_equal = self.route_equal
        for write in words.runs():
            if write.stamp or not route_equal(
                write.source,
                apic_id=write.apic_id,
                first_seq=write.first_seq,
                count=write.count,
                word=write.word,
                tally=write.tally,
                on_resolved=write.on_resolved,
            ):
                self._router.route(write)

    def route_equal(
        self,
        source: Party,
        *,
        apic_id: int | None,
        first_seq: int,
        count: int,
        word: int,
        tally: Tally | None,
        on_resolved: Resolved,
    ) -> bool:
        """Send ``count`` equal writes, never made before, to whom it is known that they go.

        The rest as in :class:`~mkrpc.interconnect.targets.Write`. False, and nothing has happened,
        if they must take the general path.
        """
        router = self._router
        faults = router.faults
        if router.hold is not None or (faults is not None and faults.drops):
            return False
        place = self._places.place(source, word)
        if place is None:
            fan = self._places.fan(source, apic_id, word)
            return fan is not None and self._route_fan(
                fan,
                Write(
                    source=source,
                    apic_id=apic_id,
                    first_seq=first_seq,
                    count=count,
                    word=word,
                    tally=tally,
                    on_resolved=on_resolved,
                ),
            )
        session = place.session
        if not session.has_room(count):
            return False
        legs = EqualLegs(
            place,
            apic_id=apic_id,
            first_seq=first_seq,
            count=count,
            routed_us=router.clock.now_us,
            tally=tally,
            on_resolved=on_resolved,
        )
        if router.sink is not None:
            router.trace_write(legs)
        self._ledger.book(place.row, count)
        session.legs.enqueue(legs)
        session.wake()
        return True

    def _route_fan(self, fan: Fan, write: Write) -> bool:
        """An entry for every instance, if each has room for all of it."""
        for session, places in fan.instances.items():
            if session.room_for(len(places), write.source) < write.count:
                return False
        router = self._router
        if router.sink is not None:
            router.trace_write(write)
        for row in fan.rows:
            self._ledger.book(row, write.count)
        batch = router.batch(write, write.first_seq, write.count, fan.size)
        for session, places in fan.instances.items():
            session.legs.enqueue(FanLegs(batch, session.instance_id, places))
            session.wake()
        return True

    # --- bursts ---------------------------------------------------------------------------------

    def _spread(self, words: Words, kinds: Kinds, found: Mapping[int, Place | None]) -> None:
        """All of them have a place: book them, and queue a block for every instance."""
        at = {word: found[word] for word in kinds.counts}
        places = {word: place for word, place in at.items() if place is not None}
        sessions = {place.instance_id: place.session for place in places.values()}
        instance_of = {word: place.instance_id for word, place in places.items()}
        groups = kinds.sort(instance_of, words.first_seq)
        for instance_id, (seqs, _) in groups.items():
            if sessions[instance_id].room_for(1, words.source) < len(seqs):
                self._one_by_one(words)
                return
        router = self._router
        if router.sink is not None:
            for write in words.runs():
                router.trace_write(write)
        spread = Spread(
            source=words.source,
            apic_id=words.apic_id,
            places=places,
            tally=words.tally,
            on_resolved=words.on_resolved,
            on_block=words.on_block,
            routed_us=router.clock.now_us,
        )
        for word, count in kinds.counts.items():
            self._ledger.book(places[word].row, count)
        for instance_id, (seqs, column) in groups.items():
            counts, cpus = kinds.counts, None
            if len(groups) > 1:
                counts = {word: n for word, n in counts.items() if instance_of[word] == instance_id}
            else:
                cpus = kinds.column({word: place.cpu for word, place in places.items()})
            session = sessions[instance_id]
            session.legs.enqueue(LegBlock(spread, seqs, column, counts, cpus))
            session.wake()

    def settle(self, legs: Piece, outcome: Outcome) -> None:
        """Legs have ended: the books, the request and the source learn of it."""
        if isinstance(legs, EqualLegs):
            self._settle_equal(legs, outcome)
        elif isinstance(legs, LegBlock):
            self._settle_block(legs, outcome)
        elif isinstance(legs, FanLegs):
            self._settle_fan(legs, outcome)
        else:
            self._router.settle(legs, outcome)

    def _settle_equal(self, legs: EqualLegs, outcome: Outcome) -> None:
        place, first, count = legs.batch, legs.first_seq, legs.count
        self._ledger.settle(place.row, outcome, count)
        if legs.tally is not None:
            legs.tally.end(first, count, (place.apic_id, place.instance_id, outcome))
        if self._router.sink is not None:
            self._router.trace_end(legs, place.apic_id, outcome)
        legs.on_resolved(first, first + count - 1, ((place.row, outcome, count),))

    def _settle_fan(self, legs: FanLegs, outcome: Outcome) -> None:
        if self._router.sink is not None:
            for run in legs.parts():
                self._router.settle(run, outcome)
            return
        batch, book = legs.batch, self._ledger.settle
        tally, advance = batch.tally, batch.advance
        for place, first_seq, count in legs.by_cpu():
            book(place.row, outcome, count)
            if tally is not None:
                kind = (place.apic_id, legs.instance_id, outcome)
                tally.end(first_seq, count, kind, several=True)
            advance(place.lane, count, place.row, outcome)

    def _settle_block(self, block: LegBlock, outcome: Outcome) -> None:
        batch = block.batch
        tally, on_block = batch.tally, batch.on_block
        ended = []
        for place, count in block.counted():
            self._ledger.settle(place.row, outcome, count)
            ended.append((place.row, outcome, count))
            if tally is not None:
                tally.book((place.apic_id, place.instance_id, outcome), count)
        if tally is not None and tally.each is not None:
            for first, last in block.resolved():
                tally.each.note(first, last - first + 1, (0, None, outcome), several=False)
        if self._router.sink is not None:
            for part in block.parts():
                self._router.trace_end(part, part.apic_id, outcome)
        if on_block is not None:
            on_block(block, outcome)
            return
        for first, last in block.resolved():
            batch.on_resolved(first, last, ended)
            ended = []
