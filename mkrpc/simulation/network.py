"""Streams between instances and the interconnect: ordered, lossless, late, and cut at times.

What gRPC promises of one stream holds: what arrives is in order and without a gap. What a cut
catches on its way is lost, or comes late over a stream that is no more, or after others; and a
frame may come twice. The numbers of the link have to cope with that.
"""

from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from mkrpc.errors import MkrpcError
from mkrpc.interconnect.session import Session
from mkrpc.link.frames import DownFrame, Goodbye, Hello, UpFrame, Welcome
from mkrpc.simulation.options import LinkOptions, Rng

if TYPE_CHECKING:
    from mkrpc.simulation.node import Life, Node
    from mkrpc.simulation.world import World

__all__ = ["Message", "Network", "Pipe", "Stream"]

Message = Hello | UpFrame | Goodbye | Welcome | DownFrame | MkrpcError
"""What a stream carries; an error is the interconnect's refusal, which closes it."""

_KEPT = 3
"""Frames that have arrived, of each direction, that may come again after a cut."""
_MESSAGE_NAMES = {Hello: "hello", Goodbye: "goodbye", Welcome: "welcome"}


class Pipe:
    """One direction of one stream."""

    __slots__ = ("held", "in_flight", "last_us", "options", "recent", "upward")

    def __init__(self, options: LinkOptions, *, upward: bool) -> None:
        self.options = options
        self.upward = upward
        self.in_flight = 0
        self.last_us = 0
        self.held: list[tuple[Callable[..., None], Message]] = []
        self.recent: deque[Message] = deque(maxlen=_KEPT)

    @property
    def writable(self) -> bool:
        """Whether the writer need not wait."""
        return self.in_flight < self.options.capacity


class Stream:
    """One connection of one life of an instance.

    ``hub``: the interconnect's process. ``generation``: of the link at the instance's end;
    ``session`` and ``session_generation`` what the interconnect has made of it. ``broken``: nothing
    arrives any more, save late; all of it does if ``reordered``. ``ended``: the interconnect knows
    that. ``inbox``: what it has read and not applied.
    """

    __slots__ = (
        "broken",
        "down",
        "ended",
        "generation",
        "hub",
        "inbox",
        "life",
        "number",
        "reordered",
        "session",
        "session_generation",
        "up",
    )

    def __init__(self, number: int, life: "Life") -> None:
        self.number = number
        self.life = life
        self.hub = life.node.world.hub
        self.up = Pipe(life.node.options.up, upward=True)
        self.down = Pipe(life.node.options.down, upward=False)
        self.broken = False
        self.ended = False
        self.reordered = False
        self.inbox: deque[UpFrame | Goodbye | None] = deque()
        self.generation = 0
        self.session: Session | None = None
        self.session_generation = 0


