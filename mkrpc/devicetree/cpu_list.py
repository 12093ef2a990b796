"""Lists of CPUs: 32 bits each, as of old, or 64, as today, and how to tell.

An instance's CPUs are listed by their physical ids. An APIC id has 32 bits; in a tree of today a
physical id has 64, because other architectures need them. kerf and today's kernels take any list
whose length is a multiple of 8 bytes for one of 64-bit ids. So ``<2 3>``, which was two CPUs in the
first documentation, is the one CPU 0x200000003 to them.
"""

from mkrpc.devicetree.dialect import Dialect
from mkrpc.devicetree.finding import Finding, Place, error, warning
from mkrpc.devicetree.node import Property, as_cells

__all__ = ["as_ids", "cpu_ids", "listed"]

_FEW = 8
_PAIR = 2


def cpu_ids(
    found: Property, place: Place, dialect: Dialect
) -> tuple[tuple[int, ...], list[Finding]]:
    """The CPUs of a list, and what there is to say about how they are written."""
    cells = found.cells
    if cells is None:
        what = f"{len(found.data)} bytes are no list of CPUs"
        return (), [error(place, what, as_ids(found.name, (2, 3)), current=found.shown())]
    if found.wide or dialect.header:
        # kerf's own text: kerf reads it by regular expressions, each number a CPU.
        return cells, []
    if len(cells) % 2:
        # As everybody reads it: not a multiple of 8 bytes.
        return cells, []
    pairs = tuple((high << 32) + low for high, low in zip(cells[::2], cells[1::2], strict=True))
    fits = not any(cells[::2])
    if dialect.cells == _PAIR or len(cells) > _PAIR:
        if not fits:
            return cells, [_misread(found, place, cells, pairs)]
        decimal = found.written and "x" not in found.written.lower() and "/" not in found.written
        if len(cells) == _PAIR and decimal:
            return pairs, [_one_or_two(found, place, cells, f"CPU {pairs[0]} alone")]
        return pairs, []
    if not cells:
        return (), []
    if fits:
        return cells, [_one_or_two(found, place, cells, f"CPUs {cells[0]} and {cells[1]}")]
    return cells, [_misread(found, place, cells, pairs)]


def _misread(
    found: Property, place: Place, cells: tuple[int, ...], pairs: tuple[int, ...]
) -> Finding:
    first = ", ".join(f"{pair:#x}" for pair in pairs[:3])
    more = ", …" * (len(pairs) > 3)
    what = (
        f"a list of 32-bit ids, read as {listed(cells)}; kerf and today's kernels read every list "
        f"of an even number of cells as 64-bit ids, here {first}{more}"
    )
    return warning(place, what, as_ids(found.name, cells), current=found.shown())


def _one_or_two(found: Property, place: Place, cells: tuple[int, ...], taken: str) -> Finding:
    one, two = as_ids(found.name, cells[1:]), as_ids(found.name, cells)
    what = f"one 64-bit id or two of 32 bits? Taken for {taken}; kerf and today's kernels read one"
    suggestion = f"{one} for CPU {cells[1]}, {two} for CPUs {cells[0]} and {cells[1]}"
    return warning(place, what, suggestion, current=found.shown())


def as_ids(name: str, ids: tuple[int, ...]) -> str:
    """``cpus = <0x0 0x2 0x0 0x3>;``: how to write it so that everybody reads the same."""
    cells = tuple(cell for one in ids for cell in (one >> 32, one & 0xFFFF_FFFF))
    return f"{name} = {as_cells(cells)};"


def listed(ids: tuple[int, ...]) -> str:
    """``CPUs 2, 3, 4``, shortened."""
    named = ", ".join(str(one) for one in ids[:_FEW])
    return f"CPU{'s' * (len(ids) != 1)} {named}{', …' * (len(ids) > _FEW)}"
