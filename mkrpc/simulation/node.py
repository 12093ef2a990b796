"""An instance's driver in a simulated run: its process, its clock, its streams.

It does what the gRPC driver does: moves frames, tells the time, reconnects. No rule is here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mkrpc.errors import AlreadyExistsError, FencedError, MkrpcError, UnavailableError
from mkrpc.instance.attachment import Attachment
from mkrpc.instance.config import KernelConfig
from mkrpc.interconnect.lease import granted_us
from mkrpc.link.frames import DownFrame, Goodbye, Welcome
from mkrpc.link.lease import BEATS_PER_LEASE
from mkrpc.simulation.events import Fenced, KernelEnded, KernelTurn
from mkrpc.simulation.network import Message, Stream
from mkrpc.simulation.options import InstanceOptions
from mkrpc.simulation.witness import WatchedKernel
from mkrpc.simulation.workload import equip

if TYPE_CHECKING:
    from mkrpc.simulation.world import World

__all__ = ["Life", "Node"]

_PPM = 1_000_000
_CONNECT_SHARE = 4
"""A first hello, which no lease ends, is given up if it is not answered within this part of one and
the time that both ways take."""


class Node:
    """The place of an instance. ``life``: the process that runs there now, if any.

    ``paused``: it is stopped; ``beats``: all but its thread for beats is.
    ``stalled_until_us``: until when nothing passes down (index 0) or up (1); in between, who reads
    there may be slow for a while.
    """

    def __init__(self, world: "World", options: InstanceOptions) -> None:
        self.world = world
        self.options = options
        self.config = KernelConfig(
            instance_id=options.instance_id,
            name=f"kernel{options.instance_id}",
            apic_ids=options.apic_ids,
            mode=options.mode,
            boundary=options.boundary,
            xapic_ldr=options.xapic_ldr,
            apic_policy=options.apic_policy,
            panic_on_oops=options.panic_on_oops,
            printk_records=64,
        )
        self.life: Life | None = None
        self.lives = 0
        self.paused = False
        self.beats = False
        self.backlog: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self.stalled_until_us = [0, 0]
        self._slow = [(0, 0), (0, 0)]

    def stall(self, until_us: int, *, upward: bool) -> None:
        """Nothing passes in one direction until then."""
        self.stalled_until_us[upward] = max(self.stalled_until_us[upward], until_us)

    def slow(self, until_us: int, service_us: int, *, upward: bool) -> None:
        """Who reads in one direction takes so long for each message until then."""
        self._slow[upward] = until_us, service_us

    def service_us(self, *, upward: bool) -> int:
        """How long a message that is sent now keeps its reader."""
        until_us, service_us = self._slow[upward]
        if until_us > self.world.now_us:
            return service_us
        return (self.options.up if upward else self.options.down).service_us

    def boot(self) -> None:
        """Start a process here, unless one runs."""
        if self.life is None:
            self.lives += 1
            self.life = Life(self, self.lives)
            self.life.turn(self.life.connect)

    def ended(self, life: "Life", *, told_by_agent: bool) -> None:
        """The process has ended: a host agent may say so, and another one is started."""
        world = self.world
        life.over = True
        self.life = None
        self.paused = self.beats = False
        self.backlog.clear()
        world.show(KernelEnded(life.kernel))
        rng, options = world.fault_rng, world.options
        if told_by_agent and rng.random() < options.agent_share:
            world.outages.report(life)
        world.at(world.now_us + rng.randrange(1, 2 * options.restart_us), self.boot)

    def stop(self, *, beats: bool) -> None:
        """SIGSTOP; or, if it ``beats``, a handler that runs for long."""
        self.beats = beats and (self.beats or not self.paused)
        self.paused = True

    def wake(self) -> None:
        """SIGCONT: what has come meanwhile is there at once."""
        if not self.paused:
            return
        self.paused = self.beats = False
        backlog, self.backlog = self.backlog, []
        for action, arguments in backlog:
            action(*arguments)
        if self.life is not None:
            self.life.turn(self.life.pump)


class Life:
    """One process of an instance: one incarnation."""

    def __init__(self, node: Node, number: int) -> None:
        world = node.world
        options = node.options
        self.node = node
        self._world = world
        self.label = f"i{options.instance_id}.{number}"
        self.pid = options.instance_id * 1000 + number
        self.over = False
        self.stream: Stream | None = None
        self._rate = _PPM + options.drift_ppm
        self._offset_us = options.offset_us
        self._turn_due = False
        self._timer_us: int | None = None
        self._answered_us: int | None = None
        """When the last beat by a way of its own was sent that was answered; None for no such."""
        self.incarnation = self.label.encode().ljust(16, b".")
        self.kernel = WatchedKernel(
            world.cpu_moves.config_of(node.config),
            incarnation=self.incarnation,
            now_us=self._clock,
            memory=world.memory,
            show=world.show,
        )
        self.attachment = Attachment(self.kernel)
        self._event = KernelTurn(self.kernel)
        equip(
            self.kernel,
            options,
            rng=world.handler_rng,
            words=world.handler_words,
            may_ring=world.may_ring,
        )
        world.label(self.incarnation, self.label)
        world.instances[self.incarnation] = options.instance_id

    def _clock(self) -> int:
        return self._offset_us + self._world.now_us * self._rate // _PPM

    def turn(self, action: Callable[..., None], *arguments: Any) -> None:
        """Do something as the process: tell the time, act, and send what follows."""
        if self.over:
            return
        if self.node.paused:
            self.node.backlog.append((self.turn, (action, *arguments)))
            return
        try:
            if self._answered_us:
                self.attachment.beat_answered(self._answered_us)
            self.attachment.advance(self._clock())
            action(*arguments)
            if self.over:
                return
            if self.kernel.failed is not None:
                self.leave("panic", failed=True)
                return
            self.pump()
        except FencedError:
            self._world.note(f"{self.label} fenced")
            self._world.faults["fenced"] += 1
            self._end_stream()
            self.node.ended(self, told_by_agent=True)
            return
        if not self._turn_due and self.kernel.runnable:
            self._turn_due = True
            self._world.at(self._world.now_us + self.node.options.turn_us, self.turn, self._run)
        self._set_timer()
        self._world.show(self._event)

    def connect(self) -> None:
        """Open a stream and say hello."""
        world = self._world
        self._end_stream()
        if world.hub.over:
            self._come_again()  # nobody listens at the address
            return
        stream = self.stream = world.network.open(self)
        hello = self.attachment.hello(self.pid)
        stream.generation = self.attachment.generation
        world.network.send(stream, stream.up, hello)
        if not self.attachment.epoch:
            world.at(world.now_us + self._connect_us(), self.turn, self._give_up, stream)

    def _connect_us(self) -> int:
        ways = self.node.options.up, self.node.options.down
        return self._world.options.lease_us // _CONNECT_SHARE + sum(
            way.delay_us + way.jitter_us + way.service_us for way in ways
        )

    def expects(self, stream: Stream) -> bool:
        """Whether this is the stream over which it waits for a welcome, in its own right."""
        return not self.over and stream is self.stream and not stream.broken

    def receive(self, stream: Stream, message: Message) -> None:
        """A message has come over a stream."""
        if isinstance(message, DownFrame):
            self.attachment.receive(message, stream.generation)
        elif isinstance(message, Welcome):
            self.attachment.welcome(message)
            if self._world.options.own_beats and self._answered_us is None:
                self._answered_us = 0
                self._beat()
        elif isinstance(message, MkrpcError) and stream is self.stream:
            self._refused(stream, message)

    def closed(self, stream: Stream) -> None:
        """A stream has ended; if it is the current one, come again after a while."""
        self.attachment.disconnected(stream.generation)
        if stream is self.stream:
            self._come_again()

    def pump(self) -> None:
        """Send what there is, as far as the stream takes it."""
        stream = self.stream
        while stream is not None and stream.up.writable:
            frame = self.attachment.next_frame()
            if frame is None:
                return
            self._world.network.send(stream, stream.up, frame)

    def leave(self, reason: str, *, failed: bool = False) -> None:
        """Say goodbye, if there is a stream to say it over, and end."""
        stream = self.stream
        if stream is not None and self.attachment.connected:
            self._world.network.send(stream, stream.up, Goodbye(reason, failed))
        self.node.ended(self, told_by_agent=True)

    def crash(self, *, whole: bool) -> None:
        """Kill -9. ``whole``: what it had sent is lost with it, else that still arrives."""
        stream = self.stream
        if stream is not None:
            if whole:
                self._world.network.cut(stream, quietly=True)
            else:
                self._world.network.tell_hub(stream, max(stream.up.last_us, self._world.now_us) + 1)
        self.node.ended(self, told_by_agent=True)

    def _run(self) -> None:
        self._turn_due = False
        self.attachment.run(self.node.options.budget)

    def _refused(self, stream: Stream, error: MkrpcError) -> None:
        if isinstance(error, FencedError):
            self._world.show(Fenced(self.kernel))
            raise error
        if not isinstance(error, AlreadyExistsError | UnavailableError):
            return  # of a stream that was given up; whoever is in his right is not refused
        self.attachment.disconnected(stream.generation)
        self._come_again()

    def _give_up(self, stream: Stream) -> None:
        """No welcome has come."""
        if stream is self.stream and not self.attachment.connected:
            self.closed(stream)

    @property
    def holds_lease(self) -> bool:
        """Whether its lease runs by its own clock; an answer to a beat may have come, and wait."""
        since_us = max(self.attachment.lease_since_us, self._answered_us or 0)
        lease_us = granted_us(self._world.options.lease_us)
        return self.attachment.epoch != 0 and self._clock() < since_us + lease_us

    def leap(self, by_us: int) -> None:
        """Its clock leaps forward, whether it runs or not, and timers go by the clock."""
        self._offset_us += by_us
        self.turn(self._look_at_the_clock)

    def reconnect(self) -> None:
        """Give the stream up, whether it stands or not."""
        if self.stream is not None:
            self.closed(self.stream)

    def _come_again(self) -> None:
        self._end_stream()
        back_off_us = self._world.fault_rng.randrange(1, self._world.options.notice_us + 1)
        self._world.at(self._world.now_us + back_off_us, self.turn, self._connect_unless_done)

    def _connect_unless_done(self) -> None:
        if self.stream is None:
            self.connect()

    def _end_stream(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            self._world.network.cut(stream, quietly=True)

    def _set_timer(self) -> None:
        due = self.attachment.deadline_us
        if due is None:
            return
        due_us = -(-(due - self._offset_us) * _PPM // self._rate)
        due_us = max(due_us, self._world.now_us + 1)
        if self._timer_us is None or due_us < self._timer_us:
            self._timer_us = due_us
            self._world.at(due_us, self._timer, due_us)

    def _timer(self, due_us: int) -> None:
        if due_us == self._timer_us:
            self._timer_us = None
            self.turn(self._look_at_the_clock)

    def _look_at_the_clock(self) -> None:
        if self.attachment.stalled and self.stream is not None:
            self._world.faults["gave up"] += 1
            self.closed(self.stream)

    # Beats by a way of their own, as from a thread that nothing keeps waiting.

    def _beat(self) -> None:
        """The thread is stopped with its process, and goes on with it."""
        if self.over:
            return
        world = self._world
        interval_us = world.options.lease_us // BEATS_PER_LEASE
        now_us = self._clock()
        renewed_us = max(self.attachment.lease_since_us, self._answered_us or 0)
        runs = self.node.beats or not self.node.paused
        if runs and now_us - renewed_us > interval_us:
            world.network.call(self.node, lambda: world.hub.beat(self, now_us), upward=True)
        world.at(world.now_us + interval_us // 2, self._beat)

    def answered(self, sent_us: int) -> None:
        """The interconnect has answered a beat."""
        if self.node.paused and not self.node.beats:
            self.node.backlog.append((self.answered, (sent_us,)))
        else:
            self._answered_us = max(self._answered_us or 0, sent_us)
