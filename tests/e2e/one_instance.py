"""One instance and its interconnect in one event loop, over real gRPC."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from mkrpc.chaos.proxy import Proxy
from mkrpc.frame_codec import ATTACH
from mkrpc.instance.kernel import KernelConfig
from mkrpc.instance.process import Boot, InstanceProcess
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.attachments import Pump
from mkrpc.interconnect.policy import Policy
from mkrpc.transport.address import Address
from mkrpc.transport.aio import AioServer
from mkrpc.x86.icr import fixed

LEASE_US = 60_000_000
"""Longer than whatever a busy machine takes: who wants the lease to end has a shorter one."""


class Rig:
    """A bus behind a server, one instance, and a proxy between them, in one event loop."""

    proxy: Proxy
    instance: InstanceProcess
    ended: asyncio.Future[int]

    def __init__(self, policy: Policy, lease_us: int) -> None:
        self.bus = ApicBus(epoch=1, policy=policy, lease_us=lease_us)
        self.pump = Pump(self.bus)
        self.seq = 1

    def inject(self, count: int) -> "asyncio.Future[Any]":
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.bus.inject(
            client_id=b"c" * 16,
            first_seq=self.seq,
            word=fixed(0, 0xEA),
            count=count,
            resolved_below=self.seq,
            on_done=answered.set_result,
        )
        self.seq += count
        self.pump.drain()
        return answered


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until it is so, or the test times out."""
    while not condition():  # noqa: ASYNC110 (no event tells it)
        await asyncio.sleep(0)


@asynccontextmanager
async def rig(policy: Policy | None = None, *, lease_us: int = LEASE_US) -> AsyncIterator[Rig]:
    """The instance is attached; it leaves at the end, if it has not."""
    made = Rig(policy or Policy.named("bare-metal"), lease_us)
    server = AioServer(methods={ATTACH: made.pump.open})
    await server.start(Address(host="127.0.0.1", port=0))
    made.proxy = Proxy(server.bound_address)
    address = await made.proxy.start(Address(host="127.0.0.1", port=0))
    attached = asyncio.Event()
    made.instance = InstanceProcess(
        Boot(
            config=KernelConfig(instance_id=0, name="zero", apic_ids=(0,)),
            address=str(address),
            on_attached=attached.set,
        )
    )
    made.ended = asyncio.ensure_future(made.instance.run())
    await attached.wait()
    try:
        yield made
    finally:
        if not made.ended.done():
            made.instance._leave(0, "the test is over")
            assert await made.ended == 0
        await made.proxy.stop()
        await server.stop(0)
