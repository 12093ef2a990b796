"""The part of the bus that does what clients ask for."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from mkrpc.compiled.marks import mypyc_attr
from mkrpc.errors import InstanceBusyError, UnavailableError
from mkrpc.interconnect.commands import Asked, Commands
from mkrpc.interconnect.fault_injection import FaultInjection
from mkrpc.interconnect.injection import Injections
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.singles import Singles, SinglesAnswer
from mkrpc.interconnect.tally import Tally
from mkrpc.link.frames import CommandKind, Reply

__all__ = ["Asking"]


@mypyc_attr(allow_interpreted_subclasses=True)
class Asking(FaultInjection, ABC):
    """Injections, and commands to instances."""

    _injections: Injections
    _commands: Commands

    @abstractmethod
    def _run_later(self) -> None:
        """Call back, now that everything is consistent."""

    def inject(
        self,
        *,
        client_id: bytes,
        first_seq: int,
        word: int,
        count: int,
        resolved_below: int,
        on_done: Callable[[Tally], None],
        again: bool = False,
        roster: int = 0,
    ) -> Tally:
        """An external agent, which has no APIC, makes ``count`` ICR writes of ``word``.

        They have the client's numbers from ``first_seq`` (from 1). The key (client, ``first_seq``)
        happens once: a repeated call gets the first one's outcomes, ``repeated`` set. All writes
        below ``resolved_below`` have been answered and may be forgotten. ``on_done`` is called once
        with the returned tally when every leg has ended, perhaps before this returns. Of one call
        at most INJECTION_WINDOW writes are unsettled at a time. ``again``: the call may have
        reached an earlier interconnect; ``roster`` is the roster number that the client knew when
        it first made it, 0 for none.

        :raises InvalidArgumentError: a client id that is not 16 bytes, a malformed word, self or
            all-but-self, a count outside 1..MAX_COUNT, or numbers used for something else.
        :raises LimitReachedError: too many clients, calls of this one, or repetitions of this call
            without an answer.
        """
        tally = self._injections.inject(
            client_id=client_id,
            first_seq=first_seq,
            word=word,
            count=count,
            resolved_below=resolved_below,
            stamp=self._stamp(again, roster),
            on_done=on_done,
        )
        self._run_later()
        return tally

    def inject_words(
        self,
        *,
        client_id: bytes,
        first_seq: int,
        words: bytes,
        resolved_below: int,
        on_done: Callable[[Tally], None],
        each: bool = False,
        again: bool = False,
        roster: int = 0,
    ) -> Tally:
        """As :meth:`inject`, of ICR words that may differ: 8 bytes each, little-endian.

        ``each``: keep the outcome of every word, in the tally's ``each``. A repetition of a call
        that an earlier interconnect had answered has counts alone.

        :raises InvalidArgumentError: as there; 1 to MAX_REQUEST_WORDS words.
        :raises LimitReachedError: as there.
        """
        tally = self._injections.inject_words(
            client_id=client_id,
            first_seq=first_seq,
            words=words,
            resolved_below=resolved_below,
            stamp=self._stamp(again, roster),
            each=each,
            on_done=on_done,
        )
        self._run_later()
        return tally

    def inject_singles(
        self,
        *,
        client_id: bytes,
        first_seq: int,
        words: bytes,
        resolved_below: int,
        on_done: Callable[[SinglesAnswer], None],
        each: bool = False,
    ) -> Singles:
        """As a call of :meth:`inject_words` for each of these words, in a row; all of them new.

        ``on_done`` is told the answers of runs of them until all have theirs. What is raised is so
        for all of them, and nothing has happened then.
        """
        singles = self._injections.inject_singles(
            client_id=client_id,
            first_seq=first_seq,
            words=words,
            resolved_below=resolved_below,
            each=each,
            on_done=on_done,
        )
        self._run_later()
        return singles

    @property
    def unmade(self) -> bool:
        """Whether a large call waits for :meth:`go_on`."""
        return bool(self._injections.instalments)

    def go_on(self) -> None:
        """It is the clients' turn: make the next MAX_INSTALMENT writes of each large call that has
        had as many made in one go. The driver says so soon after :attr:`unmade` has turned true."""
        self._injections.go_on()
        self._run_later()

    def _stamp(self, again: bool, roster: int) -> int:
        """Of writes of a client: 0, or what tells an interconnect that took over where they may
        have been."""
        return max(1, roster) if again and self.takeover is not None else 0

    def forget_client(self, client_id: bytes) -> None:
        """Nobody will repeat the calls of this client, as after one that named no client.

        Without this it is forgotten when MAX_CLIENTS others have come. Nothing happens while it has
        calls without an answer, or if it is unknown.
        """
        self._injections.forget_client(client_id)

    def latest_call(self, client_id: bytes) -> int:
        """A number that no other call of any client has had; a call that is known already is none.
        0: a client that is not known, or has made none since this interconnect began."""
        return self._injections.clients.latest_call(client_id)

    def write_icr(
        self, *, apic_id: int, word: int, count: int, on_done: Callable[[Tally], None]
    ) -> Tally:
        """Ask the CPU with this APIC id to write its ICR ``count`` times.

        ``on_done`` is called once, when the instance has answered and all that it wrote has its
        outcomes. ``error`` in the tally says why it wrote less than asked for.

        :raises NotFoundError: nobody that lives has the CPU.
        :raises InvalidArgumentError: a count outside 1..MAX_COUNT, a word beyond 64 bits.
        :raises LimitReachedError: the instance owes too many answers.
        """
        session, cpu = self._registry.cpu_owner(apic_id)
        return self._commands.write_icr(session, cpu=cpu, word=word, count=count, on_done=on_done)

    def command(
        self,
        instance_id: int,
        *,
        kind: CommandKind,
        cpu: int = 0,
        word: int = 0,
        count: int = 0,
        action: str = "",
        on_reply: Callable[[Reply], None],
    ) -> Asked:
        """Ask an instance; ``on_reply`` gets one reply, an UNAVAILABLE error if it goes away.

        The reply has what was asked for; what is returned is for :meth:`abandon` alone.

        :raises NotFoundError: the instance is not attached.
        :raises InvalidArgumentError: it has no such CPU, or a number does not fit.
        :raises LimitReachedError: the instance owes too many answers.
        :raises InstanceBusyError: ADD_CPU of an APIC id that another one has, or may yet have;
            UnavailableError while the roster barrier is closed.
        """
        session = self._registry.session(instance_id)
        if kind is CommandKind.ADD_CPU:
            self._check_free(session, word)
        return self._commands.ask(
            session, kind=kind, cpu=cpu, word=word, count=count, action=action, on_reply=on_reply
        )

    def _check_free(self, session: Session, apic_id: int) -> None:
        """Whether an instance may be told to take a CPU in: nobody else has it, and nothing is on
        its way to where it was. Until it has answered the id is kept for it.

        Behind a roster barrier nobody can say: somebody who has it may still come back.
        """
        if self._recovery.closed:
            raise UnavailableError(
                "the interconnect recovers: an instance that is not back may have the CPU",
                advice="try again: it takes no longer than a lease",
            )
        registry = self._registry
        owner = registry.cpus.owner(apic_id)
        why = registry.why_not_free(apic_id)
        if why and (owner is None or owner[0] is not session):
            raise InstanceBusyError(
                f"EBUSY: APIC id {apic_id} {why}", advice="remove it there first, or try again"
            )

    def abandon(self, request: Tally | Singles | Asked) -> None:
        """Nobody waits for this any more: what inject, write_icr or command returned.

        Its callback is not called from here on. A command that waits to be sent is taken back; of
        one that was sent the answer is ignored when it comes. An injection goes on, and a
        repetition of its call gets the answer. What has been answered is left alone.
        """
        if not isinstance(request, Asked):
            self._injections.abandon(request)
        if not isinstance(request, Singles):
            self._commands.abandon(request)
