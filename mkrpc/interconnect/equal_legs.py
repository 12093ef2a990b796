"""Legs on their way, the common case: equal writes of one source that go to one CPU each.

What most writes are, one by one or many: fixed, to one CPU that may have them. Where such a word
goes is looked up once (:class:`Place`); a write is then one small object, which needs no batch with
lanes of its own, since a leg that has ended is a write that is resolved.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from mkrpc.interconnect.ledger import Party, Row
from mkrpc.interconnect.legs import Batch, Ended, LegRun, Resolved
from mkrpc.interconnect.tally import Tally
from mkrpc.link.recovery import Resent

if TYPE_CHECKING:
    from mkrpc.interconnect.session import Session

__all__ = ["EqualLegs", "Place", "as_run"]

_NOT_RESENT: Final = Resent.NO
"""Compiled, a class's default is looked up for each object: not in an enumeration, for these."""


class Place:
    """Where a word of a source goes, and the row of the books that its legs are in."""

    __slots__ = ("apic_id", "cpu", "instance_id", "row", "session", "source", "word")

    def __init__(
        self, *, source: Party, word: int, session: "Session", cpu: int, apic_id: int, row: Row
    ) -> None:
        self.source = source
        self.word = word
        self.session = session
        self.instance_id = session.instance_id
        self.cpu = cpu
        self.apic_id = apic_id
        self.row = row


class EqualLegs:
    """``count`` writes from number ``first_seq`` on; ``batch``: what they have in common.

    ``apic_id``: of the CPU that wrote, None for a client. ``routed_us``: when they reached the bus.
    """

    __slots__ = ("apic_id", "batch", "count", "first_seq", "on_resolved", "routed_us", "tally")

    resent = _NOT_RESENT
    arbitrated = False

    def __init__(
        self,
        batch: Place,
        *,
        apic_id: int | None,
        first_seq: int,
        count: int,
        routed_us: int,
        tally: Tally | None,
        on_resolved: Resolved,
    ) -> None:
        self.batch = batch
        self.apic_id = apic_id
        self.first_seq = first_seq
        self.count = count
        self.routed_us = routed_us
        self.tally = tally
        self.on_resolved = on_resolved

    def split(self, count: int) -> "EqualLegs":
        """Take the first ``count`` legs off; these keep the rest."""
        assert 0 < count < self.count
        taken = EqualLegs(
            self.batch,
            apic_id=self.apic_id,
            first_seq=self.first_seq,
            count=count,
            routed_us=self.routed_us,
            tally=self.tally,
            on_resolved=self.on_resolved,
        )
        self.first_seq += count
        self.count -= count
        return taken

    def count_by_row(self, counts: Counter[Row]) -> None:
        """Add them to those of their row."""
        counts[self.batch.row] += self.count

    def parts(self) -> Iterator[LegRun]:
        """The same legs as a run, for whoever must look at them as at any others."""
        yield as_run(
            self.batch,
            apic_id=self.apic_id,
            first_seq=self.first_seq,
            count=self.count,
            tally=self.tally,
            routed_us=self.routed_us,
        )


def as_run(
    place: Place,
    *,
    apic_id: int | None,
    first_seq: int,
    count: int,
    tally: Tally | None,
    routed_us: int,
) -> LegRun:
    """Equal legs as a run that is only looked at."""
    return LegRun(
        batch=Batch(
            source=place.source,
            first_seq=first_seq,
            count=count,
            word=place.word,
            lanes=1,
            tally=tally,
            on_resolved=_nobody_is_told,
            apic_id=apic_id,
            routed_us=routed_us,
        ),
        lane=0,
        row=place.row,
        instance_id=place.instance_id,
        cpu=place.cpu,
        apic_id=place.apic_id,
        first_seq=first_seq,
        count=count,
    )


def _nobody_is_told(_first: int, _last: int, _ended: Sequence[Ended]) -> None:
    raise AssertionError("a part of other legs is only looked at")
