"""Order (design 3.2): first in, first out from each source CPU to each destination CPU.

Over all delivery modes and across reconnects, so that a SIPI never overtakes its INIT. A client has
no CPU; its order is that of each call, until that is made again to another interconnect.
"""

from typing import ClassVar

from mkrpc.simulation.checkers.exactly_once import ExactlyOnce
from mkrpc.simulation.checkers.violation import Checker
from mkrpc.simulation.events import Applied

__all__ = ["Order"]


class Order(Checker):
    """Looks up in the journal which CPU, or which call, made a write."""

    name: ClassVar[str] = "order"
    listens: ClassVar[tuple[type, ...]] = (Applied,)

    def __init__(self, journal: ExactlyOnce) -> None:
        self._journal = journal
        self._last: dict[tuple[bytes, int, int], int] = {}

    def on_event(self, event: object) -> None:
        """As :class:`Checker`."""
        assert isinstance(event, Applied)
        write = event.source, event.seq
        made = self._journal.writes.get(write)
        if made is None:
            return  # the journal's own complaint
        if write in self._journal.calls and self._journal.may_come_again(*write):
            return  # of those of one call nobody can tell one from another: it has one word
        lane = self._journal.calls.get(write, made[0])
        apic_id = event.kernel.config.apic_ids[event.cpu]
        key = event.source, lane, apic_id  # whichever kernel has the CPU
        last = self._last.get(key, 0)
        if event.seq <= last:
            self.fail(
                f"write {event.seq} of {event.source.hex()} came to CPU {event.cpu} of instance "
                f"{event.kernel.config.instance_id} after write {last}"
            )
        self._last[key] = event.seq
