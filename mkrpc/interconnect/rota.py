"""The work that waits at the interconnect, done in turn: frames of links, and clients' calls."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from mkrpc.compiled.marks import mypyc_attr
from mkrpc.errors import LimitReachedError
from mkrpc.interconnect.turns import Source, Turns

__all__ = ["MAX_WAITING_CALLS", "Rota", "Worker"]

TURN_S = 0.002
"""Seconds for which work is done before the loop looks at its streams again; the last piece of a
turn may take longer."""

MAX_WAITING_CALLS = 4096
"""Calls of clients that wait for their turn; the next one is refused."""

_ResultT = TypeVar("_ResultT")

_clock_s: Final = time.perf_counter


@mypyc_attr(allow_interpreted_subclasses=True)
class Worker(Source, ABC):
    """A source of work, piece by piece."""

    @abstractmethod
    def apply_next(self) -> bool:
        """Do the oldest piece that waits; whether there are more."""


class Rota:
    """Has every source do its work in turn, by what it has cost.

    Work is done at once, by whoever brings it, as long as this turn of the loop has time left; what
    is over waits for the next. ``before`` is called at the beginning of that, ``after`` at its end,
    and after a call of a client. A turn of which less than half has been used is not ended: the
    loop is then busy with other things, and one that ends costs it a pass.
    """

    def __init__(self, *, before: Callable[[], None], after: Callable[[], None]) -> None:
        self.turn_s = TURN_S
        """:data:`TURN_S`, as it was when this was made."""
        self._before = before
        self._after = after
        self._turns: Turns[Worker] = Turns()
        self._callers = _Callers()
        self._turn: asyncio.Handle | None = None
        self._spent_s = 0.0

    def offer(self, source: Worker) -> None:
        """It had nothing to do and has: at once if this turn has time left and it comes next."""
        if self._turns.waiting or self._spent_s >= self.turn_s:
            self._turns.put(source)
        else:
            self._turns.begin(source)
            self._serve(source)
        self._work()

    async def call(self, work: Callable[[], _ResultT]) -> _ResultT:
        """Do what a client asks for when it is the clients' turn; raises as ``work``.

        :raises LimitReachedError: :data:`MAX_WAITING_CALLS` wait.
        """
        if len(self._callers.calls) >= MAX_WAITING_CALLS:
            raise LimitReachedError(
                f"{MAX_WAITING_CALLS} calls wait for their turn already",
                advice="the interconnect has too much to do: try again later",
            )
        answer: asyncio.Future[_ResultT] = asyncio.get_running_loop().create_future()
        self._put(work, answer)
        self._after()
        return await answer

    def submit(self, work: Callable[[], None]) -> None:
        """Do a piece of a client's stream when it is the clients' turn; it raises nothing. How many
        may wait is the stream's to limit."""
        self._put(work, None)

    def _put(self, work: Callable[[], Any], answer: asyncio.Future[Any] | None) -> None:
        self._callers.calls.append((work, answer))
        if len(self._callers.calls) == 1:
            self.offer(self._callers)

    def _next_turn(self) -> None:
        self._turn = None
        self._spent_s = 0.0
        self._before()
        self._work()
        self._after()

    def _work(self) -> None:
        waiting = self._turns.waiting
        while waiting and self._spent_s < self.turn_s:
            self._serve(self._turns.take())
        if self._turn is None and (waiting or self._spent_s >= self.turn_s / 2):
            self._turn = asyncio.get_running_loop().call_soon(self._next_turn)

    def _serve(self, source: Worker) -> None:
        began = _clock_s()
        more = source.apply_next()
        cost_s = _clock_s() - began
        self._turns.done(source, cost_s, more=more)
        self._spent_s += cost_s


class _Callers(Worker):
    """All clients together: anybody can draw another client id."""

    def __init__(self) -> None:
        self.calls: deque[tuple[Callable[[], Any], asyncio.Future[Any] | None]] = deque()

    def apply_next(self) -> bool:
        """Do what has waited for longest, unless its caller has gone."""
        work, answer = self.calls[0]
        if answer is None:
            work()
        elif not answer.done():
            try:
                answer.set_result(work())
            except Exception as error:  # noqa: BLE001 - raised where it is awaited
                answer.set_exception(error)
        # Only now: what comes meanwhile finds that the clients have their place in the queue.
        self.calls.popleft()
        return bool(self.calls)
