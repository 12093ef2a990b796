"""G3: the ring of G2, with data_size as the flag that publishes a slot.

Slot: {u64 sender_cpu (physical), u32 type, u64 data_size, buffer}; with buffers of 4096 bytes a
slot has 4120 and a ring 263688. The consumer stops at a slot whose size is 0, so that nothing is
skipped.

Its defect: a producer that dies between claim and publish leaves a slot at which the consumer stops
for ever. What others send behind it stays there, until the ring is full, and only a re-spawn of the
ring's owner frees it.
"""

from typing import ClassVar

from mkrpc.instance.multikernel.channels.mpsc_ring import MpscRing

__all__ = ["PublishFlagRing"]


class PublishFlagRing(MpscRing):
    """See the module."""

    name: ClassVar[str] = "publish-flag"
    stops_at_unfilled: ClassVar[bool] = True
    sender_bytes: ClassVar[int] = 8
    type_at: ClassVar[int] = 8
    size_at: ClassVar[int] = 16
    buffer_at: ClassVar[int] = 24

    @property
    def sender_id(self) -> int:
        """What the sender says of itself; here its instance, in place of a physical CPU."""
        return self.own
