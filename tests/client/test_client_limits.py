"""Limits that both ends must know alike, though the client may not import the interconnect."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from mkrpc.client import Client, channel, destination, injection_numbers
from mkrpc.errors import UnavailableError
from mkrpc.interconnect import injected_words, known_clients
from mkrpc.transport import aio, stream
from mkrpc.v1 import control_pb2 as pb


def test_one_call_may_ask_for_as_many_writes_wherever_it_is_checked():
    assert destination.MAX_COUNT == injected_words.MAX_COUNT


def test_the_client_keeps_no_more_calls_than_the_interconnect_remembers():
    assert injection_numbers.MAX_UNANSWERED <= known_clients.MAX_CALLS_PER_CLIENT


def test_the_client_takes_the_largest_answer_there_is():
    assert channel.MAX_RECEIVE_BYTES == stream.MAX_ANSWER_BYTES


class Relay:
    """A TCP relay between a client and a server, which can go silent without closing anything."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.silent = threading.Event()
        self._sockets: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if not self.silent.is_set():
                    sink.sendall(data)
        except OSError:
            return  # An end was closed: so ends the relay of it.

    def close(self) -> None:
        for each in self._sockets:
            each.close()


@pytest.fixture
def half_open(peer) -> Iterator[Relay]:
    with closing(Relay(peer.port)) as relay:
        yield relay


@pytest.mark.full
def test_watching_notices_a_half_open_link(peer, half_open):
    """Nothing is sent while nothing happens: only keepalive can tell silence from death."""
    batch = pb.WatchResponse(events=[pb.Event(kind="leg", number=1)])
    ended = threading.Event()

    def then_nothing():
        yield batch
        ended.wait()

    peer.will("Watch", then_nothing())
    with Client(f"127.0.0.1:{half_open.port}") as client:
        events = client.watch()
        assert next(events).events[0].number == 1
        half_open.silent.set()
        with pytest.raises(UnavailableError):
            next(events)
    ended.set()


def test_the_server_bears_with_as_many_pings_as_the_client_sends():
    assert aio.KEEPALIVE_TIME_S > aio.MIN_PING_INTERVAL_S
