"""Streams of injected ICR words: the driver of ``Control.InjectStream``.

A request is one call of the bus, made when it is the clients' turn. The first one is made at once;
those that come while others have no answer are made together, once the loop has handled what there
was. Answers gather likewise, and while a send is outstanding, and go as one message; there is no
timer.
"""

import asyncio
from array import array
from collections import deque
from functools import partial
from typing import Final

import structlog
from google.protobuf.message import DecodeError

from mkrpc.columns import column_to_wire
from mkrpc.errors import LimitReachedError, MkrpcError, ProtocolError
from mkrpc.interconnect.attachments import Pump
from mkrpc.interconnect.client_streams import ClientStreams
from mkrpc.interconnect.injected_words import MAX_REQUEST_WORDS
from mkrpc.interconnect.singles import Singles, SinglesAnswer
from mkrpc.interconnect.stream_answers import StreamAnswers
from mkrpc.interconnect.stream_codec import StreamRequest, request_from_bytes, roster_to_bytes
from mkrpc.interconnect.tally import Tally
from mkrpc.transport.stream import Connection
from mkrpc.v1 import control_pb2 as pb

__all__ = [
    "FEWEST_SINGLES",
    "INJECT_STREAM",
    "MAX_INJECTION_STREAMS",
    "MAX_TURN_REQUESTS",
    "STREAM_REQUESTS",
    "STREAM_WINDOW",
    "InjectionLink",
    "InjectionStreams",
]

INJECT_STREAM = "/mkrpc.v1.Control/InjectStream"
"""The full method name."""

MAX_INJECTION_STREAMS: Final = 128
"""Streams of clients at a time; one more is refused, since instances need places too."""

STREAM_WINDOW: Final = 4 * MAX_REQUEST_WORDS
"""Words of one stream that may be without an answer; more are a :class:`ProtocolError`."""

STREAM_REQUESTS: Final = 512
"""Requests of one stream that may be, likewise."""

FEWEST_SINGLES: Final = 2
"""Requests of one word each that are worth making together."""

MAX_TURN_REQUESTS: Final = 64
"""Requests of a stream that are made in one turn at most, fewer if they have many words; then
others have theirs."""

_WORD_BYTES: Final = 8
_TURN_BYTES: Final = MAX_REQUEST_WORDS * _WORD_BYTES // MAX_TURN_REQUESTS

_log = structlog.get_logger("mkrpc.interconnect")


_CREDIT: Final = pb.InjectStreamResponse(
    window=STREAM_WINDOW, requests=STREAM_REQUESTS
).SerializeToString()
"""What a stream is told first."""


def request_from(frame: bytes) -> StreamRequest:
    """An InjectStreamRequest; :class:`ProtocolError` if it is none.

    Encoders may write a repeated field in several parts, or number by number; hardly one does.
    """
    common = request_from_bytes(frame)
    if common is not None:
        return common
    try:
        message = pb.InjectStreamRequest.FromString(frame)
    except DecodeError:
        raise ProtocolError("a message that is no InjectStreamRequest") from None
    request = StreamRequest()
    request.client_id, request.first_seq = message.client_id, message.first_seq
    request.words = column_to_wire(array("Q", message.words))
    request.resolved_below, request.roster = message.resolved_below, message.roster
    request.again, request.each, request.runs = message.again, message.each, message.runs
    return request


class InjectionStreams:
    """All streams of clients."""

    def __init__(self, pump: Pump) -> None:
        self.pump = pump
        self.standing: ClientStreams[InjectionLink] = ClientStreams(
            forget=self._forget, latest_call=pump.bus.latest_call
        )

    def open(self, connection: Connection) -> "InjectionLink":
        """A client has connected."""
        return InjectionLink(self, connection)

    def _forget(self, client_id: bytes) -> None:
        self.pump.tell_time()
        self.pump.bus.forget_client(client_id)
        self.pump.drain()


