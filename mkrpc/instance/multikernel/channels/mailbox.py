"""G1, the mailbox of the first series: one slot for each target, and nothing that guards it.

Slot: {u32 sender_cpu, u32 type, u64 data_size, buffer}; 272 bytes with the 256 of the series. The
sender writes size, sender, type and data in that order, and rings.

Its defects:

- A second message overwrites one that has not been read. What is read may be half of one and half
  of the other.
- A doorbell that merges with another announces nothing.
- ``sender_cpu`` is the logical number of a CPU, which says nothing in another kernel.
"""

from typing import ClassVar

from mkrpc.instance.instructions import Load, Store
from mkrpc.instance.multikernel.channel import Channel, Delivery, Steps, copy_in, copy_out

__all__ = ["Mailbox"]

_SENDER, _TYPE, _SIZE, _BUFFER = 0, 4, 8, 16


class Mailbox(Channel):
    """See the module. A message that is overwritten is not refused: every send is a success."""

    name: ClassVar[str] = "mailbox"
    per_interrupt: ClassVar[int] = 1  # nothing in the slot says whether it was read before

    @property
    def slot_bytes(self) -> int:
        """Of one slot."""
        return _BUFFER + self.max_data

    @property
    def memory_bytes(self) -> int:
        """A slot for each instance."""
        return self.slot_bytes * len(self.instances)

    def send(self, target: int, ipi_type: int, data: bytes) -> Steps[int]:
        """Always 0."""
        slot = self._slot(target)
        yield Store(slot + _SIZE, len(data))
        yield Store(slot + _SENDER, 0, 4)  # smp_processor_id() of the sender's first CPU
        yield Store(slot + _TYPE, ipi_type, 4)
        yield from copy_in(slot + _BUFFER, data)
        return 0

    def receive(self) -> Steps[Delivery | None]:
        """Whatever is in the slot, as often as it is asked for."""
        slot = self._slot(self.own)
        size: int = yield Load(slot + _SIZE)
        sender: int = yield Load(slot + _SENDER, 4)
        ipi_type: int = yield Load(slot + _TYPE, 4)
        data = yield from copy_out(slot + _BUFFER, min(size, self.max_data))
        return Delivery(sender, ipi_type, data)

    def _slot(self, instance: int) -> int:
        return self.base + self.instances.index(instance) * self.slot_bytes
