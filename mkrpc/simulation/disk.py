"""The disk of a simulated interconnect: what its successor will know, and nothing else.

It keeps what the file of the real one does, in transactions that happen whole or not at all.
"""

from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.ledger import RowKey
from mkrpc.interconnect.takeover import (
    BookRow,
    CallKey,
    Changes,
    Incarnation,
    KeptCall,
    KeptMirror,
    Takeover,
)

__all__ = ["Disk"]


class Disk:
    """``commits`` counts the transactions."""

    def __init__(self) -> None:
        self.commits = 0
        self._epochs: list[int] = []
        self._roster = 0
        self._living: dict[bytes, Incarnation] = {}
        self._ended: dict[bytes, Incarnation] = {}
        self._rows: dict[RowKey, BookRow] = {}
        self._calls: dict[CallKey, KeptCall] = {}
        self._mirrors: dict[bytes, KeptMirror] = {}

    def begin(self, epoch: int) -> Takeover | None:
        """An interconnect begins: what it takes over, None if it is the first."""
        epochs = tuple(self._epochs)
        self._epochs.append(epoch)
        if not epochs:
            return None
        return Takeover(
            epochs=epochs,
            expected=tuple(self._living.values()),
            ended=tuple(self._ended.values()),
            roster=self._roster,
            rows=tuple(self._rows.values()),
            calls=tuple(self._calls.values()),
            mirrors=tuple(self._mirrors.values()),
        )

    def has_to_commit(self, bus: ApicBus) -> bool:
        """Whether somebody has come or has ended, which is not to be lost."""
        return bus.roster_number != self._roster

    def commit(self, bus: ApicBus, *, rows: bool) -> None:
        """Write down what has changed; without ``rows`` only who has come and gone."""
        changes: Changes = bus.take_changes(rows=rows)
        self.commits += 1
        self._roster = max(self._roster, changes.roster)
        for each in changes.attached:
            self._living[each.incarnation] = each
        for each in changes.ended:
            self._living.pop(each.incarnation, None)
            self._ended[each.incarnation] = each
        for key in changes.removed:
            self._rows.pop(key, None)
        for row in changes.rows:
            self._rows[row.key] = row
        for row in changes.client_rows:
            self._add(row)
        for called in changes.acknowledged:
            for row in self._calls.pop(called).booked:
                self._add(row)
        self._calls |= {call.key: call for call in changes.calls}
        for mirror in changes.mirrors:
            self._mirrors[mirror.incarnation] = mirror

    def _add(self, row: BookRow) -> None:
        known = self._rows.get(row.key)
        outcomes = dict(known.outcomes) if known is not None else {}
        for outcome, count in row.outcomes:
            outcomes[outcome] = outcomes.get(outcome, 0) + count
        written = row.written + (known.written if known is not None else 0)
        self._rows[row.key] = BookRow(row.key, written, tuple(outcomes.items()))
