"""The default channel of a kernel that is part of a cluster: ``cpu.kernel.multikernel``.

Link rings in the memory that two instances of one host share, found through the kernel's windows;
where there is none, because the other is on another host, or the mapping failed, or by
``links = "interconnect"``, messages go through the interconnect beside the doorbell. Which way a
message takes is decided by what was loaded from memory, message by message; an instance that has
messages under way through the interconnect does not change over before they are settled, so that
none is overtaken.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ENOSPC
from typing import TYPE_CHECKING, ClassVar

from mkrpc.instance.instructions import Load, Nop
from mkrpc.instance.link_windows import (
    DOORS,
    LEFT_OFFSET,
    LIVES_OFFSET,
    WINDOW_BYTES,
)
from mkrpc.instance.memory import WINDOWS_BASE
from mkrpc.instance.multikernel.channel import Delivery, Steps
from mkrpc.instance.multikernel.channels.link_rings import EPOCH_OFFSET, LinkRings
from mkrpc.instance.multikernel.cpu_hotplug import CpuHotplug
from mkrpc.instance.multikernel.ipi import MultikernelIpi
from mkrpc.instance.multikernel.messages import MkMessages
from mkrpc.instance.multikernel.requests import MAX_SPAWN
from mkrpc.limits import MAX_INSTANCE_ID
from mkrpc.link.messages import MAX_MESSAGE_BYTES, Doorbell

if TYPE_CHECKING:
    from mkrpc.instance.config import KernelConfig
    from mkrpc.instance.kernel import Kernel
    from mkrpc.instance.memory import SharedMemory

__all__ = ["LinkCounts", "LiveLinks", "Multikernel"]

_DOOR = WINDOWS_BASE + DOORS * WINDOW_BYTES
_BITMAP_WORDS = (MAX_INSTANCE_ID + 64) // 64


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
    """See the module. ``counts``: by instance."""

    name: ClassVar[str] = "live-links"

    def __init__(self, kernel: "Kernel") -> None:
        super().__init__(
            range(MAX_INSTANCE_ID + 1),
            own=kernel.config.instance_id,
            base=WINDOWS_BASE,
            max_data=MAX_MESSAGE_BYTES,
        )
        self._post = kernel.post
        memory = kernel.memory
        self._shares = (
            memory is not None and memory.windows is not None and kernel.config.links == "memory"
        )
        self._others = []
        self._visitors = 0
        self._epochs: dict[int, int] = {}
        self._touching = False
        self.counts: dict[int, LinkCounts] = {}

    def fits(self, memory: "SharedMemory | None") -> bool:
        """It needs none."""
        return True

    def send(self, target: int, ipi_type: int, data: bytes) -> Steps[int]:
        """Into the ring if there is one, else through the interconnect. -ENOSPC."""
        counts = self._counts(target)
        if self._shares and not self._post.outstanding(target):
            while self._touching:
                yield Nop()
            with self._alone():
                if (yield from self._look(target)):
                    result = yield from super().send(target, ipi_type, data)
                    if result == 0:
                        counts.sent += 1
                        return 0
                    lives: int = yield Load(self._link(self.own, target) + LIVES_OFFSET)
                    if lives:
                        counts.full += 1
                        return result
        result = self._post.send(target, ipi_type, data)
        counts.posted += result == 0
        counts.full += result == -ENOSPC
        return result

    def receive(self) -> Steps[Delivery | None]:
        """What has come through the interconnect, then the rings in turn."""
        arrival = self._post.take()
        if arrival is not None:
            self._counts(arrival.sender).collected += 1
            return Delivery(arrival.sender, arrival.ipi_type, arrival.data)
        if not self._shares:
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
        self._messages: MkMessages | None = None
        self._hotplug: CpuHotplug | None = None

    @property
    def messages(self) -> MkMessages:
        """The message layer; from the first time on it has the five types of messages."""
        if self._messages is None:
            self._messages = MkMessages(self, spawn=self.kernel.post.spawn & MAX_SPAWN)
        return self._messages

    @property
    def hotplug(self) -> CpuHotplug:
        """CPUs by request; from the first time on this kernel answers to MK_MSG_RESOURCE."""
        if self._hotplug is None:
            self._hotplug = CpuHotplug(self.messages)
        return self._hotplug

    def doorbell_of(self, instance: int) -> int | None:
        """As the topology says, until the interconnect or the instance itself has told."""
        return self.kernel.post.doorbells.get(instance)


def _doorbells(config: "KernelConfig") -> list[Doorbell]:
    """Of ``0=0,1=2``: APIC ids by instance id."""
    pairs = (each.partition("=") for each in config.doorbells.split(",") if each)
    known = [Doorbell(int(instance), int(apic_id)) for instance, _, apic_id in pairs]
    return [each for each in known if each.instance != config.instance_id]
