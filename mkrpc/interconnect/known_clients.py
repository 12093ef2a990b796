"""All clients that are remembered: who they are, and what of their calls may be forgotten."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from mkrpc.errors import InvalidArgumentError, LimitReachedError
from mkrpc.interconnect.changes import ChangeLog
from mkrpc.interconnect.clients import Call, Client
from mkrpc.interconnect.floors import Publications
from mkrpc.interconnect.gone_clients import GoneClients
from mkrpc.interconnect.injected_words import EqualWords, SeveralWords
from mkrpc.interconnect.takeover import KeptCall
from mkrpc.link.frames import ResolvedRun

__all__ = ["MAX_CALLS_PER_CLIENT", "MAX_CLIENTS", "TOLD_TOGETHER", "KnownClients"]

MAX_CLIENTS = 1024
"""Clients whose calls are remembered; beyond, the idle one that has been silent for longest is
forgotten, and a repetition of its calls would then happen again. If none is idle and all wait for
their answers, a new client is refused: :class:`LimitReachedError`."""

MAX_CALLS_PER_CLIENT = 1024
"""Calls of one client that are remembered; it must say ``resolved_below`` to make more."""


TOLD_TOGETHER: Final = 64
"""Writes that a client has the answers to, of which destinations are told together that they may
forget them. That is never urgent, and told each time it is half of what there is to say about a
single interrupt."""


class KnownClients:
    """Clients by their ids, the one that has been silent for longest first; and besides those that
    have gone. ``destinations_of``: as for :class:`GoneClients`; ``named_by``: whom words name, by
    incarnation."""

    def __init__(
        self,
        publications: Publications,
        changes: ChangeLog,
        *,
        destinations_of: Callable[[Client], Iterable[bytes]],
        named_by: Callable[[EqualWords | SeveralWords], Mapping[bytes, str]],
    ) -> None:
        self._publications = publications
        self._changes = changes
        self._clients: OrderedDict[bytes, Client] = OrderedDict()
        self._gone = GoneClients(destinations_of)
        self._named_by = named_by
        self._calls = 0
        self._latest: Client | None = None
        """The last of ``_clients``, if that is known."""

    def __contains__(self, identity: object) -> bool:
        return identity in self._clients or identity in self._gone

    def get(self, identity: bytes) -> Client | None:
        """The one with this id, if it is known."""
        client = self._clients.get(identity)
        return client if client is not None or not self._gone else self._gone.get(identity)

    def latest_call(self, identity: bytes) -> int:
        """Of the one with this id: :attr:`Client.latest_call`. 0 if it is not known."""
        client = self.get(identity)
        return 0 if client is None else client.latest_call

    def restore(self, calls: Iterable[KeptCall]) -> None:
        """Calls that an earlier interconnect has answered."""
        for kept in calls:
            client = self._clients.setdefault(kept.client, Client(kept.client))
            self._clients.move_to_end(kept.client)
            self._latest = None
            call = client.add(Call.again(client, kept))
            client.used.add_run(call.first_seq, call.last_seq)
            client.settle(call.first_seq, call.last_seq)

    def heard(self, client: Client) -> None:
        """It has just spoken.

        :raises LimitReachedError: it had gone, and there is no room for it now.
        """
        identity = client.party.identity
        if identity in self._gone:
            self._make_room()
            self._clients[identity] = client
            self._gone.take(identity)
        self._clients.move_to_end(identity)
        self._latest = client

    def answered(self, client: Client) -> None:
        """All its calls have their answers: one that has gone is forgotten."""
        if client.party.identity in self._gone:
            self.forget(client.party.identity)

    def admit(
        self,
        client_id: bytes,
        *,
        first_seq: int,
        count: int,
        calls: int,
        resolved_below: int,
        words: EqualWords | SeveralWords,
    ) -> Client:
        """The client, which is to make ``count`` new writes, of these ``words``, in so many new
        calls; their numbers are used from here on.

        :raises InvalidArgumentError: numbers used before, or called resolved.
        :raises LimitReachedError: too many clients, or calls of this one, or clients that have gone
            from one of its targets.
        """
        last_seq = first_seq + count - 1
        if resolved_below > first_seq:
            raise InvalidArgumentError(
                f"write {first_seq} is new, yet all below {resolved_below} are called resolved",
                advice="resolved_below is at most the number of the oldest write without an answer",
            )
        client = self.get(client_id)
        if client is None:
            self._gone.check(partial(self._named_by, words))
            self._make_room()
            client = Client(client_id)
        elif client_id in self._gone:
            self.heard(client)
        new = first_seq >= client.resolved_below
        client.resolved_below = max(client.resolved_below, resolved_below)
        # At once only where it decides whether this call may be made, or is small beside it.
        if count > 1 or not new or client.remembered >= MAX_CALLS_PER_CLIENT:
            self.let_go(client)
        _check_fresh(client, first_seq, last_seq, calls)
        client.used.add_run(first_seq, last_seq)
        self._calls += 1
        client.latest_call = self._calls
        if client is not self._latest:
            self._clients[client_id] = client
            self._clients.move_to_end(client_id)
            self._latest = client
        return client

    def _make_room(self) -> None:
        if len(self._clients) < MAX_CLIENTS:
            return
        for identity, client in self._clients.items():
            if client.idle:
                self.forget(identity)
                return
        if not self._gone.is_full:
            for identity, client in self._clients.items():
                if not client.waits:
                    self._gone.put(self._clients.pop(identity))
                    self._latest = None
                    return
        raise LimitReachedError(
            f"{MAX_CLIENTS} clients have calls without an answer",
            advice="try again when some are answered",
        )

    def let_go(self, client: Client) -> None:
        """Drop answers that the client has, and let the destinations forget them too once there are
        :data:`TOLD_TOGETHER`.

        What it calls resolved and is not, stays: the client may not know that it is unanswered.
        A call of one word has it done when it has its answer, and not on its way."""
        resolved_below = client.resolved_below
        if resolved_below <= client.floor:
            return
        below = client.calls_below(resolved_below)
        floor = min([resolved_below, *(call.first_seq for call in below if not call.tally.done)])
        singles_below = client.singles_below(floor)
        floor = min([floor, *(each.first_open for each in singles_below if each.unanswered)])
        if floor <= client.floor:
            return
        client.floor = floor
        client.used.add_run(1, floor - 1)
        for call in below:
            if call.last_seq < floor:
                del client.calls[call.first_seq]
                self._changes.forgotten(call)
        for singles in singles_below:
            if singles.last_seq < floor:
                client.drop_singles(singles)
                self._changes.forgotten_each(singles)
        client.acknowledge(floor)
        if floor - client.told_below >= TOLD_TOGETHER:
            self.publish(client)

    def forget(self, client_id: bytes) -> None:
        """Forget a client here and at the destinations, unless it has calls without an answer."""
        client = self.get(client_id)
        if client is not None and client.idle:
            self._clients.pop(client_id, None)
            self._gone.take(client_id)
            self._latest = None
            for call in client.calls.values():
                self._changes.forgotten(call)
            for singles in client.singles.values():
                self._changes.forgotten_each(singles)
            client.acknowledge(client.used.highest + 1)
            self.publish(client)
            client.calls.clear()  # they name it: nobody need find that out
            client.singles.clear()

    def publish(self, client: Client) -> None:
        """Tell the destinations what of it they may forget."""
        client.told_below = client.floor
        self._publications.publish(client.party.identity, client.publication())


def _check_fresh(client: Client, first_seq: int, last_seq: int, calls: int) -> None:
    used = client.used
    if first_seq <= used.highest and used.missing(first_seq, last_seq) != [
        ResolvedRun(first_seq, last_seq)
    ]:
        raise InvalidArgumentError(
            f"writes {first_seq} to {last_seq}: some of these numbers were used by another "
            "call, or answered and forgotten",
            advice="repeat a call with exactly its first number, word and count",
        )
    if client.remembered + calls > MAX_CALLS_PER_CLIENT:
        raise LimitReachedError(
            f"{MAX_CALLS_PER_CLIENT} calls of this client are remembered",
            advice="say resolved_below, so that answered calls can be forgotten",
        )
