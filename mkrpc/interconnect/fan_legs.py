"""Legs of writes to several CPUs, as one entry of the queue of each instance.

A hung instance of many CPUs, rung by broadcasts, would else have an entry for each of its CPUs and
each of the writes. Where such a word goes is looked up once, as in
:mod:`mkrpc.interconnect.equal_legs`.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from mkrpc.interconnect.ledger import Row
from mkrpc.interconnect.legs import Batch, LegRun
from mkrpc.link.recovery import Resent

if TYPE_CHECKING:
    from mkrpc.interconnect.session import Session

__all__ = ["Fan", "FanLegs", "FanPlace"]


class FanPlace(NamedTuple):
    """One CPU that a word goes to: which lane of its batches, and the row of the books."""

    lane: int
    cpu: int
    apic_id: int
    row: Row


class Fan:
    """Where a word goes, by instance; ``size``: to how many CPUs."""

    __slots__ = ("instances", "rows", "size")

    def __init__(self, instances: "dict[Session, list[FanPlace]]") -> None:
        self.instances = instances
        self.size = sum(len(places) for places in instances.values())
        by_lane = {each.lane: each.row for places in instances.values() for each in places}
        self.rows = [by_lane[lane] for lane in sorted(by_lane)]


class FanLegs:
    """Legs of a batch to one instance: all of its writes to the first CPU, then to the next one.

    Of these, legs from index ``begin`` on and before ``end``.
    """

    __slots__ = ("batch", "begin", "end", "instance_id", "places")

    resent = Resent.NO
    arbitrated = False

    def __init__(self, batch: Batch, instance_id: int, places: list[FanPlace]) -> None:
        self.batch = batch
        self.instance_id = instance_id
        self.places = places
        self.begin = 0
        self.end = batch.count * len(places)

    @property
    def count(self) -> int:
        """How many legs."""
        return self.end - self.begin

    def split(self, count: int) -> "FanLegs":
        """Take the first ``count`` legs off; these keep the rest."""
        assert 0 < count < self.count
        taken = FanLegs(self.batch, self.instance_id, self.places)
        taken.begin, taken.end = self.begin, self.begin + count
        self.begin += count
        return taken

    def count_by_row(self, counts: Counter[Row]) -> None:
        """Add them to those of the rows that they are in."""
        for place, _, count in self.by_cpu():
            counts[place.row] += count

    def by_cpu(self) -> list[tuple[FanPlace, int, int]]:
        """For each CPU the first of its writes among these legs, by number, and how many."""
        writes, begin, end = self.batch.count, self.begin, self.end
        first_seq, places = self.batch.first_seq, self.places
        if writes == 1:
            return [(place, first_seq, 1) for place in places[begin:end]]
        found = []
        while begin < end:
            lane, first = divmod(begin, writes)
            count = min(writes - first, end - begin)
            found.append((places[lane], first_seq + first, count))
            begin += count
        return found

    def parts(self) -> Iterator[LegRun]:
        """The same legs as runs, one for each CPU."""
        for place, first_seq, count in self.by_cpu():
            yield LegRun(
                batch=self.batch,
                lane=place.lane,
                row=place.row,
                instance_id=self.instance_id,
                cpu=place.cpu,
                apic_id=place.apic_id,
                first_seq=first_seq,
                count=count,
            )
