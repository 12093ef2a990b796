"""What a message channel over shared memory is: one class, one file.

A channel is given to every kernel as an object of its own, and the objects share nothing but the
memory. All they do is written as generators of instructions, which a program or handler runs with
``yield from``, so that every load and every store is a step between which others may run.

To add one: a subclass of :class:`Channel` in a file of its own, handed to
``mkrpc compare FILE.py`` or :func:`mkrpc.instance.multikernel.catalogue.load_channels`, or put into
``mkrpc/instance/multikernel/channels``.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from mkrpc.errors import InvalidArgumentError
from mkrpc.instance.instructions import Instruction, Load, Store

if TYPE_CHECKING:
    from mkrpc.instance.memory import SharedMemory

__all__ = ["MAX_DATA_SIZE", "Channel", "Delivery", "Steps", "copy_in", "copy_out", "padded"]

MAX_DATA_SIZE = 4096
"""Bytes of one message in any channel, as the largest of the series."""

_T = TypeVar("_T")
Steps = Generator[Instruction | None, Any, _T]
"""Instructions, with a result at their end."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a receiver takes out of a channel.

    ``sender``: the instance, if ``Channel.knows_sender``; otherwise what the sender wrote.
    """

    sender: int
    ipi_type: int
    data: bytes


class Channel(ABC):
    """One instance's end of the messages among ``instances``, in memory from ``base`` on.

    ``base`` and sizes are multiples of 8 bytes. The memory is zero at the start.

    Raises InvalidArgumentError for instances that are not distinct, for ``own`` not among them, and
    for a ``max_data`` that is not a multiple of 8 in 8 to MAX_DATA_SIZE.
    """

    name: ClassVar[str]
    doorbell: ClassVar[bool] = True
    """Is the receiver interrupted? If not, it must poll."""
    knows_sender: ClassVar[bool] = False
    """Is the sender known by where a message lies, or only by what it says of itself?"""
    needs_cmpxchg: ClassVar[bool] = False
    """Does it claim by compare-and-exchange? Between processes there is none here."""
    per_interrupt: ClassVar[int] = 64
    """Messages that a receiver takes at one interrupt at most."""

    def __init__(
        self, instances: Sequence[int], *, own: int, base: int = 0, max_data: int = 256
    ) -> None:
        if len(set(instances)) != len(instances) or own not in instances:
            raise InvalidArgumentError(
                f"a channel among instances {list(instances)} for instance {own}",
                advice="name each instance once, its own among them",
            )
        if max_data % 8 or not 8 <= max_data <= MAX_DATA_SIZE:
            raise InvalidArgumentError(
                f"messages of {max_data} bytes",
                advice=f"a multiple of 8, 8 to {MAX_DATA_SIZE}",
            )
        self.instances = tuple(instances)
        self.own = own
        self.base = base
        self.max_data = max_data

    @property
    @abstractmethod
    def memory_bytes(self) -> int:
        """Bytes of shared memory that all ends together use, from ``base`` on."""

    def fits(self, memory: "SharedMemory | None") -> bool:
        """Whether the kernel's memory is enough."""
        return memory is not None and self.base + self.memory_bytes <= len(memory)

    @abstractmethod
    def send(self, target: int, ipi_type: int, data: bytes) -> Steps[int]:
        """Put a message where ``target``, one of the other instances, finds it.

        0, or a negative errno if it is not there: -ENOSPC, -EBUSY when full. 1 to ``max_data``
        bytes. The doorbell is the caller's.
        """

    @abstractmethod
    def receive(self) -> Steps[Delivery | None]:
        """Take the next message for this instance; None if there is none."""

    def respawned(self, instance: int) -> Steps[None]:
        """``instance`` is about to start anew: make its part of the memory fit for it.

        Run by whoever starts it, when nothing of its earlier life runs any more.
        """
        yield from ()


def padded(size: int) -> int:
    """To whole words of 8 bytes."""
    return size + 7 & ~7


def copy_in(address: int, data: bytes) -> Steps[None]:
    """memcpy into shared memory, a word of 8 bytes at a time; the last one is padded with zeros."""
    for at in range(0, len(data), 8):
        yield Store(address + at, int.from_bytes(data[at : at + 8], "little"))


def copy_out(address: int, size: int) -> Steps[bytes]:
    """memcpy out of shared memory, a word of 8 bytes at a time."""
    words = []
    for at in range(0, size, 8):
        word: int = yield Load(address + at)
        words.append(word.to_bytes(8, "little"))
    return b"".join(words)[:size]
