"""The client's side of exactly-once injection: sequence numbers, and which are resolved.

Design 3.3, rule 6: the key of an injection is the client's id and its sequence number, and a
destination forgets an outcome only below the number that the client has published as resolved.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mkrpc.errors import DeadlineExceededError, LimitReachedError, MkrpcError, UnavailableError
from mkrpc.v1 import control_pb2 as pb

__all__ = ["MAX_INJECTIONS_BETWEEN_REPEATS", "MAX_UNANSWERED", "InjectionNumbers"]

MAX_UNANSWERED = 1024
"""Injections of one client whose end is unknown; each holds back what peers may forget."""

MAX_INJECTIONS_BETWEEN_REPEATS = 64
"""Each repetition in vain doubles how many injections go by until the next one, up to this."""


class InjectionNumbers:
    """Sequence numbers of one client's injections, from 1, and which have no known end yet.

    Those without one are kept whole: only the very same request, repeated, can tell their end.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 1
        self._under_way: set[int] = set()
        self._unanswered: dict[int, pb.InjectRequest] = {}
        self._pause = 0
        self._to_skip = 0

    def take(self, count: int) -> tuple[int, int]:
        """The first of ``count`` fresh numbers, and the number below which all are resolved.

        Whoever takes them hands them on to :meth:`under_way`. LimitReachedError while the ends of
        :data:`MAX_UNANSWERED` injections are unknown.
        """
        with self._lock:
            unknown = len(self._under_way) + len(self._unanswered)
            if unknown >= MAX_UNANSWERED:
                raise LimitReachedError(
                    f"the ends of {unknown} injections of this client are unknown",
                    advice="an instance may be stopped: `mkrpc show`, `mkrpc kill --force`; or "
                    "look at the ledger and go on with a new client",
                )
            first = self._next
            self._next += count
            self._under_way.add(first)
            return first, min((*self._under_way, *self._unanswered))

    @contextmanager
    def under_way(self, request: pb.InjectRequest) -> Iterator[None]:
        """Around the call: whatever answer it gets is its end; without one it is kept.

        A refusal is an end too: this client will not repeat what was refused.
        """
        answered = False
        try:
            yield
            answered = True
        except MkrpcError as error:
            answered = not isinstance(error, UnavailableError | DeadlineExceededError)
            raise
        finally:
            with self._lock:
                self._under_way.discard(request.first_seq)
                if not answered:
                    self._unanswered[request.first_seq] = request

    def repeat_due(self) -> bool:
        """Asked once before every injection: should unanswered ones be repeated first?"""
        with self._lock:
            if not self._unanswered:
                return False
            if self._to_skip:
                self._to_skip -= 1
                return False
            return True

    def repeated(self, *, in_vain: bool) -> None:
        """What came of repeating. In vain: let more injections go by before the next time."""
        with self._lock:
            longer = min(2 * self._pause or 1, MAX_INJECTIONS_BETWEEN_REPEATS)
            self._pause = self._to_skip = longer if in_vain else 0

    def claim(self, *, after: int) -> pb.InjectRequest | None:
        """The oldest unanswered injection beyond number ``after``, for :meth:`under_way` again."""
        with self._lock:
            first = min((seq for seq in self._unanswered if seq > after), default=None)
            if first is None:
                return None
            self._under_way.add(first)
            return self._unanswered.pop(first)
