"""What runs on the CPUs of :mod:`mkrpc.benchmarks.storm`: a pair that rings each other, attackers.

They and the runner meet in shared memory: the runner describes a round there and rings everybody,
and they leave there what they did and saw. Times are CLOCK_MONOTONIC in nanoseconds, which all
processes of a host share.
"""

import os
import time
from collections.abc import Iterator
from enum import IntEnum

from mkrpc.instance.cpu import Cpu
from mkrpc.instance.instructions import Hlt, WriteIcr
from mkrpc.x86.icr import fixed
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

__all__ = [
    "ATTACKERS_FROM",
    "ATTACK_VECTOR",
    "IDLE_CLASS",
    "MAX_SAMPLES",
    "MAX_STAMPS",
    "METRONOME_VECTOR",
    "PARTNER",
    "PINGER",
    "SAMPLES_AT",
    "Kind",
    "Word",
    "attack",
    "ping",
    "pong",
    "receive_paced",
    "send_paced",
]

PINGER, PARTNER, ATTACKERS_FROM = 0, 1, 2
"""APIC ids: the pair, and the first attacker."""

ATTACK_VECTOR = 0x51
_ONE_WAY_VECTOR = 0x52
METRONOME_VECTOR = 0x53
"""Rung by the runner in one-way rounds, so often as the pinger is to write."""

IDLE_CLASS = 20
"""As a niceness: SCHED_IDLE (sched(7)). A process of niceness 19 that has a core keeps it for a
slice of some milliseconds, whoever wakes up; one of this class yields it at once."""

_TICK_S = 0.001
"""An attacker writes what is due and then sleeps for so long at most."""

SAMPLES_AT, MAX_SAMPLES = 64 << 10, 64 << 10
"""Latencies in ns, 8 bytes each: where, and how many at most."""

_STAMPS_AT, MAX_STAMPS = 640 << 10, 32 << 10
"""When each one-way write was made."""


class Kind(IntEnum):
    """What the pair does in a round."""

    PING_PONG = 0
    ONE_WAY = 1


class Word(IntEnum):
    """Addresses of 8 bytes each."""

    ROUND = 0
    KIND = 8
    BEGIN = 16
    END = 24
    ATTACK_RATE = 40
    """Of each attacker, per second; 0 in a round in which they rest."""
    NICE = 48
    ATTACKS_PAIR = 56
    """1: attackers ring the pair; 0: one another."""
    SENT = 64
    RECEIVED = 72
    HIT = 80
    """Attackers' interrupts that the pinger has handled; 8 bytes on, its partner's."""
    ATTACKED = 128
    """Writes that each attacker has made in all, 8 bytes each."""


def _gate_of_attacks(cpu: Cpu) -> None:
    cpu.apic_eoi()
    at = Word.HIT + 8 * cpu.apic_id
    cpu.store(at, cpu.load(at, 8) + 1, 8)


def _note(cpu: Cpu, number: int, latency_ns: int) -> None:
    if number < MAX_SAMPLES:
        cpu.store(SAMPLES_AT + 8 * number, latency_ns, 8)


class _Ping:
    """Rings, waits for the answer, rings again."""

    def __init__(self) -> None:
        self.round = self.sent_ns = self.count = 0

    def __call__(self, cpu: Cpu) -> None:
        if cpu.load(Word.KIND, 8) != Kind.PING_PONG:
            return
        now_ns = time.monotonic_ns()
        if self.round != (current := cpu.load(Word.ROUND, 8)):
            self.round, self.count = current, 0
        else:
            _note(cpu, self.count, now_ns - self.sent_ns)
            self.count += 1
            cpu.store(Word.RECEIVED, self.count, 8)
        if now_ns < cpu.load(Word.END, 8):
            cpu.store(Word.SENT, self.count + 1, 8)
            self.sent_ns = time.monotonic_ns()
            cpu.write_icr(fixed(PARTNER, MULTIKERNEL_VECTOR))


