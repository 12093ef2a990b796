"""The whole machine under virtual time: what happens next, in one total order.

Events lie in a heap by time and, at one time, by the order in which they were put there. Time is
microseconds; the interconnect's clock shows it, the instances' clocks drift. Everything else is
the machine itself: kernels, attachments, link ends, the bus.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Set
from typing import Any

from mkrpc.instance.accounting import whole_account
from mkrpc.instance.memory import SharedMemory
from mkrpc.outcome import Outcome
from mkrpc.simulation.callers import Callers
from mkrpc.simulation.checkers.violation import Checker
from mkrpc.simulation.cpu_moves import CpuMoves
from mkrpc.simulation.events import Standing
from mkrpc.simulation.faults import Faults
from mkrpc.simulation.moves import Moves
from mkrpc.simulation.network import Network
from mkrpc.simulation.node import Life, Node
from mkrpc.simulation.options import Options, RngSource
from mkrpc.simulation.outages import Outages
from mkrpc.simulation.plan import Plan, Step
from mkrpc.simulation.requests import Requests
from mkrpc.simulation.workload import Words
from mkrpc.trace import (
    BarrierClosed,
    BarrierOpened,
    BooksNotKept,
    ClientInjected,
    FaultBegan,
    FaultEnded,
    IcrWritten,
    InstanceAttached,
    InstanceDetached,
    InstanceDisconnected,
    InstanceRefused,
    InstanceResumed,
    InstanceTakenOver,
    InterruptStalled,
    LeaseExpired,
    LegEnded,
    StallEnded,
    TraceEvent,
    kind,
)

__all__ = ["MAX_EVENTS", "World"]

MAX_EVENTS = 1_000_000
"""Events of one run at most; one that needs more never comes to rest, which is a violation."""

_MEMORY_BYTES = 4096
_OUTCOME_TEXTS = {outcome: outcome.text for outcome in Outcome}


class World:
    """One run. ``without``: the tags of steps, faults and instances that are left out."""

    def __init__(
        self,
        options: Options,
        plan: Plan,
        rng_of: RngSource,
        *,
        without: Set[str],
        tell: Callable[[str], None] | None,
    ) -> None:
        self.options = options
        self.rng_of = rng_of
        self.now_us = 0
        self.events = 0
        self.faults: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._ties = 0
        self._digest = hashlib.blake2b(digest_size=16)
        self._tell = tell
        self._labels: dict[bytes, str] = {}
        self._routes: dict[type, list[Callable[[object], None]]] = {}
        self._ring_backs = options.ring_backs
        self.fault_rng = rng_of("what follows")
        self.handler_rng = rng_of("handlers")
        self.handler_words = Words(self.handler_rng, options)
        self.memory = SharedMemory(bytearray(_MEMORY_BYTES))
        # One more for calls of very many writes, which are drawn with those of callers.
        clients = options.clients + bool(options.callers)
        self.clients = [f"client {n}".encode().ljust(16, b".") for n in range(clients)]
        for number, client in enumerate(self.clients):
            self.label(client, f"c{number}")
        self.network = Network(self, rng_of("network"))
        self.outages = Outages(self)
        self.cpu_moves = CpuMoves(self)
        self.callers = Callers(self)
        self.instances: dict[bytes, int] = {}
        """Every incarnation that was ever started."""
        self.hub = self.outages.hub()
        self.nodes = {each.instance_id: Node(self, each) for each in options.instances}
        faults, moves = Faults(self), Moves(self)
        for fault in plan.faults:
            if f"f{fault.number}" not in without:
                self.at(fault.at_us, faults.perform, fault)
                moves.plan(fault)
        steps = tuple(step for step in plan.steps if f"s{step.number}" not in without)
        self.requests = Requests(self, steps)
        for step in steps:
            self.at(step.at_us, self._performer(step).perform, step)
        self._started = [n for n in self.nodes if f"i{n}" not in without]
        for number in self._started:
            self.at(0, self.nodes[number].boot)

    def _performer(self, step: Step) -> Requests | CpuMoves | Callers:
        match step.kind:
            case "move":
                return self.cpu_moves
            case "send" | "hang-up" | "close" | "limit":
                return self.callers
            case _:
                return self.requests

    @property
    def owners(self) -> dict[int, int]:
        """The instance of every APIC id, when the run begins."""
        return {
            apic_id: each.instance_id
            for each in self.options.instances
            for apic_id in each.apic_ids
        }

    def life_of(self, incarnation: bytes) -> Life | None:
        """Its process, if it lives."""
        lives = (node.life for node in self.nodes.values())
        return next((life for life in lives if life and life.incarnation == incarnation), None)

    def holds_lease(self, incarnation: bytes) -> bool:
        """Whether this incarnation lives, and may go on by its own clock."""
        life = self.life_of(incarnation)
        return life is not None and life.holds_lease

    def written_by(self, incarnation: bytes) -> int:
        """How many writes it has made, while it lives."""
        life = self.life_of(incarnation)
        return life.kernel.source.written if life is not None else 0

    # What others use of it.

    def at(self, when_us: int, action: Callable[..., None], *arguments: Any) -> None:
        """Call ``action`` at a time that is not past."""
        assert when_us >= self.now_us, "the past is over"
        self._ties += 1
        heapq.heappush(self._heap, (when_us, self._ties, action, arguments))

    def note(self, text: str) -> None:
        """A line of the run: into the digest, and to whoever wants to see it."""
        line = f"{self.now_us} {text}"
        self._digest.update(line.encode())
        if self._tell is not None:
            self._tell(line)

    def label(self, identity: bytes, text: str) -> None:
        """How a source is called in lines."""
        self._labels[identity] = text

    def may_ring(self) -> bool:
        """Take one from what handlers may still write."""
        self._ring_backs -= 1
        return self._ring_backs >= 0

    def watch(self, checkers: list[Checker]) -> None:
        """From now on these are shown what they listen to."""
        for checker in checkers:
            for each in checker.listens:
                self._routes.setdefault(each, []).append(checker.on_event)

    def show(self, event: object) -> None:
        """Something has happened that checkers may want to know."""
        for on_event in self._routes.get(type(event), ()):
            on_event(event)

    def trace(self, event: TraceEvent) -> None:
        """The bus's own events."""
        if isinstance(event, LegEnded):
            self.outcomes[_OUTCOME_TEXTS[event.outcome]] += event.count
        self.note(self._text(event))
        self.show(event)

    # The run.

    def run(self) -> Standing:
        """Until the machine has come to rest, or the time for that is over."""
        busy_us = self.options.busy_us
        while self._heap and self._heap[0][0] <= busy_us:
            self._next()
        self.now_us = busy_us
        self._calm()
        interval_us = max(self.options.lease_us // 4, 2_000)
        for check in range(1, self.options.settle_us // interval_us + 1):
            until_us = busy_us + check * interval_us
            while self._heap and self._heap[0][0] <= until_us:
                self._next()
            self.now_us = until_us
            if not self._unsettled():
                break
        lives = {n: node.life for n, node in self.nodes.items() if node.life is not None}
        return Standing(
            bus=self.hub.bus,
            kernels={n: life.kernel for n, life in lives.items()},
            attachments={n: life.attachment for n, life in lives.items()},
            unsettled=self._unsettled(),
        )

    @property
    def digest(self) -> str:
        """Of all lines so far."""
        return self._digest.hexdigest()

    def _next(self) -> None:
        self.now_us, _, action, arguments = heapq.heappop(self._heap)
        self.events += 1
        if self.events > MAX_EVENTS:
            raise AssertionError(f"{MAX_EVENTS} events, and the machine does not come to rest")
        action(*arguments)

    def _calm(self) -> None:
        """Faults stop; what they have done already takes its course."""
        self.note("calm")
        self._ring_backs = 0
        assert not self.hub.over
        self.hub.wake()
        for node in self.nodes.values():
            assert max(node.stalled_until_us) <= self.now_us
            node.wake()

    def _unsettled(self) -> list[str]:
        """What has not come to rest, a line each."""
        lines = []
        bus = self.hub.bus
        for number in self._started:
            life = self.nodes[number].life
            if life is None or life.stream is None or life.stream.session is None:
                lines.append(f"instance {number} is not attached")
                continue
            stream, session = life.stream, life.stream.session
            if not session.speaks(stream.session_generation) or not life.attachment.connected:
                lines.append(f"instance {number} is not linked")
            elif life.kernel.runnable or life.kernel.events:
                lines.append(f"instance {number} has something to do or to report")
            elif life.kernel.source.written != session.highest_seq:
                lines.append(f"writes of instance {number} have still to be applied")
            elif session.unsettled:
                lines.append(f"{session.unsettled} writes of instance {number} have no outcome")
        if bus.in_flight() or not bus.quiet():
            lines.append(f"{bus.in_flight()} legs are in flight, or a command has still to write")
        if bus.unmade:
            lines.append("a large call has still to be made")
        if self.requests.open:
            lines.append(f"steps without an answer: {', '.join(map(str, self.requests.open))}")
        if self.callers.open:
            lines.append(f"callers without an answer: {', '.join(self.callers.open)}")
        if self.cpu_moves.open:
            lines.append(f"moves without an answer: {sorted(self.cpu_moves.open)}")
        return lines or self._unmirrored()

    def _unmirrored(self) -> list[str]:
        lines = []
        for number in self._started:
            life = self.nodes[number].life
            assert life is not None
            incarnation, accounts = self.hub.bus.mirrored(number)
            real = [whole_account(cpu) for cpu in life.kernel.cpus]
            if incarnation != life.kernel.incarnation or accounts != real:
                lines.append(f"the mirror of instance {number} is behind")
            published = [life.kernel.address_of(cpu.number) for cpu in life.kernel.cpus]
            if self.hub.bus.session(number).addresses != published:
                lines.append(f"addresses of instance {number} have still to be applied")
        return lines

    # Lines.

    def _name(self, identity: bytes) -> str:
        return self._labels.get(identity, "?")

    def _text(self, event: TraceEvent) -> str:
        match event:
            case LegEnded():
                return (
                    f"leg {self._name(event.source)} {event.seq}+{event.count} at "
                    f"{event.apic_id:#x} {_OUTCOME_TEXTS[event.outcome]}"
                )
            case IcrWritten():
                return (
                    f"write {self._name(event.source)} {event.seq}+{event.count} by "
                    f"{event.apic_id:#x} {event.word:#x}"
                )
            case ClientInjected():
                return f"inject {self._name(event.client)} {event.seq}+{event.count}"
            case InstanceDetached() | InstanceRefused():
                return f"{kind(event)} {self._name(event.incarnation)}: {event.reason}"
            case InstanceResumed() | InstanceDisconnected():
                return f"{kind(event)} {self._name(event.incarnation)} link {event.generation}"
            case FaultBegan():
                return f"{kind(event)} {event.number} {event.what}"
            case FaultEnded():
                return f"{kind(event)} {event.number} {event.reason}"
            case InterruptStalled() | StallEnded():
                return f"{kind(event)} {event.stall} {event.apic_id:#x} {event.vector:#x}"
            case BarrierClosed():
                return f"{kind(event)} expected {event.expected}"
            case BarrierOpened():
                return f"{kind(event)} back {event.back} missing {event.missing}"
            case InstanceAttached() | InstanceTakenOver() | LeaseExpired():
                return f"{kind(event)} {self._name(event.incarnation)}"
            case BooksNotKept():
                return f"{kind(event)}: {event.reason}"
