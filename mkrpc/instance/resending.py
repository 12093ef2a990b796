"""What an instance says first to an interconnect that takes over (design 3.3, rule 4; 3.4)."""

from collections import deque
from itertools import islice

from mkrpc.instance.kernel import FRAME_EVENTS, Event, Kernel
from mkrpc.link.frames import CpuAddress, SettledWrite, UpFrame, Writes
from mkrpc.link.messages import Message
from mkrpc.link.recovery import MAX_FRAME_BOOKS
from mkrpc.link.source import Unresolved
from mkrpc.link.source_books import SourceBooks

__all__ = [
    "MAX_FRAME_ARBITRATED",
    "last_sent",
    "publication",
    "queue_unresolved_again",
]

MAX_FRAME_ARBITRATED = 2048
"""Arbitrated writes in one frame; the rest in the next."""


def last_sent(kernel: Kernel) -> int:
    """The highest sequence number that was ever put into a frame; 0 for none.

    The queue of events is in their order, but for what is sent again, which is stamped.
    """
    for event in kernel.events:
        if not isinstance(event, CpuAddress | Message) and not event.stamp:
            return (event.first_seq if isinstance(event, Writes) else event.seq) - 1
    return kernel.source.written


def publication(kernel: Kernel, books: SourceBooks) -> deque[UpFrame]:
    """The frames to begin with: the source's books, and which lowest-priority writes were applied
    here. The last, which may be empty, says that this was all."""
    frames: deque[UpFrame] = deque()
    rows = iter(books)
    while chunk := list(islice(rows, MAX_FRAME_BOOKS)):
        frames.append(UpFrame(books=chunk, more=True))
    writes = kernel.outcomes.arbitrated()
    while some := list(islice(writes, MAX_FRAME_ARBITRATED)):
        frames.append(UpFrame(arbitrated=some, more=True))
    frames.append(UpFrame(recovered=True, more=True))
    return frames


def queue_unresolved_again(kernel: Kernel) -> None:
    """Put what is unresolved, of all that was ever sent, before what was not: both in their order.

    Messages that are not settled come first of all, so that none is behind its doorbell.
    Nobody waits any more for the commands that asked for writes. Changes of address stay: the hello
    has them as they are now, and so they end.
    """
    last = last_sent(kernel)
    fresh: list[Event] = []
    for event in kernel.events:
        match event:
            case Writes() if not event.stamp:
                fresh.append(Writes(event.cpu, event.first_seq, event.words))
            case SettledWrite() if not event.stamp:
                fresh.append(SettledWrite(event.cpu, event.seq, event.word, event.outcome))
            case CpuAddress():
                fresh.append(event)
    again: list[Event] = [*kernel.post.again()]
    kernel.post.begin_again()
    for write in kernel.source.unresolved(last):
        _append(again, write)
    kernel.events = again + fresh


def _append(events: list[Event], write: Unresolved) -> None:
    """One more write of those that are sent again, with those before it if they are alike."""
    stamp = max(1, write.stamp)  # 0 is for what is not sent again
    if write.outcome is not None:
        events.append(SettledWrite(write.cpu, write.seq, write.word, write.outcome, stamp=stamp))
        return
    last = events[-1] if events else None
    if (
        isinstance(last, Writes)
        and (last.cpu, last.stamp) == (write.cpu, stamp)
        and last.first_seq + len(last.words) == write.seq
        and len(last.words) < FRAME_EVENTS
    ):
        last.words.append(write.word)
    else:
        events.append(Writes(write.cpu, write.seq, [write.word], stamp=stamp))
