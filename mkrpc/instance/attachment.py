"""The instance's end of its link, as a pure object: frames in, frames out.

The driver sends what :meth:`Attachment.next_frame` gives whenever it may, and hands in what it
receives; there is no rule of the link in it (design, section 4).
"""

from mkrpc.errors import ProtocolError
from mkrpc.instance.accounting import AccountReporter
from mkrpc.instance.kernel import Kernel
from mkrpc.link.endpoint import LinkEnd, check_wire_version
from mkrpc.link.frames import (
    MAX_FRAME_WORDS,
    WIRE_VERSION,
    DownFrame,
    Hello,
    Legs,
    OutcomeRun,
    Reply,
    UpFrame,
    Welcome,
)
from mkrpc.outcome import Outcome

__all__ = ["MAX_FRAME_VECTORS", "MAX_REPLY_BYTES", "Attachment"]

MAX_FRAME_VECTORS = 2048
"""Vector counts in the accounts of one frame, give or take one CPU's; the rest in the next."""

MAX_REPLY_BYTES = 200 * 1024
"""Replies in one frame, as :func:`_reply_bytes` reckons them, unless a single reply has more; the
rest in the next."""

_BYTES_PER_CHARACTER = 4
_BYTES_PER_VECTOR = 60
_BYTES_PER_VIEW = 1024
_BYTES_PER_RECORD = 48
"""On the wire at most: a vector with its five counts, a CPU without its vectors, a record of the
log without its text."""


class _Run:
    """An OutcomeRun that still grows."""

    __slots__ = ("count", "first", "outcome")

    def __init__(self, first: int, outcome: Outcome) -> None:
        self.first = first
        self.count = 1
        self.outcome = outcome


