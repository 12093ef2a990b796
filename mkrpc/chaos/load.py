"""What the CPUs of a machine under chaos run: they ring each other with all sorts of words.

A CPU halts until a client's interrupt grants it writes, so that the load is what the clients ask
for; what it wrote and what came to it goes into its table (:mod:`mkrpc.chaos.tables`). This runs in
the instances, on emulated CPUs; it needs nothing of the run that it is part of.
"""

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from mkrpc.chaos.tables import COLUMNS, FIRST_VECTOR, Layout, Vectors
from mkrpc.instance.cpu import Cpu
from mkrpc.instance.execution import Body
from mkrpc.instance.instructions import Cli, Hlt, SelfIpi, Sti, Store, WriteIcr
from mkrpc.x86.icr import (
    DeliveryMode,
    DestinationMode,
    Shorthand,
    fixed,
    icr_word,
    nmi,
    shorthand_word,
)
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

__all__ = ["Load", "Pairs", "run_load"]

_CATCHES_UP = 4
"""A CPU that was held up catches up with so many grants; the others are void."""
_RING_BACK_EVERY = 8
_NEVER_EVEN = 8
"""Firsts in a row that find seconds missing before those are taken for lost."""
_WORD = 8


@dataclass(frozen=True, slots=True)
class Load:
    """``cpus`` of the machine, with APIC ids from 0. ``burst``: writes that one grant allows."""

    cpus: int
    seed: int
    burst: int


_ringers: dict[int, "_Ringer"] = {}
"""Of this process, by APIC id: the gates are the kernel's, and its CPUs share them."""


def run_load(cpu: Cpu, *, load: Load) -> Body:
    """The program of one CPU. The gates stand when this returns, before anything can arrive."""
    ringer = _ringers[cpu.apic_id] = _Ringer(cpu, load)
    vectors = Vectors(load.cpus)
    for vector in range(FIRST_VECTOR, vectors.client):
        cpu.kernel.idt.install(vector, "chaos_ring", _on_ring)
    cpu.kernel.idt.install(vectors.client, "chaos_grant", _on_grant)
    return ringer.program()


def _on_ring(cpu: Cpu) -> None:
    cpu.apic_eoi()
    _ringers[cpu.apic_id].rung(cpu, *divmod(cpu.vector - FIRST_VECTOR, _ringers[cpu.apic_id].cpus))


def _on_grant(cpu: Cpu) -> None:
    cpu.apic_eoi()
    _ringers[cpu.apic_id].granted(cpu)


class Pairs:
    """Firsts and seconds of one source, as they are handled: no second may come before its first.

    A first may come before the second of the pair before it, while interrupts are disabled: it has
    the higher priority. Then it is two ahead; more means that seconds are missing, and so does one
    that stays ahead for long.
    """

    def __init__(self) -> None:
        self._begun = False
        self._ahead = 0
        self._never_even = 0

    def first(self) -> None:
        """A first is handled."""
        self._begun = True
        self._never_even = self._never_even + 1 if self._ahead else 0
        if self._never_even > _NEVER_EVEN:
            self._ahead = self._never_even = 0
        self._ahead = min(self._ahead, 1) + 1

    def second(self) -> bool:
        """A second is handled; False if its first was not. What came before all that this CPU has
        seen counts as handled."""
        self._ahead -= 1
        is_in_order = self._ahead >= 0 or not self._begun
        self._begun = True
        self._ahead = max(self._ahead, 0)
        return is_in_order


