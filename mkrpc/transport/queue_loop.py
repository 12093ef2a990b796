"""An event loop that waits in grpcio's completion queue, and handles completions right there.

asyncio waits for file descriptors in a selector; this one waits in a completion queue instead, so
that one thread both receives what comes over gRPC and runs Python: no thread has to wake another
between a frame and its handler. Everything else of asyncio stays: its file descriptors and timers
are watched by a thread that wakes the queue only when one of them is due.

On any other loop, and for a second queue on this one, a thread takes the completions and hands
them over: slower, and otherwise the same.
"""

import asyncio
import os
import select
import selectors
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any, Final, TypeVarTuple

from mkrpc.transport.completion_queue import CompletionQueue

__all__ = ["QueueLoop", "attach"]

LOOK_INTERVAL_S: Final = 100e-6
"""How often a loop that is never idle looks for completions."""

MAX_LOOKS: Final = 16
"""Completions that such a loop handles before its own callbacks have their turn."""

MAX_GATHERED: Final = 128
"""Completions that are handled with one that was waited for, if they are there already: what they
have begun is done together."""

_NEVER: Final = float("inf")

_Ts = TypeVarTuple("_Ts")


class QueueLoop(asyncio.SelectorEventLoop):
    """The event loop of asyncio over a :class:`QueueSelector`."""

    def __init__(self) -> None:
        self.selector = QueueSelector(self)
        super().__init__(self.selector)

    def call_soon(
        self,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """As in asyncio; the selector returns for it."""
        self.selector.asked = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As in asyncio, likewise."""
        self.selector.asked = True
        return super().call_at(when, callback, *args, context=context)

    def stop(self) -> None:
        """As in asyncio, likewise."""
        self.selector.asked = True
        super().stop()

    def close(self) -> None:
        """Close; a queue that is still attached ends at once, and tells nobody."""
        if not self.is_closed():
            self.selector.abandon()
        super().close()


def attach(loop: asyncio.AbstractEventLoop, queue: CompletionQueue) -> Callable[[], None]:
    """Have ``loop`` handle the completions of ``queue``, until the result is called."""
    if isinstance(loop, QueueLoop):
        return loop.selector.attach(queue)
    return _Ferry(loop, queue).stop


class QueueSelector(selectors.BaseSelector):
    """Waits in the first queue that is attached; for file descriptors alone while there is none."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._files = selectors.EpollSelector()
        self._home: CompletionQueue | None = None
        self._ferries: dict[_Ferry, CompletionQueue] = {}
        self._watch = _Watch(self._files.fileno())
        self._looked_s = 0.0
        self.asked = False
        """Whether the loop has been asked for something since it began to wait."""

    def attach(self, queue: CompletionQueue) -> Callable[[], None]:
        """Handle its completions until the result is called, on the thread of the loop."""
        if self._home is None:
            self._home = self._watch.queue = queue
            return self._leave_home
        ferry = _Ferry(self._loop, queue)
        self._ferries[ferry] = queue

        def stop() -> None:
            del self._ferries[ferry]
            ferry.stop()

        return stop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; completions have been handled when this returns.

        One after another, as long as nobody wants anything of the loop but what it waits for.
        """
        queue = self._home
        if queue is None:
            return self._files.select(timeout)
        watch = self._watch
        if watch.fired:
            watch.fired = False
            return self._files.select(0)
        if timeout is not None and timeout <= 0:
            self._look(queue)
        else:
            watch.arm(timeout)
            self.asked = False
            while True:
                queue.handle(queue.take())
                if self.asked or watch.fired or self._home is not queue:
                    break
            if self.asked and queue.looks_cheaply:
                # What has come meanwhile is handled with it, so that callbacks that it begins see
                # all of it.
                for _ in range(MAX_GATHERED):
                    if self._home is not queue or not queue.look():
                        break
            self._looked_s = time.monotonic()
        return []

    def _look(self, queue: CompletionQueue) -> None:
        """There are callbacks to run. A loop that always has some must not be deaf."""
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_INTERVAL_S:
            return
        self._looked_s = now_s
        self._watch.arm(None)
        for _ in range(MAX_LOOKS):
            if not queue.look() or self._home is not queue:
                return

    def _leave_home(self) -> None:
        self._home = self._watch.queue = None

    def abandon(self) -> None:
        """End what is attached, at once."""
        for ferry, queue in list(self._ferries.items()):
            ferry.stop()
            queue.abandon()
        self._ferries.clear()
        queue_, self._home, self._watch.queue = self._home, None, None
        if queue_ is not None:
            queue_.abandon()

    def close(self) -> None:
        """Watch nothing any more."""
        self._watch.stop()
        self._files.close()

    # What asyncio registers.

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As :meth:`selectors.BaseSelector.register`."""
        return self._files.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """As :meth:`selectors.BaseSelector.unregister`."""
        return self._files.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As :meth:`selectors.BaseSelector.modify`."""
        return self._files.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """As :meth:`selectors.BaseSelector.get_map`."""
        return self._files.get_map()


class _Watch:
    """A thread that waits for file descriptors and for the time, and then wakes the queue, once.

    It watches again when the loop, having looked, says so by :meth:`arm`. The loop waits only
    after that, so nothing is missed; what is early is a look too many.
    """

    def __init__(self, epoll: int) -> None:
        self.fired = False
        self.queue: CompletionQueue | None = None
        self._epoll = epoll
        self._armed = False
        self._due_s = _NEVER
        self._go = threading.Semaphore(0)
        self._stopped = False
        self._nudge = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread: threading.Thread | None = None

    def arm(self, timeout_s: float | None) -> None:
        """Fire when a file descriptor is ready, or after that time at the latest."""
        if timeout_s is not None:
            due_s = time.monotonic() + timeout_s
            if due_s < self._due_s:
                self._due_s = due_s
                if self._armed:
                    os.eventfd_write(self._nudge, 1)
        if not self._armed:
            self._armed = True
            self._go.release()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="files", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped = True
        self._go.release()
        os.eventfd_write(self._nudge, 1)
        if self._thread is not None:
            self._thread.join()
        os.close(self._nudge)

    def _run(self) -> None:
        both = select.poll()
        both.register(self._epoll, select.POLLIN)
        both.register(self._nudge, select.POLLIN)
        while True:
            self._go.acquire()
            while not self._stopped:
                left_s = self._due_s - time.monotonic()
                if left_s <= 0:
                    break
                ready = both.poll(None if left_s == _NEVER else left_s * 1e3)
                if any(descriptor == self._epoll for descriptor, _ in ready):
                    break
                if ready:
                    os.eventfd_read(self._nudge)
            if self._stopped:
                return
            self._due_s = _NEVER
            self._armed = False
            self.fired = True
            queue = self.queue
            if queue is not None:
                queue.wake()


class _Ferry:
    """A thread that takes completions and hands them to a loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, queue: CompletionQueue) -> None:
        self._loop = loop
        self._queue = queue
        self._stopped = False
        self._last: list[Any] = []
        self._thread = threading.Thread(target=self._run, name="completions", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what it still took is handled here."""
        self._stopped = True
        self._queue.wake()
        self._thread.join()
        for completion in self._last:
            self._queue.handle(completion)

    def _run(self) -> None:
        while True:
            completion = self._queue.take()
            if self._stopped:
                self._last.append(completion)
                return
            try:
                self._loop.call_soon_threadsafe(self._queue.handle, completion)
            except RuntimeError:
                # The loop has been closed with this queue on it: there is nobody to tell.
                self._queue.abandon()
                return
