"""The books as they were before this interconnect: from what was kept, and from the sources."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from mkrpc.errors import ProtocolError
from mkrpc.interconnect.ledger import OVERFLOW, Ledger, Party, RowKey
from mkrpc.interconnect.policy import SourceKind
from mkrpc.interconnect.registry import Registry
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.takeover import BookRow, Takeover
from mkrpc.limits import IDENTITY_BYTES
from mkrpc.link.recovery import TO_NOBODY, TO_OVERFLOW, SourceBook
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode

__all__ = ["RestoredBooks"]

_MODES = {int(mode): mode for mode in DeliveryMode}
_VECTORS = range(256)
_COUNTS = range(1, 1 << 40)
"""Legs of a row of a source's books that ended alike, and each outcome comes once: the sum of all
rows stays within 64 bits."""


class RestoredBooks:
    """Fills the ledger of an interconnect that takes over.

    A source that comes back has books of its own, better than what was kept of it. What was kept
    counts for who cannot say any more; what such a one had in flight is lost by name.
    """

    def __init__(self, *, ledger: Ledger, registry: Registry, takeover: Takeover | None) -> None:
        self._ledger = ledger
        self._registry = registry
        self._parties: dict[bytes, Party] = {}
        self._kept: dict[bytes, list[BookRow]] = {}
        if takeover is None:
            return
        for each in (*takeover.ended, *takeover.expected):
            self._parties[each.incarnation] = Party(
                SourceKind.INSTANCE, each.instance_id, each.name, each.incarnation
            )
        self._kept = {each.incarnation: [] for each in takeover.expected}
        with ledger.noting_what_goes():
            for row in takeover.rows + tuple(row for call in takeover.calls for row in call.rows):
                kept = self._kept.get(row.key.source.identity)
                if kept is None:
                    self._restore(row)
                else:
                    kept.append(row)
            self.fold_the_dead()

    def forget_kept(self, incarnation: bytes) -> None:
        """The source has said all that it knows: what was kept, and it does not say, is no more.

        Else it would count for the source's as well once that dies with this interconnect.
        """
        for row in self._kept.pop(incarnation, ()):
            self._ledger.superseded(row.key)

    def restore_kept(self, incarnation: bytes) -> None:
        """The source will not say any more what it knows: what was kept has to do."""
        for row in self._kept.pop(incarnation, ()):
            self._restore(row)

    def publish(self, session: Session, books: Iterable[SourceBook]) -> None:
        """A source says how the legs of its resolved writes ended.

        :raises ProtocolError: a row that cannot be; nothing has changed then.
        """
        rows = [(self._key(session, book), book) for book in books]
        for key, book in rows:
            row = self._ledger.row(key) or self._ledger.overflow_row(key.source)
            for legs in book.outcomes:
                self._ledger.book(row, legs.count)
                self._ledger.settle(row, legs.outcome, legs.count)

    def fold_the_dead(self, awaited: AbstractSet[Party] = frozenset()) -> None:
        """Rows of those who have ended may be folded, as always, if nothing of theirs is in flight.

        Those of whom something is, or will be, as of the sources in ``awaited``, are finished when
        that has settled.
        """
        parties = {party for row in self._ledger for party in (row.key.source, row.key.destination)}
        parties -= {row.key.source for row in self._ledger if row.written != row.ended}
        parties -= awaited
        for party in sorted(parties - {None}, key=_by_birth):
            assert party is not None
            if len(party.identity) != IDENTITY_BYTES or party.identity in self._kept:
                continue
            if self._registry.alive(party.identity) is None:
                self._ledger.finish(party)

    def _restore(self, kept: BookRow) -> None:
        if kept.written < 1:
            return
        row = self._ledger.row(kept.key) or self._ledger.overflow_row(kept.key.source)
        self._ledger.book(row, kept.written)
        in_flight = kept.written
        for outcome, count in kept.outcomes:
            self._ledger.settle(row, outcome, count)
            in_flight -= count
        if in_flight > 0:
            lost = Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED
            self._ledger.settle(row, lost, in_flight)

    def _key(self, session: Session, book: SourceBook) -> RowKey:
        key = book.key
        mode = _MODES.get(key.delivery_mode)
        counts = all(legs.count in _COUNTS for legs in book.outcomes)
        once = 0 < len(book.outcomes) == len({legs.outcome for legs in book.outcomes})
        if mode is None or key.vector not in _VECTORS or not counts or not once:
            raise ProtocolError(f"instance {session.instance_id} has books that cannot be: {book}")
        return RowKey(session.party, self._destination(book), key.apic_id, mode, key.vector)

    def _destination(self, book: SourceBook) -> Party | None:
        identity, instance_id = book.key.destination, book.key.instance_id
        if instance_id == TO_NOBODY:
            return None
        if instance_id == TO_OVERFLOW:
            return OVERFLOW
        alive = self._registry.alive(identity)
        if alive is not None:
            return alive.party
        party = self._parties.get(identity) or Party(
            SourceKind.INSTANCE, instance_id, "instance", identity
        )
        return party if identity else party.folded()


def _by_birth(party: Party | None) -> tuple[int, bytes]:
    """An order that is the same in every run: sets have none."""
    assert party is not None
    return (-1 if party.instance_id is None else party.instance_id, party.identity)
