"""Which transport this process uses: the reactor where it is known to work, else grpc.aio.

grpc.aio runs on uvloop where that is installed, in a tenth less of time. The environment variable
``MKRPC_TRANSPORT`` forces either (``aio``, ``reactor``) or leaves it to what is found here
(``auto``). The two speak to each other, and to every other gRPC.
"""

import asyncio
import functools
import importlib
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import grpc
import structlog

from mkrpc.errors import InvalidArgumentError, StartUpError
from mkrpc.transport import aio
from mkrpc.transport.stream import Connection, StreamServer

__all__ = [
    "DEFAULT_CHOICE",
    "TESTED_VERSIONS",
    "TRANSPORT_VARIABLE",
    "Transport",
    "chosen",
    "trust",
]

TRANSPORT_VARIABLE: Final = "MKRPC_TRANSPORT"
"""The environment variable that chooses."""

DEFAULT_CHOICE: Final = "auto"
"""What is chosen without it."""

TESTED_VERSIONS: Final = ((1, 81), (1, 85))
"""The first and the last grpcio whose private interface the contract tests have run on."""

_trusted: set[str] = set()

_log = structlog.get_logger("mkrpc.transport")


@dataclass(frozen=True, slots=True)
class Transport:
    """One implementation of :mod:`mkrpc.transport.stream`, and the event loop that it runs best on.

    ``server`` and ``connect`` take what :class:`mkrpc.transport.aio.AioServer` and
    :func:`mkrpc.transport.aio.connect` take. ``loop`` is the name of that event loop, for people.
    """

    name: str
    loop: str
    server: Callable[..., StreamServer]
    connect: Callable[..., Awaitable[Connection]]
    new_loop: Callable[[], asyncio.AbstractEventLoop]


@functools.cache
def chosen() -> Transport:
    """The transport of this process; the first call decides.

    Raises :class:`InvalidArgumentError` if ``MKRPC_TRANSPORT`` is something else, and
    :class:`StartUpError` if it asks for a reactor that does not work here.
    """
    wanted = os.environ.get(TRANSPORT_VARIABLE) or DEFAULT_CHOICE
    if wanted not in ("aio", "reactor", "auto"):
        raise InvalidArgumentError(
            f"{TRANSPORT_VARIABLE} is {wanted!r}", advice="give aio, reactor or auto"
        )
    if wanted == "aio" or (wanted == "auto" and "aio" in _trusted):
        return _aio()
    why_not = "" if wanted == "reactor" else untested(grpc.__version__)
    if not why_not:
        found = _reactor()
        if isinstance(found, Transport):
            return found
        why_not = found
    if wanted == "reactor":
        raise StartUpError(
            f"the reactor does not work with grpcio {grpc.__version__} here: {why_not}",
            advice=f"unset {TRANSPORT_VARIABLE}, or set it to aio",
        )
    _log.warning("the transport is grpc.aio, not the faster reactor", why=why_not)
    return _aio()


def trust(name: str) -> None:
    """Another process of this host, with the same grpcio, uses the transport of this name: whether
    it works here need not be tried again. Call it before :func:`chosen`.

    To try costs 5 ms of CPU time, which 128 instances that start together feel.
    """
    _trusted.add(name)


def untested(version: str) -> str:
    """Why the reactor is not for this version of grpcio; empty if it is."""
    numbers = re.match(r"(\d+)\.(\d+)\.", version)
    first, last = TESTED_VERSIONS
    if numbers is not None and first <= (int(numbers[1]), int(numbers[2])) <= last:
        return ""
    tested = " to ".join(f"{major}.{minor}" for major, minor in TESTED_VERSIONS)
    return f"grpcio {version} is not among the tested versions, {tested}"


def _aio() -> Transport:
    try:
        loop, new_loop = "uvloop", importlib.import_module("uvloop").new_event_loop
    except ImportError:
        loop, new_loop = "asyncio", asyncio.new_event_loop
    return Transport("aio", loop, aio.AioServer, aio.connect, new_loop)


def _reactor() -> Transport | str:
    try:
        from mkrpc.transport import queue_loop, queue_proof, reactor
    except (ImportError, AttributeError) as error:
        return f"its interface has changed: {error}"
    why_not = "" if "reactor" in _trusted else queue_proof.prove()
    if why_not:
        return why_not
    server, connect = reactor.ReactorServer, reactor.connect
    return Transport("reactor", "queue", server, connect, queue_loop.QueueLoop)
