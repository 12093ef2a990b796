"""What one CPU counts of its interrupts, by vector."""

from mkrpc.link.accounts import VectorCount
from mkrpc.x86.apic_state import VECTOR_BIT
from mkrpc.x86.irq_vectors import NR_VECTORS

__all__ = ["VectorBooks", "VectorRow", "vectors_of"]


class VectorRow:
    """Cumulative counts of one vector; ``touched``: some have changed since the last report.

    ``delivered``: IRR bits set. ``coalesced``: arrivals that found it set. ``handled``: IRR to ISR.
    ``eoi``: ISR bits that ended, by EOI or with the whole ISR. ``discarded``: IRR bits that INIT or
    a global disable threw away.
    """

    __slots__ = ("coalesced", "delivered", "discarded", "eoi", "handled", "touched", "vector")

    def __init__(self, vector: int) -> None:
        self.vector = vector
        self.delivered = 0
        self.coalesced = 0
        self.handled = 0
        self.eoi = 0
        self.discarded = 0
        self.touched = False

    def count(self) -> VectorCount:
        """The counts as they are now."""
        return VectorCount(
            self.vector, self.delivered, self.coalesced, self.handled, self.eoi, self.discarded
        )


def _vector_of(row: VectorRow) -> int:
    return row.vector


class VectorBooks:
    """The rows of one CPU's vectors (0 to 255), for Fixed and lowest priority alone.

    ``rows``: by vector, None until there is something to count; ``opened``: those that there are.
    Whoever counts in a row says so by :meth:`touch`, unless the row is touched already.

    At all times, per vector: delivered = handled + IRR bit + discarded; handled = eoi + ISR bit.
    """

    __slots__ = ("_touched", "opened", "rows")

    def __init__(self) -> None:
        self.rows: list[VectorRow | None] = [None] * NR_VECTORS
        self.opened: list[VectorRow] = []
        self._touched: list[VectorRow] = []

    def open(self, vector: int) -> VectorRow:
        """The row of a vector, made if there is none."""
        row = self.rows[vector]
        if row is None:
            row = self.rows[vector] = VectorRow(vector)
            self.opened.append(row)
        return row

    def touch(self, row: VectorRow) -> None:
        """It has changed."""
        if not row.touched:
            row.touched = True
            self._touched.append(row)

    def touch_all(self) -> None:
        """For somebody who knows nothing yet."""
        for row in self.opened:
            self.touch(row)

    def coalesce(self, vector: int) -> None:
        """One arrival found its IRR bit set."""
        row = self.open(vector)
        row.coalesced += 1
        self.touch(row)

    def deliver_bits(self, register: int) -> None:
        """IRR bits (256 of them) were set."""
        for vector in vectors_of(register):
            row = self.open(vector)
            row.delivered += 1
            self.touch(row)

    def discard_bits(self, register: int) -> None:
        """IRR bits were thrown away."""
        for vector in vectors_of(register):
            row = self.open(vector)
            row.discarded += 1
            self.touch(row)

    def end_bits(self, register: int) -> None:
        """ISR bits ended."""
        for vector in vectors_of(register):
            row = self.open(vector)
            row.eoi += 1
            self.touch(row)

    def row(self, vector: int) -> VectorCount:
        """The counts of one vector."""
        row = self.rows[vector]
        return VectorCount(vector, 0, 0, 0, 0, 0) if row is None else row.count()

    def take_touched(self) -> list[VectorCount]:
        """What changed since the last call, the vectors ascending."""
        touched = self._touched
        if not touched:
            return []
        self._touched = []
        for row in touched:
            row.touched = False
        if len(touched) > 1:
            touched.sort(key=_vector_of)
        return [row.count() for row in touched]

    def counted(self) -> list[int]:
        """The vectors that have a count, ascending."""
        return sorted(row.vector for row in self.opened)

    # For whoever reads by vector, such as a test.

    @property
    def delivered(self) -> tuple[int, ...]:
        """IRR bits set, by vector."""
        return tuple(0 if row is None else row.delivered for row in self.rows)

    @property
    def coalesced(self) -> tuple[int, ...]:
        """Arrivals that found their bit set, by vector."""
        return tuple(0 if row is None else row.coalesced for row in self.rows)

    @property
    def handled(self) -> tuple[int, ...]:
        """Interrupts taken, by vector."""
        return tuple(0 if row is None else row.handled for row in self.rows)

    @property
    def eoi(self) -> tuple[int, ...]:
        """Interrupts ended, by vector."""
        return tuple(0 if row is None else row.eoi for row in self.rows)

    @property
    def discarded(self) -> tuple[int, ...]:
        """IRR bits thrown away, by vector."""
        return tuple(0 if row is None else row.discarded for row in self.rows)


def vectors_of(register: int) -> list[int]:
    """The vectors whose bits are set in a 256-bit register, highest first."""
    vectors = []
    while register:
        vector = register.bit_length() - 1
        vectors.append(vector)
        register ^= VECTOR_BIT[vector]
    return vectors
