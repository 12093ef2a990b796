"""What clients ask of instances, and the answers."""

from collections.abc import Callable

from mkrpc.errors import InvalidArgumentError, ProtocolError, UnavailableError, error_for_reason
from mkrpc.interconnect.injection import MAX_COUNT, Later, OnDone
from mkrpc.interconnect.session import Asked, Session
from mkrpc.interconnect.tally import Tally
from mkrpc.link.frames import Command, CommandKind, Reply

__all__ = ["MAX_ACTION", "Commands"]

MAX_ACTION = 256
"""Characters in the action of a command."""


class Commands:
    """Open commands of all sessions. Numbers run on over all instances and are never reused."""

    def __init__(self, later: Later) -> None:
        self._later = later
        self._number = 0

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
    ) -> None:
        """Send a command; ``on_reply`` gets its one answer.

        :raises InvalidArgumentError: the instance has no such CPU, or a number does not fit.
        :raises LimitReachedError: the instance owes too many answers.
        """
        command = self._command(session, kind=kind, cpu=cpu, word=word, count=count, action=action)
        session.ask(Asked(command, lambda reply: self._later(lambda: on_reply(reply))))

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
        asked = Asked(command, lambda _: None, tally=tally)

        def on_reply(reply: Reply) -> None:
            if reply.error:
                error = error_for_reason(reply.reason)
                tally.error = error(reply.error, advice=reply.advice)
            asked.replied = True
            self._finish_if_complete(asked, on_done)

        asked.on_reply = on_reply
        asked.on_resolved = lambda: self._finish_if_complete(asked, on_done)
        session.ask(asked)
        return tally

    @staticmethod
    def answer(session: Session, reply: Reply) -> None:
        """A reply has come.

        :raises ProtocolError: the command is not open, or the reply miscounts its writes.
        """
        asked = session.asked_for(reply.command)
        if asked.tally is not None and not reply.error and reply.written != asked.tally.written:
            raise ProtocolError(
                f"command {reply.command} is said to have made {reply.written} writes, "
                f"{asked.tally.written} came"
            )
        del session.asked[reply.command]
        asked.on_reply(reply)

    @staticmethod
    def fail_all(session: Session, reason: str) -> None:
        """The instance has gone: every open command is answered with an error."""
        for number in list(session.asked):
            asked = session.asked.pop(number)
            asked.on_reply(
                Reply(
                    command=number,
                    error=f"instance {session.instance_id} went away: {reason}",
                    reason=UnavailableError.reason,
                    advice="the command may or may not have been carried out",
                )
            )

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
            self._later(lambda: on_done(tally))
