"""A stream of injected words and its threads, over calls that a test answers in gRPC's place."""

import queue
import threading

import grpc
import pytest

from mkrpc.client import bulk
from mkrpc.client.bulk import MAX_GATHERED_WORDS, BulkStream
from mkrpc.client.bulk_sender import BulkSender
from mkrpc.client.repeating import RESTART_PATIENCE_S
from mkrpc.errors import ClusterStateError, UnavailableError
from mkrpc.v1 import control_pb2 as pb

PATIENCE_S = 20.0
WORD = 0x2_0000_00EA


class Broken(grpc.RpcError):
    """What gRPC raises when a connection breaks."""

    def code(self):
        return grpc.StatusCode.UNAVAILABLE

    def details(self):
        return "Socket closed"

    def trailing_metadata(self):
        return ()


class Call:
    """One call: says what a test puts into it."""

    def __init__(self, requests):
        self.said = queue.SimpleQueue()
        self.asked = queue.SimpleQueue()
        self._writer = threading.Thread(target=lambda: list(requests))
        self._writer.start()

    def __iter__(self):
        return self

    def __next__(self):
        self.asked.put(None)
        said = self.said.get(timeout=PATIENCE_S)
        if isinstance(said, Exception):
            raise said
        return said

    def cancel(self):
        self.said.put(StopIteration())


class Opened:
    """Opens calls; ``calls`` has them in order."""

    def __init__(self):
        self.calls = queue.SimpleQueue()

    def __call__(self, requests):
        call = Call(requests)
        self.calls.put(call)
        return call

    def next(self):
        return self.calls.get(timeout=PATIENCE_S)


def stream_of(open_call):
    return BulkStream(
        BulkSender(bytes(range(16))),
        open_call=open_call,
        typed=lambda _error: UnavailableError("broken"),
        timeout_s=PATIENCE_S,
    )


@pytest.fixture
def opened():
    return Opened()


def test_the_patience_counts_from_the_break_and_not_from_the_last_word(opened, monkeypatch):
    now_s = [0.0]
    monkeypatch.setattr(bulk.time, "monotonic", lambda: now_s[0])
    stream = stream_of(opened)
    stream.send(WORD)
    call = opened.next()
    call.said.put(pb.InjectStreamResponse(window=1000, requests=100).SerializeToString())
    call.asked.get(timeout=PATIENCE_S)
    call.asked.get(timeout=PATIENCE_S)  # the greeting has been taken
    now_s[0] = 2 * RESTART_PATIENCE_S
    call.said.put(Broken())
    assert opened.next() is not call, "it was opened again"
    stream.send(WORD)  # and has not ended: that would raise
    stream.close()


def test_a_stream_that_nobody_takes_up_again_ends_after_the_patience(opened, monkeypatch):
    now_s = [0.0]
    monkeypatch.setattr(bulk.time, "monotonic", lambda: now_s[0])
    stream = stream_of(opened)
    stream.send(WORD)
    opened.next().said.put(Broken())
    again = opened.next()
    now_s[0] = 2 * RESTART_PATIENCE_S
    again.said.put(Broken())
    with pytest.raises(UnavailableError):
        stream.flush()
    stream.close()


def test_a_stream_whose_client_is_closed_says_so_and_can_be_closed():
    def closed(_requests):
        raise ValueError("Cannot invoke RPC on closed channel!")

    stream = stream_of(closed)
    stream.send(WORD)
    with pytest.raises(ClusterStateError, match="the client is closed"):
        stream.flush()
    stream.close()


@pytest.mark.parametrize("waits", ["send", "flush"])
def test_whoever_waits_for_a_stream_learns_that_another_thread_closed_it(opened, waits):
    stream = stream_of(opened)
    stream.send(WORD)
    told = queue.SimpleQueue()

    def wait():
        try:
            if waits == "send":
                stream.send([WORD] * (MAX_GATHERED_WORDS + 1))
            else:
                stream.flush()
        except Exception as error:  # noqa: BLE001 - told to the test
            told.put(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    opened.next()
    stream.close()
    assert isinstance(told.get(timeout=PATIENCE_S), ClusterStateError)
    waiting.join()


def test_a_stream_that_is_closed_while_it_is_opened_is_given_up(opened):
    """Nobody but whoever opens the call can cancel it then, and a server that is stopped would
    never end it."""
    stream = stream_of(opened)
    closing = threading.Thread(target=stream.close)

    def open_call(requests):
        closing.start()
        with stream._changed:
            assert stream._changed.wait_for(lambda: stream._closing, PATIENCE_S)
        return opened(requests)

    stream._open_call = open_call
    stream.send(WORD)
    call = opened.next()
    closing.join(PATIENCE_S)
    still = closing.is_alive()
    call.cancel()
    closing.join()
    assert not still, "close() waits for ever"


def test_a_stream_of_which_nothing_is_left_does_not_wait_for_a_server_that_is_stopped(
    opened, monkeypatch
):
    monkeypatch.setattr(bulk, "_GOODBYE_S", 0.01)
    stream = stream_of(opened)
    stream.send(WORD)
    call = opened.next()
    call.said.put(pb.InjectStreamResponse(window=1000, requests=100).SerializeToString())
    answered = pb.InjectStreamResponse(answered=[pb.InjectedRun(first=1, last=1)])
    while not stream._sender._in_flight:
        call.asked.get(timeout=PATIENCE_S)
        call.said.put(pb.InjectStreamResponse().SerializeToString())
    call.said.put(answered.SerializeToString())
    stream.flush()
    closing = threading.Thread(target=stream.close)
    closing.start()
    closing.join(PATIENCE_S / 2)
    still = closing.is_alive()
    call.cancel()
    closing.join()
    assert not still, "close() waits for ever"


def test_a_request_that_was_taken_and_not_sent_holds_nobody_up():
    """gRPC leaves its iterator where it is when a call breaks off while it sends."""
    calls = queue.SimpleQueue()

    def open_call(requests):
        call = Call(iter(()))
        calls.put((call, requests))
        return call

    stream = stream_of(open_call)
    stream.send(WORD)
    call, requests = calls.get(timeout=PATIENCE_S)
    call.said.put(pb.InjectStreamResponse(window=1000, requests=100).SerializeToString())
    assert next(requests)
    closing = threading.Thread(target=stream.close, daemon=True)
    closing.start()
    closing.join(PATIENCE_S)
    assert not closing.is_alive(), "close() waits for ever"
    requests.close()
