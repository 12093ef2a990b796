"""Applying what an instance reports: its writes, its answers, its accounting.

Each part of a frame is checked whole before it changes anything, so that a bad one leaves books
that balance; the session it came from is then closed.
"""

from collections.abc import Sequence
from functools import partial

from mkrpc.errors import ProtocolError
from mkrpc.interconnect.asked import Asked
from mkrpc.interconnect.bucket import Buckets
from mkrpc.interconnect.changes import ChangeLog
from mkrpc.interconnect.commands import Commands
from mkrpc.interconnect.ledger import Ledger
from mkrpc.interconnect.legs import Ended, Resolved
from mkrpc.interconnect.messages import Messages
from mkrpc.interconnect.recovery import Recovery
from mkrpc.interconnect.registry import Registry
from mkrpc.interconnect.routing import Router, Write
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.settled_writes import check_settled
from mkrpc.interconnect.word_routing import WordRouter, Words
from mkrpc.link.frames import (
    MAX_FRAME_WORDS,
    CpuAddress,
    ResolvedRun,
    SettledWrite,
    UpFrame,
    Writes,
)
from mkrpc.link.messages import Message
from mkrpc.link.source import MAX_PUBLISHED_RUNS
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import WORD_BITS

__all__ = ["Intake"]


class Intake:
    """Takes in the frames of all instances."""

    def __init__(
        self,
        *,
        registry: Registry,
        router: Router,
        words: WordRouter,
        ledger: Ledger,
        buckets: Buckets,
        commands: Commands,
        recovery: Recovery,
        changes: ChangeLog,
        messages: Messages,
    ) -> None:
        self._registry = registry
        self._router = router
        self._words = words
        self._ledger = ledger
        self._buckets = buckets
        self._commands = commands
        self._recovery = recovery
        self._changes = changes
        self._messages = messages

    def apply(self, session: Session, frame: UpFrame) -> None:
        """Apply a frame's content, in the order of its fields.

        :raises ProtocolError: it says what cannot be. What came before that has been applied whole,
            of what comes after nothing.
        """
        _check_size(frame)
        session.mid_report = frame.more
        if session.recovering or frame.books or frame.arbitrated or frame.recovered:
            self._recovery.take(session, frame)
        for event in frame.events:
            match event:
                case Writes():
                    self._take_writes(session, event)
                case SettledWrite():
                    self._settled_write(session, event)
                case Message():
                    self._messages.route(session, event)
                case CpuAddress():
                    which = self._registry.change_address(session, event)
                    if any(which):
                        self._changes.moved(session, event.cpu, which)
        if frame.events:
            session.check_window()
        session.answer(frame, self._words.settle)
        if frame.listens:
            self._messages.listens(session)
        if frame.taken:
            self._messages.taken(session, frame.taken)
        for account in frame.accounts:
            session.mirror.apply(account)
        if frame.resolved:
            self._publish(session, tuple(frame.resolved))
        for reply in frame.replies:
            self._commands.answer(session, reply)

    def _take_writes(self, session: Session, writes: Writes) -> None:
        words = writes.words
        count = len(words)
        if not count or min(words) < 0 or max(words) >> WORD_BITS:
            raise ProtocolError(f"writes from {writes.first_seq} on hold no ICR words of 64 bits")
        apic_id, asked = self._writer(session, writes.cpu, writes.command, again=writes.stamp != 0)
        session.take_seqs(writes.first_seq, count, stamp=writes.stamp)
        if asked is not None:
            asked.count_written(count)
        # The time does not move within a frame, so the first ones pass and all others do not.
        # What has passed before passes again.
        passing = count
        if not writes.stamp and not self._buckets.limits_nobody:
            passing = self._buckets.take(session.instance_id, passing)
        tally = asked.tally if asked is not None else None
        on_resolved = self._told(session, asked)
        word = words[0]
        if (
            passing == count
            and not writes.stamp
            and (count == 1 or words.count(word) == count)
            and self._words.route_equal(
                session.party,
                apic_id=apic_id,
                first_seq=writes.first_seq,
                count=count,
                word=word,
                tally=tally,
                on_resolved=on_resolved,
            )
        ):
            return
        if passing:
            burst = Words(
                source=session.party,
                apic_id=apic_id,
                first_seq=writes.first_seq,
                words=words,
                tally=tally,
                on_resolved=on_resolved,
                stamp=writes.stamp,
            )
            self._words.route(burst.part(0, passing))
        if passing < count:
            self._router.refuse(
                session.party,
                apic_id=apic_id,
                first_seq=writes.first_seq + passing,
                words=words[passing:] if passing else words,
                tally=tally,
                on_resolved=on_resolved,
                outcome=Outcome.REJECTED_RATE_LIMITED,
            )

    def _settled_write(self, session: Session, event: SettledWrite) -> None:
        if event.word >> WORD_BITS or event.word < 0:
            raise ProtocolError(f"write {event.seq} is no ICR word of 64 bits")
        check_settled(event)
        apic_id, asked = self._writer(session, event.cpu, event.command, again=event.stamp != 0)
        session.take_seqs(event.seq, 1, stamp=event.stamp)
        if asked is not None:
            asked.count_written(1)
        write = Write(
            source=session.party,
            apic_id=apic_id,
            first_seq=event.seq,
            count=1,
            word=event.word,
            tally=asked.tally if asked else None,
            on_resolved=self._told(session, asked),
        )
        self._router.settle_at_source(write, session, event.cpu, event.outcome)

    @staticmethod
    def _writer(
        session: Session, cpu: int, command: int, *, again: bool
    ) -> tuple[int, Asked | None]:
        """The APIC id of the writing CPU, and the open request that it writes for, if any.

        The message names the CPU by its number within the instance, so it cannot name another's.
        """
        if not 0 <= cpu < len(session.addresses):
            raise ProtocolError(
                f"a write by CPU {cpu}, instance {session.instance_id} has {len(session.addresses)}"
            )
        if session.addresses[cpu].vacant and not again and not _had_left(session, cpu):
            raise ProtocolError(f"a write by CPU {cpu}, which has left")
        asked = session.asked_for(command) if command else None
        if asked is not None and asked.tally is None:
            raise ProtocolError(f"command {command} did not ask for ICR writes")
        return session.addresses[cpu].apic_id, asked

    def _publish(self, session: Session, runs: tuple[ResolvedRun, ...]) -> None:
        """Let destinations forget what the source knows to be resolved."""
        if len(runs) > MAX_PUBLISHED_RUNS:
            raise ProtocolError(f"{len(runs)} runs are published, {MAX_PUBLISHED_RUNS} may be")
        for run in runs:
            if not session.knows_resolved(run.first, run.last):
                raise ProtocolError(
                    f"writes {run.first} to {run.last} are published as resolved and are not"
                )
        if not session.sends_again:
            self._recovery.sent_all(session.party.identity)
        self._registry.publications.publish(session.party.identity, runs)

    def _told(self, session: Session, asked: Asked | None) -> Resolved:
        """Who is told of writes of a session that are resolved; nearly all are by no command."""
        if asked is not None:
            return partial(self._resolved, session, asked)
        if session.on_resolved is None:
            session.on_resolved = partial(self._resolved, session, None)
        return session.on_resolved

    def _resolved(
        self,
        session: Session,
        asked: Asked | None,
        first: int,
        last: int,
        ended: Sequence[Ended],
    ) -> None:
        """Writes of a session have all their outcomes."""
        session.writes_resolved(first, last, ended)
        if asked is not None:
            asked.count_resolved(last - first + 1)
        if session.buried:
            self.finish_if_settled(session)

    def finish_if_settled(self, session: Session) -> None:
        """A dead source whose last write is resolved: its rows may be folded, all forget it."""
        if session.unsettled:
            return
        self._ledger.finish(session.party)
        if session.highest_seq:
            everything = (ResolvedRun(1, session.highest_seq),)
            self._registry.publications.publish(session.party.identity, everything)


def _had_left(session: Session, cpu: int) -> bool:
    """Whether it was an earlier interconnect under which a CPU left: what it had written by then
    and had not sent is new to everybody, and comes after a hello that has no such CPU."""
    hello = session.hello
    return hello.epoch != 0 and any(each.cpu == cpu and each.vacant for each in hello.cpus)


def _check_size(frame: UpFrame) -> None:
    """Every event counts, as at the sender: a change of address costs as much as a write."""
    words = 0
    for event in frame.events:
        words += len(event.words) if isinstance(event, Writes) else 1
    if words > MAX_FRAME_WORDS:
        raise ProtocolError(f"a frame of {words} events, {MAX_FRAME_WORDS} are allowed")
