"""grpcio's own completion queue: the only file that names grpcio's PRIVATE interface.

``grpc._cython.cygrpc`` is what grpcio's public classes are made of. One thread takes completions
from a queue and handles them on the spot; the public classes hand each one from a thread of theirs
to the caller's, which costs a wake-up. Nothing here is promised by grpcio, so
:mod:`mkrpc.transport.choice` uses it only with versions that the contract tests have run on, and
only after :func:`mkrpc.transport.queue_proof.prove` has run in this process.

The rules that grpcio does not check: one message at a time each way on a call; operations are never
shared between calls (a shared one frees its memory twice); a queue is closed only when every
operation on it has come back, and nothing is begun on a closed one.
"""

import importlib
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

import grpc

__all__ = [
    "ChannelQueue",
    "Completion",
    "CompletionQueue",
    "Metadata",
    "ServerQueue",
    "Tag",
    "nowhere_else",
    "receive_close",
    "receive_headers",
    "receive_message",
    "receive_status",
    "send_headers",
    "send_message",
    "send_no_more",
    "send_status",
]

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]
Options: TypeAlias = tuple[tuple[str, Any], ...]

BELL_TIMEOUT_S: Final = 10.0
"""Seconds for this process to reach itself, which takes some milliseconds."""

_cygrpc: Any = importlib.import_module("grpc._cython.cygrpc")  # has no types

_LONG_AGO: Final = 0.0
"""A deadline that makes a look of a wait."""

_NO_FLAGS: Final = 0
_TIMEOUT: Final = _cygrpc.CompletionType.queue_timeout
_QUEUE_SHUTDOWN: Final = _cygrpc.CompletionType.queue_shutdown


class Completion(Protocol):
    """What a queue gives: a batch of operations has come back, or a call has come."""

    @property
    def success(self) -> bool:
        """Whether the operations did what they were to do."""


Tag: TypeAlias = Callable[[Any], None]
"""What is called with the :class:`Completion` of what was begun with it."""


class CompletionQueue(Protocol):
    """Where completions arrive. One thread at a time takes them, one handles them."""

    looks_cheaply: bool
    """Whether :meth:`look` costs next to nothing."""

    def take(self) -> Any:
        """Wait for one completion, for :meth:`handle`."""

    def handle(self, completion: Any) -> None:
        """Tell whoever it is for."""

    def look(self) -> bool:
        """Take and handle one if there is one; whether there was."""

    def wake(self) -> None:
        """Have whoever is in :meth:`take` return; from any thread, and cheap when it is due."""

    def abandon(self) -> None:
        """End everything at once, without telling anybody, and wait until it has ended."""


# The operations. What they have received they tell after their completion.


def send_headers(metadata: Metadata = ()) -> Any:
    """The first thing on a call, either way."""
    return _cygrpc.SendInitialMetadataOperation(metadata, _NO_FLAGS)


def send_message(message: bytes) -> Any:
    """One at a time on a call."""
    return _cygrpc.SendMessageOperation(message, _NO_FLAGS)


def send_no_more() -> Any:
    """A client's half-close."""
    return _cygrpc.SendCloseFromClientOperation(_NO_FLAGS)


def send_status(code: grpc.StatusCode, details: str, trailers: Metadata) -> Any:
    """A server's end of a call."""
    return _cygrpc.SendStatusFromServerOperation(trailers, code.value[0], details, _NO_FLAGS)


def receive_headers() -> Any:
    """Comes back when a server has sent its headers, or never will."""
    return _cygrpc.ReceiveInitialMetadataOperation(_NO_FLAGS)


def receive_message() -> Any:
    """``message()``: bytes, or None when there are no more. May be begun again and again."""
    return _cygrpc.ReceiveMessageOperation(_NO_FLAGS)


def receive_status() -> Any:
    """At a client: ``code()``, ``details()`` and ``trailing_metadata()``."""
    return _cygrpc.ReceiveStatusOnClientOperation(_NO_FLAGS)


