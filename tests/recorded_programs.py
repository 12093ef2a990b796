"""Programs and handlers that recordings name: a replay must find them by ``module:name``."""

import os
from pathlib import Path

from mkrpc.instance.instructions import Load, Store, WriteIcr
from mkrpc.x86.icr import fixed
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

ROUNDS = 50
"""Rings of :func:`ring_the_other`."""

READY = 0x110
"""Where :func:`receive_messages` says that it has its handler."""


def ring_the_other(cpu):
    """Ring the CPU with the other APIC id of two, each time with a number in shared memory."""
    for number in range(ROUNDS):
        yield Store(8 * cpu.apic_id, number)
        yield WriteIcr(fixed(cpu.apic_id ^ 1, MULTIKERNEL_VECTOR))
        seen = yield Load(8 * (cpu.apic_id ^ 1))
        cpu.printk(f"the other is at {seen}")


def take_note(cpu):
    """A handler that prints."""
    cpu.printk(f"rung on {cpu.apic_id}")


def hang(cpu):
    """A handler that never returns; whoever reads the pipe HUNG learns that it has begun."""
    Path(os.environ["HUNG"]).write_text("hung")
    while True:
        pass


def receive_messages(cpu):
    """Print every message that comes."""

    def note(cpu, delivery, _ctx):
        cpu.printk(f"{delivery.sender} says {delivery.data.decode()}")

    cpu.kernel.multikernel.register_handler(0x4000, note)
    yield Store(READY, 1)


def send_messages(cpu):
    """Send some to instance 0."""
    while not (yield Load(READY)):
        pass
    for number in range(ROUNDS):
        data = b"%d" % number
        while (yield from cpu.kernel.multikernel.send_ipi_data(0, data, 0x4000)) != 0:
            yield
