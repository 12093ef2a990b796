"""The client's side of exactly-once injection: sequence numbers, and which are resolved.

Design 3.3, rule 6: the key of an injection is the client's id and its sequence number, and a
destination forgets an outcome only below the number that the client has published as resolved.
"""

import threading

from mkrpc.errors import LimitReachedError

__all__ = ["MAX_UNANSWERED", "InjectionNumbers"]

MAX_UNANSWERED = 1024
"""Injections of one client whose end is unknown; each holds back what peers may forget."""


class InjectionNumbers:
    """Sequence numbers of one client's injections, from 1, and which have no known end yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 1
        self._open: set[int] = set()

    def take(self, count: int) -> tuple[int, int]:
        """The first of ``count`` fresh numbers, and the number below which all are resolved."""
        with self._lock:
            if len(self._open) >= MAX_UNANSWERED:
                raise LimitReachedError(
                    f"the ends of {len(self._open)} injections of this client are unknown",
                    advice="look at the ledger, then go on with a new client",
                )
            first = self._next
            self._next += count
            self._open.add(first)
            return first, min(self._open)

    def resolve(self, first: int) -> None:
        """The injection that began with ``first`` has its end, or certainly did not happen."""
        with self._lock:
            self._open.remove(first)
