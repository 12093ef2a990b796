"""The queue of IHK, between Linux and McKernel: three indices in place of two.

For each instance a queue that all others write: {u64 read_off, u64 max_read_off, u64 write_off, and
64 packets}. write_off claims, by a compare-and-exchange; max_read_off publishes, in the order of
the claims: a producer waits until everybody before it has published; read_off frees. Full, after
some retries: -EBUSY. A packet here: {u32 sender, u32 type, u64 data_size, data}.

A reader never sees an unfilled packet. But a producer that dies between claim and publish keeps all
later ones waiting, which do not return from their send: worse than a full ring for who sends.
"""

from errno import EBUSY
from typing import ClassVar

from mkrpc.instance.instructions import Cmpxchg, Load, Nop, Store
from mkrpc.instance.multikernel.channel import Channel, Delivery, Steps, copy_in, copy_out

__all__ = ["IKC_PACKETS", "Ikc"]

IKC_PACKETS = 64

_FULL_RETRIES = 8
_READ_OFF, _MAX_READ_OFF, _WRITE_OFF, _PACKETS = 0, 8, 16, 64
_SENDER, _TYPE, _SIZE, _BUFFER = 0, 4, 8, 16


class Ikc(Channel):
    """See the module. Offsets count packets and are not taken modulo the length."""

    name: ClassVar[str] = "ikc"
    needs_cmpxchg: ClassVar[bool] = True

    @property
    def queue_bytes(self) -> int:
        """Of the queue of one instance."""
        return _PACKETS + IKC_PACKETS * (_BUFFER + self.max_data)

    @property
    def memory_bytes(self) -> int:
        """A queue for each instance."""
        return self.queue_bytes * len(self.instances)

    def send(self, target: int, ipi_type: int, data: bytes) -> Steps[int]:
        """Claim, fill, wait for one's turn, publish."""
        queue = self._queue(target)
        retries = 0
        while True:
            claim: int = yield Load(queue + _WRITE_OFF)
            read: int = yield Load(queue + _READ_OFF)
            if claim - read >= IKC_PACKETS:
                if retries == _FULL_RETRIES:
                    return -EBUSY
                retries += 1
                continue
            before: int = yield Cmpxchg(queue + _WRITE_OFF, claim, claim + 1)
            if before == claim:
                break
        packet = self._packet(queue, claim)
        yield Store(packet + _SENDER, self.own, 4)
        yield Store(packet + _TYPE, ipi_type, 4)
        yield Store(packet + _SIZE, len(data))
        yield from copy_in(packet + _BUFFER, data)
        while True:
            published: int = yield Cmpxchg(queue + _MAX_READ_OFF, claim, claim + 1)
            if published == claim:
                return 0
            yield Nop()

    def receive(self) -> Steps[Delivery | None]:
        """The packet at read_off, if it is published."""
        queue = self._queue(self.own)
        read: int = yield Load(queue + _READ_OFF)
        published: int = yield Load(queue + _MAX_READ_OFF)
        if read == published:
            return None
        packet = self._packet(queue, read)
        sender: int = yield Load(packet + _SENDER, 4)
        ipi_type: int = yield Load(packet + _TYPE, 4)
        size: int = yield Load(packet + _SIZE)
        data = yield from copy_out(packet + _BUFFER, min(size, self.max_data))
        yield Store(queue + _READ_OFF, read + 1)
        return Delivery(sender, ipi_type, data)

    def respawned(self, instance: int) -> Steps[None]:
        """What waits for it is dropped."""
        queue = self._queue(instance)
        for offset in (_WRITE_OFF, _MAX_READ_OFF, _READ_OFF):
            yield Store(queue + offset, 0)

    def _queue(self, instance: int) -> int:
        return self.base + self.instances.index(instance) * self.queue_bytes

    def _packet(self, queue: int, offset: int) -> int:
        return queue + _PACKETS + offset % IKC_PACKETS * (_BUFFER + self.max_data)
