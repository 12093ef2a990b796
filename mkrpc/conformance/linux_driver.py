"""What Linux 6.12's APIC drivers write to the ICR, as words in x2APIC layout.

- "physical flat" (xAPIC): physical destinations, one write per CPU of a mask; LDR stays 0.
- "cluster" (x2APIC): logical destinations, one write per cluster of a mask.
- "physical" (x2APIC): physical destinations, one write per CPU of a mask.

All send to "all but self" and "all" by shorthand, and none sets the level bit: the low word of a
doorbell is 0x000000ea. Source: arch/x86/kernel/apic/ipi.c, apic_flat_64.c, x2apic_cluster.c,
x2apic_phys.c.
"""

from collections.abc import Iterable, Sequence

from mkrpc.conformance.recording import Line, LinuxApic, Verb
from mkrpc.x86.icr import Shorthand, fixed, shorthand_word
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

__all__ = ["LinuxDriver"]


class LinuxDriver:
    """The driver of a machine whose CPU n has APIC id ``apic_ids[n]``."""

    def __init__(self, kind: LinuxApic, apic_ids: Sequence[int]) -> None:
        self._kind = kind
        self._apic_ids = apic_ids

    def words(self, sender: int, line: Line) -> list[int]:
        """The ICR writes of one send by CPU ``sender``, in order.

        ``self`` is not among them: a driver sends it by SELF_IPI or by the self shorthand.
        """
        match line.verb:
            case Verb.ONE:
                return self._send([line.cpu], MULTIKERNEL_VECTOR)
            case Verb.VEC:
                return self._send([line.cpu], line.vector)
            case Verb.MASK:
                return self._send(self._members(line.mask), MULTIKERNEL_VECTOR)
            case Verb.MASK_BUT_SELF:
                others = line.mask & ~(1 << sender)
                return self._send(self._members(others), MULTIKERNEL_VECTOR)
            case Verb.ALL_BUT_SELF:
                return [shorthand_word(Shorthand.ALL_EXCLUDING_SELF, MULTIKERNEL_VECTOR)]
            case Verb.ALL:
                return [shorthand_word(Shorthand.ALL_INCLUDING_SELF, MULTIKERNEL_VECTOR)]
            case Verb.RAW:
                return [line.high << 32 | line.low]
            case _:
                raise AssertionError(f"{line.verb} is no send of a driver")

    def _members(self, mask: int) -> list[int]:
        return [number for number in range(len(self._apic_ids)) if mask >> number & 1]

    def _send(self, numbers: Iterable[int], vector: int) -> list[int]:
        ids = [self._apic_ids[number] for number in numbers]
        if self._kind is LinuxApic.X2APIC_CLUSTER:
            return [fixed(ldr, vector, logical=True) for ldr in _logical_ids(ids)]
        return [fixed(apic_id, vector) for apic_id in ids]


def _logical_ids(ids: Iterable[int]) -> list[int]:
    """One logical destination per cluster of 16: cluster in the high half, members in the low
    (R24)."""
    clusters: dict[int, int] = {}
    for apic_id in ids:
        clusters[apic_id >> 4] = clusters.get(apic_id >> 4, 0) | 1 << (apic_id & 0xF)
    return [cluster << 16 | members for cluster, members in clusters.items()]
