"""G5, the default: for every link two rings, each with one producer and one consumer.

A link joins a parent (the lower instance id) and a child: {u32 parent_id, u32 child_id, u64
spawn_epoch, to_parent, to_child}. A ring has 16 slots: {u32 ready, u32 type, u64 epoch, u64
data_size, buffer}. A producer waits for a slot that is not ready, fills it and sets ready last; the
consumer clears it when it has copied. Each side keeps its index for itself.

A sender is known by its ring and cannot claim to be somebody else. One that dies between two stores
leaves nothing but its own rings behind. A re-spawn clears the rings of the instance and counts up
the epochs of its links; both sides begin at index 0 when they see a new epoch, and a slot of an
earlier one counts as empty.

Instance ids are stored when a link is re-spawned. The doorbell CPUs that upstream keeps beside them
are known to the framework here.
"""

from collections.abc import Callable
from errno import ENOSPC
from typing import ClassVar

from mkrpc.instance.instructions import Load, Store
from mkrpc.instance.multikernel.channel import Channel, Delivery, Steps, copy_in, copy_out

__all__ = ["EPOCH_OFFSET", "LINK_SLOTS", "LinkRings", "link_bytes", "unread"]

LINK_SLOTS = 16

EPOCH_OFFSET = 8
"""Of the spawn epoch within a link: what send and receive load first."""

_PARENT, _CHILD, _EPOCH, _RINGS = 0, 4, EPOCH_OFFSET, 16
_READY, _TYPE, _SLOT_EPOCH, _SIZE, _BUFFER = 0, 4, 8, 16, 24


class LinkRings(Channel):
    """See the module."""

    name: ClassVar[str] = "link-rings"
    knows_sender: ClassVar[bool] = True

    def __init__(self, *args: object, **settings: object) -> None:
        super().__init__(*args, **settings)  # type: ignore[arg-type] # as the base's
        self._others = [each for each in self.instances if each != self.own]
        # By link: the epoch in which the index counts, and the index.
        self._heads = dict.fromkeys(self._others, (0, 0))
        self._tails = dict.fromkeys(self._others, (0, 0))
        self._turn = 0

    @property
    def slot_bytes(self) -> int:
        """Of one slot."""
        return _BUFFER + self.max_data

    @property
    def link_bytes(self) -> int:
        """Of one link: both of its rings."""
        return link_bytes(self.max_data)

    @property
    def memory_bytes(self) -> int:
        """A link for each pair."""
        return self.link_bytes * (len(self.instances) * (len(self.instances) - 1) // 2)

    def send(self, target: int, ipi_type: int, data: bytes) -> Steps[int]:
        """Fill, ready last. -ENOSPC when the slot is still taken."""
        link = self._link(self.own, target)
        epoch: int = yield Load(link + _EPOCH)
        head = _index(self._heads[target], epoch)
        slot = self._slot(link, self.own > target, head)
        ready: int = yield Load(slot + _READY, 4)
        if ready:
            slot_epoch: int = yield Load(slot + _SLOT_EPOCH)
            if slot_epoch == epoch:
                return -ENOSPC
            yield Store(slot + _READY, 0, 4)
        yield Store(slot + _TYPE, ipi_type, 4)
        yield Store(slot + _SLOT_EPOCH, epoch)
        yield Store(slot + _SIZE, len(data))
        yield from copy_in(slot + _BUFFER, data)
        yield Store(slot + _READY, 1, 4)
        self._heads[target] = (epoch, (head + 1) % LINK_SLOTS)
        return 0

    def receive(self) -> Steps[Delivery | None]:
        """One message, of the links in turn, so that none of them waits for another."""
        for _ in self._others:
            sender = self._others[self._turn]
            taken = yield from self._receive_from(sender)
            self._turn = (self._turn + 1) % len(self._others)
            if taken is not None:
                return taken
        return None

    def _receive_from(self, sender: int) -> Steps[Delivery | None]:
        link = self._link(self.own, sender)
        epoch: int = yield Load(link + _EPOCH)
        tail = _index(self._tails[sender], epoch)
        slot = self._slot(link, sender > self.own, tail)
        ready: int = yield Load(slot + _READY, 4)
        if not ready:
            return None
        slot_epoch: int = yield Load(slot + _SLOT_EPOCH)
        if slot_epoch != epoch:
            return None
        size: int = yield Load(slot + _SIZE)
        ipi_type: int = yield Load(slot + _TYPE, 4)
        data = yield from copy_out(slot + _BUFFER, min(size, self.max_data))
        yield Store(slot + _READY, 0, 4)
        self._tails[sender] = (epoch, (tail + 1) % LINK_SLOTS)
        return Delivery(sender, ipi_type, data)

    def respawned(self, instance: int) -> Steps[None]:
        """Its rings are cleared, and its links enter a new epoch."""
        for other in self.instances:
            if other == instance:
                continue
            link = self._link(instance, other)
            epoch: int = yield Load(link + _EPOCH)
            for to_parent in (True, False):
                for index in range(LINK_SLOTS):
                    yield Store(self._slot(link, to_parent, index) + _READY, 0, 4)
            yield Store(link + _PARENT, min(instance, other), 4)
            yield Store(link + _CHILD, max(instance, other), 4)
            yield Store(link + _EPOCH, epoch + 1)

    def _link(self, one: int, other: int) -> int:
        low, high = sorted((self.instances.index(one), self.instances.index(other)))
        return self.base + (high * (high - 1) // 2 + low) * self.link_bytes

    def _next_slot(self, sender: int, epoch: int) -> int:
        """Where the next message of a sender will lie."""
        tail = _index(self._tails[sender], epoch)
        return self._slot(self._link(self.own, sender), sender > self.own, tail)

    def _slot(self, link: int, to_parent: bool, index: int) -> int:
        ring = link + _RINGS + (0 if to_parent else LINK_SLOTS * self.slot_bytes)
        return ring + index * self.slot_bytes


def link_bytes(max_data: int) -> int:
    """Of a link whose messages have ``max_data`` bytes at most."""
    return _RINGS + 2 * LINK_SLOTS * (_BUFFER + max_data)


def unread(load: Callable[[int, int], int], *, max_data: int, to_parent: bool) -> int:
    """How many messages lie in one ring of a link; ``load(offset, size)`` is from the link."""
    epoch = load(_EPOCH, 8)
    first = _RINGS + (0 if to_parent else LINK_SLOTS * (_BUFFER + max_data))
    slots = range(first, first + LINK_SLOTS * (_BUFFER + max_data), _BUFFER + max_data)
    return sum(
        load(slot + _READY, 4) == 1 and load(slot + _SLOT_EPOCH, 8) == epoch for slot in slots
    )


def _index(place: tuple[int, int], epoch: int) -> int:
    """Where a side goes on; at the beginning, in an epoch that is new to it."""
    return place[1] if place[0] == epoch else 0
