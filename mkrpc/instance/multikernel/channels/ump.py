"""UMP, Barrelfish's message passing: cache lines that the receiver polls, and no interrupt.

For every ordered pair of instances a ring of 2048 bytes: 32 lines of 64, each 7 words of payload
and a control word {epoch:1, header:31}. The sender writes the control word last; the receiver polls
the line that comes next for the epoch that it expects, which changes at each turn around the ring.

Here a message is a run of lines: the header counts those that are still to come, and the first word
of the first line is {u32 type, u32 size}. Barrelfish returns its acknowledgements with messages in
the other direction; here a word behind the ring says how many lines the receiver has taken.

What it costs instead of doorbells: a receiver that never stops looking. A re-spawn needs rings that
are set up anew on both sides, which is not modelled.
"""

from errno import ENOSPC
from typing import ClassVar

from mkrpc.instance.instructions import Load, Store
from mkrpc.instance.multikernel.channel import Channel, Delivery, Steps, copy_in, copy_out

__all__ = ["UMP_LINES", "Ump"]

UMP_LINES = 32

_LINE = 64
_PAYLOAD = 56
_TAKEN = UMP_LINES * _LINE
_PAIR = _TAKEN + 64


class Ump(Channel):
    """See the module. -ENOSPC when a message does not fit into the lines that are free."""

    name: ClassVar[str] = "ump"
    doorbell: ClassVar[bool] = False
    knows_sender: ClassVar[bool] = True

    def __init__(self, *args: object, **settings: object) -> None:
        super().__init__(*args, **settings)  # type: ignore[arg-type] # as the base's
        # 8 bytes of the first line are type and size.
        self.max_data = min(self.max_data, UMP_LINES * _PAYLOAD - 8)
        self._others = [each for each in self.instances if each != self.own]
        self._written = dict.fromkeys(self._others, 0)  # lines, ever
        self._read = dict.fromkeys(self._others, 0)
        self._parts: dict[int, bytes] = dict.fromkeys(self._others, b"")
        self._turn = 0

    @property
    def memory_bytes(self) -> int:
        """A ring and a word for each ordered pair."""
        return _PAIR * len(self.instances) ** 2

    def send(self, target: int, ipi_type: int, data: bytes) -> Steps[int]:
        """Line by line, the control word of each last."""
        ring = self._ring(self.own, target)
        whole = ipi_type.to_bytes(4, "little") + len(data).to_bytes(4, "little") + data
        lines = [whole[at : at + _PAYLOAD] for at in range(0, len(whole), _PAYLOAD)]
        written = self._written[target]
        taken: int = yield Load(ring + _TAKEN)
        if written - taken + len(lines) > UMP_LINES:
            return -ENOSPC
        for index, line in enumerate(lines):
            at = ring + written % UMP_LINES * _LINE
            yield from copy_in(at, line)
            to_come = len(lines) - 1 - index
            yield Store(at + _PAYLOAD, to_come << 1 | _epoch(written))
            written += 1
            self._written[target] = written
        return 0

    def receive(self) -> Steps[Delivery | None]:
        """The next whole message, of the senders in turn; lines of others are kept meanwhile."""
        for _ in self._others:
            sender = self._others[self._turn]
            taken = yield from self._receive_from(sender)
            self._turn = (self._turn + 1) % len(self._others)
            if taken is not None:
                return taken
        return None

    def _receive_from(self, sender: int) -> Steps[Delivery | None]:
        ring = self._ring(sender, self.own)
        while True:
            read = self._read[sender]
            at = ring + read % UMP_LINES * _LINE
            control: int = yield Load(at + _PAYLOAD)
            if control & 1 != _epoch(read):
                return None
            line = yield from copy_out(at, _PAYLOAD)
            self._parts[sender] += line
            self._read[sender] = read + 1
            yield Store(ring + _TAKEN, read + 1)
            if not control >> 1:
                break
        whole, self._parts[sender] = self._parts[sender], b""
        size = int.from_bytes(whole[4:8], "little")
        return Delivery(sender, int.from_bytes(whole[:4], "little"), whole[8 : 8 + size])

    def _ring(self, sender: int, receiver: int) -> int:
        index = self.instances.index
        return self.base + (index(sender) * len(self.instances) + index(receiver)) * _PAIR


def _epoch(line: int) -> int:
    """1 on the first turn, since the memory is zero, then 0, and so on."""
    return 1 - line // UMP_LINES % 2
