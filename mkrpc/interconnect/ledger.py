"""The books: what was written by whom to whom, and what became of it (design 3.1).

In-flight legs are not counted here. The sessions that hold them count them, so that
``written = delivered + coalesced + rejected + lost + in_flight`` is a check and no identity.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from mkrpc.interconnect.policy import SourceKind
from mkrpc.link.frames import NOBODY
from mkrpc.outcome import Outcome, OutcomeKind
from mkrpc.x86.icr import DeliveryMode

__all__ = [
    "EARLIER_CLIENTS",
    "MAX_FINISHED_CLIENTS",
    "MAX_FINISHED_INCARNATIONS",
    "MAX_ROWS",
    "MAX_ROWS_PER_SOURCE",
    "OVERFLOW",
    "Ledger",
    "Party",
    "Row",
    "RowKey",
    "Totals",
]

MAX_ROWS = 131_072
"""Open rows at most, not counting those of :data:`OVERFLOW`, of :data:`EARLIER_CLIENTS` and of
instances to themselves. At the limit the rows of all who are finished are folded; if that frees
none, legs that need a new row are ``rejected(backpressure)`` in their source's row to
:data:`OVERFLOW`."""

MAX_ROWS_PER_SOURCE = 16_384
"""Of these the rows of one source, so that one that sweeps over all CPUs and vectors takes none
from the others; beyond, the same."""

MAX_FINISHED_CLIENTS = 256
"""Finished clients with rows of their own; the oldest beyond are folded into one party."""

MAX_FINISHED_INCARNATIONS = 256
"""Dead incarnations with rows of their own; the oldest beyond are folded per instance id."""

CARRIES_VECTOR: Final = (DeliveryMode.FIXED, DeliveryMode.LOWEST_PRIORITY, DeliveryMode.STARTUP)


@dataclass(frozen=True, slots=True)
class Party:
    """Who writes or is written to.

    ``identity`` is an incarnation or a client's id, 16 bytes; empty for parties folded into one.
    The name is for people: an interconnect that takes over may not know it yet.
    """

    kind: SourceKind
    instance_id: int | None
    name: str = field(compare=False)
    identity: bytes

    def __hash__(self) -> int:
        # Looked up several times an interrupt: of all that is compared, what tells most apart.
        return hash(self.identity) + (self.instance_id or 0)

    def folded(self) -> "Party":
        """The party that stands for this one's kind once its own rows are folded."""
        if self.kind is SourceKind.CLIENT:
            return EARLIER_CLIENTS
        name = f"earlier incarnations of instance {self.instance_id}"
        return Party(self.kind, self.instance_id, name, b"")


EARLIER_CLIENTS: Final = Party(SourceKind.CLIENT, None, "earlier clients", b"")
OVERFLOW: Final = Party(SourceKind.INSTANCE, None, "beyond the row limit", b"")
"""The destination, in the books, of legs that found no room for a row of their own."""


@dataclass(frozen=True, slots=True)
class RowKey:
    """The legs of one source to one destination CPU with one mode and vector.

    ``destination`` is None for legs to nobody, ``apic_id`` then :data:`~mkrpc.link.frames.NOBODY`.
    ``vector`` is 0 in modes that ignore it. To :data:`OVERFLOW` it is 0 too, and the mode fixed.
    """

    source: Party
    destination: Party | None
    apic_id: int
    mode: DeliveryMode
    vector: int

    @property
    def counts(self) -> bool:
        """Whether its row counts towards the limits. Three kinds do not.

        Rows of an instance to itself: self IPIs have happened already, and there are at most 256
        rows for each CPU. The row for all that is beyond the limits. Rows of earlier clients: these
        are one party, with at most a row for each CPU and vector.
        """
        return self.destination not in (self.source, OVERFLOW) and self.source != EARLIER_CLIENTS

    def folded(self, party: Party) -> "RowKey":
        """The key with ``party`` replaced by the one that it is folded into."""
        source = party.folded() if self.source == party else self.source
        destination = party.folded() if self.destination == party else self.destination
        return RowKey(source, destination, self.apic_id, self.mode, self.vector)


