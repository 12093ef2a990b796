"""What a client can ask of an instance, in a frame to it; the answers are in ``frames``."""

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Command", "CommandKind"]


class CommandKind(IntEnum):
    """What a client can ask of an instance; numbers as ``mkrpc.v1.CommandKind``."""

    WRITE_ICR = 1
    """``cpu`` writes ``word`` to its ICR ``count`` times."""
    SET_CPU = 2
    """Set or clear IF, halt, or write the TPR of ``cpu``: ``action`` names which."""
    READ_CPU = 3
    """All registers of ``cpu``."""
    READ_ACCOUNT = 4
    """The instance's own accounting, whole, of ``count`` CPUs from ``cpu`` on; 0: of all. At most
    :data:`mkrpc.link.frames.MAX_REPLY_VIEWS`."""
    READ_LOG = 5
    """The printk ring, from record number ``count`` on."""
    READ_PROC = 6
    """A file of /proc as text; ``action`` is its path, such as ``interrupts``."""
    FENCE = 7
    """Answered once everything that was done before it has been reported. What a WRITE_ICR before
    it has still to write is not done: such a one has had no reply yet."""
    READ_PENDING = 8
    """What bears on an interrupt of ``cpu``: vector ``word``, 0 to 255."""
    SHUTDOWN = 13
    """Shut down; answered once every CPU has parked, ``text`` being how many did."""
    FORCE_HALT = 14
    """From now on a CPU that takes an NMI parks; answered as SHUTDOWN."""
    SEND_MESSAGE = 20
    """``cpu`` sends ``action`` to instance ``word >> 32``, of type ``word & 0xffffffff``, which is
    rung at APIC id ``count``. ``text``: a negative errno, or the way it took and its number."""
    MESSAGE_FATE = 21
    """What became of number ``count`` to instance ``word >> 32`` that took the way ``action``."""
    SEND_REQUEST = 22
    """As SEND_MESSAGE: a request, with the subtype in place of the type, for resource
    ``count >> 32``. Answered with its ACK; ``text``: 0 or a negative errno."""
    REMOVE_CPU = 23
    """Take the CPU with APIC id ``word`` offline and give it up. ``text``: the number it had, which
    stays its own; so too if it has been given up before."""
    ADD_CPU = 24
    """Take in the CPU with APIC id ``word``, offline. ``text``: its number; so too if it is there
    already."""


@dataclass(frozen=True, slots=True)
class Command:
    """A client's request to an instance; answered by exactly one :class:`Reply`."""

    number: int
    kind: CommandKind
    cpu: int = 0
    word: int = 0
    count: int = 0
    action: str = ""
