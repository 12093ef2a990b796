"""Whether grpcio's private interface does here what this project uses it for."""

import threading
from typing import Final

import grpc

from mkrpc.transport.completion_queue import (
    ChannelQueue,
    Metadata,
    ServerQueue,
    nowhere_else,
)
from mkrpc.transport.queue_calls import ClientCall, ServerCall

__all__ = ["PROOF_TIMEOUT_S", "prove"]

PROOF_TIMEOUT_S: Final = 5.0
"""Seconds after which the private interface counts as unusable."""

_FRAMES = (b"one", b"", b"three")


def prove() -> str:
    """Have this process call itself through all that is used; what does not work, or "".

    Takes a few ms, and :data:`PROOF_TIMEOUT_S` at most.
    """
    found = ["it does not answer in time"]

    def attempt() -> None:
        try:
            found[0] = _echo_both_ways()
        except Exception as error:  # noqa: BLE001 - whatever a private interface may raise
            found[0] = f"{type(error).__name__}: {error}"

    attempting = threading.Thread(target=attempt, name="transport-proof", daemon=True)
    attempting.start()
    attempting.join(PROOF_TIMEOUT_S)
    return found[0]


def _echo_both_ways() -> str:
    seen: list[bytes | None] = []
    ended: list[tuple[grpc.StatusCode, str, Metadata]] = []
    target = nowhere_else()
    server, channel = ServerQueue(()), ChannelQueue(target, ())
    server.bind(target)

    def answered(message: bytes | None) -> None:
        seen.append(message)
        if len(seen) < len(_FRAMES):
            call.send(_FRAMES[len(seen)], lambda _ok: call.receive(answered))
        elif len(seen) == len(_FRAMES):
            call.half_close()
            call.receive(answered)

    server.start(lambda came: _echo(ServerCall(server, came)))
    call = ClientCall(
        channel,
        "/mkrpc.Proof/Echo",
        on_accepted=lambda: call.send(_FRAMES[0], lambda _ok: call.receive(answered)),
        on_over=lambda *status: ended.append(status),
    )
    while not ended:
        server.look()
        channel.look()
    server.wake()
    server.handle(server.take())
    channel.close()
    server.shut_down(lambda: None)
    while not server.down:
        server.handle(server.take())
    server.close()
    as_sent = seen == [*_FRAMES, None] and ended[0][:2] == (grpc.StatusCode.ABORTED, "done")
    return "" if as_sent else f"it answers {seen} and {ended}"


def _echo(call: ServerCall) -> None:
    def came(message: bytes | None) -> None:
        if message is None:
            call.finish(grpc.StatusCode.ABORTED, "done", (), lambda _ok: None)
        else:
            call.send(message, lambda _ok: call.receive(came))

    call.watch(lambda _cancelled: None)
    call.send(None, lambda _ok: call.receive(came), headers=())
