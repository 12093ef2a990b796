"""What the CPUs under load write down of themselves, in the memory that they share.

It outlives the processes, kill -9 included: each life of a CPU has a table of its own, which names
its incarnation and counts, by source CPU, what its handlers saw and, by destination CPU, what its
program wrote. These counts know nothing of links, ledgers and mirrors.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["COLUMNS", "FIRST_VECTOR", "MAX_LOAD_CPUS", "Layout", "Life", "Vectors"]

FIRST_VECTOR = 0x30
_LAST_VECTOR = 0xE9

MAX_LOAD_CPUS = 60
"""CPUs of a machine under this load: each has three vectors of its own."""

COLUMNS = ("written", "first", "second", "overtaken", "group", "client")
"""Of a table, in their order; the last is one number."""

_WORD = 8


@dataclass(frozen=True, slots=True)
class Vectors:
    """Who rings is told by the vector, of which each of ``cpus`` CPUs has three of its own.

    A source rings each destination in turns with its ``first`` and its ``second``. The first has
    the higher priority, so that of two that wait it is also taken first: a second without its first
    shows that something overtook, or that a first is missing. ``group`` goes to several CPUs,
    ``client`` comes from clients.
    """

    cpus: int

    def second(self, source: int) -> int:
        """Of the CPU with that APIC id."""
        return FIRST_VECTOR + source

    def first(self, source: int) -> int:
        """Of the CPU with that APIC id."""
        return FIRST_VECTOR + self.cpus + source

    def group(self, source: int) -> int:
        """Of the CPU with that APIC id."""
        return FIRST_VECTOR + 2 * self.cpus + source

    @property
    def client(self) -> int:
        """Of all clients."""
        return FIRST_VECTOR + 3 * self.cpus


assert FIRST_VECTOR + 3 * MAX_LOAD_CPUS <= _LAST_VECTOR


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One life of a CPU, as it wrote it down. Tuples are by APIC id.

    ``written``: writes with the first and second vector, by destination. ``first``, ``second``,
    ``group``: runs of its handlers, by source. ``overtaken``: seconds without their first.
    ``client``: runs for clients.
    """

    apic_id: int
    number: int
    incarnation: bytes
    written: tuple[int, ...]
    first: tuple[int, ...]
    second: tuple[int, ...]
    overtaken: tuple[int, ...]
    group: tuple[int, ...]
    client: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where what is: a count of lives for each CPU, then their tables. ``size``: of the memory."""

    cpus: int
    size: int = 1 << 20

    @property
    def lives(self) -> int:
        """Lives of each CPU that have a table; those that come later have none."""
        return max(0, (self.size - self.cpus * _WORD) // (self.cpus * self._table_bytes))

    @property
    def _table_bytes(self) -> int:
        return (2 + 5 * self.cpus + 1) * _WORD

    def lives_at(self, apic_id: int) -> int:
        """Address of the number of lives that a CPU has begun."""
        return apic_id * _WORD

    def table_at(self, apic_id: int, life: int) -> int:
        """Address of a table: 16 bytes of incarnation, then the columns."""
        table = apic_id * self.lives + life
        return self.cpus * _WORD + table * self._table_bytes

    def column_at(self, table: int, column: str) -> int:
        """Address of a column of the table at an address."""
        index = COLUMNS.index(column)
        return table + (2 + index * self.cpus) * _WORD

    def read(self, memory: bytes) -> Iterator[Life]:
        """Every life that wrote itself down."""
        for apic_id in range(self.cpus):
            begun: int = struct.unpack_from("=Q", memory, self.lives_at(apic_id))[0]
            for number in range(min(begun, self.lives)):
                yield self._life(memory, apic_id, number)

    def unrecorded(self, memory: bytes) -> int:
        """Lives of CPUs that found no room for a table."""
        begun = struct.unpack_from(f"={self.cpus}Q", memory)
        return sum(max(0, count - self.lives) for count in begun)

    def _life(self, memory: bytes, apic_id: int, number: int) -> Life:
        table = self.table_at(apic_id, number)
        columns = {
            name: struct.unpack_from(f"={self.cpus}Q", memory, self.column_at(table, name))
            for name in COLUMNS[:-1]
        }
        client = struct.unpack_from("=Q", memory, self.column_at(table, "client"))[0]
        incarnation = memory[table : table + 16]
        return Life(
            apic_id=apic_id, number=number, incarnation=incarnation, client=client, **columns
        )
