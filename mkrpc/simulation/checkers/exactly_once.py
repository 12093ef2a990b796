"""Exactly once (design 3.3): an independent journal of what was written, applied and ended.

Every write is booked once, every leg is applied once at most in the life of the machine, and has
one outcome: that of its application, if there was one. An incarnation that has been detached
applies nothing more (rule 5): what it held is booked as lost by then.
"""

from collections import Counter
from typing import ClassVar

from mkrpc.outcome import Outcome
from mkrpc.simulation.checkers.violation import Checker
from mkrpc.simulation.events import Answered, Applied, Standing
from mkrpc.trace import ClientInjected, IcrWritten, InstanceDetached, LegEnded
from mkrpc.x86.icr import Shorthand, decode

__all__ = ["ExactlyOnce"]

_UNKNOWN = Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED
_AT_THE_TARGET = (Outcome.DELIVERED, Outcome.COALESCED)


class ExactlyOnce(Checker):
    """The journal. ``writes``: (source, number) -> (writing APIC id, word). ``applied`` and
    ``ended``: (source, number, APIC id) -> outcome. ``calls``: (client, number) -> the first number
    of the call that made the write."""

    name: ClassVar[str] = "exactly_once"
    listens: ClassVar[tuple[type, ...]] = (
        *(IcrWritten, LegEnded, Applied, InstanceDetached),
        *(ClientInjected, Answered),
    )

    def __init__(self) -> None:
        self.writes: dict[tuple[bytes, int], tuple[int, int]] = {}
        self.applied: dict[tuple[bytes, int, int], Outcome] = {}
        self.ended: dict[tuple[bytes, int, int], Outcome] = {}
        self.calls: dict[tuple[bytes, int], int] = {}
        self._last: dict[bytes, int] = {}
        self._dead: set[bytes] = set()
        self._clients: set[bytes] = set()
        self._answers: dict[tuple[bytes, int], Answered] = {}
        self._legs: Counter[tuple[bytes, int]] = Counter()

    def on_event(self, event: object) -> None:
        """As :class:`Checker`."""
        if type(event) is LegEnded:
            self._leg_ended(event)
        elif type(event) is Applied:
            self._applied(event)
        elif type(event) is IcrWritten:
            self._written(event)
        elif type(event) is InstanceDetached:
            self._dead.add(event.incarnation)
        elif type(event) is ClientInjected:
            self._clients.add(event.client)
            for seq in range(event.seq, event.seq + event.count):
                if self.calls.setdefault((event.client, seq), event.seq) != event.seq:
                    self.fail(f"number {seq} of a client is in two calls")
        elif type(event) is Answered:
            self._answered(event)

    def at_end(self, standing: Standing) -> None:
        """As :class:`Checker`."""
        heard = {(source, seq) for source, seq, _ in self.ended}
        for source, seq in self.writes:
            if (source, seq) not in heard:
                self.fail(f"write {seq} of {source.hex()} has no outcome")
        for (source, seq, apic_id), outcome in self.ended.items():
            if outcome in _AT_THE_TARGET and (source, seq, apic_id) not in self.applied:
                writer, word = self.writes[source, seq]
                if decode(word).shorthand is not Shorthand.SELF or writer != apic_id:
                    self.fail(f"write {seq} of {source.hex()} is {outcome.text}, never applied")
        for source, seq, apic_id in self.applied:
            if (source, seq, apic_id) not in self.ended:
                self.fail(f"write {seq} of {source.hex()} was applied at {apic_id:#x}, no outcome")
        for kernel in standing.kernels.values():
            came = self._last.get(kernel.incarnation, 0)
            if came != kernel.source.written:
                self.fail(
                    f"instance {kernel.config.instance_id} wrote {kernel.source.written}, "
                    f"{came} came"
                )

    def _written(self, event: IcrWritten) -> None:
        source, first = event.source, event.seq
        if source not in self._clients:  # clients number their calls as they like
            if first != self._last.get(source, 0) + 1:
                self.fail(f"write {first} of {source.hex()} after {self._last.get(source, 0)}")
            self._last[source] = first + event.count - 1
        writer = event.apic_id, event.word
        for seq in range(first, first + event.count):
            if (source, seq) in self.writes:
                self.fail(f"write {seq} of {source.hex()} was made twice")
            self.writes[source, seq] = writer

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
        if key in self.ended:
            self.fail(f"{where} was applied after it had ended as {self.ended[key].text}")
        made = self.writes.get((event.source, event.seq))
        if made is None or made[1] != event.word:
            self.fail(f"{where} was applied as {event.word:#x}, and never written so")
        self.applied[key] = event.outcome

    def _leg_ended(self, event: LegEnded) -> None:
        source, apic_id, outcome = event.source, event.apic_id, event.outcome
        if source in self._clients:
            self._legs[source, self.calls[source, event.seq]] += event.count
        for seq in range(event.seq, event.seq + event.count):
            key = source, seq, apic_id
            if key in self.ended:
                self.fail(f"write {seq} of {source.hex()} to {apic_id:#x} has two outcomes")
            if (source, seq) not in self.writes:
                self.fail(f"write {seq} of {source.hex()} ended and was never made")
            said = self.applied.get(key)
            if said is not None and outcome is not said and outcome is not _UNKNOWN:
                self.fail(
                    f"write {seq} of {source.hex()} to {apic_id:#x} was {said.text}, "
                    f"the books say {outcome.text}"
                )
            self.ended[key] = outcome

    def _answered(self, event: Answered) -> None:
        """Every repetition gets the first one's outcomes, and they are those of the books."""
        first = self._answers.setdefault((event.client, event.first_seq), event)
        if event.tally.legs != first.tally.legs or event.tally.written != event.count:
            self.fail(f"call {event.first_seq} of a client is answered in two ways")
        if first is not event or event.tally.error is not None:
            return
        known = sum(event.tally.legs.values())
        booked = self._legs[event.client, event.first_seq]
        if known != booked:
            self.fail(f"call {event.first_seq} is answered with {known} legs, {booked} ended")