def receive_close() -> Any:
    """At a server, when the call is over: ``cancelled()``."""
    return _cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS)


class ServerQueue:
    """A server, and the queue of all its calls."""

    looks_cheaply = True

    def __init__(self, options: Options) -> None:
        self._queue = _cygrpc.CompletionQueue()
        self._server = _cygrpc.Server(options, False)
        self._server.register_completion_queue(self._queue)
        self._bell: Any = _call_to_oneself(self._queue)
        self._lock = threading.Lock()
        self._woken = False
        self._serving = False
        self._deaf = False
        self._on_down: Callable[[], None] = lambda: None
        self.down = False
        """Whether all calls have ended after :meth:`shut_down`."""
        self.closed = False

    def bind(self, target: str) -> int:
        """Listen there; the port (1 for a Unix socket). Raises RuntimeError when it cannot be."""
        port: int = self._server.add_http2_port(target.encode())
        if not port:
            raise RuntimeError(f"cannot listen on {target}")
        return port

    def discard(self) -> None:
        """It was never started."""
        self.closed = True
        self._bell = None
        self._server.destroy()

    def start(self, on_call: Callable[[Any], None]) -> None:
        """Serve: the completion of every call that comes is given to ``on_call``."""

        def requested(event: Any) -> None:
            if event.success:  # else the server goes down
                if self._serving:
                    self._server.request_call(self._queue, self._queue, requested)
                on_call(event)

        self._serving = True
        self._server.start()
        self._server.request_call(self._queue, self._queue, requested)

    def take(self) -> Any:
        """Wait for one completion."""
        return self._queue.poll()

    def handle(self, completion: Any) -> None:
        """Tell whoever it is for."""
        tag = completion.tag
        if tag is not None and (not self._deaf or tag in (self._went_down, self._rung)):
            tag(completion)

    def look(self) -> bool:
        """Take and handle one completion if there is one; whether there was."""
        completion = self._queue.poll(_LONG_AGO)
        if completion.completion_type == _TIMEOUT:
            return False
        self.handle(completion)
        return True

    def wake(self) -> None:
        """Have whoever is in :meth:`take` return."""
        with self._lock:
            if self._woken or self._bell is None:
                return
            self._woken = True
            self._bell.start_server_batch((), self._rung)

    def shut_down(self, on_down: Callable[[], None]) -> None:
        """Take no new calls; ``on_down`` is told when the last one has ended."""
        self._serving = False
        self._on_down = on_down
        self._server.shutdown(self._queue, self._went_down)

    def cancel_all(self) -> None:
        """End every call now."""
        self._server.cancel_all_calls()

    def close(self) -> None:
        """Free what it holds; after ``on_down``, and with nobody in :meth:`take`."""
        with self._lock:
            self._bell = None
        self.closed = True
        self._server.destroy()
        self._queue.shutdown()
        while (completion := self.take()).completion_type != _QUEUE_SHUTDOWN:
            self.handle(completion)  # what was cancelled comes back

    def abandon(self) -> None:
        """End everything at once, without telling anybody, and wait until it has ended."""
        self._deaf = True
        if self._serving:
            self.shut_down(lambda: None)
        self.cancel_all()
        while not self.down:
            self.handle(self.take())
        self.close()

    def _went_down(self, _event: Completion) -> None:
        self.down = True
        if not self._deaf:
            self._on_down()

    def _rung(self, _event: Completion) -> None:
        self._woken = False


