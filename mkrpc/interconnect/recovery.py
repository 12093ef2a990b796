"""Behind the roster barrier: an interconnect that takes over from an earlier one (3.3, rule 4).

It routes nothing until everybody who may still hold a lease of the earlier epoch is back and has
said what it knows, or is certainly at its end.
"""

from collections.abc import Callable

from mkrpc.errors import ProtocolError, UnavailableError
from mkrpc.interconnect.changes import ChangeLog, incarnation_of
from mkrpc.interconnect.registry import Registry
from mkrpc.interconnect.resent import ResentWrites
from mkrpc.interconnect.restored_books import RestoredBooks
from mkrpc.interconnect.roster_count import RosterCount
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.takeover import Incarnation, Takeover
from mkrpc.interconnect.targets import Write
from mkrpc.link.frames import Hello, UpFrame
from mkrpc.link.recovery import SourceBook
from mkrpc.link.source_books import MAX_SOURCE_BOOK_ROWS
from mkrpc.trace import BarrierClosed, BarrierOpened, InstanceDetached, Sink

__all__ = ["DID_NOT_COME_BACK", "Recovery"]

DID_NOT_COME_BACK = "did not come back after the interconnect restarted"

_ROSTER_ROOM = 1 << 32
"""How much higher than the roster number that was kept one may be that an instance was told: it
is kept with every birth and end, and rises in between with every address that is changed."""


