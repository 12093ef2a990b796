"""Calls that may be repeated, over the time in which an interconnect is started again."""

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import grpc

from mkrpc.errors import UnavailableError
from mkrpc.transport.status import carries_error_info, error_of

__all__ = ["RESTART_PATIENCE_S", "connection_broke", "repeat_while_broken"]

RESTART_PATIENCE_S = 5.0
"""Seconds for which a call that only reads is repeated while its connection breaks: another
interconnect serves within one, unless the machine has far too much to do."""

_PAUSE_S = 0.05

T = TypeVar("T")


def connection_broke(error: grpc.RpcError) -> bool:
    """Whether nobody has answered: what a server says by its name is an answer."""
    call: Any = error  # a failed call is also a grpc.Call
    metadata = call.trailing_metadata() or ()
    typed = error_of(call.code(), call.details() or "", metadata)
    return isinstance(typed, UnavailableError) and not carries_error_info(metadata)


def repeat_while_broken(call: Callable[[], T], patience_s: float = RESTART_PATIENCE_S) -> T:
    """What ``call`` returns; it changes nothing, so that it may happen more than once.

    Raises the grpc.RpcError of its last attempt.
    """
    end_s = time.monotonic() + patience_s
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if not connection_broke(error) or time.monotonic() >= end_s:
                raise
        time.sleep(_PAUSE_S * random.uniform(0.5, 1.0))
