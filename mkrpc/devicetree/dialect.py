"""The dialects of multikernel device trees, in one table.

The kernel series and kerf have changed the format four times within a year, and files of each are
about. A file is of the first row whose marks it has.
"""

from dataclasses import dataclass
from enum import Enum

from mkrpc.devicetree.description import HOST_CPUS
from mkrpc.devicetree.finding import Place, error, refuse
from mkrpc.devicetree.node import Tree

__all__ = ["DIALECTS", "Dialect", "Shape", "recognise"]


class Shape(Enum):
    """What a file describes."""

    OVERLAY = "fragments that create instances and move CPUs"
    INSTANCES = "instances"
    INSTANCE = "one instance"
    POOL = "the pool that instances are made of"


@dataclass(frozen=True, slots=True)
class Dialect:
    """One row. ``header``: a directive that the text has. ``compatible``: of the root, any if
    empty. ``cells``: how many 32-bit cells an APIC id has. ``source``: where it is documented.
    """

    name: str
    compatible: tuple[str, ...]
    shape: Shape
    cells: int
    source: str
    header: str = ""


_V1 = ("multikernel-v1",)
_KERF = ("linux,multikernel-host",)
_KERF_OVERLAY = ("linux,multikernel-overlay",)

DIALECTS = (
    Dialect("D2", _KERF, Shape.INSTANCES, 1, "kerf examples/*.dts", "multikernel-v1"),
    Dialect("D2", _KERF, Shape.POOL, 1, "kerf examples/*.dts", "multikernel-v1"),
    Dialect("D3", _KERF_OVERLAY, Shape.OVERLAY, 2, "kerf dtc/overlay.py"),
    Dialect("D3", _KERF, Shape.INSTANCES, 2, "kerf dtc/extractor.py"),
    Dialect("D3", _KERF, Shape.POOL, 2, "kerf dtc/extractor.py"),
    Dialect("D4", (), Shape.OVERLAY, 2, "Documentation/multikernel/overlays.rst"),
    Dialect("D1", _V1, Shape.INSTANCES, 1, "Documentation/multikernel/usage.rst"),
    Dialect("D4", _V1, Shape.INSTANCE, 2, "Documentation/multikernel/device-tree.rst"),
    Dialect("D4", _V1, Shape.POOL, 2, "Documentation/multikernel/device-tree.rst"),
)


def recognise(tree: Tree) -> Dialect:
    """The row of a tree. Raises DeviceTreeError for one that is no multikernel tree."""
    shape = _shape(tree)
    found = tree.root.properties.get("compatible")
    compatible = (found.strings or ()) if found is not None else ()
    for dialect in DIALECTS:
        if dialect.shape is not shape or (dialect.header and dialect.header not in tree.directives):
            continue
        if not dialect.compatible or set(dialect.compatible) & set(compatible):
            return dialect
    known = " or ".join(f'"{name}"' for name in (*_V1, *_KERF))
    place = Place(tree.file, tree.root.line, "/", "compatible")
    if found is not None:
        raise refuse(
            error(
                place.at(found),
                "not a multikernel device tree",
                f"compatible is {known}",
                current=found.shown(),
            )
        )
    raise refuse(error(place, "missing", f"add compatible = {known} to the root"))


def _shape(tree: Tree) -> Shape:
    root = tree.root
    # Without a fragment it is an overlay of a machine that is its host alone.
    if any(root.starting_with("fragment@")) or HOST_CPUS in root.properties:
        return Shape.OVERLAY
    if "instances" in root.children:
        return Shape.INSTANCES
    own = root.properties.get("id")
    # A pool tree is that of instance 0, and has an id too.
    spawned = own is not None and own.number != 0
    return Shape.INSTANCE if root.name or "model" in root.properties or spawned else Shape.POOL
