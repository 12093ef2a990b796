"""Events for those who watch: bounded, and honest about what a slow watcher missed."""

import asyncio
from collections import deque
from collections.abc import Callable

from mkrpc.errors import LimitReachedError
from mkrpc.trace import Sink, TraceEvent, event_fields, kind
from mkrpc.v1 import control_pb2 as pb

__all__ = ["MAX_QUEUED_EVENTS", "MAX_WATCHERS", "EventHub", "Watcher"]

MAX_QUEUED_EVENTS = 10_000
"""Events that wait for one watcher; the oldest beyond are counted as missed."""

MAX_WATCHERS = 64
"""Watchers at a time; the next one is refused."""

MAX_EVENTS_PER_MESSAGE = 500


class Watcher:
    """One watcher's queue."""

    def __init__(self) -> None:
        self._events: deque[tuple[int, TraceEvent]] = deque()
        self._arrived = asyncio.Event()
        self.missed = 0

    def put(self, number: int, event: TraceEvent) -> None:
        """An event has happened."""
        if len(self._events) >= MAX_QUEUED_EVENTS:
            self._events.popleft()
            self.missed += 1
        self._events.append((number, event))
        self._arrived.set()

    async def next_message(self) -> pb.WatchResponse:
        """Wait for events; those that are there, up to a bound, as one message."""
        while not self._events:
            self._arrived.clear()
            await self._arrived.wait()
        message = pb.WatchResponse(missed=self.missed)
        for _ in range(min(len(self._events), MAX_EVENTS_PER_MESSAGE)):
            number, event = self._events.popleft()
            message.events.add(kind=kind(event), number=number, fields=event_fields(event))
        return message


class EventHub:
    """Hands each event of the bus to every watcher.

    ``listen``: told this hub when the first watcher comes and None when the last one goes, so that
    a bus that nobody watches makes no events.
    """

    def __init__(self, listen: Callable[[Sink | None], None]) -> None:
        self._listen = listen
        self._watchers: list[Watcher] = []
        self._number = 0

    def __call__(self, event: TraceEvent) -> None:
        """The sink that the bus reports to."""
        self._number += 1
        for watcher in self._watchers:
            watcher.put(self._number, event)

    def add(self) -> Watcher:
        """A new watcher; :class:`LimitReachedError` beyond :data:`MAX_WATCHERS`."""
        if len(self._watchers) >= MAX_WATCHERS:
            raise LimitReachedError(
                f"{MAX_WATCHERS} watchers are connected", advice="end one of them first"
            )
        watcher = Watcher()
        self._watchers.append(watcher)
        self._listen(self)
        return watcher

    def remove(self, watcher: Watcher) -> None:
        """The watcher has gone."""
        self._watchers.remove(watcher)
        if not self._watchers:
            self._listen(None)
