"""What a source keeps of its own writes, for an interconnect that takes over (design 3.4).

At rest its books have every leg of the writes that it knows to be resolved, and no other.
"""

from collections import Counter
from collections.abc import Mapping, Set
from typing import ClassVar

from mkrpc.link.frames import NOBODY
from mkrpc.link.recovery import TO_NOBODY
from mkrpc.outcome import Outcome
from mkrpc.simulation.checkers.conservation import Conservation
from mkrpc.simulation.checkers.violation import Checker
from mkrpc.simulation.events import Standing

__all__ = ["SourceBooks"]

_SOMEBODY = -1

_Row = tuple[int, int, int, int, Outcome]


class SourceBooks(Checker):
    """Compares with the legs that the conservation's books count. ``owners``: the instance of every
    APIC id, save of those that have ``moved`` from one to another."""

    name: ClassVar[str] = "source_books"

    def __init__(
        self, conservation: Conservation, owners: Mapping[int, int], moved: Set[int] = frozenset()
    ) -> None:
        self._conservation = conservation
        self._owners = {**owners, NOBODY: TO_NOBODY}
        self._moved = moved

    def at_end(self, standing: Standing) -> None:
        """As :class:`Checker`."""
        open_writes = {
            kernel.incarnation: {
                write.seq for write in kernel.source.unresolved(kernel.source.written)
            }
            for kernel in standing.kernels.values()
        }
        ended: dict[bytes, Counter[_Row]] = {source: Counter() for source in open_writes}
        for source, seq, line in self._conservation.legs_of(open_writes.keys()):
            if seq not in open_writes[source]:
                at, of_mode, vector, outcome = line
                to = _SOMEBODY if at in self._moved else self._owners[at]
                ended[source][to, at, int(of_mode), vector, outcome] += 1
        for instance_id, kernel in standing.kernels.items():
            kept: Counter[_Row] = Counter()
            for book in standing.attachments[instance_id].books:
                _, to, apic_id, mode, vector = book.key
                if apic_id in self._moved and to != TO_NOBODY:
                    to = _SOMEBODY
                for legs in book.outcomes:
                    kept[to, apic_id, mode, vector, legs.outcome] += legs.count
            wanted = ended[kernel.incarnation]
            if kept != wanted:
                row = next(iter((kept - wanted) or (wanted - kept)))
                self.fail(
                    f"instance {instance_id} keeps {kept[row]} legs of its own, "
                    f"{wanted[row]} ended: {row}"
                )