class InjectionLink:
    """One client's stream; a ``ConnectionHandler``."""

    def __init__(self, streams: InjectionStreams, connection: Connection) -> None:
        self._streams = streams
        self._pump = streams.pump
        self._bus = streams.pump.bus
        self._connection = connection
        self.client_id = b""
        """Whose it is, once it has said so."""
        self._waiting: deque[StreamRequest] = deque()
        """Requests that wait for their turn."""
        self._open: set[int] = set()
        """Those without an answer, by their first number."""
        self._words = 0
        """Words of these."""
        self._made: dict[Tally | Singles, None] = {}
        """What was made of them."""
        self._answers = StreamAnswers()
        self._greeted = self._over = False
        self._turn_due = self._send_due = False
        if len(streams.standing) >= MAX_INJECTION_STREAMS:
            connection.close(
                LimitReachedError(
                    f"{MAX_INJECTION_STREAMS} clients inject over streams already",
                    advice="use Inject, or try again when one has ended",
                )
            )
            return
        streams.standing.opened(self)
        self._send()

    # --- in -------------------------------------------------------------------------------------

    def on_frame(self, connection: Connection, frame: bytes) -> None:
        """The client asks for words to be injected."""
        try:
            self._take(request_from(frame))
        except MkrpcError as error:
            self._fail(error)
            return
        if len(self._open) == 1:
            self._begin_turn()
        elif not self._turn_due:
            self._turn_due = True
            asyncio.get_running_loop().call_soon(self._begin_turn)

    def on_writable(self, connection: Connection) -> None:
        """The last response is on its way: what has gathered meanwhile goes as the next one."""
        self._send()

    def on_closed(self, connection: Connection, error: MkrpcError | None) -> None:
        """The stream has ended. What was asked for goes on, and may be asked for again; of one that
        ended well, nobody will."""
        well = error is None and not self._open
        self._abandon()
        if self in self._streams.standing:
            self._streams.standing.ended(self, well=well)

    def _take(self, request: StreamRequest) -> None:
        client_id, first_seq = request.client_id, request.first_seq
        if client_id not in (b"", self.client_id or client_id):
            raise ProtocolError("one stream is one client's, and this is another client id")
        if client_id and not self.client_id:
            self.client_id = client_id
            self._streams.standing.named(self, client_id)
        if first_seq in self._open:
            raise ProtocolError(f"words from number {first_seq} on are under way already")
        words = len(request.words) // _WORD_BYTES
        # An answer that has not been sent, as to a client that reads none, is none yet.
        all_words = self._words + self._answers.words + words
        requests = len(self._open) + self._answers.requests + 1
        if all_words > STREAM_WINDOW or requests > STREAM_REQUESTS:
            raise ProtocolError(
                f"{all_words} words in {requests} requests have no answer",
                advice=f"{STREAM_WINDOW} in {STREAM_REQUESTS} requests may be",
            )
        self._open.add(first_seq)
        self._words += words
        self._waiting.append(request)

    def _begin_turn(self) -> None:
        """All that came together has come."""
        self._turn_due = False
        self._pump.tick()
        self._pump.rota.submit(self._inject_some)
        self._pump.drain()

    def _inject_some(self) -> None:
        """It is the clients' turn: make the calls that have waited for longest."""
        if len(self._waiting) == 1:
            self._inject(self._waiting.popleft())
            return
        left = MAX_TURN_REQUESTS
        while self._waiting and left > 0:
            requests = self._next_singles(left)
            left -= len(requests)
            if not requests:
                requests.append(self._waiting.popleft())
                left -= 1 + len(requests[0].words) // _TURN_BYTES
            if len(requests) < FEWEST_SINGLES or not self._inject_singles(requests):
                for request in requests:
                    self._inject(request)
        if self._waiting:
            self._pump.rota.submit(self._inject_some)

    def _next_singles(self, limit: int) -> list[StreamRequest]:
        """Take those that wait and can be made together: of one word each, in a row, and new."""
        waiting = self._waiting
        singles: list[StreamRequest] = []
        first = waiting[0]
        first_seq, each, runs = first.first_seq, first.each, first.runs
        while waiting and len(singles) < limit:
            request = waiting[0]
            if (
                len(request.words) != _WORD_BYTES
                or request.first_seq != first_seq + len(singles)
                or request.again
                or request.each is not each
                or request.runs is not runs
                or request.resolved_below > first_seq
            ):
                break
            singles.append(waiting.popleft())
        return singles

    def _inject_singles(self, requests: list[StreamRequest]) -> bool:
        """Make them; if they cannot be, it has to be seen which one."""
        try:
            singles = self._bus.inject_singles(
                client_id=self.client_id,
                first_seq=requests[0].first_seq,
                words=b"".join([request.words for request in requests]),
                resolved_below=max([request.resolved_below for request in requests]),
                each=requests[0].each,
                on_done=partial(self._singles_done, requests[0].runs),
            )
        except MkrpcError:
            return False
        if singles.unanswered:
            self._made[singles] = None
        return True

    def _inject(self, request: StreamRequest) -> None:
        if self._over:
            return
        first_seq, count = request.first_seq, len(request.words) // _WORD_BYTES
        each = request.each
        try:
            tally = self._bus.inject_words(
                client_id=self.client_id,
                first_seq=first_seq,
                words=request.words,
                resolved_below=request.resolved_below,
                each=each,
                again=request.again,
                roster=request.roster,
                on_done=lambda tally: self._done(first_seq, count, each, tally),
            )
        except MkrpcError as error:
            self._fail(error)
            return
        if not tally.done:
            self._made[tally] = None

    def _fail(self, error: MkrpcError) -> None:
        _log.info("closed a stream", peer=self._connection.peer, error=str(error))
        self._abandon()
        self._connection.close(error)

    def _abandon(self) -> None:
        self._over = True
        self._waiting.clear()
        for made in self._made:
            self._bus.abandon(made)
        self._made.clear()
        self._open.clear()

    # --- out ------------------------------------------------------------------------------------

    def _done(self, first_seq: int, count: int, each: bool, tally: Tally) -> None:
        """A call has its answer."""
        self._open.discard(first_seq)
        self._made.pop(tally, None)
        self._words -= count
        self._answers.add(first_seq, count, tally, each=each)
        self._send_soon()

    def _singles_done(self, runs: bool, answer: SinglesAnswer) -> None:
        """Calls of one word each have theirs; ``runs``: these asked for runs."""
        self._open.difference_update(range(answer.first, answer.last + 1))
        if not answer.of.unanswered:
            self._made.pop(answer.of, None)
        self._words -= answer.last - answer.first + 1
        self._answers.add_singles(answer, runs=runs)
        self._send_soon()

    def _send_soon(self) -> None:
        if not self._open:
            self._send()  # there is none that could go with it
        elif not self._send_due:
            self._send_due = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        """Tell what has been answered, if the connection takes it."""
        self._send_due = False
        if not self._connection.writable or (self._greeted and not self._answers):
            return
        credit, self._greeted = (b"" if self._greeted else _CREDIT), True
        told = self._answers.take()
        self._connection.send(credit + told + roster_to_bytes(self._bus.roster_number))
