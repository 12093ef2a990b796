"""What the bus has to tell whoever keeps things for its successor."""

from collections.abc import Iterable
from dataclasses import replace

from mkrpc.interconnect.clients import Call
from mkrpc.interconnect.ledger import Ledger, Row, RowKey
from mkrpc.interconnect.legs import Ended
from mkrpc.interconnect.mirror import Mirror
from mkrpc.interconnect.policy import SourceKind
from mkrpc.interconnect.registry import Registry
from mkrpc.interconnect.roster_count import RosterCount
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.singles import Singles
from mkrpc.interconnect.takeover import (
    BookRow,
    CallKey,
    Changes,
    Incarnation,
    KeptCall,
    KeptMirror,
)
from mkrpc.link.moved import Which
from mkrpc.outcome import Outcome

__all__ = ["ROWS_APART", "ChangeLog", "incarnation_of"]

ROWS_APART = 512
"""Rows of single clients that are kept apart until somebody asks: a call of the same client adds to
its row, which costs a tenth of finding that of all clients. So many are folded in 3 ms."""


def incarnation_of(session: Session) -> Incarnation:
    """A session's incarnation as plain data."""
    return Incarnation(
        incarnation=session.hello.incarnation,
        instance_id=session.instance_id,
        name=session.party.name,
        pid=session.hello.pid,
        born=session.born,
        apic_ids=tuple(each.apic_id for each in session.addresses if not each.vacant),
        elsewhere=_is_elsewhere(session),
    )


def _is_elsewhere(session: Session) -> bool:
    """As :attr:`Incarnation.elsewhere`; who has moved before is taken for it wherever it is now."""
    return any(
        moved.physically or address.is_elsewhere
        for address, moved in zip(session.addresses, session.moved, strict=True)
    )


def row_of(row: Row) -> BookRow:
    """A row of the ledger as it is now."""
    return BookRow(row.key, row.written, tuple(row.outcomes.items()))


