"""Conservation (design 3.1): each leg is delivered, coalesced, rejected, lost or on its way.

The books are compared with a second set of them, kept from the trace events alone. After an
interconnect that took over from one that died, a source that came back has of each write the legs
of the last interconnect that had it; of another one the books are those that the disk had kept,
what was in flight then lost, and what has happened since. What the disk has of clients are the
legs of every call that was answered when it was last written, each once, and no leg that has not
ended.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Set
from typing import ClassVar

from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.ledger import Ledger
from mkrpc.interconnect.policy import SourceKind
from mkrpc.interconnect.takeover import BookRow, Takeover
from mkrpc.interconnect.unbooked import UNKNOWN
from mkrpc.outcome import Outcome
from mkrpc.simulation.checkers.exactly_once import ExactlyOnce
from mkrpc.simulation.checkers.violation import Checker
from mkrpc.simulation.events import (
    Answered,
    AnsweredTogether,
    BusTurn,
    HubBegan,
    HubKept,
    Reported,
    Standing,
)
from mkrpc.trace import InstanceAttached, LegEnded
from mkrpc.x86.icr import DeliveryMode

__all__ = ["SAMPLE_EVERY", "Conservation", "Line"]

SAMPLE_EVERY = 50
"""Turns of the bus after which its books are added up again."""

Line = tuple[int, DeliveryMode, int, Outcome]
"""APIC id of the destination, mode, vector as the books have it, outcome."""

_IN_FLIGHT = Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED


class Conservation(Checker):
    """Keeps its own books by source, destination CPU, mode, vector and outcome."""

    name: ClassVar[str] = "conservation"
    listens: ClassVar[tuple[type, ...]] = (
        *(LegEnded, BusTurn, HubBegan),
        *(InstanceAttached, Reported, Answered, AnsweredTogether, HubKept),
    )

    def __init__(self, journal: ExactlyOnce) -> None:
        self._journal = journal
        self._ended: defaultdict[bytes, Counter[Line]] = defaultdict(Counter)
        """In the life of this interconnect."""
        self._kept: defaultdict[bytes, Counter[Line]] = defaultdict(Counter)
        """By the disk, when it began."""
        self._expected: set[bytes] = set()
        self._recovered: set[bytes] = set()
        self._unresolved: dict[bytes, set[int]] = {}
        """Of those that were taken over: what they had not heard the end of."""
        self._log: list[tuple[int, LegEnded]] = []
        self._answered: set[tuple[bytes, int]] = set()
        """Calls of which the client has the answer, by the disk or by this interconnect, ..."""
        self._on_disk: set[tuple[bytes, int]] = set()
        """... and those of them that it had when the disk was last written."""
        self._turns = 0

    def on_event(self, event: object) -> None:
        """As :class:`Checker`."""
        if type(event) is LegEnded:
            self._ended[event.source][_line(event)] += event.count
            self._log.append((self._journal.epoch, event))
        elif type(event) is BusTurn:
            self._turns += 1
            if self._turns % SAMPLE_EVERY == 0:
                self._balance(event.bus)
        elif type(event) is InstanceAttached:
            # It may have been before; it had not been welcomed, and so has written nothing.
            self._recovered.add(event.incarnation)
        elif type(event) is Reported:
            if event.frame.recovered:
                source = event.kernel.source
                self._recovered.add(event.kernel.incarnation)
                self._unresolved[event.kernel.incarnation] = {
                    write.seq for write in source.unresolved(source.written)
                }
        elif type(event) is Answered:
            self._answered.add((event.client, event.first_seq))
        elif type(event) is AnsweredTogether:
            first, last = event.answer.first, event.answer.last
            self._answered.update((event.client, seq) for seq in range(first, last + 1))
        elif type(event) is HubKept:
            self._on_disk = set(self._answered)
        elif type(event) is HubBegan:
            self._began(event)

    def at_end(self, standing: Standing) -> None:
        """As :class:`Checker`."""
        self._balance(standing.bus)
        if standing.bus.in_flight():
            self.fail(f"{standing.bus.in_flight()} legs are in flight at rest")
        booked: defaultdict[bytes, Counter[Line]] = defaultdict(Counter)
        for row in standing.bus.ledger:
            key = row.key
            if row.written != row.ended:
                self.fail(f"{row.written} legs of a row were written, {row.ended} ended: {key}")
            for outcome, count in row.outcomes.items():
                booked[key.source.identity][key.apic_id, key.mode, key.vector, outcome] += count
        unknown = booked.pop(UNKNOWN.identity, None)
        if unknown is not None and self._journal.epoch == 1:
            self.fail("there are legs of a time before the only interconnect")
        live = {kernel.incarnation for kernel in standing.kernels.values()}
        books = self._books(live)
        books.pop(UNKNOWN.identity, None)
        if standing.bus.ledger.folds:
            booked, books = _folded(booked, live), _folded(books, live)
        for source, ended in books.items():
            known = booked.pop(source, Counter())
            if known != ended:
                line = next(iter((known - ended) or (ended - known)))
                self.fail(
                    f"the books of {source.hex()} have {known[line]} legs, "
                    f"{ended[line]} ended: {line}"
                )
        if booked:
            self.fail(f"there are books of {next(iter(booked)).hex()}, who has written nothing")

    def _books(self, live: Set[bytes]) -> dict[bytes, Counter[Line]]:
        """What the books of each source must be.

        Who has ended before it could send again what it had not heard the end of, has it with the
        interconnect that knew.
        """
        back = self._recovered & self._expected
        books = {}
        for source in self._ended.keys() | self._kept.keys():
            books[source] = self._kept[source] + self._ended[source]
        books.update((source, Counter()) for source in back)
        for source, seq, line in self.legs_of(back):
            heard = seq not in self._unresolved.get(source, ())
            if heard or source in live or self._journal.routed[source, seq] == self._journal.epoch:
                books[source][line] += 1
        return books

    def legs_of(self, sources: Set[bytes]) -> Iterator[tuple[bytes, int, Line]]:
        """Every leg of these sources: what has come again counts as it did the last time."""
        routed = self._journal.routed
        for epoch, event in self._log:
            source = event.source
            if source in sources:
                line = _line(event)
                for seq in range(event.seq, event.seq + event.count):
                    if routed[source, seq] == epoch:
                        yield source, seq, line

    def _began(self, event: HubBegan) -> None:
        self._ended.clear()
        self._kept.clear()
        self._recovered.clear()
        self._unresolved.clear()
        self._expected = {each.incarnation for each in event.takeover.expected}
        for row in event.takeover.rows:
            _add(self._kept[row.key.source.identity], row)
        for call in event.takeover.calls:
            for row in call.rows:
                _add(self._kept[call.client], row)
        self._answered = set(self._on_disk)
        self._compare_clients(event.takeover)

    def _compare_clients(self, takeover: Takeover) -> None:
        """What the disk has of clients with what it must have, and what it may: of all together,
        as it keeps what is acknowledged."""
        kept: Counter[Line] = Counter()
        for row in takeover.rows + tuple(row for call in takeover.calls for row in call.rows):
            if row.key.source.kind is SourceKind.CLIENT:
                _add(kept, row)
        must: Counter[Line] = Counter()
        may: Counter[Line] = Counter()
        calls = self._journal.calls
        for client, seq, line in self.legs_of({client for client, _ in calls}):
            may[line] += 1
            if (client, calls[client, seq]) in self._on_disk:
                must[line] += 1
        if lacking := must - kept:
            self.fail(f"the disk lacks a leg of a client that has the answer: {min(lacking)}")
        if over := kept - may:
            self.fail(f"the disk has a leg of a client too many: {min(over)}")

    def _balance(self, bus: ApicBus) -> None:
        lines = bus.balance()
        if lines:
            self.fail(lines[0])


def _folded(
    books: Mapping[bytes, Counter[Line]], live: Set[bytes]
) -> defaultdict[bytes, Counter[Line]]:
    """Of all who may have been folded into others: together."""
    folded: defaultdict[bytes, Counter[Line]] = defaultdict(Counter)
    for source, lines in books.items():
        folded[source if source in live else b""] += lines
    return folded


def _line(event: LegEnded) -> Line:
    mode = DeliveryMode(event.delivery_mode)
    return event.apic_id, mode, Ledger.vector_of(mode, event.vector), event.outcome


def _add(books: Counter[Line], row: BookRow) -> None:
    """A row as it was kept; what was in flight then is lost."""
    key = row.key
    ended = 0
    for outcome, count in row.outcomes:
        books[key.apic_id, key.mode, key.vector, outcome] += count
        ended += count
    if row.written > ended:
        books[key.apic_id, key.mode, key.vector, _IN_FLIGHT] += row.written - ended
