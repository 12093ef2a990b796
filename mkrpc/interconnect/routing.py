"""From one ICR write to its legs: destinations, policy, books, queues (design section 5, step 3).

Departures from hardware, where matching and arbitration happen at the target: destinations are
chosen here, by the addresses that the instances have published, and lowest priority goes by the
processor priorities that they last reported, or by the vector alone.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby

from mkrpc.interconnect.arbitration import Arbitration, lowest_priority
from mkrpc.interconnect.clock import Clock
from mkrpc.interconnect.equal_legs import EqualLegs
from mkrpc.interconnect.faults import Faults
from mkrpc.interconnect.ledger import Ledger, Party, Row, RowKey
from mkrpc.interconnect.legs import Batch, LegRun, Resolved
from mkrpc.interconnect.policy import Policy, SourceKind
from mkrpc.interconnect.refusing import RefusedWrites
from mkrpc.interconnect.registry import Registry
from mkrpc.interconnect.resent import ResentWrites
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.settled_writes import AT_ITS_OWN_GATE
from mkrpc.interconnect.tally import Tally
from mkrpc.interconnect.targets import Target, Write, no_room, software_enabled, to_nobody
from mkrpc.link.frames import NOBODY
from mkrpc.outcome import Outcome
from mkrpc.trace import IcrWritten, LegEnded, Sink
from mkrpc.x86.icr import DeliveryMode, Icr, Shorthand, decode

__all__ = ["Arbitration", "Router", "Write"]

_NOBODY: Sequence[Target] = (to_nobody(Outcome.REJECTED_NO_SUCH_APIC),)
"""Who gets a write that matches no APIC (R41)."""


class Router:
    """Turns writes into legs and books them; the one place where a leg begins and ends.

    ``hold``: None, or what takes writes that must not be routed yet, as before a roster barrier.
    ``sink`` takes the trace events; None, as at first, for nobody. ``faults`` drop legs by name.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        policy: Policy,
        ledger: Ledger,
        arbitration: Arbitration,
        resent: ResentWrites,
    ) -> None:
        self._registry = registry
        self._policy = policy
        self._ledger = ledger
        self._arbitration = arbitration
        self.clock = Clock()
        self._resent = resent
        resent.policy = policy
        self.sink: Sink | None = None
        self.faults: Faults | None = None
        self.hold: Callable[[Write], None] | None = None
        self._refused = RefusedWrites(ledger)
        self._last_winner = -1

    def route(self, write: Write) -> None:
        """Send each write to every CPU that its destination names."""
        if self.hold is not None:
            self.hold(write)
            return
        if self.sink is not None:
            self.trace_write(write)
        icr = decode(write.word)
        targets = self._targets(write, icr)
        if write.stamp:
            self._route_again(write, icr, [] if targets is _NOBODY else list(targets))
            return
        if icr.delivery_mode is not DeliveryMode.LOWEST_PRIORITY or targets is _NOBODY:
            self._send(write, icr, targets, write.first_seq, write.count)
            return
        candidates = lowest_priority(targets, icr.vector, self._arbitration)
        if len(candidates) == 1:
            self._won(candidates[0])
            self._send(write, icr, candidates, write.first_seq, write.count)
            return
        for seq in range(write.first_seq, write.first_seq + write.count):
            self._send(write, icr, (self._in_turn(candidates),), seq, 1)

    def _route_again(self, write: Write, icr: Icr, found: list[Target]) -> None:
        """The same of what may have reached an earlier interconnect."""
        if icr.delivery_mode is not DeliveryMode.LOWEST_PRIORITY:
            targets = self._resent.targets(write, icr, found)
            self._send(write, icr, targets, write.first_seq, write.count)
            return

        def choose(among: list[Target]) -> Target:
            return self._in_turn(lowest_priority(among, icr.vector, self._arbitration))

        for seq in range(write.first_seq, write.first_seq + write.count):
            target = self._resent.arbitrate(write, seq, found, choose)
            self._send(write, icr, (target,), seq, 1)

    def settle_at_source(self, write: Write, session: Session, cpu: int, outcome: Outcome) -> None:
        """Book a write of a CPU that never left its APIC: a self IPI, or one that it refused to
        send."""
        assert write.apic_id is not None
        if self.sink is not None:
            self.trace_write(write)
        icr = decode(write.word)
        target = _NOBODY[0]
        if icr.shorthand is Shorthand.SELF and outcome in AT_ITS_OWN_GATE:
            target = Target(session, cpu, write.apic_id, None)
        run = self._begin(write, icr, (target,), write.first_seq, write.count)[0]
        self.settle(run, outcome)

    def refuse(
        self,
        source: Party,
        *,
        apic_id: int | None,
        first_seq: int,
        words: Sequence[int],
        tally: Tally | None,
        on_resolved: Resolved,
        outcome: Outcome,
    ) -> None:
        """Writes of these words get no further than here: each is one leg to nobody.

        A thousand of them cost little more than one, since who makes too many makes many. The rest
        as in :class:`Write`.
        """
        ended = self._refused.book(source, words, outcome)
        if tally is not None:
            tally.end(first_seq, len(words), (NOBODY, None, outcome))
        if self.sink is not None:
            seq = first_seq
            for word, equal in groupby(words):
                run = Write(
                    source=source,
                    apic_id=apic_id,
                    first_seq=seq,
                    count=len(list(equal)),
                    word=word,
                    tally=tally,
                    on_resolved=on_resolved,
                )
                self.trace_write(run)
                self.trace_end(run, NOBODY, outcome)
                seq += run.count
        on_resolved(first_seq, first_seq + len(words) - 1, ended)

    def settle(self, run: LegRun, outcome: Outcome) -> None:
        """Legs have ended: the books, the request and the source learn of it."""
        self._ledger.settle(run.row, outcome, run.count)
        batch = run.batch
        if batch.tally is not None:
            kind = (run.apic_id, run.instance_id, outcome)
            batch.tally.end(run.first_seq, run.count, kind, several=batch.has_lanes)
        if self.sink is not None:
            self.trace_end(run, run.apic_id, outcome)
        batch.advance(run.lane, run.count, run.row, outcome)

    def _targets(self, write: Write, icr: Icr) -> Sequence[Target]:
        found = self._registry.map.resolve(write.word, write.apic_id)
        if not found:
            return _NOBODY
        targets = []
        for apic_id in found:
            session, cpu = self._registry.cpu_owner(apic_id)
            refusal = self._policy.decide(
                source_id=write.source.instance_id,
                destination_id=session.instance_id,
                icr=icr,
            )
            targets.append(Target(session, cpu, apic_id, refusal))
        return targets

    def _in_turn(self, candidates: Sequence[Target]) -> Target:
        """The next after the one that won last, by APIC id, round and round."""
        later = (target for target in candidates if target.apic_id > self._last_winner)
        chosen = next(later, candidates[0])
        self._won(chosen)
        return chosen

    def _won(self, target: Target) -> None:
        """Its turn is over, whether or not it had equals; a disabled APIC has won nothing."""
        if software_enabled(target):
            self._last_winner = target.apic_id

    def _send(
        self, write: Write, icr: Icr, targets: Sequence[Target], first_seq: int, count: int
    ) -> None:
        """Queue the legs, as many writes at a time as find room for all their legs.

        An instance whose queue has no room for a write's legs takes none of them, so that legs of
        one lane never end out of order; the write's legs to others are not affected. What an
        instance has sent before always finds room: it still counts it as outstanding. What a client
        calls made before may be new.
        """
        lanes: Counter[Session] = Counter()
        if not write.stamp or write.source.kind is SourceKind.CLIENT:
            lanes.update(t.session for t in targets if t.session and t.refusal is None)
        while count:
            part = count
            full = set()
            for session, number in lanes.items():
                room = session.room_for(number, write.source)
                if room:
                    part = min(part, room)
                else:
                    full.add(session)
            sent = targets
            if self.faults is not None and self.faults.drops and not write.stamp:
                part, sent = self._with_drops(self.faults, write, icr, targets, part)
            runs = self._begin(write, icr, targets, first_seq, part)
            for target, run in zip(sent, runs, strict=True):
                if target.refusal is not None:
                    self.settle(run, target.refusal)
                elif target.session is None or target.session in full or run.row.is_overflow:
                    self.settle(run, no_room(write))
                else:
                    target.session.legs.enqueue(run)
                    target.session.wake()
            first_seq += part
            count -= part

    def _with_drops(
        self, faults: Faults, write: Write, icr: Icr, targets: Sequence[Target], count: int
    ) -> tuple[int, Sequence[Target]]:
        """Of how many of the writes the same holds, and the targets: those refused that an injected
        fault keeps their legs from. What was refused or would reach nobody is not struck."""
        part, dropped = faults.judge(
            source_id=write.source.instance_id,
            destination_ids=[
                None if t.session is None or t.refusal is not None else t.session.instance_id
                for t in targets
            ],
            icr=icr,
            count=count,
        )
        refusal = Outcome.REJECTED_INJECTED_FAULT
        return part, [
            replace(target, refusal=refusal) if struck else target
            for target, struck in zip(targets, dropped, strict=True)
        ]

    def batch(self, write: Write, first_seq: int, count: int, lanes: int) -> Batch:
        """``count`` of the writes, each to so many CPUs."""
        return Batch(
            source=write.source,
            first_seq=first_seq,
            count=count,
            word=write.word,
            lanes=lanes,
            tally=write.tally,
            on_resolved=write.on_resolved,
            apic_id=write.apic_id,
            routed_us=self.clock.now_us,
        )

    def _begin(
        self, write: Write, icr: Icr, targets: Sequence[Target], first_seq: int, count: int
    ) -> list[LegRun]:
        """Book ``count`` writes: a leg of each to every target."""
        batch = self.batch(write, first_seq, count, len(targets))
        runs = []
        for lane, target in enumerate(targets):
            row = self._row(write.source, target, icr)
            self._ledger.book(row, count)
            runs.append(
                LegRun(
                    batch=batch,
                    lane=lane,
                    row=row,
                    instance_id=target.session.instance_id if target.session else None,
                    cpu=target.cpu,
                    apic_id=target.apic_id,
                    first_seq=first_seq,
                    count=count,
                    resent=target.resent,
                    arbitrated=icr.delivery_mode is DeliveryMode.LOWEST_PRIORITY,
                )
            )
        return runs

    def _row(self, source: Party, target: Target, icr: Icr) -> Row:
        key = RowKey(
            source,
            target.session.party if target.session else None,
            target.apic_id,
            icr.delivery_mode,
            self._ledger.vector_of(icr.delivery_mode, icr.vector),
        )
        return self._ledger.row(key) or self._ledger.overflow_row(source)

    def trace_write(self, write: Write | EqualLegs) -> None:
        """Tell the sink, which there is, of writes."""
        assert self.sink is not None
        of = write.batch if isinstance(write, EqualLegs) else write
        self.sink(
            IcrWritten(
                source=of.source.identity,
                apic_id=NOBODY if write.apic_id is None else write.apic_id,
                seq=write.first_seq,
                count=write.count,
                word=of.word,
            )
        )

    def trace_end(self, legs: LegRun | EqualLegs | Write, apic_id: int, outcome: Outcome) -> None:
        """Tell the sink, which there is, of legs that have ended."""
        assert self.sink is not None
        of = legs if isinstance(legs, Write) else legs.batch
        icr = decode(of.word)
        self.sink(
            LegEnded(
                source=of.source.identity,
                seq=legs.first_seq,
                count=legs.count,
                apic_id=apic_id,
                delivery_mode=icr.delivery_mode,
                vector=icr.vector,
                outcome=outcome,
            )
        )
