"""What runs on the CPUs that ``mkrpc bench`` measures: one handler, and one program that writes.

They and the bench meet in shared memory. Times are CLOCK_MONOTONIC in nanoseconds, which all
processes of a host share. CPU 0 of an instance notes when its handler began; the others only run
it, so that bursts do not pay for notes.
"""

import time
from collections.abc import Iterator
from enum import IntEnum

from mkrpc.instance.cpu import Cpu
from mkrpc.instance.instructions import Hlt, WriteIcr
from mkrpc.x86.icr import fixed
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

__all__ = [
    "LAST_AT",
    "MAX_STAMPS",
    "STAMPS_AT",
    "TARGET",
    "Word",
    "on_ring",
    "write_on_request",
]

WRITER, TARGET = 0, 1
"""Instances: who writes its ICR, and whose handlers are watched."""

LAST_AT = 4 << 10
"""When the handler of each instance's CPU 0 began last, 8 bytes each, by instance id."""

STAMPS_AT, MAX_STAMPS = 16 << 10, 64 << 10
"""When that of the target's CPU 0 began, each time, round and round; in ping-pong what it took."""


class Word(IntEnum):
    """Addresses of 8 bytes each."""

    PINGS = 0
    """Left to send in ping-pong; each answer that comes lets the next go."""
    PINGED_AT = 8
    """When the last one was written; 0: no ping-pong."""
    TARGET_APIC = 16
    WRITES = 24
    """What the writer's program is to write when it is rung."""
    WRITTEN_AT = 32
    """When it began."""
    SPREAD = 40
    """On so many CPUs of the target, from its CPU 1 on."""


class _OnRing:
    """The handler of 0xEA."""

    def __init__(self) -> None:
        self.stamps = 0

    def __call__(self, cpu: Cpu) -> None:
        now_ns = time.monotonic_ns()
        if cpu.number:
            return
        instance_id = cpu.kernel.config.instance_id
        if instance_id == WRITER:
            self._ping(cpu)
        elif instance_id == TARGET:
            sent_ns = cpu.load(Word.PINGED_AT, 8)
            at = STAMPS_AT + 8 * (self.stamps % MAX_STAMPS)
            cpu.store(at, now_ns - sent_ns if sent_ns else now_ns, 8)
            self.stamps += 1
            if sent_ns:
                cpu.write_icr(fixed(0, MULTIKERNEL_VECTOR))
        cpu.store(LAST_AT + 8 * instance_id, now_ns, 8)

    def _ping(self, cpu: Cpu) -> None:
        left = cpu.load(Word.PINGS, 8)
        if left:
            cpu.store(Word.PINGS, left - 1, 8)
            target = cpu.load(Word.TARGET_APIC, 8)
            cpu.store(Word.PINGED_AT, time.monotonic_ns(), 8)
            cpu.write_icr(fixed(target, MULTIKERNEL_VECTOR))


on_ring = _OnRing()
"""Its time is the first thing it looks at: what is measured ends there."""


def write_on_request(cpu: Cpu) -> Iterator[object]:
    """Program of the writer: whenever it is rung it writes its ICR so often as it is told.

    One by one and as fast as it can, to the target's CPUs in turn, and once more to its CPU 0,
    which notes when it was reached: legs to one instance stay in order.
    """
    while True:
        yield Hlt()
        left = cpu.load(Word.WRITES, 8)
        if not left:
            continue
        cpu.store(Word.WRITES, 0, 8)
        target = cpu.load(Word.TARGET_APIC, 8)
        spread = cpu.load(Word.SPREAD, 8)
        words = [
            WriteIcr(fixed(target + 1 + number, MULTIKERNEL_VECTOR)) for number in range(spread)
        ]
        cpu.store(Word.WRITTEN_AT, time.monotonic_ns(), 8)
        for number in range(left):
            yield words[number % spread]
        yield WriteIcr(fixed(target, MULTIKERNEL_VECTOR))
