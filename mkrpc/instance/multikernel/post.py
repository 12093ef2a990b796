"""An instance's messages by way of the interconnect: sent and not settled, come and not taken.

Exactly once: within one interconnect's life the frames of a link are, and one that takes over is
sent again what is not settled; a receiver knows up to which number it has had the messages of an
incarnation. In order, since the links are and a window is a queue.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from errno import ENOSPC
from typing import TYPE_CHECKING

from mkrpc.errors import LimitReachedError, ProtocolError
from mkrpc.instance.config import takes_messages
from mkrpc.instance.multikernel.mk_message import MkType
from mkrpc.instance.printk import KERN_WARNING
from mkrpc.link.memory import MAX_SOURCES
from mkrpc.link.messages import (
    MAX_FRAME_MESSAGES,
    MAX_QUEUED_MESSAGES,
    MESSAGE_WINDOW,
    Arrival,
    Doorbell,
    Message,
    SettledMessages,
    Taken,
)
from mkrpc.outcome import Outcome

if TYPE_CHECKING:
    from mkrpc.instance.kernel import Kernel

__all__ = ["MAX_WATCHED", "Post", "Sent"]

MAX_WATCHED = 1024
"""Messages of clients whose fate is kept; of the oldest beyond, nobody knows any more."""


@dataclass(slots=True)
class Sent:
    """To one target. ``last``: number of the latest; ``unsettled``: with the roster number that was
    known when each was made; ``outcomes``: of the others."""

    last: int = 0
    unsettled: deque[tuple[Message, int]] = field(default_factory=deque)
    outcomes: dict[Outcome, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Had:
    """From one incarnation: numbers up to which messages have come, and have been taken."""

    arrived: int = 0
    taken: int = 0


class Post:
    """Of one kernel. ``sent``: by target. ``doorbells``: by instance the APIC id of the CPU to
    ring. ``spawn``: the number of this life of the instance; no other life of anybody has it.
    ``listens``: it takes messages, and the interconnect is to tell where the others are rung."""

    __slots__ = (
        "_due",
        "_had",
        "_inbox",
        "_kernel",
        "_listening_told",
        "_older",
        "_rung",
        "_watched",
        "doorbells",
        "listens",
        "sent",
        "spawn",
    )

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel
        self._inbox: deque[Arrival] = deque()
        self._older = 0
        """How many of these came from earlier interconnects, which this one may not know of."""
        self._had: OrderedDict[bytes, _Had] = OrderedDict()
        self._due: dict[bytes, None] = {}
        self.sent: dict[int, Sent] = {}
        self.doorbells: dict[int, int] = {}
        self._rung: dict[int, int] = {}
        self._watched: OrderedDict[tuple[int, int], Outcome | None] = OrderedDict()
        self.spawn = 0
        self.listens = self._listening_told = False

    @property
    def deaf(self) -> bool:
        """No message can come: the kernel takes no multikernel interrupt."""
        return not takes_messages(self._kernel.config)

    # Who is rung where.

    def listen(self, doorbells: Iterable[Doorbell]) -> None:
        """From now on it takes messages. ``doorbells``: what its configuration says, which was
        true when it booted: what it has been told since counts more."""
        self.listens = True
        for instance, apic_id in doorbells:
            if instance not in self.doorbells and apic_id not in self._rung:
                self._learn(instance, apic_id)

    def take_listening(self) -> bool:
        """Whether the interconnect is to be told that it listens: once, a hello tells it too."""
        if self._listening_told or not self.listens:
            return False
        self._listening_told = True
        return True

    def told_of(self, doorbells: Iterable[Doorbell]) -> None:
        """The interconnect tells where others are rung."""
        for instance, apic_id in doorbells:
            self._learn(instance, apic_id)

    def _learn(self, instance: int, apic_id: int) -> None:
        other = self._rung.get(apic_id)
        if other is not None:
            del self.doorbells[other]
        before = self.doorbells.get(instance)
        if before is not None:
            self._rung.pop(before, None)
        self.doorbells[instance], self._rung[apic_id] = apic_id, instance

    # As a source.

    def outstanding(self, target: int) -> int:
        """Messages to it that are not settled."""
        sent = self.sent.get(target)
        return len(sent.unsettled) if sent is not None else 0

    def send(self, target: int, ipi_type: int, data: bytes) -> int:
        """Queue it for the link, in order with the ICR writes: 0, or -ENOSPC."""
        sent = self.sent.setdefault(target, Sent())
        if len(sent.unsettled) >= MESSAGE_WINDOW:
            return -ENOSPC
        sent.last += 1
        message = Message(target, sent.last, ipi_type, data)
        sent.unsettled.append((message, self._kernel.source.roster))
        self._kernel.events.append(message)
        return 0

    def settle(self, settled: Iterable[SettledMessages]) -> None:
        """The interconnect knows what became of some. One that takes over may tell it again."""
        for each in settled:
            sent = self.sent.get(each.target)
            if sent is None or each.last > sent.last:
                raise ProtocolError(f"messages to instance {each.target} that were never sent")
            gone = [m for m, _ in sent.unsettled if each.first <= m.seq <= each.last]
            for message in gone if self._watched else ():
                if (each.target, message.seq) in self._watched:
                    self._watched[each.target, message.seq] = each.outcome
            sent.unsettled = deque(
                kept for kept in sent.unsettled if not each.first <= kept[0].seq <= each.last
            )
            sent.outcomes[each.outcome] = sent.outcomes.get(each.outcome, 0) + len(gone)

    def watch(self, target: int, seq: int) -> None:
        """:meth:`fate` will be asked of this one, which is not settled yet."""
        self._watched[target, seq] = None
        while len(self._watched) > MAX_WATCHED:
            self._watched.popitem(last=False)

    def fate(self, target: int, seq: int) -> str:
        """Of a message that is watched: ``waiting``, ``taken``, or how else it ended."""
        outcome = self._watched.get((target, seq))
        if outcome is None:
            return "waiting" if (target, seq) in self._watched else "unknown"
        return "taken" if outcome is Outcome.DELIVERED else outcome.text

    def again(self) -> list[Message]:
        """What another interconnect must be sent: all that is not settled, in its order."""
        return [
            Message(m.target, m.seq, m.ipi_type, m.data, max(1, made))
            for sent in self.sent.values()
            for m, made in sent.unsettled
        ]

    # As a destination.

    def arrived(self, arrivals: Iterable[Arrival]) -> None:
        """Messages have come; what has been here before is only answered again."""
        for each in arrivals:
            had = self._had.setdefault(each.source, _Had())
            self._had.move_to_end(each.source)
            if each.seq <= had.arrived:
                self._due[each.source] = None
                continue
            if len(self._inbox) - self._older >= MAX_QUEUED_MESSAGES:
                raise ProtocolError(f"more than {MAX_QUEUED_MESSAGES} messages to take")
            had.arrived = each.seq
            self._learn(each.sender, each.doorbell)
            self._inbox.append(each)
            if each.ipi_type == MkType.MK_MSG_SYSTEM:
                self._look_for_the_kernel()
        excess = len(self._had) - MAX_SOURCES
        if excess > 0:
            for source in self._done_with()[:excess]:
                del self._had[source]

    def _done_with(self) -> list[bytes]:
        """Incarnations that nothing of waits to be taken or to be told, longest silent first."""
        return [
            source
            for source, had in self._had.items()
            if had.taken == had.arrived and source not in self._due
        ]

    def _look_for_the_kernel(self) -> None:
        """It is for the kernel itself, whether anything in it has asked for messages or not."""
        kernel = self._kernel
        if self.deaf:
            return
        try:
            assert kernel.multikernel is not None
        except LimitReachedError as error:
            kernel.log.emit(KERN_WARNING, f"a message for this kernel: {error}", 0)

    @property
    def waiting(self) -> bool:
        """Whether something has come and was not taken."""
        return bool(self._inbox)

    def take(self) -> Arrival | None:
        """The oldest that has come; the interconnect will be told that it was taken."""
        if not self._inbox:
            return None
        message = self._inbox.popleft()
        self._older = max(0, self._older - 1)
        self._had[message.source].taken = message.seq
        self._due[message.source] = None
        return message

    def report(self) -> list[Taken]:
        """What has been taken since the last report."""
        if not self._due:
            return []
        chosen = list(self._due)[:MAX_FRAME_MESSAGES]
        for source in chosen:
            del self._due[source]
        return [Taken(each, self._had[each].taken) for each in chosen]

    def begin_again(self) -> None:
        """Another interconnect takes over: it has not heard what was taken."""
        self._older = len(self._inbox)
        self._due = dict.fromkeys(self._had)
