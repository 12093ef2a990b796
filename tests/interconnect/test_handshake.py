"""A stream that never says hello is closed, so that nobody can fill the server with silence."""

import asyncio

import pytest

from mkrpc.errors import DeadlineExceededError
from mkrpc.frame_codec import ATTACH, ATTACH_HOST
from mkrpc.interconnect import handshake
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.attachments import Pump
from mkrpc.interconnect.hosts import HostRegistry
from mkrpc.interconnect.policy import Policy
from mkrpc.transport.address import Address
from mkrpc.transport.aio import AioServer, connect


class Silent:
    """A peer that listens and says nothing."""

    def __init__(self, closed) -> None:
        self.closed = closed

    def on_frame(self, connection, frame) -> None:
        raise AssertionError("nobody answers silence")

    def on_writable(self, connection) -> None:
        raise AssertionError("nothing was sent")

    def on_closed(self, connection, error) -> None:
        self.closed.set_result(error)


@pytest.mark.parametrize("method", [ATTACH, ATTACH_HOST])
async def test_a_silent_stream_is_closed_by_name(method, monkeypatch):
    monkeypatch.setattr(handshake, "HELLO_TIMEOUT_S", 0.05)
    bus = ApicBus(epoch=1, policy=Policy.named("bare-metal"))
    methods = {ATTACH: Pump(bus).open, ATTACH_HOST: HostRegistry(bus.epoch).open}
    server = AioServer(methods=methods)
    await server.start(Address(host="127.0.0.1", port=0))
    closed = asyncio.get_running_loop().create_future()
    await connect(server.bound_address, method, lambda _connection: Silent(closed))
    error = await closed
    assert isinstance(error, DeadlineExceededError)
    assert "no hello" in str(error)
    await server.stop(0)