class ChannelQueue:
    """A channel with one call, and the queue of its completions."""

    looks_cheaply = False

    def __init__(self, target: str, options: Options) -> None:
        self._channel = _cygrpc.Channel(target.encode(), options, None)
        self._elsewhere = _cygrpc.CompletionQueue()
        self._call: Any = None
        self._lock = threading.Lock()
        self._woken = False
        self._closed = False
        self.deaf = False
        """Whether nobody wants to be told anything any more."""

    def begin(self, method: str, *batches: tuple[tuple[Any, ...], Tag]) -> None:
        """Begin the call, with the first batches of operations on it."""
        target = (method.encode(), None, None, (), None)
        self._call = self._channel.integrated_call(_NO_FLAGS, *target, batches)

    def operate(self, operations: tuple[Any, ...], tag: Tag) -> bool:
        """Begin a batch; False if the call is over, and ``tag`` hears nothing."""
        return bool(self._call.operate(operations, tag))

    def cancel(self) -> None:
        """End the call: everything that is under way comes back, the status as CANCELLED."""
        self._call.cancel(grpc.StatusCode.CANCELLED.value[0], "cancelled by the client")

    def take(self) -> Any:
        """Wait for one completion; grpcio also looks up now and then, for forks."""
        return self._channel.next_call_event()

    def handle(self, completion: Any) -> None:
        """Tell whoever it is for."""
        if completion.tag is not None:
            completion.tag(completion)

    def look(self) -> bool:
        """Take and handle one completion if there is one; whether there was."""
        # A channel's queue can only be waited in. Looking into another queue moves what is in the
        # sockets on, where no thread of grpcio's does; what is left then is to wake oneself.
        self._elsewhere.poll(_LONG_AGO)
        self.wake()
        completion = self.take()
        self.handle(completion)
        return bool(completion.tag != self._rung)

    def wake(self) -> None:
        """Have whoever is in :meth:`take` return."""
        with self._lock:
            if self._woken or self._closed:
                return
            self._woken = True
            if self._call is None or not self._call.operate((), self._rung):
                no_call = (b"/wake", None, None, (), None)
                self._channel.integrated_call(_NO_FLAGS, *no_call, (((), self._rung),))

    def close(self) -> None:
        """Free what it holds; after the call is over, and with nobody in :meth:`take`."""
        with self._lock:
            self._closed = True
        # As the forked child of a process does it: cancel, and take what comes back.
        self._channel.close_on_fork(grpc.StatusCode.CANCELLED.value[0], "closed")

    def abandon(self) -> None:
        """End everything at once, without telling anybody, and wait until it has ended."""
        self.deaf = True
        self.close()

    def _rung(self, _event: Completion) -> None:
        self._woken = False


def _call_to_oneself(queue: Any) -> Any:
    """The server's end of a call whose completions go to ``queue``: a batch of nothing on it
    completes at once. From any thread, and as long as the object lives, that wakes whoever waits
    in the queue. The call itself is over when this returns.
    """
    target, deadline_s = nowhere_else(), wall_clock_s() + BELL_TIMEOUT_S
    waiting = _cygrpc.CompletionQueue()
    server = _cygrpc.Server((), False)
    server.register_completion_queue(waiting)
    if not server.add_http2_port(target.encode()):
        raise RuntimeError(f"cannot listen on {target}")
    server.start()
    server.request_call(queue, waiting, "call")
    channel = _cygrpc.Channel(target.encode(), (), None)
    batch = ((send_headers(), receive_status()), lambda _event: None)
    channel.integrated_call(_NO_FLAGS, b"/mkrpc.Bell/Hang", None, deadline_s, (), None, (batch,))
    came = waiting.poll(deadline_s)
    channel.close_on_fork(grpc.StatusCode.CANCELLED.value[0], "closed")
    # Its end has let go: cancelling all calls here would have gRPC print a line about it.
    server.shutdown(waiting, "down")
    if not came.success or not waiting.poll(deadline_s).success:
        raise RuntimeError("this process cannot call itself")
    server.destroy()
    return came.call


def nowhere_else() -> str:
    """An address that only this process knows, and that leaves no file."""
    return f"unix-abstract:mkrpc-{secrets.token_hex(16)}"


def wall_clock_s() -> float:
    """The clock of grpcio's deadlines."""
    return time.time()
