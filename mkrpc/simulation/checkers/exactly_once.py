"""Exactly once (design 3.3): an independent journal of what was written, applied and ended.

Every write is booked once, every leg is applied once at most in the life of the machine, and has
one outcome: that of its application, if there was one. An incarnation that has been detached
applies nothing more (rule 5): what it held is booked as lost by then.

An interconnect that takes over from one that died has what is unresolved sent again. A write may so
be booked once in each of their lives, and a leg have an outcome in each: that of its application,
or that nobody knows any more. No incarnation applies a write that was on its way before it was born
(rule 3), and no two CPUs apply one of lowest priority (rule 4). A call whose answer the disk has is
not made again: what the disk has is what became of its legs.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Set
from typing import ClassVar

from mkrpc.interconnect import clients
from mkrpc.interconnect.takeover import KeptCall
from mkrpc.link.frames import NOBODY
from mkrpc.outcome import Outcome
from mkrpc.simulation.checkers.violation import Checker
from mkrpc.simulation.events import Applied, Called, HubBegan, Limited, Standing
from mkrpc.trace import (
    ClientInjected,
    IcrWritten,
    InstanceAttached,
    InstanceDetached,
    InstanceTakenOver,
    LegEnded,
)
from mkrpc.x86.icr import DeliveryMode, Shorthand, decode

__all__ = ["ExactlyOnce"]

_UNKNOWN = (
    Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED,
    Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED,
)
_AT_THE_TARGET = (Outcome.DELIVERED, Outcome.COALESCED)


class ExactlyOnce(Checker):
    """The journal. ``epoch`` counts the interconnects. ``writes``: (source, number) -> (writing
    APIC id, word). ``routed``: the same -> the last interconnect that had it. ``applied`` and
    ``ended``: (source, number, APIC id) -> outcome, the last one if there are several. ``calls``:
    (client, number) -> the first number of the call that made the write. ``written_by``: how many
    writes an incarnation that lives has made. ``moved``: APIC ids that several kernels have had: of
    what comes again one of them is asked."""

    name: ClassVar[str] = "exactly_once"
    listens: ClassVar[tuple[type, ...]] = (
        *(IcrWritten, LegEnded, Applied, InstanceAttached, InstanceDetached),
        *(InstanceTakenOver, ClientInjected, Called, HubBegan, Limited),
    )

    def __init__(
        self,
        written_by: Callable[[bytes], int] = lambda _incarnation: 0,
        moved: Set[int] = frozenset(),
    ) -> None:
        self.epoch = 1
        self._moved = moved
        self._written_by = written_by
        self._sent: dict[bytes, int] = {}
        """What sources may have sent before they were taken over: numbers up to these."""
        self.routed: dict[tuple[bytes, int], int] = {}
        self.writes: dict[tuple[bytes, int], tuple[int, int]] = {}
        self.applied: dict[tuple[bytes, int, int], Outcome] = {}
        self.ended: dict[tuple[bytes, int, int], Outcome] = {}
        self.calls: dict[tuple[bytes, int], int] = {}
        self._last: dict[bytes, int] = {}
        self._dead: set[bytes] = set()
        self._clients: set[bytes] = set()
        self._kept: dict[tuple[bytes, int], KeptCall] = {}
        self._made: set[tuple[bytes, int]] = set()
        """Calls that this interconnect has made."""
        self._again: set[tuple[bytes, int]] = set()
        """Calls of which one that took over was told that they may have been made before."""
        self._limited = False
        self._unlooked: set[tuple[bytes, int]] = set()
        """Writes of clients that came again beyond their limit: nobody is asked about them."""
        # In the order of what happened: when an incarnation was born, when a write came first.
        self._happened = 0
        self._born: dict[bytes, int] = {}
        self._first: dict[tuple[bytes, int], int] = {}
        self._ended_in: dict[tuple[bytes, int, int], int] = {}
        self._applied_by: dict[tuple[bytes, int, int], bytes] = {}
        self._arbitrated: dict[tuple[bytes, int], int] = {}

    def on_event(self, event: object) -> None:
        """As :class:`Checker`."""
        if type(event) is LegEnded:
            self._leg_ended(event)
        elif type(event) is Applied:
            self._applied(event)
        elif type(event) is IcrWritten:
            self._icr_written(event)
        elif type(event) is InstanceAttached:
            self._happened += 1
            self._born.setdefault(event.incarnation, self._happened)
        elif type(event) is InstanceTakenOver:
            self._sent[event.incarnation] = self._written_by(event.incarnation)
        elif type(event) is InstanceDetached:
            self._dead.add(event.incarnation)
        elif type(event) is Limited:
            self._limited = event.writes_per_s > 0
        elif type(event) is HubBegan:
            self.epoch += 1
            self._limited = False
            self._sent.clear()
            self._made.clear()
            self._take_kept(event.takeover.calls)
        elif type(event) is ClientInjected:
            self._clients.add(event.client)
            for seq in range(event.seq, event.seq + event.count):
                if self.calls.setdefault((event.client, seq), event.seq) != event.seq:
                    self.fail(f"number {seq} of a client is in two calls")
            self._made.add((event.client, event.seq))
        elif type(event) is Called:
            call = event.client, event.first_seq
            if event.again and call not in self._made:
                self._again.add(call)

    def at_end(self, standing: Standing) -> None:
        """As :class:`Checker`."""
        live = {kernel.incarnation for kernel in standing.kernels.values()}
        heard = {(source, seq) for source, seq, _ in self.ended}
        for source, seq in self.writes:
            if (source, seq) not in heard and self.is_known(source, seq, live):
                self.fail(f"write {seq} of {source.hex()} has no outcome")
        for (source, seq, apic_id), outcome in self.ended.items():
            if outcome in _AT_THE_TARGET and (source, seq, apic_id) not in self.applied:
                writer, word = self.writes[source, seq]
                if decode(word).shorthand is not Shorthand.SELF or writer != apic_id:
                    self.fail(f"write {seq} of {source.hex()} is {outcome.text}, never applied")
        numbers = Counter(source for source, _ in self.writes)
        for source, seq, apic_id in self.applied:
            key = source, seq, apic_id
            if key not in self.ended:
                if (source, seq) in self._unlooked:
                    continue
                # One leg to nobody may stand for those who have ended since.
                unasked = self.ended.get((source, seq, NOBODY)) in _UNKNOWN
                asked = not unasked or self._applied_by[key] in live
                if asked and self.is_known(source, seq, live):
                    self.fail(
                        f"write {seq} of {source.hex()} was applied at {apic_id:#x}, no outcome"
                    )
            elif (
                self.ended[key] in _UNKNOWN
                and self._applied_by[key] in live
                # Of a client that makes more than destinations keep, even these forget.
                and (source not in self._clients or numbers[source] <= clients.KEPT_WRITES)
                and apic_id not in self._moved
            ):
                self.fail(
                    f"write {seq} of {source.hex()} to {apic_id:#x} is {self.ended[key].text}, and "
                    "who applied it lives"
                )
        for kernel in standing.kernels.values():
            came = numbers[kernel.incarnation]
            if came != kernel.source.written:
                self.fail(
                    f"instance {kernel.config.instance_id} wrote {kernel.source.written}, "
                    f"{came} came"
                )

    def may_come_again(self, source: bytes, seq: int) -> bool:
        """Whether the interconnect may have been told that it is not the first to have this
        write."""
        if self.epoch == 1:
            return False
        if source in self._clients:
            return (source, self.calls.get((source, seq), 0)) in self._again
        return seq <= self._sent.get(source, 0)

    def is_known(self, source: bytes, seq: int, live: Set[bytes]) -> bool:
        """Whether the outcome of a write has to be known: its source lives, or the interconnect
        that had it last does."""
        return source in live or self.routed[source, seq] == self.epoch

    def _icr_written(self, event: IcrWritten) -> None:
        source, first = event.source, event.seq
        # Clients number their calls as they like; and before what waits behind a barrier comes what
        # was settled within its APIC. At the end none is missing.
        if source not in self._clients and self.epoch == 1:
            if first != self._last.get(source, 0) + 1:
                self.fail(f"write {first} of {source.hex()} after {self._last.get(source, 0)}")
            self._last[source] = first + event.count - 1
        writer = event.apic_id, event.word
        self._happened += 1
        for seq in range(first, first + event.count):
            write = source, seq
            if write in self.calls and (source, self.calls[write]) in self._kept:
                self.fail(f"write {seq} of a client is made again, and its answer is known")
            if self.routed.get(write) == self.epoch:
                self.fail(f"write {seq} of {source.hex()} was made twice")
            if self.writes.setdefault(write, writer) != writer:
                self.fail(f"write {seq} of {source.hex()} is another one when it comes again")
            self.routed[write] = self.epoch
            self._first.setdefault(write, self._happened)

    def _applied(self, event: Applied) -> None:
        kernel = event.kernel
        apic_id = kernel.config.apic_ids[event.cpu]
        where = f"write {event.seq} of {event.source.hex()} at APIC id {apic_id:#x}"
        if not event.source:
            self.fail(f"a leg for APIC id {apic_id:#x} was applied without asking whether it was")
        key = event.source, event.seq, apic_id
        if key in self.applied:
            self.fail(f"{where} was applied twice")
        if kernel.incarnation in self._dead:
            self.fail(f"{where} was applied by an incarnation that had been detached")
        write = event.source, event.seq
        if key in self.ended and (
            self._ended_in[key] == self.epoch
            or (self.ended[key] in _UNKNOWN and not self._is_called_again(write))
        ):
            self.fail(f"{where} was applied after it had ended as {self.ended[key].text}")
        if self._born[kernel.incarnation] > self._first.get(write, self._happened + 1):
            self.fail(f"{where} was applied by an incarnation that was born after it came")
        made = self.writes.get((event.source, event.seq))
        if made is None or made[1] != event.word:
            self.fail(f"{where} was applied as {event.word:#x}, and never written so")
        arbitrated = decode(event.word).delivery_mode is DeliveryMode.LOWEST_PRIORITY
        if arbitrated and self._arbitrated.setdefault(write, apic_id) != apic_id:
            self.fail(f"{where}, of lowest priority, went to {self._arbitrated[write]:#x} too")
        self.applied[key] = event.outcome
        self._applied_by[key] = kernel.incarnation

    def _is_called_again(self, write: tuple[bytes, int]) -> bool:
        """Whether this interconnect makes a client's write again: it is told of all words of a call
        at once, and the one before may have died before that."""
        return write in self.calls and self.routed.get(write) == self.epoch

    def _leg_ended(self, event: LegEnded) -> None:
        source, apic_id, outcome = event.source, event.apic_id, event.outcome
        unknown = outcome is Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED
        for seq in range(event.seq, event.seq + event.count):
            key = source, seq, apic_id
            if self._ended_in.get(key) == self.epoch:
                self.fail(f"write {seq} of {source.hex()} to {apic_id:#x} has two outcomes")
            if (source, seq) not in self.writes:
                self.fail(f"write {seq} of {source.hex()} ended and was never made")
            said = self.applied.get(key)
            if said is not None and outcome is not said and outcome not in _UNKNOWN:
                self.fail(
                    f"write {seq} of {source.hex()} to {apic_id:#x} was {said.text}, "
                    f"the books say {outcome.text}"
                )
            self.ended[key] = outcome
            self._ended_in[key] = self.epoch
            if self._limited and apic_id == NOBODY and source in self._clients and unknown:
                self._unlooked.add((source, seq))

    def _take_kept(self, calls: Iterable[KeptCall]) -> None:
        """What the disk has of calls is what became of them."""
        self._kept = {call.key: call for call in calls}
        if not self._kept:
            return
        became: defaultdict[tuple[bytes, int], Counter[tuple[int, Outcome]]] = defaultdict(Counter)
        for (source, seq, apic_id), outcome in self.ended.items():
            key = source, self.calls.get((source, seq), 0)
            where = source, seq, apic_id
            if key in self._kept and self._ended_in[where] == self.routed[source, seq]:
                became[key][apic_id, outcome] += 1
        for key, call in self._kept.items():
            legs: Counter[tuple[int, Outcome]] = Counter()
            for (apic_id, _, outcome), count in call.legs:
                legs[apic_id, outcome] += count
            if legs != became[key]:
                self.fail(f"call {call.first_seq} is kept as {legs}, and became {became[key]}")
