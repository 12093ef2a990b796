"""Limits of a machine that both its description and its parts keep to."""

from typing import Final

__all__ = [
    "ENTRY",
    "IDENTITY_BYTES",
    "MAX_BURST",
    "MAX_CMDLINE",
    "MAX_CPUS",
    "MAX_ENTRY",
    "MAX_FAULTS",
    "MAX_FRAME_BYTES",
    "MAX_HANDLERS",
    "MAX_INSTANCE_ID",
    "MAX_LEASE_S",
    "MAX_POOL",
    "MAX_STORE_BUFFER",
    "MAX_WRITES_PER_S",
    "MAX_X2APIC_ID",
    "RESERVED_NAMES",
    "default_burst",
]

ENTRY: Final = (
    r"^[A-Za-z_][0-9A-Za-z_]*(\.[A-Za-z_][0-9A-Za-z_]*)*"
    r":[A-Za-z_][0-9A-Za-z_]*(\.[A-Za-z_][0-9A-Za-z_]*)*$"
)
"""What a program or a handler is named by, ``package.module:name``, in ASCII: of other letters two
engines of regular expressions have not the same idea."""

IDENTITY_BYTES: Final = 16
"""Length of an incarnation and of a client's id: 128 random bits, never reused (3.3, rule 1)."""

MAX_INSTANCE_ID: Final = 511
"""As the kernel series: id 0 is the host instance, 1 to 511 are spawned ones."""

MAX_ENTRY: Final = 255
"""Characters of the name of a program or handler, ``package.module:name``."""

MAX_CPUS: Final = 512
"""CPUs of one instance."""

MAX_CMDLINE: Final = 2047
"""Characters of a kernel's command line: COMMAND_LINE_SIZE of x86, its zero byte left out."""

MAX_LEASE_S: Final = 3600
"""Seconds of silence after which an instance is taken for dead, at most."""

MAX_POOL: Final = 4096
"""CPUs that no instance has."""

MAX_FRAME_BYTES: Final = 1024 * 1024
"""The largest frame, and the largest request of any method that a server accepts.

Whoever sends more loses the connection (or the call) with RESOURCE_EXHAUSTED, which the client
reads as :class:`mkrpc.errors.FrameTooLargeError`; nobody else notices.
"""

MAX_FAULTS: Final = 64
"""Faults injected at a time."""

MAX_HANDLERS = 64
"""Handlers registered for the multikernel interrupt of one instance."""

MAX_STORE_BUFFER: Final = 64
"""Stores that wait in one CPU."""

MAX_WRITES_PER_S: Final = 1_000_000_000
"""ICR writes per second to which a source can be limited."""

MAX_BURST: Final = 1_000_000
"""ICR writes at once to which a source can be limited."""

MAX_X2APIC_ID: Final = 0xFFFF_FFFE
"""0xFFFFFFFF is the x2APIC broadcast (SDM vol. 3, 10.12.9)."""

RESERVED_NAMES: Final = ("self", "all", "others")
"""Destination shorthands: no instance may be called so, or ``--to`` could not tell them apart."""


def default_burst(writes_per_s: int) -> int:
    """The burst of a rate that names none: what it lets pass in 0.1 s, but at least one."""
    return min(MAX_BURST, max(1, writes_per_s // 10))
