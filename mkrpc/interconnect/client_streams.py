"""Whose streams of calls stand, and when a client that has ended its one may be forgotten.

A client that breaks off a stream opens another one. The interconnect may learn of the new one
first, and what was sent over the old one may come late, even after the client has ended the new one
with all its answers. If it were forgotten by then, that would be new, and happen twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["MAX_LEAVING_CLIENTS", "ClientStreams"]

MAX_LEAVING_CLIENTS = 512
"""Clients that are to be forgotten once older streams are over. Of more, the one that has waited
for longest is forgotten at once; what comes late of it would then happen again."""

Stream = TypeVar("Stream")


@dataclass(slots=True)
class _Leaving(Generic[Stream]):
    """A client that will repeat nothing of what it has called until now."""

    latest_call: int
    older: set[Stream]
    """Streams that may be older ones of it."""


class ClientStreams(Generic[Stream]):
    """Those of one interconnect.

    ``forget`` is told of clients that will repeat nothing, once nothing of theirs can come late.
    ``latest_call``: a number that is another one after each new call of a client; who calls again
    has not left, whatever way he does it.

    A stream is its client's from the first request on, which says whose it is; until then it may be
    anybody's.
    """

    def __init__(
        self, *, forget: Callable[[bytes], None], latest_call: Callable[[bytes], int]
    ) -> None:
        self._forget = forget
        self._latest_call = latest_call
        self._names: dict[Stream, bytes] = {}
        self._leaving: dict[bytes, _Leaving[Stream]] = {}

    def __len__(self) -> int:
        """How many stand."""
        return len(self._names)

    def __contains__(self, stream: object) -> bool:
        return stream in self._names

    def opened(self, stream: Stream) -> None:
        """A stream stands."""
        self._names[stream] = b""

    def named(self, stream: Stream, client_id: bytes) -> None:
        """A stream has said whose it is: it is nobody else's."""
        self._names[stream] = client_id
        for leaving in list(self._leaving):
            if leaving != client_id:
                self._waits_no_more_for(stream, leaving)

    def ended(self, stream: Stream, *, well: bool) -> None:
        """A stream is over. ``well``: its client has ended it, and had all its answers."""
        client_id = self._names.pop(stream)
        if well and client_id:
            self._leaving.pop(client_id, None)
            if len(self._leaving) == MAX_LEAVING_CLIENTS:
                self._leaves(next(iter(self._leaving)))
            older = {each for each, name in self._names.items() if name in (b"", client_id)}
            self._leaving[client_id] = _Leaving(self._latest_call(client_id), older)
        for leaving in list(self._leaving):
            self._waits_no_more_for(stream, leaving)

    def _waits_no_more_for(self, stream: Stream, client_id: bytes) -> None:
        older = self._leaving[client_id].older
        older.discard(stream)
        if not older:
            self._leaves(client_id)

    def _leaves(self, client_id: bytes) -> None:
        """Nothing of it can come late, unless it has made new calls since."""
        if self._leaving.pop(client_id).latest_call == self._latest_call(client_id):
            self._forget(client_id)
