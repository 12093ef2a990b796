"""Frames are heard as they come and applied in turn: one link's flood is not the others' wait."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from mkrpc.errors import MkrpcError, ProtocolError, UnavailableError
from mkrpc.frame_codec import decode_down, encode_up
from mkrpc.interconnect import rota, timekeeping
from mkrpc.interconnect.attachments import LEFT, Pump
from mkrpc.interconnect.beats import BeatServer
from mkrpc.interconnect.lease import granted_us
from mkrpc.link.endpoint import FRAME_WINDOW, LinkEnd
from mkrpc.link.frames import DownFrame, Goodbye, Hello, UpFrame, Welcome, Writes
from mkrpc.x86.icr import fixed

TO_NOBODY = fixed(77, 0xEA)


class Stream:
    """A byte stream in memory, and the instance that says things over it by hand."""

    peer = "a test"
    writable = True

    def __init__(self, pump: Pump, hello: Hello) -> None:
        self.said: list[Any] = []
        self.error: MkrpcError | None = None
        self.closed = False
        self.link: LinkEnd[UpFrame, DownFrame] = LinkEnd()
        self.seq = 0
        self._handler = pump.open(self)
        self.say(hello)

    def send(self, frame: bytes) -> None:
        self.said.append(decode_down(frame))

    def close(self, error: MkrpcError | None = None) -> None:
        self.closed, self.error = True, error

    def say(self, message: Hello | UpFrame | Goodbye) -> None:
        self._handler.on_frame(self, encode_up(message))

    def write(self) -> UpFrame:
        self.seq += 1
        frame = self.link.stamp(UpFrame(events=[Writes(0, self.seq, [TO_NOBODY])]))
        self.say(frame)
        return frame

    def end(self) -> None:
        self._handler.on_closed(self, None)


@pytest.fixture(autouse=True)
def one_frame_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rota, "TURN_S", 1e-9)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_links_have_their_turn_one_frame_each(machine: Any) -> None:
    wire = machine()
    pump = Pump(wire.bus)
    flood, calm = Stream(pump, wire.hello(0, (0,))), Stream(pump, wire.hello(1, (1,)))
    for _ in range(10):
        flood.write()
    calm.write()
    assert wire.bus.totals().written == 1, "the first of a turn is applied at once"
    await turns(2)
    assert wire.bus.session(1).last_seq == 1
    assert wire.bus.session(0).last_seq == 2
    await turns(10)
    assert wire.bus.session(0).last_seq == 10


async def test_a_beat_is_answered_past_the_frames_that_wait(machine: Any) -> None:
    wire = machine()
    flood = Stream(Pump(wire.bus), wire.hello(0, (0,)))
    for _ in range(10):
        flood.write()
    flood.say(UpFrame(beat=3))
    assert wire.bus.session(0).last_seq == 1
    welcome, *answers = flood.said
    assert isinstance(welcome, Welcome)
    assert [answer.beat for answer in answers] == [3]


async def test_a_goodbye_is_the_last_of_what_was_said(machine: Any) -> None:
    wire = machine()
    stream = Stream(Pump(wire.bus), wire.hello(0, (0,)))
    for _ in range(3):
        stream.write()
    stream.say(Goodbye("done"))
    assert wire.bus.attached_ids() == [0]
    await turns(4)
    assert wire.bus.instances()[0].reason == f"{LEFT} done"
    assert (wire.bus.totals().written, stream.closed, stream.error) == (3, True, None)


async def test_what_came_before_a_stream_ended_is_applied(machine: Any) -> None:
    wire = machine()
    stream = Stream(Pump(wire.bus), wire.hello(0, (0,)))
    for _ in range(3):
        stream.write()
    stream.end()
    session = wire.bus.session(0)
    assert session.connected
    await turns(4)
    assert (session.connected, session.last_seq) == (False, 3)


async def test_what_waits_of_an_older_stream_is_sent_again_over_the_newer(machine: Any) -> None:
    wire = machine()
    pump = Pump(wire.bus)
    hello = wire.hello(0, (0,))
    older = Stream(pump, hello)
    frames = [older.write() for _ in range(3)]
    newer = Stream(pump, replace(hello, epoch=wire.bus.epoch, generation=1))
    assert isinstance(older.error, UnavailableError)
    assert newer.said[0].received == 1
    for frame in frames[1:]:
        newer.say(frame)
    await turns(4)
    assert wire.bus.session(0).last_seq == 3
    assert wire.bus.balance() == []


async def test_nobody_has_more_frames_wait_than_the_window_holds(machine: Any) -> None:
    wire = machine()
    stream = Stream(Pump(wire.bus), wire.hello(0, (0,)))
    for number in range(1, FRAME_WINDOW + 3):
        stream.say(UpFrame(frame=number))
    assert isinstance(stream.error, ProtocolError)
    assert wire.bus.attached_ids() == []
    await turns(2)
    assert wire.bus.balance() == []


async def test_no_beat_of_an_incarnation_that_has_ended_is_answered(machine: Any) -> None:
    """From when its legs are booked as lost: the thread that answers must not get in between."""
    wire = machine()
    beats = BeatServer()
    pump = Pump(wire.bus, beats)
    stream = Stream(pump, wire.hello(0, (0,)))
    beats.open = wire.bus.may_beat()
    assert len(beats.open) == 1
    stream.end()
    wire.bus.process_ended(0, 1001, "killed")
    assert wire.bus.ended == 1
    pump.tell_time()
    assert beats.open == set()


async def test_frames_come_at_a_time_that_is_a_tick_old_at_most(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick is well within what an instance takes its lease to be shorter by (design 3.3, 5)."""
    wire = machine()
    spare_us = wire.bus.lease_us - granted_us(wire.bus.lease_us)
    times_us: list[int] = []

    def at(us: int) -> None:
        monkeypatch.setattr(timekeeping.time, "monotonic_ns", lambda: us * 1000)

    begin = time.monotonic_ns() // 1000
    at(begin)
    stream = Stream(Pump(wire.bus), wire.hello(0, (0,)))
    for us in range(0, 2 * spare_us, 250):
        at(begin + us)
        stream.say(UpFrame())
        times_us.append(begin + us - wire.bus.now_us)
    assert 0 < max(times_us) <= min(1000, spare_us // 4)
