"""One end of a link: frame numbers, cumulative acknowledgement and the window of frames."""

import copy
from collections import deque
from typing import Final, Generic, Protocol, TypeVar

from mkrpc.errors import ProtocolError
from mkrpc.link.frames import WIRE_VERSION

__all__ = ["ACK_EVERY", "FRAME_WINDOW", "LinkEnd", "Numbered", "check_wire_version"]

FRAME_WINDOW: Final = 64
"""Frames with content that may be unacknowledged; what comes then waits in its own queue."""

ACK_EVERY: Final = 16
"""Frames with content after which an acknowledgement goes out even alone.

A quarter of the window, so that a peer that sends and hears nothing else never comes to a stop.
"""


def check_wire_version(theirs: int) -> None:
    """Refuse a peer that speaks another wire version.

    :raises ProtocolError: naming both versions.
    """
    if theirs != WIRE_VERSION:
        raise ProtocolError(
            f"the peer speaks wire version {theirs}, this end speaks {WIRE_VERSION}",
            advice="run the same release of mkrpc on both sides",
        )


class Numbered(Protocol):
    """What carries frame numbers: an UpFrame or a DownFrame."""

    frame: int
    ack: int


SentT = TypeVar("SentT", bound=Numbered)
ReceivedT = TypeVar("ReceivedT", bound=Numbered)


class LinkEnd(Generic[SentT, ReceivedT]):
    """Both directions of one end.

    Frames with content are numbered 1, 2, … and kept until the peer has acknowledged them, so that
    they can be sent again over a new connection. A bare acknowledgement has number 0 and is never
    acknowledged itself. A received number at or below the highest one is a duplicate; one that
    leaves a gap is a :class:`ProtocolError`, since the transport is ordered and lossless.

    Numbers go on over every connection of one incarnation: after :meth:`resume` the frames that the
    peer lacks come first, by :meth:`next_again`, and what is new after them.
    """

    __slots__ = ("_acked_to_peer", "_again", "_received", "_sent", "_unacknowledged")

    def __init__(self) -> None:
        self._sent = 0
        self._received = 0
        self._acked_to_peer = 0
        self._again = 1
        self._unacknowledged: deque[SentT] = deque()

    @property
    def may_send(self) -> bool:
        """Whether a new frame with content may go out: it fits into the window, and nothing that
        the last connection lost is still to be sent again."""
        return self._again > self._sent and len(self._unacknowledged) < FRAME_WINDOW

    @property
    def ack_due(self) -> bool:
        """Whether an acknowledgement should go out now, even alone."""
        return self._received - self._acked_to_peer >= ACK_EVERY

    @property
    def unacknowledged(self) -> tuple[SentT, ...]:
        """Frames with content that the peer has not acknowledged, oldest first."""
        return tuple(self._unacknowledged)

    @property
    def received(self) -> int:
        """The highest frame number received."""
        return self._received

    def stamp(self, frame: SentT) -> SentT:
        """Give a frame with content its number and acknowledgement, and retain it."""
        assert self.may_send, "the frame window is full, or frames are still to be sent again"
        self._sent = number = self._sent + 1
        self._again = number + 1
        frame.frame = number
        frame.ack = self._acked_to_peer = self._received
        self._unacknowledged.append(frame)
        return frame

    def stamp_ack(self, frame: SentT) -> SentT:
        """Put only the acknowledgement on a frame; alone on one without content (number 0)."""
        frame.ack = self._acked_to_peer = self._received
        return frame

    def resume(self, peer_received: int) -> None:
        """A new connection, over which the peer says how far it has received.

        What it has is let go; the rest waits for :meth:`next_again`.

        :raises ProtocolError: it says more than was sent, or less than it has acknowledged. Nothing
            has changed then.
        """
        oldest = self._sent - len(self._unacknowledged)
        if not oldest <= peer_received <= self._sent:
            raise ProtocolError(
                f"the peer has received {peer_received} frames, it says; {self._sent} were sent "
                f"and {oldest} acknowledged"
            )
        while self._unacknowledged and self._unacknowledged[0].frame <= peer_received:
            self._unacknowledged.popleft()
        self._again = peer_received + 1
        self._acked_to_peer = self._received

    def next_again(self) -> SentT | None:
        """The next frame to send again after :meth:`resume`, oldest first; None for no more.

        A copy with an acknowledgement of now: the one that was sent first may still be under way.
        """
        if self._again > self._sent:
            return None
        index = self._again - self._unacknowledged[0].frame
        self._again += 1
        return self.stamp_ack(copy.copy(self._unacknowledged[index]))

    def receive(self, frame: ReceivedT) -> bool:
        """Take note of a frame from the peer. True: its content is new and must be applied.

        False for a duplicate and for a bare acknowledgement, which have nothing to apply.

        :raises ProtocolError: the number leaves a gap, or the acknowledgement names a frame that
            was never sent. Nothing has changed then.
        """
        number, ack = frame.frame, frame.ack
        if not 0 <= ack <= self._sent:
            raise ProtocolError(f"frame {ack} is acknowledged, {self._sent} were sent")
        if number < 0 or number > self._received + 1:
            raise ProtocolError(f"frame {number} came after frame {self._received}")
        unacknowledged = self._unacknowledged
        while unacknowledged and unacknowledged[0].frame <= ack:
            unacknowledged.popleft()
        if ack >= self._again:
            self._again = ack + 1
        if number <= self._received:
            return False
        self._received = number
        return True