@dataclass(slots=True, eq=False)
class Row:
    """One line of the books: legs written and legs ended."""

    key: RowKey
    written: int = 0
    outcomes: dict[Outcome, int] = field(default_factory=dict)

    @property
    def ended(self) -> int:
        """Legs that have an outcome."""
        return sum(self.outcomes.values())

    @property
    def is_overflow(self) -> bool:
        """Whether this is the row for legs that found no room for one of their own."""
        return self.key.destination == OVERFLOW


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of legs. ``in_flight`` is counted where the legs are, not as the rest."""

    written: int = 0
    delivered: int = 0
    coalesced: int = 0
    rejected: int = 0
    lost: int = 0
    in_flight: int = 0

    @classmethod
    def of(cls, rows: Iterable[Row], *, in_flight: int) -> "Totals":
        """The sum of some rows."""
        written = 0
        kinds: Counter[OutcomeKind] = Counter()
        for row in rows:
            written += row.written
            for outcome, count in row.outcomes.items():
                kinds[outcome.kind] += count
        return cls(
            written=written,
            delivered=kinds[OutcomeKind.DELIVERED],
            coalesced=kinds[OutcomeKind.COALESCED],
            rejected=kinds[OutcomeKind.REJECTED],
            lost=kinds[OutcomeKind.LOST],
            in_flight=in_flight,
        )

    @property
    def balanced(self) -> bool:
        """The first law of the books."""
        ended = self.delivered + self.coalesced + self.rejected + self.lost
        return self.written == ended + self.in_flight


class Ledger:
    """All rows of one epoch."""

    def __init__(self) -> None:
        self._rows: dict[RowKey, Row] = {}
        self._keys_of: dict[Party, dict[RowKey, None]] = {}
        self._counted = 0
        self._counted_by: Counter[Party] = Counter()
        self._finished: dict[SourceKind, dict[Party, None]] = {kind: {} for kind in SourceKind}
        self._finished_clients = self._finished[SourceKind.CLIENT]
        self.changed: dict[Row, None] | None = None
        """Rows that have changed since somebody last emptied it; None while nobody asks."""
        self.folds = 0
        """How often rows have been merged into others: whoever holds one looks here whether it is
        still one of the books."""
        self.removed: dict[RowKey, None] = {}
        """Keys of rows that have gone meanwhile: folded, or superseded."""

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, key: RowKey) -> Row | None:
        """The row of a key, opened if need be; None if :data:`MAX_ROWS` are open, or
        :data:`MAX_ROWS_PER_SOURCE` of this source.

        The key's vector must be 0 in modes that ignore it: see :meth:`vector_of`.
        """
        row = self._rows.get(key)
        if row is not None:
            return row
        if key.counts:
            if self._counted_by[key.source] >= MAX_ROWS_PER_SOURCE:
                return None
            if self._counted >= MAX_ROWS:
                for finished in self._finished.values():
                    self._fold_down_to(finished, 0)
                if self._counted >= MAX_ROWS:
                    return None
        return self._open(key)

    def open(self, key: RowKey) -> Row:
        """The row of a key, whatever the limits say."""
        return self._rows.get(key) or self._open(key)

    def overflow_row(self, source: Party) -> Row:
        """The one row for this source's legs that found no room for a row of their own."""
        return self.open(RowKey(source, OVERFLOW, NOBODY, DeliveryMode.FIXED, 0))

    @staticmethod
    def vector_of(mode: DeliveryMode, vector: int) -> int:
        """The vector as the books have it: 0 in modes that ignore it."""
        return vector if mode in CARRIES_VECTOR else 0

    def book(self, row: Row, count: int) -> None:
        """``count`` legs were written."""
        assert count > 0
        if self.changed is not None:
            self.changed[row] = None
        row.written += count

    def settle(self, row: Row, outcome: Outcome, count: int) -> None:
        """``count`` legs have ended."""
        assert count > 0
        if self.changed is not None:
            self.changed[row] = None
        row.outcomes[outcome] = row.outcomes.get(outcome, 0) + count

    def finish(self, party: Party) -> None:
        """Nothing of or for this party is in flight, nor will be: its rows may be folded."""
        finished = self._finished[party.kind]
        if party not in self._keys_of:
            return
        finished[party] = None
        if party.kind is SourceKind.CLIENT:
            self._fold_down_to(finished, MAX_FINISHED_CLIENTS)
            if len(self._keys_of.get(EARLIER_CLIENTS, ())) > MAX_ROWS:
                # Those to the dead melt into fewer: a machine's CPUs bound the rest.
                self._fold_down_to(self._finished[SourceKind.INSTANCE], 0)
        else:
            self._fold_down_to(finished, MAX_FINISHED_INCARNATIONS)

    def superseded(self, key: RowKey) -> None:
        """What was kept under this key counts no more, unless there is such a row now."""
        if key not in self._rows:
            self.removed[key] = None

    @contextmanager
    def noting_what_goes(self) -> Iterator[None]:
        """Before anybody asks for changes: what is folded here has gone from what was kept too."""
        self.changed = {}
        yield
        self.changed = None

    def resume(self, party: Party) -> None:
        """A client that had finished writes again; its rows, if still its own, stay so."""
        if party in self._finished_clients:
            del self._finished_clients[party]

    def rows_of(self, party: Party) -> list[Row]:
        """Every row that names the party, as source or as destination."""
        return [self._rows[key] for key in self._keys_of.get(party, ())]

    def totals(self, *, in_flight: int) -> Totals:
        """The sum of all rows."""
        return Totals.of(self, in_flight=in_flight)

    def _open(self, key: RowKey) -> Row:
        row = self._rows[key] = Row(key)
        self.removed.pop(key, None)
        if key.counts:
            self._counted += 1
            self._counted_by[key.source] += 1
        self._keys_of.setdefault(key.source, {})[key] = None
        if key.destination is not None:
            self._keys_of.setdefault(key.destination, {})[key] = None
        return row

    def _fold_down_to(self, finished: dict[Party, None], limit: int) -> None:
        while len(finished) > limit:
            oldest = next(iter(finished))
            del finished[oldest]
            self._fold(oldest)

    def _fold(self, party: Party) -> None:
        """Merge each row of ``party`` into the one of its folded party: no count is lost."""
        self.folds += 1
        for key in list(self._keys_of.get(party, ())):
            old = self._rows.pop(key)
            self._forget_key(key)
            folded = key.folded(party)
            row = self._rows.get(folded) or self._open(folded)
            if self.changed is not None:
                self.changed.pop(old, None)
                self.changed[row] = self.removed[key] = None
            row.written += old.written
            for outcome, count in old.outcomes.items():
                row.outcomes[outcome] = row.outcomes.get(outcome, 0) + count

    def _forget_key(self, key: RowKey) -> None:
        if key.counts:
            self._counted -= 1
            self._counted_by[key.source] -= 1
            if not self._counted_by[key.source]:
                del self._counted_by[key.source]
        for party in {key.source, key.destination}:
            if party is None:
                continue
            keys = self._keys_of[party]
            del keys[key]
            if not keys:
                del self._keys_of[party]
