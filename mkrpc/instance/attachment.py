"""The instance's end of its link, as a pure object: frames in, frames out.

The driver sends what :meth:`Attachment.next_frame` gives whenever it may, and hands in what it
receives; there is no rule of the link in it (design, section 4).
"""

from collections import deque
from typing import Final

from mkrpc.compiled.marks import mypyc_attr
from mkrpc.errors import ProtocolError
from mkrpc.instance.accounting import AccountReporter
from mkrpc.instance.arrivals import Arrivals
from mkrpc.instance.kernel import FRAME_EVENTS, Kernel
from mkrpc.instance.moves import Moves
from mkrpc.instance.reply_size import how_many_fit
from mkrpc.instance.resending import last_sent, publication, queue_unresolved_again
from mkrpc.link.endpoint import LinkEnd, check_wire_version
from mkrpc.link.frames import WIRE_VERSION, DownFrame, Hello, Reply, ResolvedRun, UpFrame, Welcome
from mkrpc.link.lease import HeldLease
from mkrpc.link.recovery import SourceBook
from mkrpc.link.source_books import SourceBooks

__all__ = ["MAX_FRAME_VECTORS", "MAX_REPLY_BYTES", "Attachment"]

MAX_FRAME_VECTORS = 2048
"""Vector counts in the accounts of one frame, give or take one CPU's; the rest in the next."""

