"""Shared memory as an instruction sees it: the payload's way, for which an interrupt is the bell.

Source: design, section 6, last bullet. x86 loads and stores of 1, 2, 4 and 8 bytes that are
naturally aligned are atomic (SDM vol. 3, 8.1.1); others are refused here.
"""

import mmap
from typing import Protocol

from mkrpc.errors import InvalidArgumentError

__all__ = ["ACCESS_SIZES", "WINDOWS_BASE", "WINDOWS_END", "PageFault", "SharedMemory", "Windows"]

ACCESS_SIZES = (1, 2, 4, 8)
"""Bytes of one load or store."""

WINDOWS_BASE = 1 << 40
"""Where the windows begin through which a kernel sees what it shares with one other instance."""

WINDOWS_END = WINDOWS_BASE + (1 << 30)
"""Behind the last of them: one of 1 MiB for each of 512 instances, and as much again for what
belongs to none."""


class Windows(Protocol):
    """What is behind the addresses from WINDOWS_BASE on; offsets count from there."""

    def load(self, offset: int, size: int) -> int:
        """``size`` bytes at an aligned offset; 0 where nothing is mapped."""

    def store(self, offset: int, value: int, size: int) -> None:
        """The low ``size`` bytes of ``value``; nobody sees it where nothing is mapped."""


class PageFault(Exception):  # noqa: N818 - the SDM's name; it is an event of the machine
    """A #PF inside the emulated CPU: no memory there, or an access that is not aligned.

    The CPU turns it into the exception that its program sees. A departure: real x86 splits an
    access that is not aligned instead of refusing it.
    """


class SharedMemory:
    """Memory that several instances may share; byte addresses from 0.

    ``buffer`` is a ``bytearray`` within one process or a writable ``mmap`` of a file that several
    map; its bytes are in the host's order. A size that is no multiple of 8 is rounded down. Raises
    InvalidArgumentError for one that holds less than 8 bytes. ``windows``: what is there beside it.
    ``between_processes``: no compare-and-exchange of one is atomic for another.
    """

    __slots__ = ("_size", "_views", "between_processes", "windows")

    def __init__(self, buffer: bytearray | mmap.mmap, windows: Windows | None = None) -> None:
        self.windows = windows
        self.between_processes = not isinstance(buffer, bytearray)
        self._size = len(buffer) // 8 * 8
        if not self._size:
            raise InvalidArgumentError(
                f"shared memory of {len(buffer)} bytes", advice="give it 8 bytes or more"
            )
        # One item of a view is one access of its size, so that nobody sees half a store.
        whole = memoryview(buffer)[: self._size]
        self._views = {
            1: whole.cast("B"),
            2: whole.cast("B").cast("H"),
            4: whole.cast("B").cast("I"),
            8: whole.cast("B").cast("Q"),
        }

    def beside(self, windows: Windows | None) -> "SharedMemory":
        """The same memory as another kernel sees it, with windows of its own."""
        seen = SharedMemory.__new__(SharedMemory)
        seen._size, seen._views, seen.windows = self._size, self._views, windows
        seen.between_processes = self.between_processes
        return seen

    def __len__(self) -> int:
        return self._size

    def load(self, address: int, size: int) -> int:
        """``size`` bytes (1, 2, 4 or 8) at an address that is a multiple of it.

        Raises PageFault beyond the memory, for another size, and for another alignment.
        """
        self.check(address, size)
        if address >= WINDOWS_BASE and self.windows is not None:
            return self.windows.load(address - WINDOWS_BASE, size)
        return self._views[size][address // size]

    def store(self, address: int, value: int, size: int) -> None:
        """The low ``size`` bytes of ``value``. Raises as :meth:`load`."""
        self.check(address, size)
        if address >= WINDOWS_BASE and self.windows is not None:
            self.windows.store(address - WINDOWS_BASE, value, size)
            return
        self._views[size][address // size] = value & ((1 << 8 * size) - 1)

    def check(self, address: int, size: int) -> None:
        """Raise PageFault where an access would."""
        if size not in ACCESS_SIZES or address % size:
            raise PageFault(f"access of {size} bytes at {address:#x} is not aligned")
        if not 0 <= address <= self._size - size and (
            self.windows is None or not WINDOWS_BASE <= address < WINDOWS_END
        ):
            raise PageFault(f"no memory at {address:#x}")
