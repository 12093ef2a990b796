"""An attached instance as a source: which of its sequence numbers have come, and are resolved."""

from mkrpc.errors import ProtocolError
from mkrpc.interconnect.messages import MessageBox
from mkrpc.link.frames import Hello
from mkrpc.link.runs import RunSet
from mkrpc.link.source import HARD_WRITE_WINDOW

__all__ = ["SourceSide"]


class SourceSide:
    """Sequence numbers run on without a gap.

    Save for one that is taken over from an earlier interconnect: it sends again only what is not
    resolved, in order, and then what is new. What it leaves out up to there is resolved.
    """

    def __init__(self, hello: Hello, *, taken_over: bool) -> None:
        self.last_seq = 0
        """The highest sequence number received: what this source has written."""
        self.resolved = RunSet()
        self.recovering = taken_over
        """It was attached to an earlier interconnect, and has not said all that it knows."""
        self._sent_before = 0
        """What it had sent to earlier interconnects has numbers up to here, ..."""
        self._gaps = taken_over
        """... and what it does not send again is resolved, until it sends something new."""
        self.box = MessageBox()
        if taken_over:
            self._take_over(hello)

    @property
    def unsettled(self) -> int:
        """Own writes that have legs without an outcome."""
        return self.last_seq - len(self.resolved)

    @property
    def sends_again(self) -> bool:
        """Whether writes may still come that an earlier interconnect has had."""
        return self._gaps

    def _take_over(self, hello: Hello) -> None:
        if not 1 <= hello.resolved_below <= hello.sent + 1:
            raise ProtocolError(
                f"all writes below {hello.resolved_below} are resolved, it says, of {hello.sent}"
            )
        self._sent_before = hello.sent
        self.last_seq = hello.resolved_below - 1
        if self.last_seq:
            self.resolved.add_run(1, self.last_seq)

    @property
    def highest_seq(self) -> int:
        """The highest sequence number that this source has used, as far as is known."""
        return max(self.last_seq, self._sent_before)

    def take_seqs(self, first: int, count: int, *, stamp: int) -> None:
        """The next ``count`` sequence numbers have come in, again if there is a ``stamp``.

        :raises ProtocolError: they do not follow the last one.
        """
        expected = self.last_seq + 1
        if self._gaps:
            end = self._sent_before + 1
            in_place = expected <= first <= end - count if stamp else first == end
            self._gaps = bool(stamp)
        else:
            in_place = first == expected and not stamp
        if not in_place:
            again = " again" if stamp else ""
            raise ProtocolError(f"write {first} came{again} after write {self.last_seq}")
        if first > expected:
            self.resolved.add_run(expected, first - 1)
        self.last_seq = first + count - 1

    def knows_resolved(self, first: int, last: int) -> bool:
        """Whether these writes can be resolved. Of what is not sent again nothing else is known."""
        if first <= self._sent_before:
            first = self._sent_before + 1
        return first > last or self.resolved.covers(first, last)

    def check_window(self) -> None:
        """The source's own window, asserted here too.

        :raises ProtocolError: it has more writes outstanding than it may.
        """
        if self.unsettled > HARD_WRITE_WINDOW:
            raise ProtocolError(
                f"{self.unsettled} writes are outstanding, the window is {HARD_WRITE_WINDOW}"
            )
