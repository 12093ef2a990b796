"""G2, the ring of 64 slots for each instance, which all others write.

Ring: {u32 head, u32 tail, slots}; slot: {u32 sender_cpu, u32 type, u64 data_size, buffer}; 17416
bytes with buffers of 256. A producer claims a slot by a compare-and-exchange of head, fills it, and
rings. Empty: head == tail; full: one slot left over, so that 63 hold messages; then -ENOSPC.

Its defect: claiming publishes. A consumer that comes between claim and fill finds a size of 0,
skips the slot, and the message is lost; filled later, it lies in a slot that counts as free. The
doorbell of a message that was skipped finds the next one claimed, and so on: one such accident
often loses all that follow, as long as the producers are busy.

The order in which a slot is filled is not known from the source. Here data_size comes last, the
mildest choice, which leaves this defect alone.
"""

from errno import ENOSPC
from typing import ClassVar

from mkrpc.instance.instructions import Cmpxchg, Load, Store
from mkrpc.instance.multikernel.channel import Channel, Delivery, Steps, copy_in, copy_out

__all__ = ["RING_SLOTS", "MpscRing"]

RING_SLOTS = 64
"""MK_IPI_RING_SIZE."""

_HEAD, _TAIL, _SLOTS = 0, 4, 8


class MpscRing(Channel):
    """See the module."""

    name: ClassVar[str] = "mpsc-ring"
    needs_cmpxchg: ClassVar[bool] = True
    stops_at_unfilled: ClassVar[bool] = False
    sender_bytes: ClassVar[int] = 4
    # Offsets within a slot; those of the next generation differ.
    type_at: ClassVar[int] = 4
    size_at: ClassVar[int] = 8
    buffer_at: ClassVar[int] = 16

    @property
    def slot_bytes(self) -> int:
        """Of one slot."""
        return self.buffer_at + self.max_data

    @property
    def ring_bytes(self) -> int:
        """Of the ring of one instance."""
        return _SLOTS + RING_SLOTS * self.slot_bytes

    @property
    def memory_bytes(self) -> int:
        """A ring for each instance."""
        return self.ring_bytes * len(self.instances)

    @property
    def sender_id(self) -> int:
        """What the sender says of itself: a logical number of a CPU."""
        return 0

    def send(self, target: int, ipi_type: int, data: bytes) -> Steps[int]:
        """Claim, fill, size last. -ENOSPC when 63 wait."""
        ring = self._ring(target)
        while True:
            head: int = yield Load(ring + _HEAD, 4)
            tail: int = yield Load(ring + _TAIL, 4)
            claimed = (head + 1) % RING_SLOTS
            if claimed == tail:
                return -ENOSPC
            before: int = yield Cmpxchg(ring + _HEAD, head, claimed, 4)
            if before == head:
                break
        slot = self._slot(ring, head)
        yield Store(slot, self.sender_id, self.sender_bytes)
        yield Store(slot + self.type_at, ipi_type, 4)
        yield from copy_in(slot + self.buffer_at, data)
        yield Store(slot + self.size_at, len(data))
        return 0

    def receive(self) -> Steps[Delivery | None]:
        """The slot at tail; one that is claimed and not filled is skipped, or stopped at."""
        ring = self._ring(self.own)
        while True:
            tail: int = yield Load(ring + _TAIL, 4)
            head: int = yield Load(ring + _HEAD, 4)
            if head == tail:
                return None
            slot = self._slot(ring, tail)
            size: int = yield Load(slot + self.size_at)
            if size:
                break
            if self.stops_at_unfilled:
                return None
            yield Store(ring + _TAIL, (tail + 1) % RING_SLOTS, 4)
        sender: int = yield Load(slot, self.sender_bytes)
        kind: int = yield Load(slot + self.type_at, 4)
        data = yield from copy_out(slot + self.buffer_at, min(size, self.max_data))
        yield Store(slot + self.size_at, 0)
        yield Store(ring + _TAIL, (tail + 1) % RING_SLOTS, 4)
        return Delivery(sender, kind, data)

    def respawned(self, instance: int) -> Steps[None]:
        """What waits for it is dropped (mk_ipi_ring_drop_pending)."""
        ring = self._ring(instance)
        for index in range(RING_SLOTS):
            yield Store(self._slot(ring, index) + self.size_at, 0)
        yield Store(ring + _TAIL, 0, 4)
        yield Store(ring + _HEAD, 0, 4)

    def _ring(self, instance: int) -> int:
        return self.base + self.instances.index(instance) * self.ring_bytes

    def _slot(self, ring: int, index: int) -> int:
        return ring + _SLOTS + index % RING_SLOTS * self.slot_bytes
