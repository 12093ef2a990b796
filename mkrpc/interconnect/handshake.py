"""How long a new stream may be silent: without a hello it would hold a connection for ever."""

import asyncio

from mkrpc.errors import DeadlineExceededError
from mkrpc.transport.stream import Connection

__all__ = ["HELLO_TIMEOUT_S", "close_unless_hello"]

HELLO_TIMEOUT_S = 5.0
"""Seconds for a new stream to say hello."""


def close_unless_hello(connection: Connection) -> asyncio.TimerHandle:
    """Close the stream in :data:`HELLO_TIMEOUT_S` seconds; cancel the timer at the hello."""
    error = DeadlineExceededError(
        f"no hello within {HELLO_TIMEOUT_S:g} s", advice="say hello in the first message"
    )
    return asyncio.get_running_loop().call_later(HELLO_TIMEOUT_S, connection.close, error)