class Network:
    """Carries messages through the world's time. ``frames`` counts those that arrived."""

    def __init__(self, world: "World", rng: Rng) -> None:
        self._world = world
        self._rng = rng
        self._streams = 0
        self._standing: dict[Stream, None] = {}
        self.frames = 0
        self.caught: Counter[str] = Counter()

    def open(self, life: "Life") -> Stream:
        """A new stream, to the interconnect that there is now."""
        self._streams += 1
        stream = Stream(self._streams, life)
        self._standing[stream] = None
        return stream

    def send(self, stream: Stream, pipe: Pipe, message: Message) -> None:
        """Put a message on its way, behind those that are before it."""
        world, options, rng = self._world, pipe.options, self._rng
        pipe.in_flight += 1
        when = world.now_us + options.delay_us + int(rng.random() * options.jitter_us)
        stalled_us = stream.life.node.stalled_until_us[pipe.upward]
        if stalled_us > world.now_us:
            when = max(when, stalled_us + options.delay_us)
        when = max(when, pipe.last_us + stream.life.node.service_us(upward=pipe.upward))
        pipe.last_us = when
        world.at(when, self._arrive, stream, pipe, message)
        share = world.options.duplicate_share
        if share and isinstance(message, UpFrame | DownFrame) and rng.random() < share:
            again_us = when + rng.randrange(1, 2 * options.delay_us + 2)
            world.at(again_us, self._arrive_again, stream, pipe, message)

    def call(self, node: "Node", arrive: Callable[[], None], *, upward: bool) -> None:
        """One message apart from all streams; a partition loses it."""
        options = node.options.up if upward else node.options.down
        world = self._world
        if node.stalled_until_us[upward] <= world.now_us:
            delay_us = options.delay_us + int(self._rng.random() * options.jitter_us)
            world.at(world.now_us + delay_us, arrive)

    def cut(self, stream: Stream, *, quietly: bool = False, reordered: bool = False) -> None:
        """Break a stream with all that is on its way, both ways.

        Each side is told after a while, or, half-open or ``quietly``, one side never.
        ``reordered``: nothing of it is lost, all comes late.
        """
        if stream.broken:
            return
        stream.broken = True
        del self._standing[stream]
        stream.reordered = reordered
        world, rng, options = self._world, self._rng, self._world.options
        for pipe in (stream.up, stream.down):
            for message in pipe.recent:
                self._lose(stream, pipe, message)
        half_open = rng.random() < options.half_open_share
        only_hub = rng.random() < 0.5
        if not quietly and not (half_open and only_hub):
            world.at(
                world.now_us + rng.randrange(1, options.notice_us),
                stream.life.turn,
                stream.life.closed,
                stream,
            )
        if not (half_open and not only_hub):
            self.tell_hub(stream, world.now_us + rng.randrange(1, options.notice_us))

    def cut_all(self) -> None:
        """Break every stream, as when the process at the other end of them all has died."""
        for stream in list(self._standing):
            self.cut(stream)

    def tell_hub(self, stream: Stream, when_us: int) -> None:
        """The interconnect learns at this time that a stream has ended."""
        hub = stream.hub
        self._world.at(when_us, hub.turn, hub.closed, stream)

    def _arrive(self, stream: Stream, pipe: Pipe, message: Message, came: bool = False) -> None:
        if stream.broken:
            pipe.in_flight -= 1
            self._lose(stream, pipe, message)
            return
        if not came and self._held_up(self._arrive, stream, pipe, message):
            return
        was_writable = pipe.writable
        pipe.in_flight -= 1
        pipe.recent.append(message)
        self.frames += 1
        self._deliver(stream, pipe, message)
        if was_writable:
            return
        if pipe.upward:
            stream.life.turn(stream.life.pump)
        else:
            stream.hub.turn(stream.hub.pump, stream)

    def _arrive_again(
        self, stream: Stream, pipe: Pipe, message: Message, came: bool = False
    ) -> None:
        """A duplicate: after the original, and after what came in between."""
        if stream.broken:
            return
        if came or not self._held_up(self._arrive_again, stream, pipe, message):
            self.caught["duplicate"] += 1
            self._deliver(stream, pipe, message)

    def _held_up(
        self, arrive: Callable[..., None], stream: Stream, pipe: Pipe, message: Message
    ) -> bool:
        """Whether a partition or a reader that is stopped holds it up; it then tries again. What
        has come to a reader that is stopped, no partition can hold up any more."""
        world, node = self._world, stream.life.node
        stalled_us = node.stalled_until_us[pipe.upward]
        if stalled_us > world.now_us or pipe.held:
            if not pipe.held:
                world.at(stalled_us, self._go_on, stream, pipe)
            pipe.held.append((arrive, message))
            return True
        sleeper = stream.hub if pipe.upward else node
        if sleeper.paused:
            sleeper.backlog.append((arrive, (stream, pipe, message, True)))
        return sleeper.paused

    def _go_on(self, stream: Stream, pipe: Pipe) -> None:
        """A partition may have ended: what it has held up goes on, in order."""
        stalled_us = stream.life.node.stalled_until_us[pipe.upward]
        if stalled_us > self._world.now_us:
            self._world.at(stalled_us, self._go_on, stream, pipe)
            return
        held, pipe.held = pipe.held, []
        for arrive, message in held:
            arrive(stream, pipe, message)

    def _lose(self, stream: Stream, pipe: Pipe, message: Message) -> None:
        """A cut has caught a message. Some of them come late, in any order."""
        late = self._rng.random() < self._world.options.late_share or stream.reordered
        if late and not isinstance(message, MkrpcError | Goodbye):
            when = self._world.now_us + self._rng.randrange(1, self._world.options.lease_us)
            self._world.at(when, self._arrive_late, stream, pipe, message)
        else:
            self.caught["lost"] += 1

    def _arrive_late(self, stream: Stream, pipe: Pipe, message: Message) -> None:
        if _is_current(stream, upward=pipe.upward) and not isinstance(message, Hello):
            # No transport gives what comes behind a gap to a reader that knows of no break.
            self.caught["lost"] += 1
            return
        self.caught["late"] += 1
        self._deliver(stream, pipe, message)

    def _deliver(self, stream: Stream, pipe: Pipe, message: Message) -> None:
        world, life = self._world, stream.life
        world.note(f"{life.label} {stream.number} {_text(message, upward=pipe.upward)}")
        if pipe.upward:
            stream.hub.turn(stream.hub.receive, stream, message)
        else:
            life.turn(life.receive, stream, message)


def _is_current(stream: Stream, *, upward: bool) -> bool:
    """Whether the reader has not noticed yet that the stream has broken."""
    if upward:
        session = stream.session
        return session is not None and session.speaks(stream.session_generation)
    return stream.generation == stream.life.attachment.generation


def _text(message: Message, *, upward: bool) -> str:
    """A message in a step's line: what tells it from others."""
    if isinstance(message, UpFrame):
        return (
            f"up {message.frame} ack {message.ack} events {len(message.events)} "
            f"applied {message.applied} beat {message.beat}"
        )
    if isinstance(message, DownFrame):
        legs = sum(map(len, message.legs))
        return f"down {message.frame} ack {message.ack} legs {legs} beat {message.beat}"
    way = "up" if upward else "down"
    return f"{way} {_MESSAGE_NAMES.get(type(message)) or f'refusal: {message}'}"
