"""Keeps an interconnect running: one that dies is started again, at the same address.

The instances go on meanwhile, for their leases still run; the books that the dead one has left tell
the new one whom to wait for (design 3.3, rule 4).
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from mkrpc.errors import MkrpcError
from mkrpc.host.agent import HostAgent
from mkrpc.host.child import Child
from mkrpc.host.restarts import LIMIT_WINDOW_S, MAX_RESTARTS, Restarts
from mkrpc.lifecycle import describe_end
from mkrpc.transport.supervision import core_task, end_loudly

__all__ = ["InterconnectKeeper"]

SPARE_DELAY_S = 2.0
"""Seconds after the cluster's start in which a spare interconnect would only be in the way. After
that one is prepared at once: the next end may be near."""

_THREADS = 2
"""One starts an interconnect while the other may still prepare a spare."""

_log = structlog.get_logger("mkrpc.host")


class InterconnectKeeper:
    """``on_end`` is called once there is no interconnect and none is to follow: the cluster was
    still starting, somebody asked it to end, or it dies again and again."""

    def __init__(self, agent: HostAgent, *, on_end: Callable[[], None]) -> None:
        self._agent = agent
        self._on_end = on_end
        self._restarts = Restarts()
        self._loop = asyncio.get_running_loop()
        self._restarting: asyncio.Task[None] | None = None
        # Of their own: slow starts of instances take every thread of the loop's.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="interconnect")

    def watch(self) -> None:
        """From now on an end of the agent's interconnect is noticed."""
        child = self._agent.interconnect
        assert child is not None
        child.watch(self._loop, lambda: self._ended(child))
        self._loop.call_later(0 if self._restarts.total else SPARE_DELAY_S, self._prepare_spare)

    def _prepare_spare(self) -> None:
        if not self._agent.is_ready:
            self._loop.call_later(SPARE_DELAY_S, self._prepare_spare)
            return
        preparing = self._loop.run_in_executor(self._threads, self._agent.prepare_spare)
        preparing.add_done_callback(_warn_if_failed)

    def _ended(self, child: Child) -> None:
        if self._agent.stopping:
            return
        assert child.exit_code is not None
        how = describe_end(child.exit_code)
        if not self._agent.is_ready or child.exit_code == 0:
            _log.error("the interconnect ended by itself", how=how)
            self._on_end()
            return
        _log.error("the interconnect died", how=how)
        self._restarting = core_task(self._restart(), "starting another interconnect")

    async def _restart(self) -> None:
        while not self._agent.stopping:
            pause_s = self._restarts.next_pause_s(self._loop.time())
            if pause_s is None:
                _log.error(
                    "the interconnect dies again and again: the cluster ends",
                    restarts=MAX_RESTARTS,
                    within_s=LIMIT_WINDOW_S,
                )
                self._on_end()
                return
            await asyncio.sleep(pause_s)
            try:
                start = self._agent.start_interconnect
                child = await self._loop.run_in_executor(self._threads, start)
            except MkrpcError as error:
                _log.error(
                    "the interconnect did not start again", error=str(error), advice=error.advice
                )
                continue
            _log.warning(
                "another interconnect serves", pid=child.pid, restarts=self._restarts.total
            )
            self.watch()
            return


def _warn_if_failed(preparing: "asyncio.Future[None]") -> None:
    """Without a spare one another interconnect takes longer to start."""
    error = None if preparing.cancelled() else preparing.exception()
    if isinstance(error, MkrpcError):
        _log.warning("no spare interconnect", error=str(error), advice=error.advice)
    elif error is not None:
        end_loudly(error, "preparing a spare interconnect")
