"""Interrupts that nobody takes, told as Linux tells of a CSD lock that nobody releases.

An interrupt that stays in IRR, a handler that stays in service, and legs that nobody answers are
reported once they have been so for :data:`STALL_US`, then each time that their age has doubled, and
once more when it is over. Only the mirror and the ages of legs are looked at, so that an instance
that hangs is seen as well as one that is stopped. There are :data:`LOOKS` looks in that time. A
look costs a few steps for each CPU, whatever passes through the machine. The manners are those of
Linux's kernel/smp.c (csd_lock_wait_toolong, csd_lock_timeout).
"""

from collections import deque
from typing import TYPE_CHECKING

from mkrpc.interconnect.clock import Clock
from mkrpc.interconnect.ledger import Row
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.stall_report import (
    Stall,
    StallKind,
    source_of,
    sources_of,
    stall_event,
)
from mkrpc.interconnect.standing import delay_of_legs, last_told
from mkrpc.link.frames import VectorCount
from mkrpc.outcome import Outcome
from mkrpc.trace import InterruptStalled, Sink, StallEnded
from mkrpc.x86.icr import DeliveryMode, decode
from mkrpc.x86.pending import holds, why_in_service

if TYPE_CHECKING:
    from mkrpc.interconnect.apic_bus import ApicBus

__all__ = [
    "LOOKS",
    "MAX_REPORTS_KEPT",
    "MAX_STALLS",
    "STALL_US",
    "Stalls",
]

STALL_US = 5_000_000
"""Microseconds after which something is called stalled: Linux's csd_lock_timeout, 5 s."""

LOOKS = 10
"""How often it looks in that time; an age is found out late by as much, or by a beat."""

MAX_STALLS = 256
"""Stalls that are followed at a time; further ones are found when one of these has ended."""

MAX_REPORTS_KEPT = 1024
"""Reports that wait for whoever writes the log; the oldest beyond are dropped."""

_Key = tuple[StallKind, bytes, int, int]
"""Kind, incarnation, CPU and vector; of unanswered legs the last two are 0."""


class _Episode:
    """One stall from its first report to its end."""

    __slots__ = ("began_us", "counts", "due_us", "session", "since_us", "stall")

    def __init__(
        self, session: Session, stall: Stall, *, began_us: int, due_us: int, counts: VectorCount
    ) -> None:
        self.session = session
        self.stall = stall
        self.began_us = began_us
        self.since_us = began_us
        self.due_us = due_us
        self.counts = counts


