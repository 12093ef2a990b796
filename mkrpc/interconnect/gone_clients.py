"""Clients that have called somebody who does not answer, and gone.

They are remembered until they are answered, so that a repetition would still find its call. One
instance that hangs must not use up the room of those who call others: of the clients that have gone
from one instance there may be so many, and then it takes no calls of new ones.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from mkrpc.errors import LimitReachedError
from mkrpc.interconnect.clients import Client
from mkrpc.interconnect.injected_words import EqualWords, SeveralWords
from mkrpc.interconnect.ledger import Ledger
from mkrpc.interconnect.registry import Registry

__all__ = ["MAX_GONE_CLIENTS", "MAX_GONE_FROM_ONE", "GoneClients", "named_by", "owing"]

MAX_GONE_CLIENTS = 16_384
"""Clients that have calls without an answer and do not wait for it, as those that have called an
instance that hangs, and gone. They are forgotten when they are answered."""

MAX_GONE_FROM_ONE = 4096
"""Of these those that have called one incarnation, at which it takes no calls of clients that are
not known yet: LimitReachedError."""


class GoneClients:
    """By their ids. ``destinations_of``: incarnations that owe a client an answer."""

    def __init__(self, destinations_of: Callable[[Client], Iterable[bytes]]) -> None:
        self._destinations_of = destinations_of
        self._clients: dict[bytes, tuple[Client, tuple[bytes, ...]]] = {}
        self._gone_from: Counter[bytes] = Counter()
        self._crowded: set[bytes] = set()

    def __contains__(self, identity: object) -> bool:
        return identity in self._clients

    def __bool__(self) -> bool:
        return bool(self._clients)

    @property
    def is_full(self) -> bool:
        """Nobody more can go."""
        return len(self._clients) >= MAX_GONE_CLIENTS

    def get(self, identity: bytes) -> Client | None:
        """The one with this id, if it has gone."""
        found = self._clients.get(identity)
        return None if found is None else found[0]

    def put(self, client: Client) -> None:
        """It has gone."""
        destinations = tuple(set(self._destinations_of(client)))
        self._clients[client.party.identity] = client, destinations
        for each in destinations:
            self._gone_from[each] += 1
            if self._gone_from[each] >= MAX_GONE_FROM_ONE:
                self._crowded.add(each)

    def take(self, identity: bytes) -> Client | None:
        """It is not one of them any more."""
        client, destinations = self._clients.pop(identity, (None, ()))
        for each in destinations:
            self._gone_from[each] -= 1
            if self._gone_from[each] < MAX_GONE_FROM_ONE:
                self._crowded.discard(each)
            if not self._gone_from[each]:
                del self._gone_from[each]
        return client

    def check(self, targets: Callable[[], Mapping[bytes, str]]) -> None:
        """Whether a new client may call incarnations, which have names.

        :raises LimitReachedError: too many have gone from one of them.
        """
        if not self._crowded:
            return
        for identity, name in targets().items():
            if identity in self._crowded:
                raise LimitReachedError(
                    f"{MAX_GONE_FROM_ONE} clients have called {name} and gone without its answer",
                    advice="it may hang: mkrpc show; others can be called, or it be ended: "
                    "mkrpc kill --force",
                )


def owing(ledger: Ledger, client: Client) -> list[bytes]:
    """Incarnations that have legs of this client without an outcome."""
    return [
        row.key.destination.identity
        for row in ledger.rows_of(client.party)
        if row.key.destination is not None and row.written > row.ended
    ]


def named_by(registry: Registry, words: EqualWords | SeveralWords) -> dict[bytes, str]:
    """Whom these words name now: what it is called, by incarnation."""
    sessions = {
        registry.cpu_owner(apic_id)[0]
        for word in (words.kinds.counts if words.kinds is not None else (words.word,))
        for apic_id in registry.map.resolve(word, None)
    }
    return {
        each.hello.incarnation: f"instance {each.instance_id} ({each.hello.name})"
        for each in sessions
    }
