"""From files to a description, and from that to the plain form of a topology."""

from collections.abc import Mapping, Sequence
from typing import Any

from mkrpc.devicetree.blob import MAGIC, parse_blob
from mkrpc.devicetree.checks import check
from mkrpc.devicetree.description import Description
from mkrpc.devicetree.dialect import Shape, recognise
from mkrpc.devicetree.finding import DeviceTreeError, Place, Severity, error, refuse
from mkrpc.devicetree.naming import numbered, plain_name
from mkrpc.devicetree.node import MAX_DEVICE_TREE_BYTES, Tree
from mkrpc.devicetree.overlay import apply_overlay
from mkrpc.devicetree.reading import Reader
from mkrpc.devicetree.source import parse_source

__all__ = ["describe", "is_device_tree", "machine_of", "parse"]


def is_device_tree(data: bytes) -> bool:
    """A blob, or text that begins as device tree source does: no TOML begins with a slash."""
    return data.startswith(MAGIC) or data.lstrip(b" \t\r\n")[:1] == b"/"


def parse(file: str, data: bytes) -> Tree:
    """The tree of a file, text or blob. Raises DeviceTreeError."""
    if len(data) > MAX_DEVICE_TREE_BYTES:
        what = f"{len(data)} bytes are more than a device tree may have"
        raise refuse(error(Place(file), what, f"keep it below {MAX_DEVICE_TREE_BYTES} bytes"))
    if data.startswith(MAGIC):
        return parse_blob(data, file)
    try:
        return parse_source(data.decode("utf-8"), file)
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        advice = "a device tree is text that begins with /dts-v1/; or a blob from kerf dump or dtc"
        raise refuse(error(Place(file, line), "not text", advice)) from None


def describe(
    files: Sequence[tuple[str, bytes]], apic_ids: Mapping[int, int] | None = None
) -> Description:
    """What the files say together, in this order: a baseline, dumps of instances, overlays.

    What is wrong is in its ``findings``, of every file; nothing is raised. ``apic_ids``: of the
    machine that they are for, by logical CPU number, if known.
    """
    description = Description()
    for file, data in files:
        try:
            _add(description, parse(file, data))
        except DeviceTreeError as problem:
            description.findings.extend(problem.findings)
    description.findings.extend(check(description, apic_ids))
    return description


def _add(description: Description, tree: Tree) -> None:
    dialect = recognise(tree)
    description.dialects[tree.file] = dialect.name
    reader = Reader(description, tree, dialect)
    if dialect.shape is Shape.OVERLAY:
        apply_overlay(reader)
    else:
        reader.root()


def machine_of(description: Description) -> dict[str, Any]:
    """The plain form of the topology. Raises DeviceTreeError with everything that is wrong."""
    if any(found.severity is Severity.ERROR for found in description.findings):
        raise DeviceTreeError(description.findings)
    host = {"id": 0, "name": description.host_name, "cpus": list(description.host_cpus)}
    spawned = (
        {"id": number, "name": plain_name(one.name), "cpus": list(one.cpus.ids)}
        for number, one in numbered(description.instances.values())
    )
    machine: dict[str, Any] = {"instances": [host, *spawned]}
    if description.pool_cpus:
        machine["pool"] = list(description.pool_cpus)
    return machine
