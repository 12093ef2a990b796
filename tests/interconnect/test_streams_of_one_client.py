"""A client that comes back over another stream, while the older one may still stand."""

from typing import Any

import pytest

from mkrpc.errors import MkrpcError, UnavailableError
from mkrpc.interconnect import rota
from mkrpc.interconnect.attachments import Pump
from mkrpc.interconnect.injection_stream import InjectionLink, InjectionStreams
from mkrpc.v1 import control_pb2 as pb
from mkrpc.x86.icr import fixed

CLIENT = b"client----------"
TO_NOBODY = fixed(77, 0xEA)


@pytest.fixture(autouse=True)
def all_is_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is: what is over a turn's time would wait for the next."""
    monkeypatch.setattr(rota, "TURN_S", 3600.0)


class Client:
    """A byte stream in memory, and the client at its end."""

    peer = "a test"
    writable = True

    def __init__(self, streams: InjectionStreams) -> None:
        self.error: MkrpcError | None = None
        self.link: InjectionLink = streams.open(self)

    def send(self, frame: bytes) -> None:
        """What is told is of no interest here."""

    def close(self, error: MkrpcError | None = None) -> None:
        self.error = error

    def ask(self, first_seq: int, *, again: bool = False, client_id: bytes = CLIENT) -> None:
        request = pb.InjectStreamRequest(
            client_id=client_id,
            first_seq=first_seq,
            words=[TO_NOBODY],
            resolved_below=first_seq,
            again=again,
        )
        self.link.on_frame(self, request.SerializeToString())

    def end(self, error: MkrpcError | None = None) -> None:
        self.link.on_closed(self, error)


@pytest.mark.parametrize("said", [True, False], ids=["known", "has said nothing"])
async def test_who_ends_well_is_not_forgotten_while_an_older_stream_stands(
    machine: Any, said: bool
) -> None:
    """What comes late over the older one would else be new, and happen twice."""
    bus = machine((0,)).bus
    streams = InjectionStreams(Pump(bus))
    older = Client(streams)
    if said:
        older.ask(1)
    newer = Client(streams)
    newer.ask(2, again=True)
    written = bus.totals().written
    newer.end()
    older.ask(2)
    assert bus.totals().written == written == (2 if said else 1)
    assert older.error is None, "it is answered again"


@pytest.mark.parametrize("first", ["older", "newer"])
async def test_who_ends_well_is_forgotten_with_its_last_stream(machine: Any, first: str) -> None:
    bus = machine((0,)).bus
    streams = InjectionStreams(Pump(bus))
    older, newer, other = Client(streams), Client(streams), Client(streams)
    newer.ask(1)
    other.ask(1, client_id=CLIENT[::-1])
    if first == "newer":
        newer.end()
    older.end(UnavailableError("it broke"))
    if first == "older":
        newer.end()
    inject(bus, 1, TO_NOBODY + 1)
    assert bus.totals().written == 3, "nobody knows its numbers any more"


def inject(bus: Any, first_seq: int, word: int) -> None:
    bus.inject(
        client_id=CLIENT,
        first_seq=first_seq,
        word=word,
        count=1,
        resolved_below=first_seq,
        on_done=lambda tally: None,
    )


@pytest.mark.parametrize("over_a_stream", [True, False], ids=["over a stream", "by itself"])
async def test_who_calls_again_has_not_left(machine: Any, over_a_stream: bool) -> None:
    """What it calls after the end of a stream it may repeat, whoever's stream ends meanwhile."""
    bus = machine((0,)).bus
    streams = InjectionStreams(Pump(bus))
    ended, other = Client(streams), Client(streams)
    ended.ask(1)
    ended.end()
    if over_a_stream:
        other.ask(2)
    else:
        inject(bus, 2, TO_NOBODY)
    other.end(UnavailableError("it broke"))
    if over_a_stream:
        Client(streams).ask(2, again=True)
    else:
        inject(bus, 2, TO_NOBODY)
    assert bus.totals().written == 2
