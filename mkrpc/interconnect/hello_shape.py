"""What the hello of an instance can say, whoever lives: ranges, lengths and numbers."""

from mkrpc.errors import InvalidArgumentError
from mkrpc.limits import IDENTITY_BYTES, MAX_CPUS, MAX_INSTANCE_ID
from mkrpc.link.frames import NOBODY, CpuAddress, Hello
from mkrpc.x86.apic_base import ApicMode

__all__ = ["MAX_NAME", "address_problem", "check_hello"]

_COUNTED_BITS = 62
"""What a hello counts with stays below, so that no number that grows from it leaves 64 bits."""

MAX_NAME = 64
"""Characters in an instance's name."""


def address_problem(address: CpuAddress) -> str:
    """Why a CPU's registers cannot be; empty if they can."""
    if address.mode not in tuple(ApicMode):
        return f"CPU {address.cpu} names APIC mode {address.mode}"
    if not 0 <= address.apic_id < NOBODY:
        return f"CPU {address.cpu} has APIC id {address.apic_id:#x}, which is no id (R25)"
    if address.vacant and address.mode:
        return f"CPU {address.cpu} has left, and is in APIC mode {address.mode}"
    if address.xapic_id >> 8 or address.ldr >> 32 or address.dfr >> 32:
        return f"CPU {address.cpu} has an xAPIC id, LDR or DFR wider than the register"
    return ""


def check_hello(hello: Hello) -> None:
    """Whether the hello of a sane instance can look like this.

    :raises InvalidArgumentError: it cannot.
    """
    if not 0 <= hello.instance_id <= MAX_INSTANCE_ID:
        raise InvalidArgumentError(
            f"instance id {hello.instance_id} is out of range",
            advice=f"ids are 0 to {MAX_INSTANCE_ID}",
        )
    if len(hello.incarnation) != IDENTITY_BYTES:
        raise InvalidArgumentError(
            f"an incarnation of {len(hello.incarnation)} bytes",
            advice=f"draw {IDENTITY_BYTES} random bytes at start",
        )
    if len(hello.name) > MAX_NAME or not hello.name.isprintable():
        raise InvalidArgumentError(
            f"an instance name of {len(hello.name)} characters, or one that cannot be printed",
            advice=f"use {MAX_NAME} printable characters at most",
        )
    moved = [number for each in hello.moved for number in each]
    if max(hello.roster, hello.born, hello.sent, hello.generation, *moved) >> _COUNTED_BITS:
        raise InvalidArgumentError(
            f"instance {hello.instance_id} has counted to more than 2^{_COUNTED_BITS}",
            advice="say what an interconnect has told, and how many writes were sent",
        )
    if not 1 <= len(hello.cpus) <= MAX_CPUS:
        raise InvalidArgumentError(
            f"instance {hello.instance_id} has {len(hello.cpus)} CPUs",
            advice=f"an instance has 1 to {MAX_CPUS}",
        )
    if sorted(address.cpu for address in hello.cpus) != list(range(len(hello.cpus))):
        raise InvalidArgumentError(
            f"the CPUs of instance {hello.instance_id} are not numbered 0 to "
            f"{len(hello.cpus) - 1}, each once",
            advice="number the CPUs of an instance from 0 without a gap",
        )
    if len({address.apic_id for address in hello.cpus}) != len(hello.cpus):
        raise InvalidArgumentError(
            f"instance {hello.instance_id} gives one APIC id to two CPUs",
            advice="give every CPU of the machine its own APIC id",
        )
    if len(hello.moved) not in (0, len(hello.cpus)):
        raise InvalidArgumentError(
            f"instance {hello.instance_id} says of {len(hello.moved)} CPUs since when they have "
            f"their addresses, it has {len(hello.cpus)}",
            advice="say it of every CPU, or of none",
        )
    for address in hello.cpus:
        problem = address_problem(address)
        if problem:
            raise InvalidArgumentError(problem, advice="publish what the APIC's registers hold")
