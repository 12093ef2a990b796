"""The default channel of a kernel that is part of a cluster: ``cpu.kernel.multikernel``.

Messages lie in link rings, in the memory that two instances of one host share, found through the
kernel's windows. They go through the interconnect, beside the doorbell, where there is no such
memory: the other is on another host, the mapping failed, or ``links = "interconnect"``. Which way a
message takes is decided for each by what was loaded from memory. An instance that has messages
under way through the interconnect does not change over before they are settled, so that none is
overtaken.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from errno import ENOSPC
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from mkrpc.instance.instructions import Load, Nop
from mkrpc.instance.link_windows import (
    DOORS,
    LEFT_OFFSET,
    LISTENS_OFFSET,
    LIVES_OFFSET,
    WINDOW_BYTES,
)
from mkrpc.instance.memory import WINDOWS_BASE
from mkrpc.instance.multikernel.channel import Delivery, Steps
from mkrpc.instance.multikernel.channels.link_rings import EPOCH_OFFSET, LinkRings, unread
from mkrpc.instance.multikernel.cpu_hotplug import CpuHotplug
from mkrpc.instance.multikernel.ipi import MultikernelIpi
from mkrpc.instance.multikernel.messages import MkMessages
from mkrpc.instance.multikernel.mk_message import MkType
from mkrpc.instance.multikernel.requests import MAX_SPAWN
from mkrpc.instance.multikernel.shutdown import shut_down_when_asked
from mkrpc.limits import MAX_INSTANCE_ID
from mkrpc.link.messages import MAX_MESSAGE_BYTES, Doorbell

if TYPE_CHECKING:
    from mkrpc.instance.config import KernelConfig
    from mkrpc.instance.cpu import Cpu
    from mkrpc.instance.kernel import Kernel
    from mkrpc.instance.memory import SharedMemory

__all__ = ["LinkCounts", "LiveLinks", "Multikernel", "Sent", "Way"]

_DOOR = WINDOWS_BASE + DOORS * WINDOW_BYTES
_BITMAP_WORDS = (MAX_INSTANCE_ID + 64) // 64


class Way(StrEnum):
    """That a message took."""

    MEMORY = "memory"
    INTERCONNECT = "interconnect"


class Sent(NamedTuple):
    """A message that was sent: by which way, and the how many-th of its target that way."""

    way: Way
    number: int


@dataclass(slots=True)
class LinkCounts:
    """With one other instance: ``sent`` and ``received`` over shared memory, ``full``: sends that
    found no place, ``left``: sent to an incarnation that ended before it read them,
    ``posted`` and ``collected``: through the interconnect."""

    sent: int = 0
    received: int = 0
    full: int = 0
    left: int = 0
    posted: int = 0
    collected: int = 0


class LiveLinks(LinkRings):
    """See the module. ``shares``: memory, with anybody. ``counts``: by instance. ``latest``: by
    target the last that was sent."""

    name: ClassVar[str] = "live-links"

    def __init__(self, kernel: "Kernel") -> None:
        super().__init__(
            range(MAX_INSTANCE_ID + 1),
            own=kernel.config.instance_id,
            base=WINDOWS_BASE,
            max_data=MAX_MESSAGE_BYTES,
        )
        self._post = kernel.post
        self._memory = memory = kernel.memory
        self.shares = (
            memory is not None and memory.windows is not None and kernel.config.links == "memory"
        )
        self._others = []
        self._visitors = 0
        self._epochs: dict[int, int] = {}
        self._before: dict[int, int] = {}
        """By instance: how many had been sent to incarnations before the one that is there now."""
        self.latest: dict[int, Sent] = {}
        self._touching = False
        self.counts: dict[int, LinkCounts] = {}

    def fits(self, memory: "SharedMemory | None") -> bool:
        """It needs none."""
        return True

    def send(self, target: int, ipi_type: int, data: bytes) -> Steps[int]:
        """Into the ring if there is one, else through the interconnect. -ENOSPC."""
        counts = self._counts(target)
        if self.shares and not self._post.outstanding(target):
            while self._touching:
                yield Nop()
            with self._alone():
                if (yield from self._look(target)) and (yield from self._reads(target, ipi_type)):
                    result = yield from super().send(target, ipi_type, data)
                    if result == 0:
                        counts.sent += 1
                        self.latest[target] = Sent(Way.MEMORY, counts.sent)
                        return 0
                    lives: int = yield Load(self._link(self.own, target) + LIVES_OFFSET)
                    if lives:
                        counts.full += 1
                        return result
        result = self._post.send(target, ipi_type, data)
        if result == 0:
            counts.posted += 1
            self.latest[target] = Sent(Way.INTERCONNECT, self._post.sent[target].last)
        counts.full += result == -ENOSPC
        return result

    def fate(self, way: Way, target: int, number: int) -> str:
        """``waiting``, ``taken``, or how else it ended: an outcome, or ``left`` in the ring of an
        incarnation that has ended, which may have taken it or not."""
        if way is Way.INTERCONNECT:
            return self._post.fate(target, number)
        memory, link = self._memory, self._link(self.own, target)
        assert memory is not None, "it was sent over memory"
        if memory.load(link + EPOCH_OFFSET, 8) != self._epochs.get(target, 0):
            return "left"
        if number <= self._before.get(target, 0) or not memory.load(link + LIVES_OFFSET, 8):
            return "left"
        in_ring = unread(
            lambda offset, size: memory.load(link + offset, size),
            max_data=self.max_data,
            to_parent=self.own > target,
        )
        return "waiting" if number > self._counts(target).sent - in_ring else "taken"

    def has_anything(self) -> bool:
        """Whether there may be something to take; a look at what :meth:`receive` would load."""
        if self._post.waiting or self._touching:
            return True
        memory = self._memory
        if not self.shares or memory is None:
            return False
        if memory.load(_DOOR, 8) != self._visitors:
            return True
        for sender in self._others:
            link = self._link(self.own, sender)
            epoch = memory.load(link + EPOCH_OFFSET, 8)
            if epoch and (epoch != self._epochs.get(sender, 0) or self._is_ready(sender, epoch)):
                return True
        return False

    def _is_ready(self, sender: int, epoch: int) -> bool:
        assert self._memory is not None, "it was looked at"
        return bool(self._memory.load(self._next_slot(sender, epoch), 4))

    def _reads(self, target: int, ipi_type: int) -> Steps[bool]:
        """Whether it is for the ring: what is for the kernel itself is not laid into one of a
        kernel that has never looked into any. The interconnect makes it look."""
        if ipi_type != MkType.MK_MSG_SYSTEM:
            return True
        listens: int = yield Load(self._link(self.own, target) + LISTENS_OFFSET)
        return bool(listens)

    def receive(self) -> Steps[Delivery | None]:
        """What has come through the interconnect, then the rings in turn."""
        arrival = self._post.take()
        if arrival is not None:
            self._counts(arrival.sender).collected += 1
            return Delivery(arrival.sender, arrival.ipi_type, arrival.data)
        if not self.shares:
            return None
        while self._touching:
            yield Nop()
        with self._alone():
            yield from self._greet()
            for _ in self._others:
                sender = self._others[self._turn % len(self._others)]
                self._turn = (self._turn + 1) % len(self._others)
                if (yield from self._look(sender)):
                    taken = yield from self._receive_from(sender)
                    if taken is not None:
                        self._counts(sender).received += 1
                        return taken
        return None

    def _look(self, other: int) -> Steps[int]:
        """The epoch of a link, 0 if there is none: here it is mapped, or mapped anew."""
        link = self._link(self.own, other)
        epoch: int = yield Load(link + EPOCH_OFFSET)
        if epoch != self._epochs.get(other, 0):
            self._epochs[other] = epoch
            self._before[other] = self._counts(other).sent
            left: int = yield Load(link + LEFT_OFFSET)
            self._counts(other).left += left
        return epoch

    def _greet(self) -> Steps[None]:
        """Whoever has opened a link is looked for messages from now on."""
        visitors: int = yield Load(_DOOR)
        if visitors == self._visitors:
            return
        self._visitors = visitors
        for word in range(_BITMAP_WORDS):
            bits: int = yield Load(_DOOR + 8 + 8 * word)
            for bit in range(64):
                if bits >> bit & 1 and 64 * word + bit not in self._others:
                    self._others.append(64 * word + bit)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other CPU of this kernel uses the windows meanwhile: they may be mapped anew."""
        self._touching = True
        try:
            yield
        finally:
            self._touching = False

    def _counts(self, other: int) -> LinkCounts:
        return self.counts.setdefault(other, LinkCounts())

    def _link(self, one: int, other: int) -> int:
        return self.base + (other if one == self.own else one) * WINDOW_BYTES


