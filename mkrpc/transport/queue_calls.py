"""Calls on grpcio's completion queue, at the server and at the client: what comes is told at once.

Every callback is called by whoever handles the queue's completions, one after another.
"""

import threading
from collections.abc import Callable
from typing import Any, Final

import grpc

from mkrpc.transport.completion_queue import (
    ChannelQueue,
    Completion,
    Metadata,
    ServerQueue,
    Tag,
    receive_close,
    receive_headers,
    receive_message,
    receive_status,
    send_headers,
    send_message,
    send_no_more,
    send_status,
    wall_clock_s,
)

__all__ = ["ClientCall", "ServerCall"]

_NO_ERROR: Final = 0
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class ServerCall:
    """A call that a client has made, of whatever method."""

    __slots__ = (
        "_call",
        "_deadline_s",
        "_on_message",
        "_on_sent",
        "_queue",
        "_receive",
        "metadata",
        "method",
    )

    def __init__(self, queue: ServerQueue, came: Any) -> None:
        self._queue = queue
        self._call = came.call
        self._deadline_s: float = came.call_details.deadline
        self._on_message: Callable[[bytes | None], None] | None = None
        self._on_sent: Callable[[bool], None] | None = None
        self._receive = (receive_message(),)
        self.method: str = came.call_details.method.decode("utf-8", "replace")
        self.metadata: Metadata = came.invocation_metadata

    @property
    def peer(self) -> str:
        """Where it comes from, as grpc writes it."""
        return str(self._call.peer().decode("utf-8", "replace"))

    @property
    def remaining_s(self) -> float | None:
        """Seconds until the client's deadline, which grpcio tells by the wall clock; or None."""
        left = self._deadline_s - wall_clock_s()
        return max(0.0, left) if left < threading.TIMEOUT_MAX else None

    def watch(self, on_closed: Callable[[bool], None]) -> None:
        """Once, when the call is over: whether it was cancelled, or its client is gone."""
        close = receive_close()
        self._start((close,), lambda _event: on_closed(close.cancelled()))

    def receive(self, on_message: Callable[[bytes | None], None]) -> None:
        """The next message; None when there are no more. One at a time."""
        self._on_message = on_message
        self._start(self._receive, self._received)

    def send(
        self,
        message: bytes | None,
        on_sent: Callable[[bool], None],
        *,
        headers: Metadata | None = None,
    ) -> None:
        """Headers, if they have not been sent, and a message, if any: whether they went out."""
        operations: tuple[Any, ...] = () if headers is None else (send_headers(headers),)
        if message is not None:
            operations += (send_message(message),)
        self._on_sent = on_sent
        self._start(operations, self._sent)

    def finish(
        self,
        code: grpc.StatusCode,
        details: str,
        trailers: Metadata,
        on_done: Callable[[bool], None],
        *,
        message: bytes | None = None,
        headers: Metadata | None = None,
    ) -> None:
        """The status, after a last message and headers if they are given."""
        operations: tuple[Any, ...] = () if headers is None else (send_headers(headers),)
        if message is not None:
            operations += (send_message(message),)
        operations += (send_status(code, details, trailers),)
        self._start(operations, lambda event: on_done(event.success))

    def cancel(self) -> None:
        """End it without a word: everything that is under way comes back."""
        self._call.cancel()

    def _received(self, _event: Completion) -> None:
        assert self._on_message is not None
        self._on_message(self._receive[0].message())

    def _sent(self, event: Completion) -> None:
        assert self._on_sent is not None
        self._on_sent(event.success)

    def _start(self, operations: tuple[Any, ...], tag: Tag) -> None:
        if self._queue.closed:
            return  # what is late finds nobody
        error = self._call.start_server_batch(operations, tag)
        assert error == _NO_ERROR, f"grpc_call_error {error}"


class ClientCall:
    """A call to a server, with all that is under way on it.

    ``on_accepted`` is told when the server's headers have come, or never will. ``on_over`` is told
    the status, once nothing is under way any more.
    """

    __slots__ = (
        "_due",
        "_on_accepted",
        "_on_message",
        "_on_over",
        "_on_sent",
        "_queue",
        "_receive",
        "_status",
        "status_came",
    )

    def __init__(
        self,
        queue: ChannelQueue,
        method: str,
        *,
        on_accepted: Callable[[], None],
        on_over: Callable[[grpc.StatusCode, str, Metadata], None],
    ) -> None:
        self._queue = queue
        self._on_accepted = on_accepted
        self._on_over = on_over
        self._on_message: Callable[[bytes | None], None] | None = None
        self._on_sent: Callable[[bool], None] | None = None
        self._receive = (receive_message(),)
        self._status = receive_status()
        self.status_came = False
        self._due = 2
        queue.begin(
            method,
            ((send_headers(), self._status), self._ended),
            ((receive_headers(),), self._accepted),
        )

    def receive(self, on_message: Callable[[bytes | None], None]) -> None:
        """The next message; None when there are no more. One at a time."""
        self._on_message = on_message
        self._start(self._receive, self._received)

    def send(self, message: bytes, on_sent: Callable[[bool], None]) -> None:
        """A message: whether it went out."""
        self._on_sent = on_sent
        self._start((send_message(message),), self._sent)

    def half_close(self) -> None:
        """There are no more messages from here."""
        self._start((send_no_more(),), self._came)

    def cancel(self) -> None:
        """End it: everything that is under way comes back."""
        self._queue.cancel()

    def _start(self, operations: tuple[Any, ...], tag: Tag) -> None:
        # A call that is over takes nothing more, and its status is on its way.
        if self._queue.operate(operations, tag):
            self._due += 1

    def _received(self, event: Completion) -> None:
        if self._on_message is not None and not self._queue.deaf:
            self._on_message(self._receive[0].message())
        self._came(event)

    def _sent(self, event: Completion) -> None:
        if self._on_sent is not None and not self._queue.deaf:
            self._on_sent(event.success)
        self._came(event)

    def _accepted(self, event: Completion) -> None:
        if not self._queue.deaf:
            self._on_accepted()
        self._came(event)

    def _ended(self, event: Completion) -> None:
        self.status_came = True
        self._came(event)

    def _came(self, _event: Completion) -> None:
        self._due -= 1
        if not self._due and not self._queue.deaf:
            status = self._status
            self._on_over(_CODES[status.code()], status.details(), status.trailing_metadata())
