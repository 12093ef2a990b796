"""Streams over real gRPC that are cut in mid-burst: the instance comes back and all is there."""

import asyncio

import pytest
from e2e.one_instance import rig, until

from mkrpc.instance.accounting import whole_account
from mkrpc.instance.process import EXIT_FENCED
from mkrpc.outcome import Outcome

pytestmark = pytest.mark.e2e

SHORT_US = 2_000_000
"""A lease by which something is to happen."""


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
    async with rig(lease_us=SHORT_US) as made:
        made.proxy.abandon()
        tally = await made.inject(100)
        assert {outcome for _, _, outcome in tally.legs} <= {Outcome.DELIVERED, Outcome.COALESCED}
        (session,) = made.bus.sessions()
        assert (session.generation, made.bus.instances()[0].incarnations) == (2, 1)


async def test_an_instance_that_cannot_come_back_is_fenced_and_its_legs_are_lost():
    async with rig(lease_us=SHORT_US) as made:
        made.proxy.refuses = True
        made.proxy.cut()
        await until(lambda: not made.bus.sessions()[0].connected)
        tally = await made.inject(10)
        assert tally.legs == {(0, 0, Outcome.LOST_TARGET_DEAD): 10}
        assert made.bus.instances()[0].reason == "lease expired: silent for 2 s, its link broken"
        assert await made.ended == EXIT_FENCED
        assert made.bus.balance() == []
