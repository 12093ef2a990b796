"""Streams over real gRPC that are cut in mid-burst: the instance comes back and all is there."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mkrpc.chaos.proxy import Proxy
from mkrpc.frame_codec import ATTACH
from mkrpc.instance.accounting import whole_account
from mkrpc.instance.kernel import KernelConfig
from mkrpc.instance.process import EXIT_FENCED, Boot, InstanceProcess
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.attachments import Pump
from mkrpc.interconnect.policy import Policy
from mkrpc.outcome import Outcome
from mkrpc.transport.address import Address
from mkrpc.transport.aio import AioServer
from mkrpc.x86.icr import fixed

pytestmark = pytest.mark.e2e

LEASE_US = 2_000_000


class Rig:
    """A bus behind a server, one instance, and a proxy between them, in one event loop."""

    def __init__(self) -> None:
        self.bus = ApicBus(epoch=1, policy=Policy.named("bare-metal"), lease_us=LEASE_US)
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
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
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


@pytest.mark.parametrize("cuts", [40, pytest.param(2000, marks=pytest.mark.full)])
async def test_an_instance_whose_stream_is_cut_in_mid_burst_comes_back_with_everything(cuts):
    async with rig() as made:
        for number in range(cuts):
            answered = made.inject(500)
            for _ in range(number % 5):
                await asyncio.sleep(0)
            made.proxy.cut()
            tally = await answered
            assert sum(tally.legs.values()) == 500
            assert {outcome.kind.name for _, _, outcome in tally.legs} <= {
                "DELIVERED",
                "COALESCED",
            }
        (session,) = made.bus.sessions()
        assert session.generation > 1
        assert made.proxy.connections >= session.generation
        assert made.bus.instances()[0].incarnations == 1
        assert made.bus.balance() == []
        kernel = made.instance.kernel
        await until(lambda: made.bus.mirrored(0)[1] == [whole_account(cpu) for cpu in kernel.cpus])


async def test_a_half_open_stream_is_given_up_in_time_for_another():
    """No reset comes, and keepalive takes longer than the lease."""
    async with rig() as made:
        made.proxy.abandon()
        tally = await made.inject(100)
        assert {outcome for _, _, outcome in tally.legs} <= {Outcome.DELIVERED, Outcome.COALESCED}
        (session,) = made.bus.sessions()
        assert (session.generation, made.bus.instances()[0].incarnations) == (2, 1)


async def test_an_instance_that_cannot_come_back_is_fenced_and_its_legs_are_lost():
    async with rig() as made:
        made.proxy.refuses = True
        made.proxy.cut()
        await until(lambda: not made.bus.sessions()[0].connected)
        tally = await made.inject(10)
        assert tally.legs == {(0, 0, Outcome.LOST_TARGET_DEAD): 10}
        assert made.bus.instances()[0].reason == "lease expired: silent for 2 s, its link broken"
        assert await made.ended == EXIT_FENCED
        assert made.bus.balance() == []
