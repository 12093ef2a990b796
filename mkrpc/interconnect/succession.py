"""How one interconnect follows another: what is read out of the bus, and what it recovers."""

from mkrpc.compiled.marks import mypyc_attr
from mkrpc.interconnect.bucket import Rates
from mkrpc.interconnect.changes import ChangeLog
from mkrpc.interconnect.overview import Overview
from mkrpc.interconnect.recovery import Recovery
from mkrpc.interconnect.restored_books import RestoredBooks
from mkrpc.interconnect.roster_count import RosterCount
from mkrpc.interconnect.takeover import Changes, Takeover
from mkrpc.interconnect.unbooked import Unbooked

__all__ = ["Succession"]


@mypyc_attr(allow_interpreted_subclasses=True)
class Succession(Overview):
    """The part of the bus that looks back to an earlier interconnect, and ahead to the next."""

    def __init__(self, takeover: Takeover | None, rates: Rates) -> None:
        super().__init__(rates)
        self.takeover = takeover
        self._unbooked = Unbooked(self.ledger, self._settled)
        roster, last_end, elsewhere = 0, 0, 0
        if takeover is not None:
            assert takeover.epochs, "there was an earlier interconnect"
            roster = takeover.roster
            last_end = max((each.ended for each in takeover.ended), default=0)
            elsewhere = max((each.ended for each in takeover.ended if each.elsewhere), default=0)
        self._count = RosterCount(max(roster, last_end), last_end, elsewhere)
        self._changes = ChangeLog(
            registry=self._registry, ledger=self.ledger, mirror=self.mirror, count=self._count
        )
        if takeover is not None:
            self._remember(takeover)
        self._recovery = Recovery(
            takeover=takeover,
            registry=self._registry,
            count=self._count,
            changes=self._changes,
            books=RestoredBooks(ledger=self.ledger, registry=self._registry, takeover=takeover),
        )

    def _remember(self, takeover: Takeover) -> None:
        for ended in sorted(takeover.ended, key=lambda each: each.born):
            self._registry.note_ended(ended, ended.reason)
        for expected in takeover.expected:
            self._registry.note_expected(expected, "has not come back yet")
        for kept in takeover.mirrors:
            self.mirror.restore(
                kept.incarnation, instance_id=kept.instance_id, accounts=kept.accounts
            )

    @property
    def roster_number(self) -> int:
        """It rises with every incarnation that begins or ends, over all interconnects."""
        return self._count.number

    @property
    def recovering(self) -> tuple[int, int, int] | None:
        """While the roster barrier is closed: how many instances are back, how many are expected,
        and in how many microseconds it opens at the latest; None once it is open."""
        if not self._recovery.closed:
            return None
        also_us = self._leases.also_us
        left_us = self.lease_us if also_us is None else also_us - self._leases.looked_us
        return self._recovery.back, self._recovery.expected, max(0, left_us)

    def is_awaited(self, incarnation: bytes) -> bool:
        """Whether it was attached to an earlier interconnect, and may still come back."""
        return self._recovery.closed and self._recovery.expects(incarnation) is not None

    def quiet(self) -> bool:
        """Also nothing waits for the roster barrier."""
        return not self._recovery.closed and super().quiet()

    def balance(self) -> list[str]:
        """As of any bus. What instances count that is in nobody's books is booked by name, once all
        is quiet after a takeover."""
        return self._balance(self._unbooked if self.takeover is not None else None)

    def _settled(self) -> bool:
        reported = not any(each.mid_report or each.recovering for each in self.sessions())
        return reported and not self._recovery.closed and not self.in_flight()

    def keep_no_changes(self) -> None:
        """Nobody keeps anything for a successor any more: gather nothing for it."""
        self._changes.stop()

    def take_changes(self, *, rows: bool = True) -> Changes:
        """What is to be kept for a successor: what has changed since the last call.

        The first call tells everything; until then nothing is gathered. Without ``rows`` only who
        has come and gone, which is to be kept before anything is sent.
        """
        return self._changes.take(rows=rows)
