"""A device tree as it was read: nodes, properties, and where each was written."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = [
    "MAX_DEPTH",
    "MAX_DEVICE_TREE_BYTES",
    "MAX_NAME_BYTES",
    "Node",
    "Property",
    "Tree",
    "as_cells",
]

MAX_DEVICE_TREE_BYTES = 1 << 20
"""Size of a device tree, text or blob; what the kernel's ``device_tree`` file accepts."""
MAX_DEPTH = 32
"""Nodes within nodes."""
MAX_NAME_BYTES = 255
"""Length of a node's or a property's name."""

_CELL = 4
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Property:
    """A property. ``data`` as in a blob, big-endian.

    ``line``: from 1, 0 in a blob. ``written``: the value as in the source, empty in a blob.
    ``wide``: the numbers, where one is too large for a cell of 32 bits, which only kerf's own text
    permits; then ``data`` is empty.
    """

    name: str
    data: bytes
    line: int = 0
    written: str = ""
    wide: tuple[int, ...] = ()

    @property
    def cells(self) -> tuple[int, ...] | None:
        """As 32-bit cells; None if the length is no multiple of 4."""
        if self.wide:
            return self.wide
        if len(self.data) % _CELL:
            return None
        return struct.unpack(f">{len(self.data) // _CELL}I", self.data)

    @property
    def number(self) -> int | None:
        """One number of one cell, or of two with the high one first; None for anything else."""
        match self.cells:
            case (low,):
                return low
            case (high, low):
                return (high << 32) + low
        return None

    @property
    def strings(self) -> tuple[str, ...] | None:
        """As a list of strings, each closed by a zero byte; None if it is none of ASCII."""
        if not self.data.endswith(b"\0") or not self.data.isascii():
            return None
        found = tuple(part.decode("ascii") for part in self.data[:-1].split(b"\0"))
        return found if all(text.isprintable() for text in found) else None

    @property
    def string(self) -> str | None:
        """One string; None for anything else."""
        found = self.strings
        return found[0] if found is not None and len(found) == 1 else None

    def shown(self) -> str:
        """``name = value``, as written or as text would have it, shortened."""
        value = self.written or self._rendered()
        value = " ".join(value.split())
        value = value if len(value) <= _SHOWN else value[: _SHOWN - 3] + "..."
        return f"{self.name} = {value}" if value else self.name

    def _rendered(self) -> str:
        if not self.data:
            return ""
        cells = self.cells
        if cells is None or self.strings is not None:
            return repr(self.data)[1:]
        return as_cells(cells)


@dataclass(slots=True)
class Node:
    """A node. ``line``: from 1, 0 in a blob. ``path``: from the root, ``/`` for the root itself."""

    name: str
    path: str
    line: int = 0
    properties: dict[str, Property] = field(default_factory=dict)
    children: dict[str, "Node"] = field(default_factory=dict)

    def child_path(self, name: str) -> str:
        """The path that a child of that name has."""
        return f"/{name}" if self.path == "/" else f"{self.path}/{name}"

    def starting_with(self, prefix: str) -> Iterator["Node"]:
        """The children whose names begin so, in their order."""
        return (node for name, node in self.children.items() if name.startswith(prefix))

    def string(self, name: str) -> str | None:
        """A property that is one string; None if it is missing or anything else."""
        found = self.properties.get(name)
        return None if found is None else found.string


@dataclass(frozen=True, slots=True)
class Tree:
    """A whole file. ``directives``: of its first lines, such as ``dts-v1``; none in a blob."""

    file: str
    root: Node
    directives: frozenset[str] = frozenset()


def as_cells(cells: tuple[int, ...]) -> str:
    """``<0x0 0x2>``."""
    return f"<{' '.join(f'{cell:#x}' for cell in cells)}>"