MAX_REPLY_BYTES: Final = 200 * 1024
"""Replies in one frame, as :mod:`mkrpc.instance.reply_size` reckons them, unless a single reply has
more; the rest in the next."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Attachment:
    """One kernel attached to one interconnect.

    It answers legs by their number on this link. It remembers outcomes, so that a leg that comes
    again is answered and not applied again (design 3.3, rule 2). It reports accounts once no writes
    and outcomes are left to report, so that a frame without ``more`` is a consistent whole.

    Its stream may break and come again. Each :meth:`hello` begins a new generation of the link, in
    which all goes on where it was; what still comes over an older one is ignored and counted in
    ``stale_frames``. ``generation`` is that of the last hello, 0 before the first. ``epoch`` is 0
    until the first welcome, as is ``born``, its roster number. ``books``: of its own writes, as far
    as it knows them to be resolved. Another interconnect may take it over: the link begins afresh.

    Once its lease is over it does nothing any more: every call but :meth:`disconnected` is a
    :class:`FencedError` from then on.
    """

    __slots__ = (
        "_arrivals",
        "_awaits_welcome",
        "_kernel",
        "_lease",
        "_link",
        "_moves",
        "_publication",
        "_replies",
        "_reported",
        "_reporter",
        "_told",
        "_told_books",
        "books",
        "born",
        "connected",
        "epoch",
        "generation",
        "stale_frames",
    )

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._link: LinkEnd[UpFrame, DownFrame] = LinkEnd()
        self._reporter = AccountReporter(kernel)
        self._arrivals = Arrivals(kernel)
        self._moves = Moves(kernel)
        self._reported = 0
        self._publication: deque[UpFrame] = deque()
        self.books = SourceBooks()
        self._told: list[ResolvedRun] = []
        self._told_books: list[SourceBook] = []
        self._replies: list[Reply] = []
        self._lease = HeldLease()
        self.connected = True
        """Frames may pass: by hand from the start, else from a welcome until the link breaks."""
        self._awaits_welcome = False
        self.epoch = self.born = 0
        self.generation = self.stale_frames = 0

    # Time.

    def advance(self, now_us: int) -> None:
        """It is ``now_us``, in microseconds on a clock that never runs backwards.

        The driver says so before everything else that it does here, and at :attr:`deadline_us`.

        :raises FencedError: the lease is over.
        """
        self._lease.advance(now_us)
        self._check_lease()

    @property
    def deadline_us(self) -> int | None:
        """When to call :meth:`advance` at the latest; None for never.

        A beat that is due already waits for :meth:`next_frame` alone.
        """
        return self._lease.deadline_us(beating=self.connected)

    @property
    def stalled(self) -> bool:
        """Nothing has come over this link for too long: give it up, and try another.

        It may be half open, which nobody tells. A hello over a new stream renews the lease.
        """
        return self._lease.stalled

    def beat_answered(self, sent_us: int) -> None:
        """A beat that the driver sent at ``sent_us`` by a way of its own has been answered."""
        self._lease.answered_elsewhere(sent_us)

    @property
    def lease_since_us(self) -> int:
        """Since when the lease runs."""
        return self._lease.since_us

    @property
    def lease_left_us(self) -> int:
        """Microseconds until the lease ends; meaningless before the first welcome."""
        return self._lease.left_us

    def _check_lease(self) -> None:
        if self._lease.over:
            raise self._lease.fenced(self._kernel.config.instance_id)

    # The link comes, breaks and comes again.

    def disconnected(self, generation: int | None = None) -> None:
        """The link of ``generation`` (None: the current one) has broken; an older one: nothing."""
        if generation in (None, self.generation):
            self.connected = self._awaits_welcome = False

    def hello(self, pid: int) -> Hello:
        """The first message of a new link, with the addresses as they are now; from here on nothing
        counts that comes over an older one, whether it is answered or not.

        :raises FencedError: the lease is over.
        """
        self._check_lease()
        self._lease.hello()
        self.connected, self._awaits_welcome = False, True
        self.generation += 1
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
            epoch=self.epoch,
            generation=self.generation - 1,
            received=self._link.received,
            born=self.born,
            roster=kernel.source.roster,
            resolved_below=kernel.source.resolved_below,
            sent=last_sent(kernel),
            moved=self._moves.told(),
            listens=kernel.post.listens,
            deaf=kernel.post.deaf,
            waits_for_sipi=kernel.hotplug.waits_for_sipi,
        )

    def welcome(self, welcome: Welcome) -> None:
        """The answer to a hello; one to an older hello is ignored, or later than its own lease.

        Raises FencedError if the lease is over, ProtocolError for another wire version or epoch, or
        an interconnect that does not know how far this end has got.
        """
        check_wire_version(welcome.wire_version)
        if welcome.generation != self.generation or not self._awaits_welcome:
            self.stale_frames += 1
            return
        self._check_lease()
        if self._lease.too_late_for(welcome.lease_us):
            return
        if self.epoch in (0, welcome.epoch):
            if self.epoch and not welcome.resumed:
                raise ProtocolError("the interconnect takes an attached instance for a new one")
            self._link.resume(welcome.received)
        elif welcome.taken_over and not welcome.received:
            self._begin_again()
        else:
            raise ProtocolError("another interconnect does not know that it takes over")
        self._lease.grant(welcome.lease_us)
        self._kernel.source.told(welcome.roster)
        self._kernel.post.spawn = welcome.born
        if self.epoch in (0, welcome.epoch):
            self._moves.acknowledged(welcome.received)
        else:
            self._moves.taken_over()
        self.epoch = welcome.epoch
        self.born = welcome.born
        self.connected = True
        self._awaits_welcome = False

    def _begin_again(self) -> None:
        """Another interconnect takes over: what the one before was asked or had asked has ended.

        Outcomes that are remembered, sequence numbers and the kernel go on (design 3.3, rule 4).
        """
        kernel = self._kernel
        self._link = LinkEnd()
        self._arrivals.begin_again()
        self._reported = 0
        self._told, self._told_books, self._replies = [], [], []
        kernel.commands.cancel()
        queue_unresolved_again(kernel)
        self._publication = publication(kernel, self.books)
        self._reporter = AccountReporter(kernel)

    # Frames in.

    def receive(self, frame: DownFrame, generation: int | None = None) -> None:
        """Apply a frame, in the order of its fields; a repeated one changes nothing.

        ``generation``: of the link that it came over, None for the current one. One of a link that
        is no more is ignored: what it has is sent again over the newer one.

        Raises FencedError if the lease is over, and ProtocolError, before anything is applied, for
        a frame that leaves a gap, resolves what was never written, answers a beat that was never
        sent, or has columns of unequal length.
        """
        if generation is not None and (generation != self.generation or not self.connected):
            self.stale_frames += 1
            return
        self._check_lease()
        for legs in frame.legs:
            if not len(legs.seqs) == len(legs.words) == len(legs.cpus):
                raise ProtocolError("the columns of the legs differ in length")
        kernel = self._kernel
        if frame.resolved:
            kernel.source.check(frame.resolved)
        self._lease.came()
        if frame.beat:
            self._lease.answered(frame.beat)
        if frame.roster:
            kernel.source.told(frame.roster)
        new = self._link.receive(frame)
        self._moves.acknowledged(frame.ack)
        if not new:
            return
        if frame.floors:
            for floor in frame.floors:
                kernel.outcomes.forget(floor.source, floor.runs)
        self._arrivals.take_messages(frame)
        for legs in frame.legs:
            self._arrivals.apply(legs)
        kernel.settle_frame()
        if frame.resolved or frame.books or self._told:
            self._learn(frame)
        kernel.resume_commands()
        for command in frame.commands:
            reply = kernel.execute(command)
            if reply is not None:
                self._replies.append(reply)
        self._replies += kernel.take_replies()

    def _learn(self, frame: DownFrame) -> None:
        """What is resolved and how it ended count together: nothing that an interconnect which
        takes over is sent again is in the books, and everything else is."""
        self._told += frame.resolved
        self._told_books += frame.books
        if self._told and not frame.partial:
            self._kernel.source.resolve(self._told)
            self.books.add(self._told_books)
            self._told, self._told_books = [], []

    # Programs.

    def run(self, budget: int) -> int:
        """As :meth:`Kernel.advance`, whether the link stands or not. FencedError: no lease."""
        self._check_lease()
        ran = self._kernel.advance(budget)
        if self._kernel.commands.later:
            self._replies += self._kernel.take_replies()
        return ran

    # Frames out.

    def next_frame(self) -> UpFrame | None:
        """The next frame to send; None if there is nothing to say, no window or no link.

        After a resume first what the last link lost, as it was. Raises FencedError if the lease is
        over.

        ``more`` is set while further frames hold what there is to say now: first writes and
        outcomes, then accounts, then replies. A reply therefore comes after all that it could
        depend on.
        """
        self._check_lease()
        if not self.connected:
            return None
        link, kernel = self._link, self._kernel
        if not link.may_send:
            again = link.next_again()
            return self._bare_ack() if again is None else self._add_beat(again)
        if self._publication:
            return self._add_beat(link.stamp(self._publication.popleft()))
        frame = UpFrame()
        if kernel.events:
            frame.events = kernel.take_events(FRAME_EVENTS)
        self._arrivals.take(frame)
        frame.resolved = kernel.source.take_publication()
        frame.more = bool(kernel.events or self._arrivals.pending)
        if not frame.more:
            frame.accounts, frame.more = self._reporter.take(MAX_FRAME_VECTORS)
        if self._replies and not frame.more:
            frame.replies = self._take_replies()
            frame.more = bool(self._replies)
        content = frame.events or frame.accounts or frame.resolved or frame.replies or frame.taken
        if not (content or frame.listens) and frame.applied == self._reported:
            return self._bare_ack()
        self._reported = frame.applied
        self._moves.sent(link.stamp(frame))
        return self._add_beat(frame)

    def _bare_ack(self) -> UpFrame | None:
        if not self._link.ack_due and not self._lease.beat_due:
            return None
        return self._add_beat(self._link.stamp_ack(UpFrame(applied=self._reported)))

    def _add_beat(self, frame: UpFrame) -> UpFrame:
        frame.beat = self._lease.beat() if self._lease.beat_due else 0
        return frame

    def _take_replies(self) -> list[Reply]:
        fitting = how_many_fit(self._replies, MAX_REPLY_BYTES)
        taken, self._replies = self._replies[:fitting], self._replies[fitting:]
        return taken
