"""Shared memory as an instruction sees it: the payload's way, for which an interrupt is the bell.

Source: design, section 6, last bullet. x86 loads and stores of 1, 2, 4 and 8 bytes that are
naturally aligned are atomic (SDM vol. 3, 8.1.1); others are refused here.
"""

import mmap

from mkrpc.errors import InvalidArgumentError

__all__ = ["ACCESS_SIZES", "PageFault", "SharedMemory"]

ACCESS_SIZES = (1, 2, 4, 8)
"""Bytes of one load or store."""


class PageFault(Exception):  # noqa: N818 - the SDM's name; it is an event of the machine
    """A #PF inside the emulated CPU: no memory there, or an access that is not aligned.

    The CPU turns it into the exception that its program sees. A departure: real x86 splits an
    access that is not aligned instead of refusing it.
    """


class SharedMemory:
    """Memory that several instances may share; byte addresses from 0.

    ``buffer`` is a ``bytearray`` within one process or a writable ``mmap`` of a file that several
    map; its bytes are in the host's order. A size that is no multiple of 8 is rounded down. Raises
    InvalidArgumentError for one that holds less than 8 bytes.
    """

    __slots__ = ("_size", "_views")

    def __init__(self, buffer: bytearray | mmap.mmap) -> None:
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

    def __len__(self) -> int:
        return self._size

    def load(self, address: int, size: int) -> int:
        """``size`` bytes (1, 2, 4 or 8) at an address that is a multiple of it.

        Raises PageFault beyond the memory, for another size, and for another alignment.
        """
        self.check(address, size)
        return self._views[size][address // size]

    def store(self, address: int, value: int, size: int) -> None:
        """The low ``size`` bytes of ``value``. Raises as :meth:`load`."""
        self.check(address, size)
        self._views[size][address // size] = value & ((1 << 8 * size) - 1)

    def check(self, address: int, size: int) -> None:
        """Raise PageFault where an access would."""
        if size not in ACCESS_SIZES or address % size:
            raise PageFault(f"access of {size} bytes at {address:#x} is not aligned")
        if not 0 <= address <= self._size - size:
            raise PageFault(f"no memory at {address:#x}")
