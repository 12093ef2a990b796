"""What clients ask of instances, and the answers.

A reply that is not what its command asked for is a broken peer, told here, so that whoever asked
need not look.
"""

from collections.abc import Callable, Sequence

from mkrpc.errors import InvalidArgumentError, ProtocolError, UnavailableError, error_for_reason
from mkrpc.interconnect.asked import Asked
from mkrpc.interconnect.injected_words import MAX_COUNT
from mkrpc.interconnect.injection import Later, OnDone
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.tally import Tally
from mkrpc.link.frames import Command, CommandKind, LogRecord, Reply

__all__ = ["MAX_ACTION", "Asked", "Commands"]

MAX_ACTION = 256
"""Characters in the action of a command."""

_READ_PENDING = CommandKind.READ_PENDING

_LOG_LEVELS = range(8)
"""KERN_EMERG to KERN_DEBUG."""


class Commands:
    """Open commands of all sessions. Numbers run on over all instances and are never reused."""

    def __init__(self, later: Later) -> None:
        self._later = later
        self._number = 0
        self._writing: dict[Tally, Asked] = {}

    def ask(
        self,
        session: Session,
        *,
        kind: CommandKind,
        cpu: int,
        word: int,
        count: int,
        action: str,
        on_reply: Callable[[Reply], None],
    ) -> Asked:
        """Send a command; ``on_reply`` gets its one answer. Returns what :meth:`abandon` takes.

        :raises InvalidArgumentError: the instance has no such CPU, or a number does not fit.
        :raises LimitReachedError: the instance owes too many answers.
        """
        command = self._command(session, kind=kind, cpu=cpu, word=word, count=count, action=action)
        asked = Asked(session, command, on_reply)
        session.ask(asked)
        return asked

    def write_icr(
        self, session: Session, *, cpu: int, word: int, count: int, on_done: OnDone
    ) -> Tally:
        """See :meth:`mkrpc.interconnect.apic_bus.ApicBus.write_icr`."""
        if not 1 <= count <= MAX_COUNT:
            raise InvalidArgumentError(
                f"{count} writes in one call", advice=f"ask for 1 to {MAX_COUNT}"
            )
        command = self._command(
            session, kind=CommandKind.WRITE_ICR, cpu=cpu, word=word, count=count, action=""
        )
        tally = Tally()
        asked = Asked(session, command, _ignore, tally=tally)

        def on_reply(reply: Reply) -> None:
            if reply.error:
                error = error_for_reason(reply.reason)
                tally.error = error(reply.error, advice=reply.advice)
            asked.replied = True
            self._finish_if_complete(asked, on_done)

        asked.on_reply = on_reply
        asked.on_resolved = lambda: self._finish_if_complete(asked, on_done)
        session.ask(asked)
        self._writing[tally] = asked
        return tally

    def abandon(self, request: Asked | Tally) -> None:
        """See :meth:`mkrpc.interconnect.apic_bus.ApicBus.abandon`."""
        asked = self._writing.pop(request, None) if isinstance(request, Tally) else request
        if asked is not None:
            asked.on_reply = _ignore
            asked.session.withdraw(asked)

    def answer(self, session: Session, reply: Reply) -> None:
        """A reply has come.

        :raises ProtocolError: the command is not open, or the reply is not what was asked for.
            The command stays open then, and fails with its instance.
        """
        asked = session.asked_for(reply.command)
        if not reply.error:
            _check_reply(asked, reply)
        del session.asked[reply.command]
        self._pass_on(asked, reply)

    def fail_all(self, session: Session, reason: str) -> None:
        """The instance has gone: every open command is answered with an error."""
        for number in list(session.asked):
            self._pass_on(
                session.asked.pop(number),
                Reply(
                    command=number,
                    error=f"instance {session.instance_id} went away: {reason}",
                    reason=UnavailableError.reason,
                    advice="the command may or may not have been carried out",
                ),
            )

    def _pass_on(self, asked: Asked, reply: Reply) -> None:
        self._later(lambda: asked.on_reply(reply))

    def _command(
        self,
        session: Session,
        *,
        kind: CommandKind,
        cpu: int,
        word: int,
        count: int,
        action: str,
    ) -> Command:
        if not 0 <= cpu < len(session.addresses):
            raise InvalidArgumentError(
                f"instance {session.instance_id} has no CPU {cpu}",
                advice=f"its CPUs are 0 to {len(session.addresses) - 1}",
            )
        if word >> 64 or count >> 64 or len(action) > MAX_ACTION:
            raise InvalidArgumentError(
                "a command's word, count or action does not fit",
                advice=f"numbers have 64 bits, an action {MAX_ACTION} characters",
            )
        self._number += 1
        return Command(self._number, kind, cpu, word, count, action)

    def _finish_if_complete(self, asked: Asked, on_done: OnDone) -> None:
        tally = asked.tally
        assert tally is not None
        if asked.replied and not tally.done and tally.resolved == tally.written:
            tally.done = True
            self._later(lambda: self._tell(tally, on_done))

    def _tell(self, tally: Tally, on_done: OnDone) -> None:
        if self._writing.pop(tally, None) is not None:
            on_done(tally)


def _check_reply(asked: Asked, reply: Reply) -> None:
    """Whether a reply has what its command asked for, and nothing else."""
    command = asked.command
    if asked.tally is not None and reply.written != asked.tally.written:
        raise ProtocolError(
            f"command {command.number} is said to have made {reply.written} writes, "
            f"{asked.tally.written} came"
        )
    views = [view.account.cpu for view in reply.cpus]
    wanted = _cpus_asked_for(asked, len(views))
    if views != wanted:
        raise ProtocolError(
            f"command {command.number}, {command.kind.name}, is answered with the CPUs {views}, "
            f"{wanted} were asked for"
        )
    if command.kind is CommandKind.READ_LOG:
        _check_records(reply.records, first=command.count)
    elif reply.records:
        raise ProtocolError(f"command {command.number} did not ask for a log")
    asked_pending = (command.cpu, command.word) if command.kind is _READ_PENDING else None
    told = reply.pending and (reply.pending.core.cpu, reply.pending.counts.vector)
    if told != asked_pending:
        raise ProtocolError(
            f"command {command.number} is told of CPU and vector {told}, not of {asked_pending}"
        )


def _cpus_asked_for(asked: Asked, answered: int) -> list[int]:
    command = asked.command
    match command.kind:
        case CommandKind.READ_CPU | CommandKind.SET_CPU:
            return [command.cpu]
        case CommandKind.READ_ACCOUNT:
            # CPUs that have come meanwhile may be in it or not.
            known = min(max(command.cpu + answered, asked.cpus), len(asked.session.addresses))
            last = min(command.cpu + command.count, known) if command.count else known
            return list(range(command.cpu, last))
        case _:
            return []


def _check_records(records: Sequence[LogRecord], *, first: int) -> None:
    """Numbers from ``first`` on, ascending, and levels that the kernel has."""
    last = max(first, 1) - 1
    for record in records:
        if record.number <= last or record.level not in _LOG_LEVELS:
            raise ProtocolError(
                f"a log record {record.number} of level {record.level} behind record {last}"
            )
        last = record.number


def _ignore(reply: Reply) -> None:
    """Nobody waits for this answer any more."""