class ChangeLog:
    """Gathers changes from the first :meth:`take` on, until nobody keeps them any more."""

    def __init__(
        self, *, registry: Registry, ledger: Ledger, mirror: Mirror, count: RosterCount
    ) -> None:
        self._registry = registry
        self._ledger = ledger
        self._mirror = mirror
        self._count = count
        self._asked = False
        self._stopped = False
        self._attached: list[Incarnation] = []
        self._ended: list[Incarnation] = []
        self._rows: dict[Row, dict[Outcome, int]] = {}
        """Of calls that nobody will repeat, by the rows that they were in."""
        self._client_rows: dict[RowKey, dict[Outcome, int]] = {}
        """The same of earlier ones, by rows of all clients together."""
        self._answered: dict[CallKey, Call | Singles] = {}
        """Calls that are answered, and that nobody has been told of yet."""
        self._acknowledged: dict[CallKey, None] = {}

    def attached(self, session: Session) -> None:
        """A new incarnation lives."""
        if self._asked:
            self._attached.append(incarnation_of(session))

    def moved(self, session: Session, cpu: int, which: Which) -> None:
        """One of its CPUs has another address: the roster number rises. ``which``: as
        :func:`mkrpc.link.moved.moved` says."""
        session.moved[cpu] = session.moved[cpu].at(self._count.moved(), which)
        physically, _, hotplugged = which
        if self._asked and (physically or hotplugged):
            self._attached.append(incarnation_of(session))

    def ended(self, incarnation: Incarnation, reason: str) -> None:
        """One has ended, or was found not to have come back: the roster number rises."""
        ended = self._count.ended(elsewhere=incarnation.elsewhere)
        if self._asked:
            self._ended.append(replace(incarnation, reason=reason, ended=ended))

    def answered(self, call: Call) -> None:
        """Every leg of a call has ended: from here on a successor can answer it."""
        if not self._stopped:
            self._answered[call.key] = call

    def answered_each(self, singles: Singles, first: int, last: int) -> None:
        """The same of calls of one word each."""
        if not self._stopped:
            singles.untold.append((first, last))
            self._answered[singles.key] = singles

    def forgotten(self, call: Call) -> None:
        """Nobody will repeat a call that was answered: of it only the rows are kept.

        Whoever keeps things has been told of it before, or learns of its rows alone: as of all
        clients together, since each run of a command is another one, and the file would grow with
        every one of them.
        """
        if self._stopped:
            return
        if self._answered.pop(call.key, None) is None:
            self._acknowledged[call.key] = None
        elif self._asked:
            self._keep_rows((row, outcome, count) for (row, outcome), count in call.books.items())

    def forgotten_each(self, singles: Singles) -> None:
        """As :meth:`forgotten`, of calls of one word each, all of which are answered."""
        if self._stopped:
            return
        self._answered.pop(singles.key, None)
        for first, last in singles.told:
            for seq in range(first, last + 1):
                self._acknowledged[singles.client.party.identity, seq] = None
        if self._asked:
            self._keep_rows(singles.untold_books())

    def _keep_rows(self, ended: Iterable[Ended]) -> None:
        for row, outcome, count in ended:
            outcomes = self._rows.get(row)
            if outcomes is None:
                outcomes = self._rows[row] = {}
            outcomes[outcome] = outcomes.get(outcome, 0) + count
        if len(self._rows) >= ROWS_APART:
            self._fold()

    def _fold(self) -> None:
        """Put rows of single clients into those of all of them together."""
        rows, self._rows = self._rows, {}
        for row, outcomes in rows.items():
            booked = self._client_rows.setdefault(row.key.folded(row.key.source), {})
            for outcome, count in outcomes.items():
                booked[outcome] = booked.get(outcome, 0) + count

    def stop(self) -> None:
        """Nobody will ask any more, for good: what has gathered goes, and nothing gathers."""
        self._stopped, self._asked = True, False
        self._attached, self._ended = [], []
        self._rows, self._client_rows = {}, {}
        self._answered, self._acknowledged = {}, {}
        self._ledger.changed, self._ledger.removed = None, {}

    def take(self, *, rows: bool) -> Changes:
        """What has changed since the last call; the first one tells all that there is.

        Without ``rows`` only who has come and gone, which is what must be kept at once.
        """
        if not self._asked:
            self._asked = True
            self._attached = [incarnation_of(each) for each in self._registry.sessions()]
            self._ledger.changed = dict.fromkeys(self._ledger)
        attached, self._attached = tuple(self._attached), []
        ended, self._ended = tuple(self._ended), []
        mirrors = tuple(self._mirrors(ended))
        if not rows:
            return Changes(self._count.number, attached, ended, mirrors=mirrors)
        changed, self._ledger.changed = self._ledger.changed or {}, {}
        removed, self._ledger.removed = self._ledger.removed, {}
        self._fold()
        client_rows, self._client_rows = self._client_rows, {}
        answered, self._answered = self._answered, {}
        acknowledged, self._acknowledged = tuple(self._acknowledged), {}
        return Changes(
            roster=self._count.number,
            attached=attached,
            ended=ended,
            rows=tuple(
                row_of(row) for row in changed if row.key.source.kind is not SourceKind.CLIENT
            ),
            removed=tuple(key for key in removed if key.source.kind is not SourceKind.CLIENT),
            client_rows=tuple(
                BookRow(key, sum(outcomes.values()), tuple(outcomes.items()))
                for key, outcomes in client_rows.items()
            ),
            acknowledged=acknowledged,
            calls=tuple(kept for call in answered.values() for kept in _kept(call)),
            mirrors=mirrors,
        )

    def _mirrors(self, ended: tuple[Incarnation, ...]) -> list[KeptMirror]:
        kept = []
        for each in ended:
            row = self._mirror.row(each.incarnation)
            if row is not None:
                accounts = tuple(row.accounts())
                kept.append(KeptMirror(each.incarnation, each.instance_id, accounts))
        return kept


def _kept(call: Call | Singles) -> list[KeptCall]:
    return [call.to_keep()] if isinstance(call, Call) else call.take_kept()
