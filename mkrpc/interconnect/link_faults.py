"""The driver of injected link faults: it stands between the transport and the instances' links.

What becomes of a message is decided by :mod:`mkrpc.interconnect.faulty_link`. Without faults of
links every call goes straight through.
"""

import asyncio
import time

import structlog

from mkrpc.errors import MkrpcError, UnavailableError
from mkrpc.fault import Direction, Fault, FaultKind
from mkrpc.frame_codec import decode_down, decode_up
from mkrpc.interconnect.attachments import Pump
from mkrpc.interconnect.beats import BeatServer
from mkrpc.interconnect.faults import ActiveFault
from mkrpc.interconnect.faulty_link import FaultyLink, Late
from mkrpc.limits import MAX_INSTANCE_ID
from mkrpc.link.frames import DownFrame, Hello, UpFrame
from mkrpc.transport.stream import Connection

__all__ = ["FaultyConnection", "LinkFaults"]

_log = structlog.get_logger("mkrpc.interconnect")


class LinkFaults:
    """Opens links for ``pump``, and does to their streams what the bus's faults say."""

    def __init__(self, pump: Pump, beats: BeatServer) -> None:
        self.pump = pump
        self.bus = pump.bus
        self._beats = beats
        self._connections: dict[FaultyConnection, None] = {}
        self._incarnations: dict[int, bytes] = {}
        """Of every instance that ever said hello, the last."""
        self._late: dict[int, Late] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due_us = 0

    def open(self, connection: Connection) -> "FaultyConnection":
        """An instance has connected."""
        return FaultyConnection(self, connection)

    def set(self, fault: Fault) -> ActiveFault:
        """As :meth:`mkrpc.interconnect.apic_bus.ApicBus.set_fault`, at this moment."""
        self.pump.tell_time()
        active = self.bus.set_fault(fault)
        _log.warning("a fault begins", number=active.number, fault=str(fault))
        self.go_on()
        return active

    def clear(self, number: int) -> ActiveFault:
        """As :meth:`mkrpc.interconnect.apic_bus.ApicBus.clear_fault`, at this moment."""
        self.pump.tell_time()
        active = self.bus.clear_fault(number)
        _log.warning("a fault is cleared", number=number, fault=str(active.fault))
        self.go_on()
        return active

    def paused(self, instance_id: int, is_paused: bool) -> None:
        """A host agent has stopped a process, or let it go on, or seen it end."""
        self.pump.tell_time()
        if is_paused:
            self.bus.set_fault(Fault(kind=FaultKind.PAUSE, instance=instance_id))
            _log.warning("an instance is paused", instance=instance_id)
            return
        for active in self.bus.faults:
            if active.fault.kind is FaultKind.PAUSE and active.fault.instance == instance_id:
                self.bus.clear_fault(active.number, "it goes on, or has ended")

    def go_on(self) -> None:
        """Faults have begun or ended, or time has passed that they wait for."""
        self._set_beats()
        for connection in list(self._connections):
            connection.go_on()
        self.pump.drain()
        for connection in self._connections:
            self.wake_at(connection.deadline_us)
        self.wake_at(self.bus.faults.deadline_us)

    def said_hello(self, connection: "FaultyConnection", hello: Hello) -> None:
        """A stream is an instance's; until now it could be anybody's."""
        self._connections[connection] = None
        if self._incarnations.get(hello.instance_id) != hello.incarnation:
            self._incarnations[hello.instance_id] = hello.incarnation
            self._late[hello.instance_id] = Late()
            self._set_beats()

    def closed(self, connection: "FaultyConnection") -> None:
        """A stream is over."""
        self._connections.pop(connection, None)

    def filter_for(self, instance_id: int) -> FaultyLink | None:
        """What stands in a stream's way, if anything may."""
        if not self.bus.faults.on_links:
            return None
        return FaultyLink(self.bus.faults, instance_id, self._late[instance_id])

    def _set_beats(self) -> None:
        """A partition keeps back the beats too that come past the streams."""
        unheard, unanswered = (
            frozenset(
                incarnation
                for instance_id, incarnation in self._incarnations.items()
                if self.bus.faults.parted(instance_id, direction)
            )
            if self.bus.faults.on_links
            else frozenset()
            for direction in (Direction.UP, Direction.DOWN)
        )
        self._beats.unheard, self._beats.unanswered = unheard, unanswered

    def wake_at(self, due_us: int | None) -> None:
        """Something is due by itself at a time, or (None) nothing."""
        if due_us is None or (self._timer is not None and self._due_us <= due_us):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due_us = due_us
        delay_s = max(0, due_us - time.monotonic_ns() // 1000) / 1e6
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        self.pump.tell_time()
        self.go_on()


class FaultyConnection:
    """A connection as its link sees it, and the handler that the transport sees."""

    def __init__(self, faults: LinkFaults, connection: Connection) -> None:
        self._faults = faults
        self._connection = connection
        self._instance_id: int | None = None
        self._filter: FaultyLink | None = None
        self._sending = False
        self._closed = False
        self._link = faults.pump.open(self)

    # As the link's connection.

    @property
    def peer(self) -> str:
        """As the transport says."""
        return self._connection.peer

    @property
    def writable(self) -> bool:
        """Whether the next frame is taken: by the transport, or by what stands before it."""
        if self._filter is None:
            return self._connection.writable
        return not self._sending and not self._closed

    def send(self, frame: bytes) -> None:
        """The link has a frame for its instance."""
        if self._filter is None:
            self._connection.send(frame)
            return
        self._filter.put(Direction.DOWN, frame, _down_number(frame))
        self._sending = True
        asyncio.get_running_loop().call_soon(self._sent)

    def close(self, error: MkrpcError | None = None) -> None:
        """The link has done with it; its last word goes out, if nothing holds that back."""
        if error is None:
            self._flush()
        self._closed = True
        self._connection.close(error)

    # As the transport's handler.

    def on_frame(self, connection: Connection, frame: bytes) -> None:
        """The instance has spoken."""
        if self._instance_id is None:
            self._learn(frame)
        if self._filter is None:
            self._link.on_frame(self, frame)
            return
        self._faults.pump.tell_time()
        self._filter.put(Direction.UP, frame, _up_number(frame))
        self.go_on()
        self._faults.wake_at(self.deadline_us)

    def on_writable(self, connection: Connection) -> None:
        """The transport takes another frame."""
        if self._filter is None:
            self._link.on_writable(self)
        else:
            self._flush()

    def on_closed(self, connection: Connection, error: MkrpcError | None) -> None:
        """The stream is over, and what is held of it lost."""
        self._closed = True
        self._faults.closed(self)
        self._link.on_closed(self, error)

    # What faults do.

    @property
    def deadline_us(self) -> int | None:
        """When something is due here; None for never."""
        return self._filter.deadline_us if self._filter is not None else None

    def go_on(self) -> None:
        """Let through what gets through at the time that the bus has been told."""
        if self._filter is None and self._instance_id is not None:
            self._filter = self._faults.filter_for(self._instance_id)
        if self._filter is None or self._closed:
            return
        self._filter.advance()
        while not self._closed and not self._filter.cut and self._link.has_room:
            frame = self._filter.take(Direction.UP)
            if frame is None:
                break
            self._link.on_frame(self, frame)
        if not self._link.has_room and not self._closed:
            asyncio.get_running_loop().call_soon(self.go_on)
        self._flush()
        if not self._filter.holds and not self._faults.bus.faults.on_links:
            self._filter = None
            self._sent()

    def _flush(self) -> None:
        if self._filter is None or self._closed:
            return
        if self._filter.cut:
            _log.info("cut a stream", instance=self._instance_id, reason=self._filter.cut)
            self.close(UnavailableError(self._filter.cut, advice="come back"))
            return
        while self._connection.writable:
            frame = self._filter.take(Direction.DOWN)
            if frame is None:
                return
            self._connection.send(frame)

    def _sent(self) -> None:
        """What the link has sent is held, or on its way: it may send the next."""
        self._sending = False
        if self._closed:
            return
        self._flush()
        self._faults.wake_at(self.deadline_us)
        self._link.on_writable(self)

    def _learn(self, frame: bytes) -> None:
        try:
            hello = decode_up(frame)
        except MkrpcError as error:
            # The link refuses it by name.
            _log.debug("no hello", error=str(error))
            return
        if isinstance(hello, Hello) and hello.instance_id <= MAX_INSTANCE_ID:
            self._instance_id = hello.instance_id
            self._faults.said_hello(self, hello)
            self._filter = self._faults.filter_for(hello.instance_id)


def _up_number(frame: bytes) -> int:
    """The number of a frame with content, else 0; what cannot be read is the link's to refuse."""
    try:
        message = decode_up(frame)
    except MkrpcError as error:
        _log.debug("an unreadable frame", error=str(error))
        return 0
    return message.frame if isinstance(message, UpFrame) else 0


def _down_number(frame: bytes) -> int:
    message = decode_down(frame)
    return message.frame if isinstance(message, DownFrame) else 0
