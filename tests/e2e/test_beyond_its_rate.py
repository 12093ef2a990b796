"""Writes of an instance that is beyond its rate gather (design 3.5): many in a frame, none lost."""

import asyncio
import time

import pytest
from e2e.one_instance import Rig, rig, until

from mkrpc.instance.process import GATHER_S
from mkrpc.interconnect.bucket import Rate, Rates
from mkrpc.interconnect.policy import Policy
from mkrpc.link.source import PUBLISH_EVERY
from mkrpc.x86.icr import fixed

pytestmark = pytest.mark.e2e

TO_NOBODY = fixed(9, 0x41)


def write_until_told(made: Rig) -> None:
    """As many as the interconnect tells of at once."""
    for _ in range(PUBLISH_EVERY):
        made.instance.kernel.publish_write(0, TO_NOBODY, 0)
    made.instance.frame_went()


@pytest.mark.parametrize(("rate", "gathers"), [(1, True), (1_000_000, False)])
async def test_writes_beyond_a_rate_gather(rate: int, gathers: bool) -> None:
    """Each is written when the link has taken the last frame, and could have one of its own."""
    rates = Rates(instances=Rate(rate, burst=rate))
    async with rig(Policy.named("bare-metal", rates=rates)) as made:
        (session,) = made.bus.sessions()
        kernel, books = made.instance.kernel, made.instance._attachment.books
        write_until_told(made)
        await until(lambda: len(books) > 0)
        assert books.over_rate is gathers
        before, began_s, waited = session.link.received, time.monotonic(), False
        for _ in range(100):
            kernel.publish_write(0, TO_NOBODY, 0)
            made.instance.frame_went()
            waited |= made.instance._gathering is not None
            await asyncio.sleep(0)
        await until(lambda: session.highest_seq == kernel.source.written)
        frames = session.link.received - before
        assert waited is gathers
        if gathers:
            assert frames <= 2 + (time.monotonic() - began_s) / GATHER_S


async def test_what_is_asked_for_goes_at_once_and_takes_them_along() -> None:
    rates = Rates(instances=Rate(1, burst=1))
    async with rig(Policy.named("bare-metal", rates=rates)) as made:
        (session,) = made.bus.sessions()
        kernel, books = made.instance.kernel, made.instance._attachment.books
        write_until_told(made)
        await until(lambda: books.over_rate)
        kernel.publish_write(0, TO_NOBODY, 0)
        made.instance.frame_went()
        gathering = made.instance._gathering
        assert gathering is not None
        gathering.cancel()
        await made.inject(1)
        assert session.highest_seq == kernel.source.written
