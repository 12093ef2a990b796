"""The connection of a client: its limits, and waiting until somebody answers."""

from typing import Any

import grpc

from mkrpc.errors import UnavailableError
from mkrpc.transport.address import parse
from mkrpc.transport.aio import channel_options

__all__ = ["CONNECT_TIMEOUT_S", "MAX_RECEIVE_BYTES", "open_channel"]

MAX_RECEIVE_BYTES = 16 << 20
"""The largest answer a client takes; beyond it, FrameTooLargeError."""
CONNECT_TIMEOUT_S = 3.0
"""Seconds to wait for somebody to serve the address."""

_OPTIONS = (
    *channel_options(MAX_RECEIVE_BYTES),
    # Retries are the injector's alone: they must repeat the same sequence numbers.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


def open_channel(address: str, *, timeout_s: float) -> grpc.Channel:
    """A channel to a server that answers, whatever it says to a health check.

    Raises InvalidArgumentError for a malformed address, UnavailableError after ``timeout_s``.
    """
    channel = grpc.insecure_channel(parse(address).connect_target, _OPTIONS)
    # A channel's own notice of being ready comes up to 0.2 s late in grpcio.
    check: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
    try:
        check(b"", timeout=timeout_s, wait_for_ready=True)
    except grpc.RpcError as error:
        call: Any = error
        if call.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE):
            channel.close()
            raise UnavailableError(
                f"nobody answers at {address}", advice="start a cluster with `mkrpc up`"
            ) from None
    return channel
