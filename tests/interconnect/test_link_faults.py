"""The driver of link faults, over streams in memory: what is held, repeated, cut, and let go."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mkrpc.errors import MkrpcError, UnavailableError
from mkrpc.fault import Direction, Fault, FaultKind
from mkrpc.frame_codec import decode_down, encode_up
from mkrpc.instance.uplink import is_passing
from mkrpc.interconnect.attachments import Pump
from mkrpc.interconnect.beats import BeatServer
from mkrpc.interconnect.link_faults import LinkFaults
from mkrpc.limits import MAX_INSTANCE_ID
from mkrpc.link.endpoint import FRAME_WINDOW, LinkEnd
from mkrpc.link.frames import DownFrame, Goodbye, Hello, UpFrame, Welcome, Writes
from mkrpc.x86.icr import fixed

TO_NOBODY = fixed(77, 0xEA)


class Stream:
    """A byte stream in memory, and the instance that says things over it by hand."""

    peer = "a test"

    def __init__(self, faults: LinkFaults, hello: Hello) -> None:
        self.writable = True
        self.said: list[Any] = []
        self.error: MkrpcError | None = None
        self.closed = False
        self.link: LinkEnd[UpFrame, DownFrame] = LinkEnd()
        self.seq = 0
        self.handler = faults.open(self)
        self.say(hello)

    def send(self, frame: bytes) -> None:
        assert self.writable
        self.said.append(decode_down(frame))

    def close(self, error: MkrpcError | None = None) -> None:
        if not self.closed:
            self.closed, self.error = True, error
            asyncio.get_running_loop().call_soon(self.handler.on_closed, self, error)

    def say(self, message: Hello | UpFrame | Goodbye) -> None:
        self.handler.on_frame(self, encode_up(message))

    def write(self) -> None:
        self.seq += 1
        self.say(self.link.stamp(UpFrame(events=[Writes(0, self.seq, [TO_NOBODY])])))


class Rig:
    """A bus, its pump, the driver of faults."""

    def __init__(self, machine: Any) -> None:
        self.wire = machine()
        self.beats = BeatServer()
        self.faults = LinkFaults(Pump(self.wire.bus, self.beats), self.beats)
        self.bus = self.wire.bus

    def open(self, number: int = 0, **changes: Any) -> Stream:
        return Stream(self.faults, self.wire.hello(number, (number,), **changes))

    def set(self, kind: str, **fields: Any) -> int:
        return self.faults.set(Fault(kind=FaultKind(kind), **fields)).number


@pytest.fixture
def rig(machine: Any) -> Iterator[Rig]:
    made = Rig(machine)
    yield made
    for active in made.bus.faults:
        made.bus.clear_fault(active.number)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (no event tells it)
        await asyncio.sleep(0)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_without_faults_everything_goes_straight_through(rig: Rig) -> None:
    stream = rig.open()
    assert isinstance(stream.said[0], Welcome)
    stream.write()
    assert rig.bus.totals().written == 1
    rig.set("delay", instance=1, delay_us=900_000)
    stream.write()
    assert rig.bus.totals().written == 2, "the fault is another's"


async def test_a_partition_holds_what_comes_and_what_goes_until_it_is_cleared(rig: Rig) -> None:
    stream = rig.open()
    number = rig.set("partition")
    stream.write()
    rig.wire.inject(fixed(0, 0xEA))
    rig.faults.pump.drain()
    await turns()
    assert (rig.bus.session(0).last_seq, len(stream.said)) == (0, 1)
    rig.faults.clear(number)
    await until(lambda: rig.bus.session(0).last_seq == 1)
    await until(lambda: any(frame.legs for frame in stream.said[1:]))


async def test_a_hello_comes_after_the_partition_too(rig: Rig) -> None:
    number = rig.set("partition", direction=Direction.UP)
    stream = rig.open()
    await turns()
    assert (rig.bus.sessions(), stream.said) == ([], [])
    rig.faults.clear(number)
    assert rig.bus.attached_ids() == [0]
    await until(lambda: bool(stream.said))


async def test_what_is_held_of_a_stream_that_ends_is_lost_with_it(rig: Rig) -> None:
    stream = rig.open()
    number = rig.set("partition")
    stream.write()
    stream.handler.on_closed(stream, None)
    rig.faults.clear(number)
    await turns()
    session = rig.bus.session(0)
    assert (session.connected, session.last_seq) == (False, 0), "it will be sent again"


async def test_a_window_of_frames_that_comes_at_once_is_taken_in_turn(
    rig: Rig,
) -> None:
    """Twice as many as a peer may have under way, since each comes twice."""
    rig.faults.pump.rota.turn_s = 1e-9
    stream = rig.open()
    numbers = rig.set("partition"), rig.set("duplicate")
    for _ in range(FRAME_WINDOW):
        stream.write()
    rig.faults.clear(numbers[0])
    await until(lambda: rig.bus.session(0).last_seq == FRAME_WINDOW)
    await turns()
    assert not stream.closed
    assert rig.bus.totals().written == FRAME_WINDOW


async def test_a_delay_ends_by_the_clock(rig: Rig) -> None:
    stream = rig.open()
    rig.set("delay", delay_us=30_000)
    stream.write()
    assert rig.bus.session(0).last_seq == 0
    await until(lambda: rig.bus.session(0).last_seq == 1)


async def test_a_fault_ends_by_the_clock_where_nothing_else_happens(rig: Rig) -> None:
    rig.set("partition", for_us=20_000)
    assert list(rig.bus.faults)
    await until(lambda: not list(rig.bus.faults))


async def test_a_frame_that_is_reordered_comes_over_the_next_stream_and_changes_nothing(
    rig: Rig,
) -> None:
    stream = rig.open(incarnation=b"i" * 16)
    rig.set("reorder", every=2, limit=1, direction=Direction.UP)
    stream.write()
    stream.write()
    assert stream.closed
    assert is_passing(stream.error), "the instance comes back after that"
    await until(lambda: not rig.bus.session(0).connected)
    again = Stream(
        rig.faults,
        rig.wire.hello(0, (0,), incarnation=b"i" * 16, epoch=rig.bus.epoch, generation=1),
    )
    assert again.said[0].resumed
    again.link = stream.link
    again.link.resume(again.said[0].received)
    assert again.said[0].received == 1
    rig.set("delay", delay_us=1)
    copy = again.link.next_again()
    assert copy is not None
    again.say(copy)
    again.seq = 2
    again.write()
    await until(lambda: rig.bus.session(0).last_seq == 3)
    await turns()
    assert not again.closed
    assert rig.bus.totals().written == 3


async def test_a_late_frame_of_one_incarnation_never_reaches_the_next(rig: Rig) -> None:
    """It acknowledges what the next one was never sent."""
    stream = rig.open()
    rig.wire.inject(fixed(0, 0xEA))
    rig.faults.pump.drain()
    stream.link.receive(stream.said[-1])
    rig.set("reorder", every=2, limit=1, direction=Direction.UP)
    stream.write()
    stream.write()
    await until(lambda: not rig.bus.session(0).connected)
    rig.bus.detach(rig.bus.session(0), "killed")
    rig.set("delay", delay_us=1)
    fresh = rig.open()
    for _ in range(5):
        fresh.write()
    await until(lambda: rig.bus.attached_ids() == [0] and rig.bus.session(0).last_seq == 5)
    await turns()
    assert not fresh.closed


async def test_a_flap_cuts_every_stream_again_and_again(rig: Rig) -> None:
    streams = [rig.open(0), rig.open(1)]
    rig.set("flap", period_us=50_000)
    await until(lambda: all(stream.closed for stream in streams))
    assert isinstance(streams[0].error, UnavailableError)
    again = rig.open(2)
    await until(lambda: again.closed)


async def test_frames_go_out_as_the_transport_takes_them(rig: Rig) -> None:
    stream = rig.open()
    rig.set("duplicate", direction=Direction.DOWN)
    stream.writable = False
    rig.wire.inject(fixed(0, 0xEA))
    rig.faults.pump.drain()
    await turns()
    assert len(stream.said) == 1
    stream.writable = True
    stream.handler.on_writable(stream)
    legs = [frame for frame in stream.said[1:] if frame.legs]
    assert [frame.frame for frame in legs] == [1, 1]


@pytest.mark.parametrize(
    ("direction", "unheard", "unanswered"),
    [("up", True, False), ("down", False, True), ("both", True, True)],
)
async def test_a_partition_keeps_back_beats_past_the_stream(
    rig: Rig, direction: str, unheard: bool, unanswered: bool
) -> None:
    stream = rig.open()
    rig.open(1)
    number = rig.set("partition", instance=0, direction=Direction(direction))
    incarnation = rig.bus.session(0).hello.incarnation
    assert rig.beats.unheard == ({incarnation} if unheard else set())
    assert rig.beats.unanswered == ({incarnation} if unanswered else set())
    stream.handler.on_closed(stream, None)
    await turns()
    again = rig.set("duplicate")
    assert (incarnation in rig.beats.unheard) == unheard, "without a stream too"
    rig.faults.clear(number)
    rig.faults.clear(again)
    assert rig.beats.unheard == rig.beats.unanswered == set()


async def test_the_last_word_of_the_interconnect_goes_out_unless_it_is_held(rig: Rig) -> None:
    streams = [rig.open(0), rig.open(1)]
    rig.set("duplicate")
    rig.set("partition", instance=1, direction=Direction.DOWN)
    rig.faults.pump.goodbye("it stops")
    assert [stream.closed for stream in streams] == [True, True]
    assert streams[0].said[-1] == Goodbye("it stops")
    assert isinstance(streams[1].said[-1], Welcome)


async def test_who_cannot_be_an_instance_leaves_nothing_behind(rig: Rig) -> None:
    stream = rig.open(MAX_INSTANCE_ID + 1)
    assert stream.closed
    assert not rig.faults._incarnations


async def test_a_pause_is_listed_until_the_process_goes_on(rig: Rig) -> None:
    rig.faults.paused(3, True)
    (active,) = rig.bus.faults
    assert str(active.fault) == "pause instance 3"
    rig.faults.paused(4, False)
    rig.faults.paused(3, False)
    assert list(rig.bus.faults) == []
