"""How a kernel is brought to park its CPUs before its process is ended."""

import asyncio
from collections.abc import Callable

import structlog

from mkrpc.errors import (
    DeadlineExceededError,
    MkrpcError,
    NotFoundError,
    StuckError,
    UnavailableError,
)
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.asks import ask, number_in
from mkrpc.interconnect.errands import shut_down_on_channel
from mkrpc.interconnect.host_orders import HostedProcess
from mkrpc.interconnect.start_up import ring_nmi
from mkrpc.interconnect.tally import Tally
from mkrpc.link.frames import CommandKind, Reply

__all__ = ["FORCE_TIMEOUT_S", "SHUTDOWN_TIMEOUT_S", "halt", "shut_down"]

SHUTDOWN_TIMEOUT_S = 30.0
"""Seconds for a kernel to acknowledge its shutdown, as in the series."""

FORCE_TIMEOUT_S = 1.0
"""Seconds for every CPU to park at an NMI; then the process gets SIGKILL."""

_log = structlog.get_logger("mkrpc.interconnect")


async def shut_down(bus: ApicBus, drain: Callable[[], None], process: HostedProcess) -> int:
    """SHUTDOWN on the channel from the host's kernel, or, where there is none, as a command; its
    acknowledgement, and that every CPU has parked: how many, 0 if it ends by itself.

    Raises StuckError (ETIMEDOUT) and what the kernel answers.
    """
    number = process.instance_id
    try:
        async with asyncio.timeout(SHUTDOWN_TIMEOUT_S):
            parked = await shut_down_on_channel(bus, drain, number)
            if parked is not None:
                return parked
            reply = await ask(bus, drain, number, CommandKind.SHUTDOWN)
    except (TimeoutError, DeadlineExceededError):
        raise StuckError(
            f"ETIMEDOUT: instance {number} ({process.name}) did not acknowledge its shutdown "
            f"within {SHUTDOWN_TIMEOUT_S:g} s",
            advice=f"it may be stuck in a handler: mkrpc kill --force {process.name}",
        ) from None
    except (UnavailableError, NotFoundError):
        return 0  # It is ending by itself.
    return _parked(reply, process)


async def halt(bus: ApicBus, drain: Callable[[], None], process: HostedProcess) -> int:
    """The marker, then an NMI on every CPU: how many parked, 0 if they do not all."""
    number = process.instance_id
    asked = asyncio.create_task(ask(bus, drain, number, CommandKind.FORCE_HALT), name="force halt")
    rung: list[Tally] = []
    try:
        await asyncio.sleep(0)  # It sends the marker before the NMIs follow.
        rung = ring_nmi(bus, drain, number)
        if not rung:
            return 0
        async with asyncio.timeout(FORCE_TIMEOUT_S):
            return _parked(await asked, process)
    except (TimeoutError, MkrpcError) as error:
        _log.info("not parked by NMI", instance=process.name, error=str(error))
        return 0
    finally:
        for tally in rung:
            bus.abandon(tally)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)


def _parked(reply: Reply, process: HostedProcess) -> int:
    """How many of its CPUs a kernel says have parked; 0 for what is no number."""
    return max(0, min(number_in(reply.text) or 0, len(process.apic_ids)))
