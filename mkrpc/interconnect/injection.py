"""External agents: sources without an APIC, whose calls happen once (design 3.3, rule 6)."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from mkrpc.errors import InvalidArgumentError, LimitReachedError
from mkrpc.interconnect.bucket import CLIENTS, Buckets
from mkrpc.interconnect.changes import ChangeLog
from mkrpc.interconnect.clients import Call, Client
from mkrpc.interconnect.gone_clients import named_by, owing
from mkrpc.interconnect.injected_words import (
    EqualWords,
    SeveralWords,
    check_client,
    equal_words,
    words_of,
)
from mkrpc.interconnect.instalments import Instalments
from mkrpc.interconnect.known_clients import KnownClients
from mkrpc.interconnect.ledger import Ledger
from mkrpc.interconnect.legs import Ended, Resolved
from mkrpc.interconnect.registry import Registry
from mkrpc.interconnect.routing import Router
from mkrpc.interconnect.single_calls import SingleCalls
from mkrpc.interconnect.singles import OnAnswer, Singles
from mkrpc.interconnect.takeover import KeptCall
from mkrpc.interconnect.tally import EachOutcome, Tally
from mkrpc.interconnect.word_routing import WordRouter, Words
from mkrpc.outcome import Outcome
from mkrpc.trace import ClientInjected, Sink

__all__ = ["INJECTION_WINDOW", "MAX_WAITERS", "Injections", "OnDone"]

INJECTION_WINDOW = 4096
"""Unsettled writes of one call at a time; the rest is made as legs settle."""

_REFILL = INJECTION_WINDOW // 4
"""Room in the window from which on it is refilled, so that refills stay few."""

MAX_WAITERS = 64
"""Repetitions of one call that wait for its answer; one more is a :class:`LimitReachedError`."""

OnDone = Callable[[Tally], None]
Later = Callable[[Callable[[], None]], None]


class Injections:
    """All clients and their calls."""

    def __init__(
        self,
        *,
        registry: Registry,
        router: Router,
        words: WordRouter,
        ledger: Ledger,
        buckets: Buckets,
        changes: ChangeLog,
        later: Later,
    ) -> None:
        self._registry = registry
        self._router = router
        self._words = words
        self._ledger = ledger
        self._buckets = buckets
        self._changes = changes
        self.sink: Sink | None = None
        self._later = later
        owes, names = partial(owing, ledger), partial(named_by, registry)
        self.clients = KnownClients(
            registry.publications, changes, destinations_of=owes, named_by=names
        )
        self._singles = SingleCalls(
            words=words,
            buckets=buckets,
            on_resolved=self._single_resolved,
            on_told=self._answer,
            later=later,
        )
        self._waiting: dict[Tally, tuple[Call, OnDone]] = {}
        self.instalments = Instalments()

    def restore(self, calls: Iterable[KeptCall]) -> None:
        """Calls that an earlier interconnect has answered: whoever repeats one gets that answer.

        Their rows are restored by who restores rows.
        """
        self.clients.restore(calls)

    def inject(
        self,
        *,
        client_id: bytes,
        first_seq: int,
        word: int,
        count: int,
        resolved_below: int,
        stamp: int,
        on_done: OnDone,
    ) -> Tally:
        """See :meth:`mkrpc.interconnect.apic_bus.ApicBus.inject`."""
        self._check_source(client_id, first_seq)
        return self._call(
            client_id,
            first_seq=first_seq,
            words=equal_words(word, count),
            resolved_below=resolved_below,
            stamp=stamp,
            tally=Tally(),
            on_done=on_done,
        )

    def inject_words(
        self,
        *,
        client_id: bytes,
        first_seq: int,
        words: bytes,
        resolved_below: int,
        stamp: int,
        each: bool,
        on_done: OnDone,
    ) -> Tally:
        """See :meth:`mkrpc.interconnect.apic_bus.ApicBus.inject_words`."""
        self._check_source(client_id, first_seq)
        asked = words_of(words)
        return self._call(
            client_id,
            first_seq=first_seq,
            words=asked,
            resolved_below=resolved_below,
            stamp=stamp,
            tally=Tally(each=EachOutcome(first_seq, asked.count) if each else None),
            on_done=on_done,
        )

    def inject_singles(
        self,
        *,
        client_id: bytes,
        first_seq: int,
        words: bytes,
        resolved_below: int,
        each: bool,
        on_done: OnAnswer,
    ) -> Singles:
        """See :meth:`mkrpc.interconnect.apic_bus.ApicBus.inject_singles`."""
        self._check_source(client_id, first_seq)
        several = SeveralWords(words)
        count = several.count
        client = self.clients.admit(
            client_id,
            first_seq=first_seq,
            count=count,
            calls=count,
            resolved_below=resolved_below,
            words=several,
        )
        self._ledger.resume(client.party)
        if self.sink is not None:
            for seq, word in enumerate(several.words, first_seq):
                self.sink(ClientInjected(client_id, seq, 1, word))
        singles = Singles(client, first_seq=first_seq, words=several, each=each, on_answer=on_done)
        client.add_singles(singles)
        self._singles.make(singles)
        return singles

    def _single_resolved(self, singles: Singles, first: int, last: int) -> None:
        client = singles.client
        client.open_singles -= last - first + 1
        if client.settle(first, last):
            self.clients.publish(client)
        self._changes.answered_each(singles, first, last)
        if not client.open_singles:
            self._later(partial(self._finish, client))

    def _check_source(self, client_id: bytes, first_seq: int) -> None:
        check_client(client_id, first_seq)
        if self._registry.knows_incarnation(client_id):
            raise InvalidArgumentError(
                "the client id is the incarnation of an instance", advice="draw random bytes"
            )

    def _call(
        self,
        client_id: bytes,
        *,
        first_seq: int,
        words: EqualWords | SeveralWords,
        resolved_below: int,
        stamp: int,
        tally: Tally,
        on_done: OnDone,
    ) -> Tally:
        """A call, if it has not been made before."""
        count = words.count
        known_client = self.clients.get(client_id)
        known = known_client.find(first_seq) if known_client is not None else None
        if known is not None:
            return self._repeat(known, words, on_done=on_done)
        client = self.clients.admit(
            client_id,
            first_seq=first_seq,
            count=count,
            calls=1,
            resolved_below=resolved_below,
            words=words,
        )
        self._ledger.resume(client.party)
        if self.sink is not None:
            self.sink(ClientInjected(client_id, first_seq, count, words.some(0, 1)[0]))
        call = Call(client, first_seq=first_seq, words=words, tally=tally)
        call.stamp = stamp
        client.add(call)
        self._wait(call, call.tally, on_done)
        self._refill(call)
        return call.tally

    def _repeat(self, call: Call, words: EqualWords | SeveralWords, *, on_done: OnDone) -> Tally:
        """Answer a call that was made before: the same outcomes, nothing written."""
        if (words.word, words.count) != (call.word, call.count):
            raise InvalidArgumentError(
                f"write {call.first_seq} was {call.words}, now {words}",
                advice="repeat a call exactly, or use new numbers",
            )
        if len(call.waiters) >= MAX_WAITERS:
            raise LimitReachedError(
                f"{MAX_WAITERS} wait for the answer to this call already",
                advice="repeat a call when its connection broke, not while it waits",
            )
        self.clients.heard(call.client)
        tally = Tally(repeated=True)
        self._wait(call, tally, on_done)
        if call.tally.done:
            self._answer(call)
        return tally

    def _wait(self, call: Call, tally: Tally, on_done: OnDone) -> None:
        call.waiters.append(tally)
        self._waiting[tally] = (call, on_done)

    def abandon(self, tally: Tally | Singles) -> None:
        """See :meth:`mkrpc.interconnect.apic_bus.ApicBus.abandon`."""
        if isinstance(tally, Singles):
            tally.on_answer = None
            return
        call, _ = self._waiting.pop(tally, (None, None))
        if call is not None and tally in call.waiters:
            call.waiters.remove(tally)

    def forget_client(self, client_id: bytes) -> None:
        """See :meth:`mkrpc.interconnect.apic_bus.ApicBus.forget_client`."""
        self.clients.forget(client_id)

    def _refill(self, call: Call) -> None:
        """Make more of the call's writes, as far as its window goes; answer it when all ended."""
        call.refill_due = False
        tally = call.tally
        while tally.written < call.count:
            left = call.count - tally.written
            room = min(INJECTION_WINDOW - call.unsettled, left)
            if room < min(_REFILL, left) or not self.instalments.may_make(call):
                return
            tally.written += room
            self.instalments.made(call, room)
            self._write(call, call.first_seq + tally.written - room, room)
        if tally.resolved == call.count and not tally.done:
            tally.done = True
            if isinstance(call.words, SeveralWords):
                call.words.let_go()
            self._changes.answered(call)
            self._answer(call)
            self._finish(call.client)

    def go_on(self) -> None:
        """See :meth:`mkrpc.interconnect.apic_bus.ApicBus.go_on`."""
        for call in self.instalments.take():
            self._refill(call)

    def _finish(self, client: Client) -> None:
        """If all its calls have their answers, its rows may be folded."""
        self.clients.let_go(client)
        if client.idle:
            self._ledger.finish(client.party)
            self.clients.answered(client)

    def _write(self, call: Call, first_seq: int, count: int) -> None:
        """Make writes of a call; those for which the clients' bucket holds no token end here.

        Unlike an instance's, which are checked, what a client calls made before may be new.
        """
        buckets = self._buckets
        passing = count if buckets.limits_nobody else buckets.take(CLIENTS, count)
        common = isinstance(call.words, EqualWords) and passing == count and not call.stamp
        if common and self._words.route_equal(
            call.client.party,
            apic_id=None,
            first_seq=first_seq,
            count=count,
            word=call.word,
            tally=call.tally,
            on_resolved=self._on_resolved(call),
        ):
            return
        at = first_seq - call.first_seq
        words = Words(
            source=call.client.party,
            apic_id=None,
            first_seq=first_seq,
            words=call.words.some(at, at + count),
            tally=call.tally,
            on_resolved=self._on_resolved(call),
            stamp=call.stamp,
            kinds=call.words.kinds if count == call.count else None,  # those of all its words
        )
        if passing:
            self._words.route(words.part(0, passing))
        if passing < count:
            again = Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED
            beyond = again if call.stamp else Outcome.REJECTED_RATE_LIMITED
            self._words.refuse(words.part(passing, count), beyond)

    def _on_resolved(self, call: Call) -> Resolved:
        return lambda first, last, ended: self._resolved(call, first, last, ended)

    def _resolved(self, call: Call, first: int, last: int, ended: Sequence[Ended]) -> None:
        call.book(ended)
        call.tally.resolved += last - first + 1
        if call.client.settle(first, last):
            self.clients.publish(call.client)
        if not call.refill_due:
            # Not at once: legs are being settled, and a refill would queue new ones under way.
            call.refill_due = True
            self._later(lambda: self._refill(call))

    def _answer(self, call: Call) -> None:
        waiters, call.waiters = call.waiters, []
        for tally in waiters:
            if tally is not call.tally:
                tally.take_over(call.tally)
            self._later(partial(self._tell, tally))

    def _tell(self, tally: Tally) -> None:
        _, on_done = self._waiting.pop(tally, (None, None))
        if on_done is not None:
            on_done(tally)