class Attachment:
    """One kernel attached to one interconnect.

    It answers legs by their number on this link, remembers outcomes so that a repeated leg is
    answered and not applied again (design 3.3, rule 2), and reports accounts when there are no
    writes and no outcomes left to report, so that a frame without ``more`` is a consistent whole.
    """

    __slots__ = (
        "_applied",
        "_kernel",
        "_link",
        "_outcomes",
        "_replies",
        "_reported",
        "_reporter",
        "epoch",
        "generation",
    )

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._link: LinkEnd[UpFrame, DownFrame] = LinkEnd()
        self._reporter = AccountReporter(kernel)
        self._applied = 0
        self._reported = 0
        self._outcomes: list[_Run] = []
        self._replies: list[Reply] = []
        self.epoch = 0
        self.generation = 0

    def hello(self, pid: int) -> Hello:
        """The first message, with the addresses as they are now."""
        kernel = self._kernel
        return Hello(
            wire_version=WIRE_VERSION,
            instance_id=kernel.config.instance_id,
            name=kernel.config.name,
            incarnation=kernel.incarnation,
            pid=pid,
            cpus=tuple(kernel.address_of(cpu.number) for cpu in kernel.cpus),
            # In x2APIC mode too, where nobody looks: the mode can change at run time.
            tell_resolved=kernel.config.apic_policy.icr_busy != "never",
        )

    def welcome(self, welcome: Welcome) -> None:
        """The answer to hello. Raises ProtocolError for another wire version."""
        check_wire_version(welcome.wire_version)
        self.epoch = welcome.epoch
        self.generation = welcome.generation

    # Frames in.

    def receive(self, frame: DownFrame) -> None:
        """Apply a frame, in the order of its fields; a repeated one changes nothing.

        Raises ProtocolError, before anything is applied, for a frame that leaves a gap, resolves
        what was never written, or has columns of unequal length.
        """
        for legs in frame.legs:
            if not len(legs.seqs) == len(legs.words) == len(legs.cpus):
                raise ProtocolError("the columns of the legs differ in length")
        self._check_resolved(frame)
        if not self._link.receive(frame):
            return
        kernel = self._kernel
        for floor in frame.floors:
            kernel.outcomes.forget(floor.source, floor.runs)
        for legs in frame.legs:
            self._apply(legs)
        kernel.settle_frame()
        kernel.source.resolve(frame.resolved)
        kernel.resume_commands()
        for command in frame.commands:
            reply = kernel.execute(command)
            if reply is not None:
                self._replies.append(reply)
        self._replies += kernel.take_replies()

    def _check_resolved(self, frame: DownFrame) -> None:
        written = self._kernel.source.written
        for run in frame.resolved:
            if not 1 <= run.first <= run.last <= written:
                raise ProtocolError(
                    f"writes {run.first} to {run.last} are called resolved, {written} were made"
                )

    def _apply(self, legs: Legs) -> None:
        accept = self._kernel.accept
        cpus = len(self._kernel.cpus)
        memory = self._kernel.outcomes
        source = legs.source
        malformed = Outcome.REJECTED_MALFORMED
        for seq, word, cpu in zip(legs.seqs, legs.words, legs.cpus, strict=True):
            outcome = memory.recall(source, seq, cpu) if 0 <= cpu < cpus else malformed
            if outcome is None:
                if memory.may_record(source, seq):
                    outcome = accept(cpu, word)
                    memory.record(source, seq, cpu, outcome)
                else:
                    outcome = Outcome.REJECTED_BACKPRESSURE
            self._applied += 1
            if outcome is not Outcome.DELIVERED:
                self._note(outcome)

    def _note(self, outcome: Outcome) -> None:
        """Extend the last run of outcomes other than delivered, or begin one."""
        if self._outcomes:
            last = self._outcomes[-1]
            if last.outcome is outcome and last.first + last.count == self._applied:
                last.count += 1
                return
        self._outcomes.append(_Run(self._applied, outcome))

    # Frames out.

    def next_frame(self) -> UpFrame | None:
        """The next frame to send; None if there is nothing to say or the frame window is closed.

        ``more`` is set while further frames hold what there is to say now: first writes and
        outcomes, then accounts, then replies. A reply therefore comes after all that it could
        depend on.
        """
        if not self._link.may_send:
            return self._bare_ack()
        frame = UpFrame(events=self._kernel.take_events(MAX_FRAME_WORDS))
        self._take_outcomes(frame)
        frame.resolved = list(self._kernel.source.take_publication())
        frame.more = bool(self._kernel.events or self._outcomes)
        if not frame.more:
            frame.accounts, frame.more = self._reporter.take(MAX_FRAME_VECTORS)
        if not frame.more:
            frame.replies = self._take_replies()
            frame.more = bool(self._replies)
        content = frame.events or frame.accounts or frame.resolved or frame.replies
        if not content and frame.applied == self._reported:
            return self._bare_ack()
        self._reported = frame.applied
        return self._link.stamp(frame)

    def _bare_ack(self) -> UpFrame | None:
        if not self._link.ack_due:
            return None
        return self._link.stamp_ack(UpFrame(applied=self._reported))

    def _take_outcomes(self, frame: UpFrame) -> None:
        """At most MAX_FRAME_WORDS runs; ``applied`` stops short of the first that is left."""
        taken = self._outcomes[:MAX_FRAME_WORDS]
        frame.outcomes = [OutcomeRun(run.first, run.count, run.outcome) for run in taken]
        self._outcomes = self._outcomes[MAX_FRAME_WORDS:]
        frame.applied = self._outcomes[0].first - 1 if self._outcomes else self._applied

    def _take_replies(self) -> list[Reply]:
        taken: list[Reply] = []
        room = MAX_REPLY_BYTES
        for reply in self._replies:
            room -= _reply_bytes(reply)
            if taken and room < 0:
                break
            taken.append(reply)
        self._replies = self._replies[len(taken) :]
        return taken


def _reply_bytes(reply: Reply) -> int:
    """What a reply takes on the wire, reckoned high; only the files of /proc are surely ASCII."""
    words = len(reply.error) + len(reply.advice)
    words += sum(len(record.text) for record in reply.records)
    vectors = sum(len(view.account.vectors) for view in reply.cpus)
    return (
        len(reply.text)
        + _BYTES_PER_CHARACTER * words
        + _BYTES_PER_RECORD * len(reply.records)
        + _BYTES_PER_VIEW * len(reply.cpus)
        + _BYTES_PER_VECTOR * vectors
    )