ping = _Ping()
"""Handler of the pinger: the first ring of a round begins it, each further one is an answer."""


def pong(cpu: Cpu) -> None:
    """Handler of its partner: the answer."""
    cpu.write_icr(fixed(PINGER, MULTIKERNEL_VECTOR))


def send_paced(cpu: Cpu) -> Iterator[object]:
    """Program of the pinger: in one-way rounds it writes whenever the metronome rings it."""
    last = count = 0

    def tick(cpu: Cpu) -> None:
        nonlocal last, count
        cpu.apic_eoi()
        if last != (current := cpu.load(Word.ROUND, 8)):
            last, count = current, 0
        if count < MAX_STAMPS:
            cpu.store(_STAMPS_AT + 8 * count, time.monotonic_ns(), 8)
            count += 1
            cpu.store(Word.SENT, count, 8)
            cpu.write_icr(fixed(PARTNER, _ONE_WAY_VECTOR))

    cpu.kernel.idt.install(METRONOME_VECTOR, "metronome", tick)
    cpu.kernel.idt.install(ATTACK_VECTOR, "attack", _gate_of_attacks)
    yield Hlt()


def receive_paced(cpu: Cpu) -> Iterator[object]:
    """Program of its partner: puts the gates in place, and halts."""
    last = count = 0

    def arrived(cpu: Cpu) -> None:
        nonlocal last, count
        now_ns = time.monotonic_ns()
        cpu.apic_eoi()
        if last != (current := cpu.load(Word.ROUND, 8)):
            last, count = current, 0
        _note(cpu, count, now_ns - cpu.load(_STAMPS_AT + 8 * count, 8))
        count += 1
        cpu.store(Word.RECEIVED, count, 8)

    cpu.kernel.idt.install(_ONE_WAY_VECTOR, "one-way", arrived)
    cpu.kernel.idt.install(ATTACK_VECTOR, "attack", _gate_of_attacks)
    yield Hlt()


def attack(cpu: Cpu) -> Iterator[object]:
    """Program of an attacker: writes its ICR at a rate by the clock, in rounds that ask for it."""
    cpu.kernel.idt.install(ATTACK_VECTOR, "attack", _end)
    at = Word.ATTACKED + 8 * (cpu.apic_id - ATTACKERS_FROM)
    total = last = 0
    while True:
        yield Hlt()
        rate = cpu.load(Word.ATTACK_RATE, 8)
        if not rate or cpu.load(Word.ROUND, 8) == last:
            continue
        if not last:
            _be_nice(cpu.load(Word.NICE, 8))
        last = cpu.load(Word.ROUND, 8)
        begin_ns, end_ns = cpu.load(Word.BEGIN, 8), cpu.load(Word.END, 8)
        words = [WriteIcr(fixed(target, ATTACK_VECTOR)) for target in _targets(cpu)]
        made = 0
        while (now_ns := time.monotonic_ns()) < end_ns:
            due = (now_ns - begin_ns) * rate // 1_000_000_000 - made
            for number in range(due):
                yield words[(made + number) % len(words)]
            made += max(due, 0)
            cpu.store(at, total + made, 8)
            time.sleep(_TICK_S)
        total += made


def _be_nice(nice: int) -> None:
    """On Linux niceness and class are a thread's own (setpriority(2)); gRPC has threads by now."""
    for thread in map(int, os.listdir("/proc/self/task")):
        if nice == IDLE_CLASS:
            os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
        else:
            os.setpriority(os.PRIO_PROCESS, thread, nice)


def _targets(cpu: Cpu) -> tuple[int, ...]:
    if cpu.load(Word.ATTACKS_PAIR, 8):
        return (PINGER, PARTNER)
    return (cpu.apic_id ^ 1,)


def _end(cpu: Cpu) -> None:
    cpu.apic_eoi()
