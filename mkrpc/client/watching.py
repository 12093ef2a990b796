"""A stream of events that goes on when another interconnect serves."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc

from mkrpc.client.calls import while_open
from mkrpc.client.events import EventBatch
from mkrpc.client.repeating import connection_broke
from mkrpc.errors import MkrpcError
from mkrpc.v1 import control_pb2 as pb

__all__ = ["batches"]


def batches(
    stub: Any, *, epoch: Callable[[], int], typed: Callable[[grpc.RpcError], MkrpcError]
) -> Iterator[EventBatch]:
    """Watch from this call on, not from the first event that is asked for.

    ``epoch`` asks for that of the interconnect, and raises if nobody answers for good; ``typed``
    makes an error of a failed call.
    """
    stream = _open(stub)
    return _batches(stub, stream, before=epoch(), epoch=epoch, typed=typed)


def _open(stub: Any) -> Any:
    with while_open():
        stream = stub.Watch(pb.WatchRequest())
    # The headers come once the watcher is on the list. A refusal shows at the first event.
    stream.initial_metadata()
    return stream


def _batches(
    stub: Any,
    stream: Any,
    *,
    before: int,
    epoch: Callable[[], int],
    typed: Callable[[grpc.RpcError], MkrpcError],
) -> Iterator[EventBatch]:
    try:
        while True:
            try:
                for message in stream:
                    yield EventBatch.of(message)
                return
            except grpc.RpcError as error:
                if not connection_broke(error):
                    raise typed(error) from None
            now = epoch()
            stream = _open(stub)
            gap = "the connection broke" if now == before else "another interconnect serves"
            before = now
            yield EventBatch(missed=0, events=(), gap=gap)
    finally:
        stream.cancel()
