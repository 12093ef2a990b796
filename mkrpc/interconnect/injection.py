"""External agents: sources without an APIC, whose calls happen once (design 3.3, rule 6)."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from mkrpc.errors import InvalidArgumentError, LimitReachedError
from mkrpc.interconnect.bucket import CLIENTS, Buckets
from mkrpc.interconnect.changes import ChangeLog
from mkrpc.interconnect.clients import Call, Client
from mkrpc.interconnect.ledger import Ledger
from mkrpc.interconnect.legs import Ended
from mkrpc.interconnect.registry import Registry
from mkrpc.interconnect.routing import Router, Write
from mkrpc.interconnect.takeover import KeptCall
from mkrpc.interconnect.tally import Tally
from mkrpc.limits import IDENTITY_BYTES
from mkrpc.link.frames import ResolvedRun
from mkrpc.outcome import Outcome
from mkrpc.trace import ClientInjected, Sink
from mkrpc.x86.icr import Shorthand, decode, reserved_bits_x2apic

__all__ = [
    "INJECTION_WINDOW",
    "MAX_CALLS_PER_CLIENT",
    "MAX_CLIENTS",
    "MAX_COUNT",
    "MAX_WAITERS",
    "Injections",
    "OnDone",
]

MAX_COUNT = 1_000_000
"""ICR writes in one call at most."""

INJECTION_WINDOW = 4096
"""Unsettled writes of one call at a time; the rest is made as legs settle."""

MAX_CLIENTS = 1024
"""Clients whose calls are remembered; beyond, the idle one that has been silent for longest is
forgotten, and a repetition of its calls would then happen again. If none is idle, a new client is
refused: :class:`LimitReachedError`."""

MAX_CALLS_PER_CLIENT = 1024
"""Calls of one client that are remembered; it must say ``resolved_below`` to make more."""

_REFILL = INJECTION_WINDOW // 4
"""Room in the window from which on it is refilled, so that refills stay few."""

MAX_WAITERS = 64
"""Repetitions of one call that wait for its answer; one more is a :class:`LimitReachedError`."""

_MAX_SEQ = 1 << 63

OnDone = Callable[[Tally], None]
Later = Callable[[Callable[[], None]], None]


class Injections:
    """All clients and their calls."""

    def __init__(
        self,
        *,
        registry: Registry,
        router: Router,
        ledger: Ledger,
        buckets: Buckets,
        changes: ChangeLog,
        later: Later,
    ) -> None:
        self._registry = registry
        self._router = router
        self._ledger = ledger
        self._buckets = buckets
        self._changes = changes
        self.sink: Sink | None = None
        self._later = later
        self._clients: OrderedDict[bytes, Client] = OrderedDict()
        self._waiting: dict[Tally, tuple[Call, OnDone]] = {}

    def knows(self, identity: bytes) -> bool:
        """Whether a client bears this identity."""
        return identity in self._clients

    def restore(self, calls: Iterable[KeptCall]) -> None:
        """Calls that an earlier interconnect has answered: whoever repeats one gets that answer.

        Their rows are restored by who restores rows.
        """
        for kept in calls:
            client = self._clients.setdefault(kept.client, Client(kept.client))
            self._clients.move_to_end(kept.client)
            call = client.calls[kept.first_seq] = Call.again(client, kept)
            client.used.add_run(call.first_seq, call.last_seq)
            client.settle(call.first_seq, call.last_seq)

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
        self._check(client_id, first_seq=first_seq, word=word, count=count)
        client = self._clients.get(client_id)
        known = client.calls.get(first_seq) if client is not None else None
        if known is not None:
            return self._repeat(known, word=word, count=count, on_done=on_done)
        if resolved_below > first_seq:
            raise InvalidArgumentError(
                f"write {first_seq} is new, yet all below {resolved_below} are called resolved",
                advice="resolved_below is at most the number of the oldest write without an answer",
            )
        last_seq = first_seq + count - 1
        if client is None:
            self._make_room()
            client = Client(client_id)
        self._forget(client, resolved_below)
        self._check_fresh(client, first_seq, last_seq)
        client.used.add_run(first_seq, last_seq)
        self._clients[client_id] = client
        self._clients.move_to_end(client_id)
        self._ledger.resume(client.party)
        if self.sink is not None:
            self.sink(ClientInjected(client=client_id, seq=first_seq, count=count, word=word))
        call = Call(client, first_seq=first_seq, word=word, count=count)
        call.stamp = stamp
        client.calls[first_seq] = call
        self._wait(call, call.tally, on_done)
        self._refill(call)
        return call.tally

    def _check(self, client_id: bytes, *, first_seq: int, word: int, count: int) -> None:
        if len(client_id) != IDENTITY_BYTES:
            raise InvalidArgumentError(
                f"a client id of {len(client_id)} bytes",
                advice=f"draw {IDENTITY_BYTES} random bytes once per client",
            )
        if self._registry.knows_incarnation(client_id):
            raise InvalidArgumentError(
                "the client id is the incarnation of an instance", advice="draw random bytes"
            )
        if not 1 <= count <= MAX_COUNT:
            raise InvalidArgumentError(
                f"{count} writes in one call", advice=f"ask for 1 to {MAX_COUNT}"
            )
        if not 1 <= first_seq < _MAX_SEQ:
            raise InvalidArgumentError(
                f"sequence number {first_seq} is out of range", advice="number writes from 1"
            )
        icr = decode(word)
        reserved = reserved_bits_x2apic(word)
        if reserved:
            raise InvalidArgumentError(
                f"malformed ICR {word:#018x}: reserved bits {reserved:#x} are set",
                advice="bits 31:20, 17:16 and 13 must be 0 (SDM 10.12.9)",
            )
        if icr.shorthand in (Shorthand.SELF, Shorthand.ALL_EXCLUDING_SELF):
            raise InvalidArgumentError(
                "an external agent has no APIC of its own, so there is no self to "
                + ("send to" if icr.shorthand is Shorthand.SELF else "leave out"),
                advice="name a destination, or ask a CPU to write its ICR",
            )

    @staticmethod
    def _check_fresh(client: Client, first_seq: int, last_seq: int) -> None:
        if client.used.missing(first_seq, last_seq) != [ResolvedRun(first_seq, last_seq)]:
            raise InvalidArgumentError(
                f"writes {first_seq} to {last_seq}: some of these numbers were used by another "
                "call, or answered and forgotten",
                advice="repeat a call with exactly its first number, word and count",
            )
        if len(client.calls) >= MAX_CALLS_PER_CLIENT:
            raise LimitReachedError(
                f"{MAX_CALLS_PER_CLIENT} calls of this client are remembered",
                advice="say resolved_below, so that answered calls can be forgotten",
            )

    def _repeat(self, call: Call, *, word: int, count: int, on_done: OnDone) -> Tally:
        """Answer a call that was made before: the same outcomes, nothing written."""
        if (word, count) != (call.word, call.count):
            raise InvalidArgumentError(
                f"write {call.first_seq} was {call.count} times {call.word:#018x}, "
                f"now {count} times {word:#018x}",
                advice="repeat a call exactly, or use new numbers",
            )
        if len(call.waiters) >= MAX_WAITERS:
            raise LimitReachedError(
                f"{MAX_WAITERS} wait for the answer to this call already",
                advice="repeat a call when its connection broke, not while it waits",
            )
        self._clients.move_to_end(call.client.party.identity)
        tally = Tally(repeated=True)
        self._wait(call, tally, on_done)
        if call.tally.done:
            self._answer(call)
        return tally

    def _wait(self, call: Call, tally: Tally, on_done: OnDone) -> None:
        call.waiters.append(tally)
        self._waiting[tally] = (call, on_done)

    def abandon(self, tally: Tally) -> None:
        """See :meth:`mkrpc.interconnect.apic_bus.ApicBus.abandon`."""
        call, _ = self._waiting.pop(tally, (None, None))
        if call is not None and tally in call.waiters:
            call.waiters.remove(tally)

    def _make_room(self) -> None:
        if len(self._clients) < MAX_CLIENTS:
            return
        for identity, client in self._clients.items():
            if client.idle:
                self.forget_client(identity)
                return
        raise LimitReachedError(
            f"{MAX_CLIENTS} clients have calls without an answer",
            advice="try again when some are answered",
        )

    def _forget(self, client: Client, resolved_below: int) -> None:
        """Drop answers that the client has, and let the destinations forget them too.

        What it calls resolved and is not, stays: the client may not know that it is unanswered.
        """
        open_calls = (call.first_seq for call in client.calls.values() if not call.tally.done)
        floor = min([resolved_below, *open_calls])
        if floor <= client.floor:
            return
        client.floor = floor
        client.used.add_run(1, floor - 1)
        for first_seq, call in list(client.calls.items()):
            if call.last_seq < floor:
                del client.calls[first_seq]
                self._changes.forgotten(call)
        client.acknowledge(floor)
        self._publish(client)

    def forget_client(self, client_id: bytes) -> None:
        """Nobody will repeat this client's calls: forget it here and at the destinations.

        A client that has calls without an answer, or is unknown, is left as it is.
        """
        client = self._clients.get(client_id)
        if client is not None and client.idle:
            del self._clients[client_id]
            for call in client.calls.values():
                self._changes.forgotten(call)
            client.acknowledge(client.used.highest + 1)
            self._publish(client)

    def _publish(self, client: Client) -> None:
        runs = client.publication()
        for session in self._registry.sessions():
            session.publish(client.party.identity, runs)

    def _refill(self, call: Call) -> None:
        """Make more of the call's writes, as far as its window goes; answer it when all ended."""
        call.refill_due = False
        tally = call.tally
        while tally.written < call.count:
            left = call.count - tally.written
            room = min(INJECTION_WINDOW - call.unsettled, left)
            if room < min(_REFILL, left):
                return
            first_seq = call.first_seq + tally.written
            tally.written += room
            self._write(call, first_seq, room)
        if tally.resolved == call.count and not tally.done:
            tally.done = True
            self._changes.answered(call)
            self._answer(call)
            if call.client.idle:
                self._ledger.finish(call.client.party)

    def _write(self, call: Call, first_seq: int, count: int) -> None:
        """Make writes of a call; those for which the clients' bucket holds no token end here."""
        passing = count if call.stamp else self._buckets.take(CLIENTS, count)
        make = partial(
            Write,
            source=call.client.party,
            apic_id=None,
            word=call.word,
            tally=call.tally,
            on_resolved=partial(self._resolved, call),
            stamp=call.stamp,
        )
        if passing:
            self._router.route(make(first_seq=first_seq, count=passing))
        if passing < count:
            refused = make(first_seq=first_seq + passing, count=count - passing)
            words = [call.word] * refused.count
            self._router.refuse(refused, words, Outcome.REJECTED_RATE_LIMITED)

    def _resolved(self, call: Call, first: int, last: int, ended: Sequence[Ended]) -> None:
        call.book(ended)
        call.tally.resolved += last - first + 1
        if call.client.settle(first, last):
            self._publish(call.client)
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
