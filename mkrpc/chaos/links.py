"""The links of a cluster's instances, each through proxies of its own, in a thread of their own."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from mkrpc.chaos.plan import LinkMode
from mkrpc.chaos.proxy import DOWN, UP, Direction, Proxy
from mkrpc.cluster import Via
from mkrpc.errors import StartUpError
from mkrpc.transport.address import BEATS_SUFFIX, Address

__all__ = ["Links"]

_LOOPBACK = Address(host="127.0.0.1", port=0)
_STOP_TIMEOUT_S = 5.0


class _Link:
    """One instance's two ways: its stream, and its beats past the stream. They fare alike."""

    def __init__(self, interconnect: Address) -> None:
        directions = {UP: Direction(), DOWN: Direction()}
        beats = Address(path=interconnect.path + BEATS_SUFFIX)
        self.stream = Proxy(interconnect, directions)
        self.beats = Proxy(beats, directions)
        self.directions = directions

    @property
    def proxies(self) -> tuple[Proxy, Proxy]:
        return self.stream, self.beats

    def heal(self) -> None:
        for proxy in self.proxies:
            proxy.heal()


class Links:
    """TCP proxies on the loopback, which lead to an interconnect's Unix socket.

    There is one more for clients. They take connections before the interconnect listens, and break
    them while it does not. As any TCP port of the loopback, other users of the host could use them.
    """

    def __init__(self, interconnect: Address, instance_ids: Iterable[int]) -> None:
        assert interconnect.is_unix
        self._links = {who: _Link(interconnect) for who in (None, *instance_ids)}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self.via: dict[int, Via] = {}
        """By instance id, once it is entered."""
        self.client_address = ""
        """For clients, likewise."""

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        except OSError as error:
            self.__exit__(None, None, None)
            raise StartUpError(
                f"no ports for the links: {error.strerror}", advice="try fewer instances"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        stopping = asyncio.run_coroutine_threadsafe(self._stop(), self._loop)
        stopping.result(_STOP_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_TIMEOUT_S)
        self._loop.close()

    def apply(self, instance_id: int | None, mode: LinkMode) -> None:
        """From now until :meth:`heal` a link, None being that of the clients, fares like this."""
        self._call(lambda: _apply(self._links[instance_id], mode))

    def heal(self, instance_id: int | None) -> None:
        """A link is well again."""
        self._call(self._links[instance_id].heal)

    @property
    def connections(self) -> int:
        """Streams, not beats, that were passed on since the start."""
        return sum(link.stream.connections for link in self._links.values())

    def _call(self, what: Callable[[], object]) -> None:
        async def call() -> None:
            what()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(_STOP_TIMEOUT_S)

    async def _start(self) -> None:
        for instance_id, link in self._links.items():
            stream, beats = [await proxy.start(_LOOPBACK) for proxy in link.proxies]
            if instance_id is None:
                self.client_address = str(stream)
            else:
                self.via[instance_id] = Via(str(stream), str(beats))

    async def _stop(self) -> None:
        for link in self._links.values():
            for proxy in link.proxies:
                await proxy.stop()


def _apply(link: _Link, mode: LinkMode) -> None:
    for proxy in link.proxies:
        match mode.how:
            case "reset":
                proxy.cut()
            case "cut":
                proxy.refuses = True
                proxy.cut()
            case "abandon":
                proxy.abandon()
            case "half-open":
                proxy.stall(*mode.directions)
            case "late":
                for name in mode.directions:
                    proxy.directions[name].delay_s = mode.delay_s
            case "slow":
                for name in mode.directions:
                    proxy.directions[name].bytes_per_s = mode.bytes_per_s
