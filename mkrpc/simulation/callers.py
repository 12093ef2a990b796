"""Clients that call over streams: what they number, send, send again and call resolved.

They do as :class:`mkrpc.client.bulk_sender.BulkSender` does. A stream may break at any time, of
which both ends learn in their own time; what has no answer is then sent again over another one.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mkrpc.interconnect.bucket import CLIENTS, Rate
from mkrpc.simulation.call_link import CallLink, Request
from mkrpc.simulation.events import Limited
from mkrpc.simulation.hub import Hub
from mkrpc.simulation.plan import Step

if TYPE_CHECKING:
    from mkrpc.simulation.world import World

__all__ = ["Caller", "Callers"]

_CREDITS = (4, 64, 512)
"""Requests from the oldest without an answer on that there may be; the last is a server's."""
_MIDST = 0.5
"""Of the streams that break, this share breaks in the middle of what is being sent."""
_GIVES_UP = 0.15
"""Of the streams that break, this share has a client that does not come back."""
_ARRIVES = 0.5
"""Of the streams that break, this share has what was on its way arrive."""
_LAST = 0.3
"""Of the streams that break, this share has a client that ends the next one with its answers."""
_WAITS = 0.7
"""Of the clients that are to end their stream, this share does it when it has its answers."""
_SOON = 0.5
"""Of the streams that break, this share has a client that is back before what was on its way."""
_BURSTS_PER_S = 50
"""What clients that are limited may make at once, they may make so often in a second."""
_SPLITS = 0.3
"""Of what is sent together, this share comes in two parts."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """What was sent under a number, and the roster number that the client knew then."""

    words: tuple[int, ...]
    roster: int
    each: bool


class Caller:
    """One client; when it has given up or ended, another one begins in its place."""

    def __init__(self, world: "World", number: int) -> None:
        self._world = world
        self._number = number
        self._rng = world.rng_of(f"caller {number}")
        self._lives = 0
        self._begin()

    def _begin(self) -> None:
        self.name = f"k{self._number}.{self._lives}"
        self._client_id = self.name.encode().ljust(16, b".")
        self._world.label(self._client_id, self.name)
        self._lives += 1
        self._credit = self._rng.choice(_CREDITS)
        self._next = 1
        self._roster = 0
        self._link: CallLink | None = None
        self._greeted = self._opening = self._closing = False
        self._said: list[tuple[tuple[int, ...], bool]] = []
        self._gathered: deque[tuple[tuple[int, ...], bool]] = deque()
        self._unanswered: dict[int, _Sent] = {}
        self._since_floor: deque[int] = deque()
        self._again: deque[int] = deque()
        self._up_us = self._down_us = 0

    @property
    def open(self) -> int:
        """How many of its requests have no answer."""
        return len(self._gathered) + len(self._unanswered)

    def perform(self, step: Step) -> None:
        """Carry out one of its steps. Each has a stream of chance of its own, so that others can be
        left out."""
        self._rng = self._world.rng_of(f"caller at s{step.number}")
        match step.kind:
            case "send":
                self._said = [(words, step.each) for words in step.requests]
                self._gathered.extend(self._said)
                self._send()
            case "hang-up":
                if self._rng.random() < _MIDST and self._link is not None:
                    self._gathered.extend(self._said)  # it says the same once more
                    self._send()
                self._hang_up()
            case _ if self.open and self._rng.random() < _WAITS:
                self._closing = True
            case _:
                self._close()

    # --- the stream -----------------------------------------------------------------------------

    def _open(self) -> None:
        self._opening = False
        if self._link is not None or not self.open:
            return
        hub = self._world.hub
        if hub.over:
            self._come_back()
            return
        self._link = link = CallLink(self._world, hub, caller=self, client_id=self._client_id)
        self._up_us = self._down_us = 0
        self._world.at(self._arrival(up=True), hub.turn, link.greet)

    def _come_back(self, *, soon: bool = False) -> None:
        if not self._opening:
            self._opening = True
            pause_us = 1 if soon else self._world.options.lease_us // 20
            later_us = self._world.now_us + pause_us + self._rng.randrange(0, pause_us)
            self._world.at(later_us, self._open)

    def _hang_up(self) -> None:
        """The stream breaks. The client knows at once, the interconnect after a while; until then
        it goes on, and may even be sent again what it has not answered."""
        link, rng, world = self._link, self._rng, self._world
        if link is None:
            return
        world.faults["stream of calls broke"] += 1
        if rng.random() < _ARRIVES:
            link.late_us = world.now_us + rng.choice((0, rng.randrange(0, world.options.notice_us)))
            notices_us = max(self._up_us, link.late_us) + rng.randrange(1, world.options.notice_us)
            world.at(notices_us, link.hub.turn, link.broken)
        else:
            link.hub.turn(link.broken)
        self._closing = rng.random() < _LAST
        self.broken(soon=rng.random() < _SOON)

    def broken(self, *, soon: bool = False) -> None:
        """There is no stream any more. ``soon``: another one can be opened at once."""
        if self._link is None:
            return
        self._link, self._greeted = None, False
        if self.open and self._rng.random() < _GIVES_UP:
            self._world.note(f"{self.name} gives up")
            self._begin()
        elif self.open:
            self._come_back(soon=soon)

    def _close(self) -> None:
        """It ends its stream, whether or not all has been answered."""
        if self._link is not None:
            link = self._link
            self._world.at(self._arrival(up=True), link.hub.turn, link.end)
        self._begin()

    def _arrival(self, *, up: bool) -> int:
        """When what is sent now comes: not before what was sent earlier."""
        delay_us = self._rng.choice((5, 50, 500))
        before_us = self._up_us if up else self._down_us
        at_us = max(before_us, self._world.now_us + self._rng.randrange(1, delay_us))
        if up:
            self._up_us = at_us
        else:
            self._down_us = at_us
        return at_us

    # --- requests -------------------------------------------------------------------------------

    def _send(self) -> None:
        """What may be sent now."""
        link = self._link
        if link is None:
            self._come_back()
            return
        if not self._greeted:
            return
        requests = list(self._requests())
        if not requests:
            return
        at = len(requests)
        if self._rng.random() < _SPLITS:
            at = self._rng.randrange(0, len(requests))
        for part in (requests[:at], requests[at:]):
            if part:
                self._world.at(self._arrival(up=True), link.hub.turn, link.take, part)

    def _requests(self) -> Iterator[Request]:
        while self._again:
            yield self._request(self._again.popleft(), again=True)
        while self._gathered and len(self._since_floor) < self._credit:
            words, each = self._gathered.popleft()
            first = self._next
            self._next += len(words)
            self._unanswered[first] = _Sent(words, self._roster, each)
            self._since_floor.append(first)
            yield self._request(first, again=False)

    def _request(self, first: int, *, again: bool) -> Request:
        sent = self._unanswered[first]
        if again:
            self._world.faults["call sent again"] += 1
        return Request(
            first_seq=first,
            words=sent.words,
            resolved_below=self._since_floor[0],
            roster=sent.roster,
            again=again,
            each=sent.each,
        )

    # --- answers --------------------------------------------------------------------------------

    def send_down(self, link: CallLink, roster: int, answered: tuple[int, ...]) -> None:
        """The interconnect tells it of answers, or greets; roster -1: it has ended the stream."""
        if self._link is link:
            self._world.at(self._arrival(up=False), self._receive, link, roster, answered)

    def _receive(self, link: CallLink, roster: int, answered: tuple[int, ...]) -> None:
        if self._link is not link:
            return  # lost with the stream
        if roster < 0:
            self._world.faults["refused request"] += 1
            self._begin()
            return
        self._roster = max(self._roster, roster)
        for first in answered:
            del self._unanswered[first]
        while self._since_floor and self._since_floor[0] not in self._unanswered:
            self._since_floor.popleft()
        if not self._greeted:
            self._greeted = True
            self._again = deque(self._unanswered)
        if self._closing and not self.open:
            self._close()
        else:
            self._send()


class Callers:
    """Of one run."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._writes_per_s = 0
        self._callers = [Caller(world, number) for number in range(world.options.callers)]

    @property
    def open(self) -> list[str]:
        """Whose requests have no answer."""
        return [caller.name for caller in self._callers if caller.open]

    def perform(self, step: Step) -> None:
        """Carry out a step of one of them."""
        self._world.note(str(step))
        if step.kind == "limit":
            self._writes_per_s = step.count
            self._world.hub.turn(self._limit, self._world.hub)
        else:
            self._callers[step.client].perform(step)

    def _limit(self, hub: Hub) -> None:
        """As ``mkrpc limit`` does, or a topology."""
        writes_per_s = self._writes_per_s
        burst = max(1, writes_per_s // _BURSTS_PER_S)
        hub.bus.buckets.change(CLIENTS, Rate(writes_per_s, burst) if writes_per_s else None)
        self._world.show(Limited(writes_per_s))

    def hub_began(self) -> None:
        """Another one has the same limit."""
        if self._writes_per_s:
            self._world.hub.turn(self._limit, self._world.hub)

    def hub_died(self) -> None:
        """Every stream has ended."""
        for caller in self._callers:
            caller.broken()