class Recovery:
    """``closed``: whether the barrier is. ``held``: what waits behind it, in order.

    ``resent``: where what is sent again goes to. ``sink`` takes the trace events.
    """

    def __init__(
        self,
        *,
        takeover: Takeover | None,
        registry: Registry,
        count: RosterCount,
        changes: ChangeLog,
        books: RestoredBooks,
    ) -> None:
        self._registry = registry
        self._count = count
        self._changes = changes
        self._books = books
        self._epochs = frozenset(takeover.epochs) if takeover is not None else frozenset()
        expected = takeover.expected if takeover is not None else ()
        self._missing = {each.incarnation: each for each in expected}
        self._expected = len(expected)
        self._told_at_most = count.number + _ROSTER_ROOM
        self._wait_us = takeover.lease_us if takeover is not None else 0
        self._began_us: int | None = None
        self._somebody_ended = False
        self._elsewhere_ended = False
        self._published: dict[Session, list[SourceBook]] = {}
        self._sent_all: set[bytes] = set()
        self.closed = bool(expected)
        self.held: list[Write] = []
        self.resent = ResentWrites(
            registry=registry, count=count, unheard=lambda: bool(self._published)
        )
        self.sink: Sink | None = None

    # --- who comes back -------------------------------------------------------------------------

    def takes_over_from(self, epoch: int) -> bool:
        """Whether instances of this epoch may still come back."""
        return self.closed and epoch in self._epochs

    def expects(self, incarnation: bytes) -> Incarnation | None:
        """What is known of one that is missing."""
        return self._missing.get(incarnation)

    def check(self, hello: Hello) -> None:
        """While the barrier is closed only those attach that were attached before.

        :raises UnavailableError: it is a newcomer.
        :raises ProtocolError: it was told a roster number that nobody can have told.
        """
        if hello.epoch and max(hello.roster, hello.born) > self._told_at_most:
            raise ProtocolError(
                f"instance {hello.instance_id} has been told roster number "
                f"{max(hello.roster, hello.born)}, {self._told_at_most} is the highest there can be"
            )
        if self.closed and not hello.epoch and hello.incarnation not in self._missing:
            raise UnavailableError(
                f"the interconnect recovers: {self.back} of {self._expected} instances are back",
                advice="try again: it takes no longer than a lease",
            )

    def heard_of(self, session: Session) -> None:
        """Roster numbers go on from the highest that any earlier interconnect has told. Who was
        never welcomed has been told none, whatever it says."""
        self._count.heard_of(session.born)
        if session.hello.epoch:
            self._count.heard_of(session.hello.roster)

    def came_back(self, session: Session) -> None:
        """One has attached. Who was never welcomed before has nothing to say."""
        self._missing.pop(session.hello.incarnation, None)
        self.heard_of(session)
        if session.recovering:
            self._published[session] = []
        else:
            self._books.forget_kept(session.hello.incarnation)

    def take(self, session: Session, frame: UpFrame) -> None:
        """What one that is taken over says first.

        :raises ProtocolError: it says so unasked, or something else before.
        """
        books = self._published.get(session)
        if books is None:
            raise ProtocolError("books that nobody has asked for")
        for write in frame.arbitrated:
            if not 0 <= write.cpu < len(session.addresses):
                raise ProtocolError(f"instance {session.instance_id} has no CPU {write.cpu}")
        books += frame.books
        if len(books) > MAX_SOURCE_BOOK_ROWS + 1:  # the one for what is over
            raise ProtocolError(f"{len(books)} rows of books, {MAX_SOURCE_BOOK_ROWS} may be")
        self.resent.note_arbitrated(session, frame.arbitrated)
        if frame.recovered:
            self._books.publish(session, books)
            self._books.forget_kept(session.hello.incarnation)
            del self._published[session]
            session.recovering = False
            self.resent.all_noted(session)
            if not self.closed:
                self._books.fold_the_dead()
                self.resent.forget_the_dead()
        elif frame.events:
            raise ProtocolError("writes before the books are complete")

    def ended(self, session: Session) -> None:
        """One that had come back has ended, perhaps before it said what it knew."""
        if self.closed:
            self._note_end(incarnation_of(session))
        self.resent.all_noted(session)
        self.sent_all(session.hello.incarnation)
        if self._published.pop(session, None) is not None:
            self._books.restore_kept(session.hello.incarnation)

    def sent_all(self, source: bytes) -> None:
        """An instance sends nothing more again; what it has sent may wait behind the barrier."""
        if self.closed:
            self._sent_all.add(source)
        else:
            self.resent.forget(source)

    def process_ended(self, instance_id: int, pid: int, reason: str) -> bool:
        """The process of one that is missing has ended; False if it is none of these."""
        for each in self._missing.values():
            if (each.instance_id, each.pid) == (instance_id, pid):
                self._end(each, reason)
                return True
        return False

    # --- the barrier ----------------------------------------------------------------------------

    @property
    def back(self) -> int:
        """How many of those that were expected are back, or known to have ended."""
        return self._expected - len(self._missing)

    @property
    def expected(self) -> int:
        """How many could still hold a lease at the beginning."""
        return self._expected

    def begin(self, looked_us: int, lease_us: int) -> int:
        """The time is told; returns when the barrier opens at the latest, on the same clock.

        By then, a lease after the beginning, nobody can hold one that an earlier one granted.
        """
        if self._began_us is None:
            self._began_us = looked_us
            if self.sink is not None:
                self.sink(BarrierClosed(self._expected))
        return self._began_us + max(lease_us, self._wait_us)

    @property
    def complete(self) -> bool:
        """Whether nobody is missing, and all have said what they know."""
        return self.closed and not self._missing and not self._published

    def open(self, looked_us: int, route: Callable[[Write], None]) -> None:
        """Book who is missing as ended, and route what was held.

        Who is back and has not said all that it knows, goes on saying it; what could have been
        applied there by arbitration is not arbitrated again.
        """
        back, missing = self.back, list(self._missing.values())
        for each in missing:
            self._end(each, DID_NOT_COME_BACK)
        if self._somebody_ended:
            # Above everything that anybody who is back has been told.
            self._count.ended(elsewhere=self._elsewhere_ended)
        self.closed = False
        self._books.fold_the_dead({write.source for write in self.held})
        if self.sink is not None:
            after_us = looked_us - (self._began_us or 0)
            self.sink(BarrierOpened(back=back, missing=len(missing), after_us=after_us))
        held, self.held = self.held, []
        for write in held:
            route(write)
        sent_all, self._sent_all = self._sent_all, set()
        for source in sent_all:
            self.resent.forget(source)
        self.resent.forget_the_dead()

    def _end(self, each: Incarnation, reason: str) -> None:
        del self._missing[each.incarnation]
        self._note_end(each)
        self._changes.ended(each, reason)
        self._registry.note_ended(each, reason)
        self._books.restore_kept(each.incarnation)
        if self.sink is not None:
            self.sink(InstanceDetached(each.instance_id, each.name, each.incarnation, reason))

    def _note_end(self, each: Incarnation) -> None:
        self._somebody_ended = True
        self._elsewhere_ended |= each.elsewhere
