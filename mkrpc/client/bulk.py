"""A stream of injected ICR words, for programs that are not asynchronous.

::

    with client.bulk() as stream:
        for destination in range(4):
            stream.send([destination << 32 | 0xEA] * 1000)
        result = stream.flush()
"""

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import grpc

from mkrpc.client.answers import IpiResult
from mkrpc.client.bulk_sender import BulkSender, WordOutcomes
from mkrpc.client.calls import while_open
from mkrpc.client.repeating import RESTART_PATIENCE_S, connection_broke
from mkrpc.errors import ClusterStateError, DeadlineExceededError, MkrpcError, UnavailableError

__all__ = ["MAX_GATHERED_WORDS", "BulkStream"]

MAX_GATHERED_WORDS = 1 << 20
"""Words that wait to be sent, at which :meth:`BulkStream.send` waits."""

_WORD_ALLOWANCE_S = 0.001
_BACK_OFF_S = (0.05, 0.5)
_GOODBYE_S = 1.0
"""Seconds for the interconnect to end a stream of which nothing is left."""


class BulkStream:
    """One stream, opened with the first word that is sent; a source of interrupts of its own.

    What is sent goes at once if nothing is outstanding, and else joins what goes next. A stream
    that breaks is opened again for up to RESTART_PATIENCE_S seconds, and what has no answer is sent
    again; every word happens once. As a context manager it is flushed and closed at the end, and
    given up if the block raises. It may be used by several threads.

    ``open_call`` opens the gRPC call for a request iterator; ``typed`` makes an error of a failed
    one.
    """

    def __init__(
        self,
        sender: BulkSender,
        *,
        open_call: Callable[[Iterator[bytes]], Any],
        typed: Callable[[grpc.RpcError], MkrpcError],
        timeout_s: float,
    ) -> None:
        self._sender = sender
        self._open_call = open_call
        self._typed = typed
        self._timeout_s = timeout_s
        self._changed = threading.Condition()
        self._reader: threading.Thread | None = None
        self._call: Any = None
        self._calls = 0
        self._writers = 0
        """Threads of gRPC's that wait here for a request."""
        self._closing = self._given_up = False
        self._error: MkrpcError | None = None
        self._attention = True
        """Whether somebody waits for words, or there will not be any more."""

    def send(self, words: int | Iterable[int]) -> None:
        """One ICR word in x2APIC layout, or several, in order; outcomes come with :meth:`flush`.

        Waits while :data:`MAX_GATHERED_WORDS` wait. Raises InvalidArgumentError for what is no
        64-bit number, and what the stream ended with; a word that the interconnect refuses, such as
        one with reserved bits, ends the stream.
        """
        if isinstance(words, int) and not self._attention:
            # What a program that writes one by one does most: whoever sends looks here next.
            self._sender.append_one(words)
            if not self._attention and self._sender.gathered <= MAX_GATHERED_WORDS:
                return
            words = ()
        with self._changed:
            self._check()
            self._sender.append((words,) if isinstance(words, int) else words)
            if self._reader is None:
                self._reader = threading.Thread(target=self._read, name="mkrpc-bulk", daemon=True)
                self._reader.start()
            self._changed.notify_all()
            while self._sender.gathered > MAX_GATHERED_WORDS:
                self._changed.wait()
                self._check()

    def flush(self, timeout_s: float | None = None) -> IpiResult:
        """Wait until every word has its outcomes; what became of all words so far.

        ``timeout_s``: by default the client's, and a millisecond more for every word that has no
        outcome yet. Raises DeadlineExceededError, and what the stream ended with.
        """
        with self._changed:
            if timeout_s is None:
                timeout_s = self._timeout_s + self._sender.unanswered * _WORD_ALLOWANCE_S
            done = self._changed.wait_for(
                lambda: self._ended or not self._sender.unanswered, timeout_s
            )
            self._check()
            if not done:
                raise DeadlineExceededError(
                    f"{self._sender.unanswered} words have no outcome after {timeout_s:g} s",
                    advice="an instance may be stopped or stuck in a handler: `mkrpc show`",
                )
            return self._sender.result

    @property
    def result(self) -> IpiResult:
        """What has become of the words that are answered by now."""
        with self._changed:
            return self._sender.result

    @property
    def answered(self) -> int:
        """Words that are answered by now."""
        return self._sender.answered

    def take_outcomes(self) -> list[WordOutcomes]:
        """With ``each``: what became of every word that has been answered since the last time."""
        with self._changed:
            taken, self._sender.outcomes = self._sender.outcomes, []
            return taken

    def close(self) -> None:
        """End the stream. Words without an outcome may still happen, and nobody will know."""
        with self._changed:
            self._closing = self._attention = True
            well = self._error is None and not self._sender.unanswered
            self._changed.notify_all()
            reader = self._reader
        if not well:
            self._give_up()
        if reader is not None:
            reader.join(_GOODBYE_S)
            if reader.is_alive():  # the interconnect may be stopped
                self._give_up()
                reader.join()
        with self._changed:
            self._changed.wait_for(lambda: not self._writers)

    def _give_up(self) -> None:
        with self._changed:
            self._given_up = True
            call = self._call
        if call is not None:
            call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.flush()
        finally:
            self.close()

    @property
    def _ended(self) -> bool:
        return self._closing or self._error is not None

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._closing:
            raise ClusterStateError("the stream is closed", advice="open another one")

    # --- threads: this one reads, gRPC's own takes requests one by one as they are sent -----------

    def _read(self) -> None:
        broke_s: float | None = None  # since nothing has been heard
        back_off_s = _BACK_OFF_S[0]
        while True:
            with self._changed:
                if self._closing:
                    return
                self._sender.opened()
                self._calls += 1
                number = self._calls
            try:
                with while_open():
                    call = self._open_call(self._requests(number))
            except ClusterStateError as error:
                self._end(error)
                return
            with self._changed:
                self._call, given_up = call, self._given_up
            if given_up:  # while it was opened: nobody else could cancel it
                call.cancel()
            try:
                for message in call:
                    broke_s, back_off_s = None, _BACK_OFF_S[0]
                    self._take(message)
                ended = None
            except grpc.RpcError as error:
                ended = error
            except MkrpcError as error:
                call.cancel()
                self._end(error)
                return
            with self._changed:
                self._calls += 1  # whoever writes to this call is done
                self._changed.notify_all()
                if self._closing:
                    return
            final = ended is not None and not connection_broke(ended)
            broke_s = time.monotonic() if broke_s is None else broke_s
            if final or time.monotonic() - broke_s > RESTART_PATIENCE_S:
                self._end(self._typed(ended) if ended is not None else _ended_by_peer())
                return
            time.sleep(back_off_s * random.uniform(0.5, 1.0))
            back_off_s = min(2 * back_off_s, _BACK_OFF_S[1])

    def _take(self, message: bytes) -> None:
        with self._changed:
            self._sender.received(message)
            self._changed.notify_all()

    def _end(self, error: MkrpcError) -> None:
        with self._changed:
            self._calls += 1
            self._error = error
            self._attention = True
            self._changed.notify_all()

    def _requests(self, number: int) -> Iterator[bytes]:
        """The requests of one call: each is taken when the one before has been sent. Of a call that
        breaks off in between gRPC takes no more, and does not say so here."""
        while (request := self._next_request(number)) is not None:
            yield request

    def _next_request(self, number: int) -> bytes | None:
        """Wait for it; None once the call is over, or there will not be any more."""
        with self._changed:
            self._writers += 1
            try:
                request = None
                while self._calls == number:
                    # Before it looks, for a word may come between that and the wait.
                    self._attention = True
                    request = self._sender.next_request()
                    if request is not None or (self._closing and not self._sender.unanswered):
                        break
                    if self._sender.gathered and not self._ended:
                        self._attention = False  # without credit, words alone change nothing
                    self._changed.wait()
                if request is not None and not self._ended:
                    self._attention = False
                return request
            finally:
                self._writers -= 1
                if self._closing:
                    self._changed.notify_all()


def _ended_by_peer() -> UnavailableError:
    return UnavailableError(
        "the interconnect has ended the stream",
        advice="words without an outcome may have happened: look with `mkrpc ledger`",
    )
