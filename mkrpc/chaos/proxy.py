"""A proxy of byte streams that can do to them what networks do: break, go silent, be late.

It knows nothing of gRPC. What it was given it passes on whole and in order or, once a connection is
broken, not at all; a direction that is stalled keeps what it has, as TCP would by sending again.
"""

import asyncio
import socket
import struct
from contextlib import suppress

import structlog

from mkrpc.transport.address import Address

__all__ = ["DOWN", "MAX_PROXIED", "UP", "Direction", "Proxy"]

MAX_PROXIED = 64
"""Connections through one proxy at a time; one more is broken at once."""

_CHUNK = 65536
_AHEAD = 16
"""Chunks that one direction of a connection holds back; then its sender has to wait."""

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER for an end by RST (socket(7)): what is on its way is gone."""

_log = structlog.get_logger("mkrpc.chaos")


class Direction:
    """How one direction fares: ``delay_s`` late, at most ``bytes_per_s`` (0: as they come) for each
    connection, or stalled."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.bytes_per_s = 0
        self.flowing = asyncio.Event()
        self.flowing.set()

    def heal(self) -> None:
        """On time and at full speed; what was held back goes on."""
        self.delay_s = 0.0
        self.bytes_per_s = 0
        self.flowing.set()


UP, DOWN = "up", "down"
"""Towards the interconnect, and from it."""


class Proxy:
    """Listens at one address and passes on to another, within one event loop.

    ``connections`` counts those that were passed on since the start. While it ``refuses``,
    newcomers are broken at once.
    """

    def __init__(self, to: Address, directions: dict[str, Direction] | None = None) -> None:
        self._to = to
        self.directions = directions or {UP: Direction(), DOWN: Direction()}
        self.connections = 0
        self.refuses = False
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def open(self) -> int:
        """Connections that stand."""
        return len(self._pairs)

    async def start(self, at: Address) -> Address:
        """Listen; the address, with the port that was chosen for port 0. Raises OSError."""
        if at.is_unix:
            self._server = await asyncio.start_unix_server(self._accept, at.path)
            return at
        self._server = await asyncio.start_server(self._accept, at.host, at.port)
        return Address(host=at.host, port=self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """Break every connection: what is on its way is lost."""
        for pair in list(self._pairs):
            pair.abort()

    def abandon(self) -> None:
        """Nothing gets through any more over what is open now, ever, and nobody is told."""
        for pair in self._pairs:
            pair.abandoned = True

    def stall(self, *directions: str) -> None:
        """These directions pass nothing on until :meth:`heal`, over new connections either."""
        for name in directions:
            self.directions[name].flowing.clear()

    def heal(self) -> None:
        """All is well again; what is abandoned stays so."""
        self.refuses = False
        for direction in self.directions.values():
            direction.heal()

    async def stop(self) -> None:
        """Listen no more, break what is open."""
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses or len(self._tasks) >= MAX_PROXIED:
            _abort(writer)
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await self._connect()
        except OSError as error:
            # As if the far end had refused: that is what the near end is told.
            _log.debug("nobody to pass on to", to=str(self._to), error=str(error))
            _abort(writer)
            return
        self.connections += 1
        pair = _Pair(writer, far_writer)
        self._pairs.add(pair)
        try:
            await asyncio.gather(
                _pass_on(pair, reader, far_writer, self.directions[UP]),
                _pass_on(pair, far_reader, writer, self.directions[DOWN]),
            )
        finally:
            pair.abort()
            self._pairs.discard(pair)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._to.is_unix:
            return await asyncio.open_unix_connection(self._to.path)
        return await asyncio.open_connection(self._to.host, self._to.port)


class _Pair:
    """The two ends of one connection."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self._writers = writers
        self.abandoned = False

    def abort(self) -> None:
        for writer in self._writers:
            _abort(writer)


def _abort(writer: asyncio.StreamWriter) -> None:
    """End a connection at once: by RST where there is such a thing."""
    found: socket.socket | None = writer.get_extra_info("socket")
    if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
        # A socket that is closed already has nothing to be reset.
        with suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


async def _pass_on(
    pair: _Pair,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    direction: Direction,
) -> None:
    """Copy one direction until its end, which counts like everything else: late, or held back."""
    held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_AHEAD)
    await asyncio.gather(_take(reader, held, direction), _give(pair, held, writer, direction))


async def _take(
    reader: asyncio.StreamReader, held: "asyncio.Queue[tuple[float, bytes]]", direction: Direction
) -> None:
    now = asyncio.get_running_loop().time
    data = b"?"
    while data:
        try:
            data = await reader.read(_CHUNK)
        except ConnectionError:
            data = b""  # Broken: passed on as an end, for want of a better word.
        await held.put((now() + direction.delay_s, data))


async def _give(
    pair: _Pair,
    held: "asyncio.Queue[tuple[float, bytes]]",
    writer: asyncio.StreamWriter,
    direction: Direction,
) -> None:
    now = asyncio.get_running_loop().time
    while True:
        due, data = await held.get()
        await asyncio.sleep(due - now())
        await direction.flowing.wait()
        if pair.abandoned and data:
            continue
        if not data:
            _abort(writer)
            return
        if direction.bytes_per_s:
            await asyncio.sleep(len(data) / direction.bytes_per_s)
        if writer.is_closing():
            continue  # That end has gone: the reading side learns of it, and ends this.
        with suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
