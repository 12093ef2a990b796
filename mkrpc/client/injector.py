"""Injections that happen once: repeated with their own numbers, until their end is known."""

import random
import time
from collections.abc import Callable
from contextlib import suppress

from mkrpc.client.destination import Ipi
from mkrpc.client.injection_numbers import InjectionNumbers
from mkrpc.errors import DeadlineExceededError, LimitReachedError, MkrpcError, UnavailableError
from mkrpc.v1 import control_pb2 as pb

__all__ = ["MAX_RETRIES", "REPEAT_S", "Injector"]

MAX_RETRIES = 8
"""Repetitions of an injection whose connection broke: for some 4 seconds, in which another
interconnect serves if the one before died."""
REPEAT_S = 0.2
"""Seconds that one repetition of an unanswered injection may hold up the next injection."""

_BACKOFF_S = 0.1
_MOST_BACKOFF_S = 0.8

Send = Callable[[pb.InjectRequest, float], pb.InjectResponse]
"""One call of ``Inject`` and the seconds that it may take; raises a MkrpcError."""


class Injector:
    """The injections of one client, which may come from several threads.

    ``learn_roster`` asks the interconnect for its roster number: what an injection is stamped with,
    so that one which is repeated to another interconnect reaches nobody who was not there when it
    was first made (design 3.3, rule 3).
    """

    def __init__(
        self,
        client_id: bytes,
        *,
        send: Send,
        learn_roster: Callable[[], int],
        timeout_s: float,
    ) -> None:
        self._client_id = client_id
        self._send = send
        self._learn_roster = learn_roster
        self._roster: int | None = None
        self._timeout_s = timeout_s
        self._numbers = InjectionNumbers()

    def inject(self, ipi: Ipi, *, timeout_s: float) -> pb.InjectResponse:
        """See :meth:`mkrpc.client.client.Client.inject`."""
        if self._numbers.repeat_due():
            self._numbers.repeated(in_vain=not self._settle_oldest())
        try:
            return self._inject(ipi, timeout_s)
        except LimitReachedError:
            # One unanswered injection keeps all later ones remembered, here and at the peers.
            if not self._settle_all():
                raise
        return self._inject(ipi, timeout_s)

    def _inject(self, ipi: Ipi, timeout_s: float) -> pb.InjectResponse:
        if self._roster is None:
            self._roster = self._learn_roster()
        first, resolved_below = self._numbers.take(ipi.count)
        request = pb.InjectRequest(
            **ipi.fields(),
            client_id=self._client_id,
            first_seq=first,
            resolved_below=resolved_below,
            roster=self._roster,
        )
        with self._numbers.under_way(request):
            return self._insist(request, timeout_s)

    def _insist(self, request: pb.InjectRequest, timeout_s: float) -> pb.InjectResponse:
        """Call, and repeat the very same request while the connection breaks."""
        for attempt in range(MAX_RETRIES):
            with suppress(UnavailableError):
                return self._told(self._send(request, timeout_s))
            request.again = True
            # Jittered, so that clients of one broken interconnect do not come back as a herd.
            pause_s = min(_BACKOFF_S * 2**attempt, _MOST_BACKOFF_S)
            time.sleep(pause_s * random.uniform(0.5, 1.0))
        return self._told(self._send(request, timeout_s))

    def _told(self, response: pb.InjectResponse) -> pb.InjectResponse:
        self._roster = max(self._roster or 0, response.roster)
        return response

    def _settle_oldest(self) -> bool:
        """Repeat the unanswered injections, oldest first, until one has no answer again.

        The oldest alone decides what is resolved; a few answers are worth no more than REPEAT_S.
        """
        end_s = time.monotonic() + REPEAT_S
        after = 0
        while (left_s := end_s - time.monotonic()) > 0:
            request = self._numbers.claim(after=after)
            if request is None:
                return True
            if not self._settles(request, left_s):
                return False
            after = request.first_seq
        return True

    def _settle_all(self) -> bool:
        """Repeat every unanswered injection once, for as long as a call; whether any ended."""
        end_s = time.monotonic() + self._timeout_s
        after, any_ended = 0, False
        while (left_s := end_s - time.monotonic()) > 0:
            request = self._numbers.claim(after=after)
            if request is None:
                break
            any_ended |= self._settles(request, min(left_s, REPEAT_S))
            after = request.first_seq
        return any_ended

    def _settles(self, request: pb.InjectRequest, timeout_s: float) -> bool:
        """Repeat the very same request; whether its end is known now, whatever it is."""
        request.again = True
        try:
            with self._numbers.under_way(request):
                self._told(self._send(request, timeout_s))
        except (UnavailableError, DeadlineExceededError):
            return False
        except MkrpcError:
            return True
        return True