class Multikernel(MultikernelIpi):
    """The framework of a kernel in a cluster, over :class:`LiveLinks`; made when it is first asked
    for, as :attr:`mkrpc.instance.kernel.Kernel.multikernel`. ``links``: its channel."""

    def __init__(self, kernel: "Kernel") -> None:
        self.links = LiveLinks(kernel)
        super().__init__(kernel, self.links, doorbells={})
        kernel.post.listen(_doorbells(kernel.config))
        if self.links.shares:
            assert kernel.memory is not None, "it is shared"
            kernel.memory.store(_DOOR + LISTENS_OFFSET, 1, 8)
        self._system: MkMessages | None = None
        self._hotplug: CpuHotplug | None = None

    @property
    def system(self) -> MkMessages:
        """The message layer as far as a kernel needs it for itself: MK_MSG_SYSTEM.

        AlreadyExistsError if that type has another handler.
        """
        if self._system is None:
            self._system = MkMessages(
                self,
                spawn=self.kernel.post.spawn & MAX_SPAWN,
                types=(MkType.MK_MSG_SYSTEM,),
                defaults={MkType.MK_MSG_SYSTEM: shut_down_when_asked(lambda: self.system)},
            )
        return self._system

    @property
    def messages(self) -> MkMessages:
        """The message layer; from the first time on it has the five types of messages."""
        return self.layer(*MkType)

    def layer(self, *types: MkType) -> MkMessages:
        """The message layer with these types at least. AlreadyExistsError."""
        self.system.cover(types)
        return self.system

    def unhandled(self, ipi_type: int) -> None:
        """Where nobody else answers to MK_MSG_SYSTEM, the kernel does."""
        if ipi_type == MkType.MK_MSG_SYSTEM:
            self.system.cover(())

    def interrupt(self, cpu: "Cpu") -> Steps[None] | None:
        """A doorbell that finds nothing costs one instruction, as with no framework: what rings for
        the sake of the interrupt alone is coalesced no more than there."""
        if self.links.has_anything():
            return super().interrupt(cpu)
        self.interrupts += 1
        return None

    @property
    def hotplug(self) -> CpuHotplug:
        """CPUs by request; from the first time on this kernel answers to MK_MSG_RESOURCE."""
        if self._hotplug is None:
            self._hotplug = CpuHotplug(self.layer(MkType.MK_MSG_RESOURCE))
        return self._hotplug

    def doorbell_of(self, instance: int) -> int | None:
        """As the topology says, until the interconnect or the instance itself has told."""
        return self.kernel.post.doorbells.get(instance)


def _doorbells(config: "KernelConfig") -> list[Doorbell]:
    """Of ``0=0,1=2``: APIC ids by instance id."""
    pairs = (each.partition("=") for each in config.doorbells.split(",") if each)
    known = [Doorbell(int(instance), int(apic_id)) for instance, _, apic_id in pairs]
    return [each for each in known if each.instance != config.instance_id]
