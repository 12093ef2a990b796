"""One command to an instance, and its reply, for whoever can wait."""

import asyncio
import re
from collections.abc import Callable

from mkrpc.errors import error_for_reason
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.link.frames import CommandKind, Reply

__all__ = ["ask", "number_in"]

_NUMBER = re.compile("-?[0-9]{1,18}")


async def ask(
    bus: ApicBus,
    drain: Callable[[], None],
    instance_id: int,
    kind: CommandKind,
    *,
    cpu: int = 0,
    word: int = 0,
    count: int = 0,
    action: str = "",
) -> Reply:
    """One command and its reply; a reply that is an error is raised."""
    answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    asked = bus.command(
        instance_id,
        kind=kind,
        cpu=cpu,
        word=word,
        count=count,
        action=action,
        on_reply=lambda reply: None if answer.done() else answer.set_result(reply),
    )
    drain()
    try:
        reply = await answer
    except asyncio.CancelledError:
        # The client has gone: what it asked for must not stay open on its behalf.
        bus.abandon(asked)
        raise
    if reply.error:
        raise error_for_reason(reply.reason)(reply.error, advice=reply.advice)
    return reply


def number_in(text: str) -> int | None:
    """The number, of up to 18 digits, that a kernel has answered; None for anything else."""
    return int(text) if _NUMBER.fullmatch(text) else None
