"""The proxy of byte streams: whole and in order, or broken, silent, late, as it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mkrpc.chaos.proxy import DOWN, MAX_PROXIED, UP, Proxy
from mkrpc.transport.address import Address

LOOPBACK = Address(host="127.0.0.1", port=0)


class Rig:
    """A server that gives back what it gets, a proxy before it, and a connection through both."""

    def __init__(self, proxy: Proxy, at: Address) -> None:
        self.proxy = proxy
        self.at = at
        self.writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.at.is_unix:
            end = await asyncio.open_unix_connection(self.at.path)
        else:
            end = await asyncio.open_connection(self.at.host, self.at.port)
        self.writers.append(end[1])
        return end

    async def stop(self) -> None:
        await self.proxy.stop()
        for writer in self.writers:
            writer.transport.abort()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def rig(tmp_path: Path, *, at: Address = LOOPBACK) -> AsyncIterator[Rig]:
    far = Address(path=str(tmp_path / "far"))
    server = await asyncio.start_unix_server(echo, far.path)
    proxy = Proxy(far)
    made = Rig(proxy, await proxy.start(at))
    try:
        yield made
    finally:
        await made.stop()
        server.close()
        await server.wait_closed()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: bytes) -> bytes:
    writer.write(text)
    return await reader.readexactly(len(text))


async def is_broken(reader: asyncio.StreamReader) -> bool:
    """Whether the connection has ended, by whatever name; waits for it."""
    try:
        return await reader.read(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_what_goes_in_comes_out_whole_and_in_order(tmp_path, kind):
    at = LOOPBACK if kind == "tcp" else Address(path=str(tmp_path / "near"))
    async with rig(tmp_path, at=at) as made:
        reader, writer = await made.connect()
        much = bytes(range(256)) * 8192
        writer.write(much)
        assert await reader.readexactly(len(much)) == much
        assert (made.proxy.connections, made.proxy.open) == (1, 1)


async def test_a_cut_breaks_what_is_open_and_nothing_that_comes_after(tmp_path):
    async with rig(tmp_path) as made:
        reader, writer = await made.connect()
        assert await ask(reader, writer, b"one") == b"one"
        made.proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        again = await made.connect()
        assert await ask(*again, b"two") == b"two"


async def test_who_is_refused_is_broken_until_the_link_is_healed(tmp_path):
    async with rig(tmp_path) as made:
        made.proxy.refuses = True
        reader, _writer = await made.connect()
        assert await is_broken(reader)
        made.proxy.heal()
        assert await ask(*await made.connect(), b"back") == b"back"
        assert made.proxy.connections == 1


@pytest.mark.parametrize("directions", [(UP,), (DOWN,), (UP, DOWN)], ids="-".join)
async def test_a_half_open_link_keeps_what_it_is_given_and_passes_it_on_when_healed(
    tmp_path, directions
):
    """As TCP would, by sending again; the end of a connection is no exception."""
    async with rig(tmp_path) as made:
        old, new = await made.connect(), None
        assert await ask(*old, b"before") == b"before"
        made.proxy.stall(*directions)
        old[1].write(b"held")
        new = await made.connect()
        new[1].write(b"too")
        reading = [asyncio.ensure_future(end[0].readexactly(n)) for end, n in ((old, 4), (new, 3))]
        for _ in range(200):
            await asyncio.sleep(0)
        assert not any(future.done() for future in reading)
        made.proxy.heal()
        assert await asyncio.gather(*reading) == [b"held", b"too"]


async def test_what_is_abandoned_stays_silent_and_what_comes_after_does_not(tmp_path):
    async with rig(tmp_path) as made:
        old = await made.connect()
        assert await ask(*old, b"before") == b"before"
        made.proxy.abandon()
        old[1].write(b"lost")
        made.proxy.heal()
        assert await ask(*await made.connect(), b"new") == b"new"
        assert made.proxy.open == 2
        silent = asyncio.ensure_future(old[0].read(1))
        for _ in range(200):
            await asyncio.sleep(0)
        assert not silent.done()
        silent.cancel()


async def test_a_late_link_is_late_by_its_delay_and_loses_nothing(tmp_path):
    async with rig(tmp_path) as made:
        end = await made.connect()
        assert await ask(*end, b"quick") == b"quick"
        made.proxy.directions[UP].delay_s = 0.05
        made.proxy.directions[DOWN].delay_s = 0.05
        now = asyncio.get_running_loop().time
        began = now()
        assert await ask(*end, b"late") == b"late"
        assert now() - began >= 0.1


async def test_a_slow_link_takes_its_time_for_every_byte(tmp_path):
    async with rig(tmp_path) as made:
        end = await made.connect()
        made.proxy.directions[DOWN].bytes_per_s = 10_000
        now = asyncio.get_running_loop().time
        began = now()
        assert await ask(*end, bytes(1000)) == bytes(1000)
        assert now() - began >= 0.1


async def test_nobody_behind_the_proxy_is_a_connection_that_ends(tmp_path):
    proxy = Proxy(Address(path=str(tmp_path / "nobody")))
    made = Rig(proxy, await proxy.start(LOOPBACK))
    assert await is_broken((await made.connect())[0])
    assert proxy.connections == 0
    await made.stop()


async def test_beyond_its_limit_a_connection_is_broken_at_once(tmp_path):
    async with rig(tmp_path) as made:
        ends = [await made.connect() for _ in range(MAX_PROXIED)]
        for end in ends:
            assert await ask(*end, b"x") == b"x"
        assert await is_broken((await made.connect())[0])
        made.proxy.cut()
