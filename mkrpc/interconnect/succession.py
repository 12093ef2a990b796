"""How one interconnect follows another: what is read out of the bus, and what it recovers."""

from mkrpc.interconnect.bucket import Rates
from mkrpc.interconnect.changes import ChangeLog
from mkrpc.interconnect.overview import Overview
from mkrpc.interconnect.roster_count import RosterCount
from mkrpc.interconnect.takeover import Changes, Takeover

__all__ = ["Succession"]


class Succession(Overview):
    """The part of the bus that looks back to an earlier interconnect, and ahead to the next."""

    def __init__(self, takeover: Takeover | None, rates: Rates) -> None:
        super().__init__(rates)
        self.takeover = takeover
        roster, last_end = 0, 0
        if takeover is not None:
            assert takeover.epochs, "there was an earlier interconnect"
            roster = takeover.roster
            last_end = max((each.ended for each in takeover.ended), default=0)
        self._count = RosterCount(max(roster, last_end), last_end)
        self._changes = ChangeLog(
            registry=self._registry, ledger=self.ledger, mirror=self.mirror, count=self._count
        )

    @property
    def roster_number(self) -> int:
        """It rises with every incarnation that begins or ends, over all interconnects."""
        return self._count.number

    @property
    def recovering(self) -> tuple[int, int, int] | None:
        """While the roster barrier is closed: how many instances are back, how many are expected,
        and in how many microseconds it opens at the latest; None once it is open."""
        return None

    def take_changes(self, *, rows: bool = True) -> Changes:
        """What is to be kept for a successor: what has changed since the last call.

        The first call tells everything; until then nothing is gathered. Without ``rows`` only who
        has come and gone, which is to be kept before anything is sent.
        """
        return self._changes.take(rows=rows)
