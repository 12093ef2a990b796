"""Whose streams of calls stand, and when a client that has ended its one may be forgotten.

A client that breaks off a stream opens another one. The interconnect may learn of the new one
first, and what was sent over the old one may come late, even after the client has ended the new one
with all its answers. If it were forgotten by then, that would be new, and happen twice.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from mkrpc.interconnect.known_clients import MAX_CLIENTS

__all__ = ["ClientStreams"]

Stream = TypeVar("Stream")


class ClientStreams(Generic[Stream]):
    """Those of one interconnect. ``forget`` is told of clients that will repeat nothing, once
    nothing of theirs can come late.

    A stream is its client's from the first request on, which says whose it is; until then it may be
    anybody's.
    """

    def __init__(self, forget: Callable[[bytes], None]) -> None:
        self._forget = forget
        self._names: dict[Stream, bytes] = {}
        self._leaving: dict[bytes, set[Stream]] = {}
        """Clients that will repeat nothing, with the streams that may be older ones of theirs."""

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
        older = self._leaving.get(client_id)
        if older is not None and stream not in older:
            del self._leaving[client_id]  # it is back
        self._is_not_of_others(stream, client_id)

    def ended(self, stream: Stream, *, well: bool) -> None:
        """A stream is over. ``well``: its client has ended it, and had all its answers.

        Of more than MAX_CLIENTS that wait for older streams, those that came first stay known, as
        long as there is room for them.
        """
        client_id = self._names.pop(stream)
        if well and client_id:
            older = {each for each, name in self._names.items() if name in (b"", client_id)}
            if client_id not in self._leaving and len(self._leaving) == MAX_CLIENTS:
                del self._leaving[next(iter(self._leaving))]
            self._leaving[client_id] = older
        self._is_not_of_others(stream, b"")

    def _is_not_of_others(self, stream: Stream, client_id: bytes) -> None:
        for leaving, older in list(self._leaving.items()):
            if leaving != client_id:
                older.discard(stream)
            if not older:
                del self._leaving[leaving]
                self._forget(leaving)
