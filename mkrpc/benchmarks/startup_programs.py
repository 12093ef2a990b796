"""What instances run in :mod:`mkrpc.benchmarks.startup`: named in the topology, for what a script
gives as callables every instance would have to load whole."""

from collections.abc import Generator
from typing import Any

from mkrpc.instance.cpu import Cpu
from mkrpc.instance.instructions import Hlt, Instruction, WriteIcr
from mkrpc.x86.icr import fixed
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

__all__ = ["ring_neighbour"]


def ring_neighbour(cpu: Cpu) -> Generator[Instruction | None, Any, Any]:
    """Once rung, ring the other CPU of this pair: 0 and 1, 2 and 3, and so on."""
    yield Hlt()
    yield WriteIcr(fixed(cpu.apic_id ^ 1, MULTIKERNEL_VECTOR))
