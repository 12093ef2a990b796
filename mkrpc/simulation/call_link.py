"""The interconnect's end of a stream of calls: what its driver does with requests, and no rule.

Requests that come while others have no answer are made together, and of these, those of one word
each that are new and follow one another as one, as :mod:`mkrpc.interconnect.injection_stream` does.
"""

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mkrpc.errors import MkrpcError
from mkrpc.interconnect.singles import Singles, SinglesAnswer
from mkrpc.interconnect.tally import Tally
from mkrpc.simulation.events import Answered, AnsweredTogether, Called
from mkrpc.simulation.hub import Hub

if TYPE_CHECKING:
    from mkrpc.simulation.callers import Caller
    from mkrpc.simulation.world import World

__all__ = ["CallLink", "Request"]

_WORD_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One message: a call of these words. The rest as in ``ApicBus.inject_words``."""

    first_seq: int
    words: tuple[int, ...]
    resolved_below: int
    roster: int
    again: bool
    each: bool

    @property
    def content(self) -> bytes:
        """The words as they travel."""
        return b"".join(word.to_bytes(_WORD_BYTES, "little") for word in self.words)


class CallLink:
    """One stream of one caller, at one interconnect."""

    def __init__(
        self,
        world: "World",
        hub: Hub,
        *,
        caller: "Caller",
        client_id: bytes,
    ) -> None:
        self.hub = hub
        self._world = world
        self._caller = caller
        self._client_id = client_id
        self._waiting: deque[Request] = deque()
        self._open: set[int] = set()
        self._made: dict[Tally | Singles, None] = {}
        self._told: list[int] = []
        self._named = self._over = self._turn_due = self._send_due = False
        self.late_us = 0
        """Until then what is on its way to it does not arrive: its client has another one."""
        hub.call_streams.opened(self)

    def greet(self) -> None:
        """It has been opened: the client learns the roster number."""
        self._caller.send_down(self, self.hub.bus.roster_number, ())

    def take(self, requests: list[Request]) -> None:
        """Messages have come together."""
        if self._world.now_us < self.late_us:
            self._world.at(self.late_us, self.hub.turn, self.take, requests)
            return
        if self._over:
            return
        if not self._named:
            self._named = True
            self.hub.call_streams.named(self, self._client_id)
        for request in requests:
            self._open.add(request.first_seq)
            self._waiting.append(request)
            if len(self._open) == 1:
                self._inject_some()
            elif not self._turn_due:
                self._turn_due = True
                self._world.at(self._world.now_us, self.hub.turn, self._inject_some)

    def end(self) -> None:
        """The stream has ended: of a client that has all its answers nobody will ask again."""
        self._ended(well=not self._over and not self._open)

    def broken(self) -> None:
        """The stream is found to have broken: what was asked for goes on, and nobody waits."""
        self._ended(well=False)

    def _ended(self, *, well: bool) -> None:
        self._abandon()
        if self in self.hub.call_streams:
            self.hub.call_streams.ended(self, well=well)

    def _abandon(self) -> None:
        self._over = True
        self._waiting.clear()
        for made in self._made:
            self.hub.bus.abandon(made)
        self._made.clear()

    def _inject_some(self) -> None:
        self._turn_due = False
        while self._waiting and not self._over:
            requests = self._next_singles()
            if len(requests) > 1 and self._inject_singles(requests):
                continue
            for request in requests or [self._waiting.popleft()]:
                self._inject(request)

    def _next_singles(self) -> list[Request]:
        """Take those that wait and can be made together."""
        singles: list[Request] = []
        first = self._waiting[0]
        while self._waiting:
            request = self._waiting[0]
            if (
                len(request.words) != 1
                or request.first_seq != first.first_seq + len(singles)
                or request.again
                or request.each is not first.each
                or request.resolved_below > first.first_seq
            ):
                break
            singles.append(self._waiting.popleft())
        return singles

    def _inject_singles(self, requests: list[Request]) -> bool:
        """Make them; if they cannot be, it has to be seen which one."""
        for request in requests:
            self._ask(request)
        try:
            singles = self.hub.bus.inject_singles(
                client_id=self._client_id,
                first_seq=requests[0].first_seq,
                words=b"".join(request.content for request in requests),
                resolved_below=max(request.resolved_below for request in requests),
                each=requests[0].each,
                on_done=self._singles_done,
            )
        except MkrpcError as error:
            self._world.note(f"{self._caller.name} singles refused: {error.reason}")
            return False
        self._world.faults["singles made together"] += 1
        if singles.unanswered:
            self._made[singles] = None
        return True

    def _inject(self, request: Request) -> None:
        if self._over:
            return
        self._ask(request)
        try:
            tally = self.hub.bus.inject_words(
                client_id=self._client_id,
                first_seq=request.first_seq,
                words=request.content,
                resolved_below=request.resolved_below,
                each=request.each,
                again=request.again,
                roster=request.roster,
                on_done=partial(self._done, request),
            )
        except MkrpcError as error:
            self._world.note(f"{self._caller.name} {request.first_seq} refused: {error.reason}")
            self.broken()
            self._caller.send_down(self, -1, ())
            return
        if not tally.done:
            self._made[tally] = None

    def _ask(self, request: Request) -> None:
        self._world.show(
            Called(self.hub.bus, self._client_id, request.first_seq, request.words, request.again)
        )

    def _done(self, request: Request, tally: Tally) -> None:
        """A call has its answer."""
        self._made.pop(tally, None)
        count = len(request.words)
        self._world.show(
            Answered(
                self.hub.bus, self._client_id, request.first_seq, count, tally, each=request.each
            )
        )
        self._tell([request.first_seq])

    def _singles_done(self, answer: SinglesAnswer) -> None:
        """Calls of one word each have theirs."""
        if not answer.of.unanswered:
            self._made.pop(answer.of, None)
        self._world.show(AnsweredTogether(self.hub.bus, self._client_id, answer))
        self._tell(list(range(answer.first, answer.last + 1)))

    def _tell(self, firsts: list[int]) -> None:
        self._open.difference_update(firsts)
        self._told += firsts
        if not self._send_due:
            self._send_due = True
            self._world.at(self._world.now_us, self.hub.turn, self._send)

    def _send(self) -> None:
        self._send_due = False
        told, self._told = self._told, []
        if not self._over:
            self._caller.send_down(self, self.hub.bus.roster_number, tuple(told))
