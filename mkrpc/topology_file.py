"""Files of a topology: one of TOML, or device trees, told apart by how they begin."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mkrpc.devicetree.description import Description
from mkrpc.devicetree.finding import Severity
from mkrpc.devicetree.loading import describe, is_device_tree, machine_of
from mkrpc.errors import TopologyError
from mkrpc.topology_report import KeyPath, lines_of

__all__ = [
    "MAX_DEVICE_TREES",
    "MAX_TOPOLOGY_BYTES",
    "TopologyFile",
    "read_device_trees",
    "read_files",
    "read_topology",
]

MAX_TOPOLOGY_BYTES = 4 << 20
"""Size of a topology file."""
MAX_DEVICE_TREES = 1024
"""Device trees of one machine: a baseline, and two for each instance."""


@dataclass(frozen=True, slots=True)
class TopologyFile:
    """What files say: ``data``, the plain form of a topology, not yet checked whole, and the
    ``lines`` on which its keys stand, as far as known. ``where``: for messages."""

    where: str
    data: dict[str, Any]
    lines: Mapping[KeyPath, int]


def read_topology(*paths: Path, on_warning: Callable[[str], None] | None = None) -> TopologyFile:
    """Read one TOML file, or device trees. Raises TopologyError.

    ``on_warning``: told what in a device tree is likely not meant, one line each.
    """
    files = read_files(paths)
    description = read_device_trees(files)
    if description is None:
        return _toml(*files[0])
    data = machine_of(description)
    for found in description.findings:
        assert found.severity is Severity.WARNING, "machine_of has raised for an error"
        if on_warning is not None:
            on_warning(f"{found}: {found.suggestion}")
    return TopologyFile(", ".join(file for file, _ in files), data, {})


def read_files(paths: Sequence[Path]) -> list[tuple[str, bytes]]:
    """Name and bytes of every file. Raises TopologyError if one cannot be read or is too large."""
    if len(paths) > MAX_DEVICE_TREES:
        message = f"{len(paths)} files are more than a machine may have"
        raise TopologyError(message, advice=f"at most {MAX_DEVICE_TREES} device trees")
    return [(str(path), _read(path)) for path in paths]


def read_device_trees(
    files: Sequence[tuple[str, bytes]], apic_ids: Mapping[int, int] | None = None
) -> Description | None:
    """What the files describe together; None for the one TOML file. Raises TopologyError for
    several files of which one is no device tree."""
    others = [file for file, data in files if not is_device_tree(data)]
    if not others:
        return describe(files, apic_ids)
    if len(files) > 1:
        message = f"{others[0]}: not a device tree, and not the only file"
        raise TopologyError(message, advice="give one TOML file, or device trees alone")
    return None


def _toml(file: str, data: bytes) -> TopologyFile:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        advice = "a topology is a TOML file, or a device tree"
        raise TopologyError(f"{file}: not UTF-8 text", advice=advice) from None
    try:
        return TopologyFile(file, tomllib.loads(text), lines_of(text))
    except tomllib.TOMLDecodeError as error:
        advice = "mend the TOML syntax there; deploy/topologies holds examples"
        raise TopologyError(f"{file}: not TOML: {error}", advice=advice) from None
    except RecursionError:
        advice = "a topology is a list of [[instances]] tables"
        raise TopologyError(f"{file}: nested too deeply", advice=advice) from None


def _read(path: Path) -> bytes:
    try:
        # The size is asked first, since a disk may be slow; files below /sys say nothing of it.
        size = path.stat().st_size
        if size <= MAX_TOPOLOGY_BYTES:
            with path.open("rb") as file:
                data = file.read(MAX_TOPOLOGY_BYTES + 1)
            size = len(data)
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}"
        raise TopologyError(message, advice="name a TOML file or a device tree") from None
    if size > MAX_TOPOLOGY_BYTES:
        message = f"{path}: {size} bytes are more than a topology may have"
        raise TopologyError(message, advice=f"keep it below {MAX_TOPOLOGY_BYTES} bytes")
    return data