class _Ringer:
    """One CPU's writes, and its table."""

    def __init__(self, cpu: Cpu, load: Load) -> None:
        self.cpus = load.cpus
        self._vectors = Vectors(load.cpus)
        self._burst = load.burst
        self._budget = 0
        self._me = cpu.apic_id
        life, self._table = _begin_life(cpu, Layout(load.cpus))
        # A life without a table counts all the same, and writes nothing down.
        self._chance = random.Random(f"{load.seed}/{self._me}/{life}")
        layout = Layout(load.cpus)
        self._columns = {name: layout.column_at(self._table, name) for name in COLUMNS}
        self._counts: dict[str, list[int]] = {name: [0] * self.cpus for name in COLUMNS}
        self._pairs = [Pairs() for _ in range(self.cpus)]

    def granted(self, cpu: Cpu) -> None:
        """A client has rung: a burst more."""
        self._count(cpu, "client", 0)
        self._budget = min(self._budget + self._burst, _CATCHES_UP * self._burst)

    def rung(self, cpu: Cpu, kind: int, source: int) -> None:
        """A CPU has rung; ``kind`` numbers its vectors in their order."""
        if kind == 0:
            if not self._pairs[source].second():
                self._count(cpu, "overtaken", source)
            self._count(cpu, "second", source)
        elif kind == 1:
            self._pairs[source].first()
            self._count(cpu, "first", source)
            if self._counts["first"][source] % _RING_BACK_EVERY == 0:
                cpu.write_icr(fixed(source, MULTIKERNEL_VECTOR))
        else:
            self._count(cpu, "group", source)

    def program(self) -> Body:
        """Halt until there is something to write, for ever."""
        while True:
            # As a kernel goes idle: what grants writes between the look and HLT ends the HLT.
            yield Cli()
            if not self._budget:
                yield Sti()
                yield Hlt()
                continue
            yield Sti()
            self._budget -= 1
            yield from self._write()

    def _write(self) -> Iterator[Store | WriteIcr | SelfIpi]:
        chance = self._chance.random()
        if chance < 0.75:
            yield from self._ring_one(self._chance.randrange(self.cpus))
        elif chance < 0.97:
            yield WriteIcr(self._group_word(chance))
        elif chance < 0.99:
            yield WriteIcr(nmi(self._chance.randrange(self.cpus)))
        else:
            yield SelfIpi(self._vectors.group(self._me))

    def _ring_one(self, destination: int) -> Iterator[Store | WriteIcr]:
        """The count comes first: a write that nobody wrote down would look like a double."""
        written = self._counts["written"]
        is_first = written[destination] % 2 == 0
        written[destination] += 1
        if self._table:
            yield Store(self._at("written", destination), written[destination])
        source = self._me
        vector = self._vectors.first(source) if is_first else self._vectors.second(source)
        yield WriteIcr(fixed(destination, vector))

    def _group_word(self, chance: float) -> int:
        vector = self._vectors.group(self._me)
        if chance < 0.78:
            return shorthand_word(Shorthand.ALL_EXCLUDING_SELF, vector)
        some = self._chance.randrange(self.cpus)
        mask = self._chance.randrange(1, 1 << 16)
        return icr_word(
            vector=vector,
            destination=(some >> 4) << 16 | mask | 1 << (some & 15),
            destination_mode=DestinationMode.LOGICAL,
            delivery_mode=DeliveryMode.LOWEST_PRIORITY if chance < 0.88 else DeliveryMode.FIXED,
        )

    def _count(self, cpu: Cpu, column: str, index: int) -> None:
        counts = self._counts[column]
        counts[index] += 1
        if self._table:
            cpu.store(self._at(column, index), counts[index], _WORD)

    def _at(self, column: str, index: int) -> int:
        return self._columns[column] + index * _WORD


def _begin_life(cpu: Cpu, layout: Layout) -> tuple[int, int]:
    """The number of this life and the address of its table, 0 if there is no room for one.

    Only this CPU writes there, so that nobody can come between the load and the store.
    """
    at = layout.lives_at(cpu.apic_id)
    life = cpu.load(at, _WORD)
    table = layout.table_at(cpu.apic_id, life) if life < layout.lives else 0
    if table:
        incarnation = cpu.kernel.incarnation
        for offset in (0, _WORD):
            half = int.from_bytes(incarnation[offset : offset + _WORD], sys.byteorder)
            cpu.store(table + offset, half, _WORD)
    cpu.store(at, life + 1, _WORD)
    return life, table