class Stalls:
    """What does not go on in a machine; ``sink`` takes the trace events.

    ``limit_us``: after how long something is called stalled; 0: never.
    """

    def __init__(self, clock: Clock, limit_us: int = STALL_US) -> None:
        self.limit_us = limit_us
        self.sink: Sink | None = None
        self._clock = clock
        self.due_us = 0
        """When to look next; the bus does."""
        self._open: dict[_Key, _Episode] = {}
        self.reports: deque[InterruptStalled | StallEnded] = deque(maxlen=MAX_REPORTS_KEPT)
        """What there is for the log, in order; whoever writes it takes them."""
        self._rows: dict[bytes, dict[tuple[int, int], list[Row]]] = {}

    # --- looking --------------------------------------------------------------------------------

    def look(self, bus: "ApicBus") -> None:
        """The time is that of the bus's clock: find what does not go on, and what does again."""
        now_us = self._clock.now_us
        if not self.limit_us:
            return
        self.due_us = now_us + self.limit_us // LOOKS
        sessions = bus.sessions()
        bus.late.forget()
        self._rows.clear()
        found: set[_Key] = set()
        for session in sessions:
            self._look_at_cpus(bus, session, found)
            run = session.legs.oldest()
            if run is not None and now_us - run.batch.routed_us >= self.limit_us:
                key = (StallKind.UNANSWERED, session.hello.incarnation, 0, 0)
                self._note(bus, session, key, run.batch.routed_us, found)
        for key in [key for key in self._open if key not in found]:
            self._end(key, now_us)

    def open(self) -> list[Stall]:
        """What does not go on, oldest first, with its age as of now."""
        now_us = self._clock.now_us
        episodes = sorted(self._open.values(), key=lambda episode: episode.since_us)
        return [_aged(episode, now_us) for episode in episodes]

    def _look_at_cpus(self, bus: "ApicBus", session: Session, found: set[_Key]) -> None:
        incarnation, latest_us = session.hello.incarnation, bus.now_us - self.limit_us
        for cpu in range(len(session.addresses)):
            account, seen = session.mirror.last(cpu)
            if not account.irr | account.isr:
                continue
            for vector in _bits(account.irr):
                since_us = seen.pending_us(vector)
                if since_us <= latest_us:
                    key = (StallKind.PENDING, incarnation, cpu, vector)
                    self._note(bus, session, key, since_us, found)
            for vector in _bits(account.isr):
                since_us = seen.handled_us(vector) or 0
                if since_us <= latest_us:
                    key = (StallKind.IN_SERVICE, incarnation, cpu, vector)
                    self._note(bus, session, key, since_us, found)

    def _note(
        self, bus: "ApicBus", session: Session, key: _Key, since_us: int, found: set[_Key]
    ) -> None:
        """It stands; report it if that is due."""
        now_us, episode = self._clock.now_us, self._open.get(key)
        if episode is None and len(self._open) >= MAX_STALLS:
            return
        found.add(key)
        if episode is not None:
            episode.since_us = since_us
            if now_us < episode.due_us:
                return
        stall = self._describe(bus, session, key, now_us - since_us)
        if episode is None:
            counts = session.mirror.counts(key[2], key[3])
            due_us = now_us + self.limit_us
            self._open[key] = _Episode(
                session, stall, began_us=since_us, due_us=due_us, counts=counts
            )
        else:
            reports = episode.stall.reports + 1
            stall = Stall(**{name: getattr(stall, name) for name in _FIELDS}, reports=reports)
            episode.stall, episode.due_us = stall, now_us + (self.limit_us << min(reports, 20) - 1)
        self._report(stall_event(stall))

    def _describe(self, bus: "ApicBus", session: Session, key: _Key, age_us: int) -> Stall:
        kind, incarnation, cpu, vector = key
        run = session.legs.oldest() if kind is StallKind.UNANSWERED else None
        source, source_apic_id, count = None, None, 1
        if run is not None:
            cpu, vector = run.cpu, decode(run.batch.word).vector
            source, source_apic_id = run.batch.source, run.batch.apic_id
            count = session.legs.waiting + session.legs.unanswered
            why, sources = delay_of_legs(bus, session, cpu, vector), source_of(run)
        else:
            told = last_told(bus, incarnation, cpu)
            assert told is not None, "a bit in a mirror was reported"
            pending = kind is StallKind.PENDING
            why = tuple(
                holds(told.core, vector) if pending else [why_in_service(told.core, vector)]
            )
            rows = self._rows_to(bus, session).get((session.addresses[cpu].apic_id, vector), [])
            source = rows[0].key.source if len(rows) == 1 else None
            sources = sources_of(rows)
        return Stall(
            kind=kind,
            instance_id=session.instance_id,
            name=session.hello.name,
            incarnation=incarnation,
            apic_id=session.addresses[cpu].apic_id,
            vector=vector,
            source=source,
            source_apic_id=source_apic_id,
            sources=sources,
            count=count,
            age_us=age_us,
            holds=why,
        )

    def _rows_to(self, bus: "ApicBus", session: Session) -> dict[tuple[int, int], list[Row]]:
        """The rows of who has set bits in an instance's IRRs, by APIC id and vector; made once a
        look, and only if it is needed."""
        found = self._rows.get(session.party.identity)
        if found is None:
            found = self._rows[session.party.identity] = {}
            for row in bus.ledger.rows_of(session.party):
                key = row.key
                if key.destination != session.party or key.mode not in _MODES:
                    continue
                if row.outcomes.get(Outcome.DELIVERED, 0) + row.outcomes.get(Outcome.COALESCED, 0):
                    found.setdefault((key.apic_id, key.vector), []).append(row)
        return found

    def _end(self, key: _Key, now_us: int) -> None:
        episode = self._open.pop(key)
        stall = episode.stall
        self._report(
            StallEnded(
                stall=stall.kind.value,
                instance_id=stall.instance_id,
                name=stall.name,
                incarnation=stall.incarnation,
                apic_id=stall.apic_id,
                vector=stall.vector,
                lasted_us=now_us - episode.began_us,
                how=_how(episode, key),
            )
        )

    def _report(self, event: InterruptStalled | StallEnded) -> None:
        self.reports.append(event)
        if self.sink is not None:
            self.sink(event)


_MODES = (DeliveryMode.FIXED, DeliveryMode.LOWEST_PRIORITY)
_FIELDS = tuple(name for name in Stall.__slots__ if name != "reports")


def _aged(episode: _Episode, now_us: int) -> Stall:
    values = {name: getattr(episode.stall, name) for name in Stall.__slots__}
    return Stall(**(values | {"age_us": now_us - episode.since_us}))


def _how(episode: _Episode, key: _Key) -> str:
    """How a stall has ended."""
    session = episode.session
    if not session.alive:
        return f"its instance ended: {session.end_reason}"
    if key[0] is StallKind.UNANSWERED:
        return "answered"
    now, then = session.mirror.counts(key[2], key[3]), episode.counts
    if key[0] is StallKind.IN_SERVICE:
        return "EOI"
    return "handled" if now.handled > then.handled else "discarded by INIT or a disabled APIC"


def _bits(register: int) -> list[int]:
    """The vectors whose bits are set."""
    vectors = []
    while register:
        lowest = register & -register
        vectors.append(lowest.bit_length() - 1)
        register ^= lowest
    return vectors
