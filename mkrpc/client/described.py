"""Instances to create, as device trees describe them."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mkrpc.devicetree.description import Instance
from mkrpc.devicetree.finding import DeviceTreeError, Severity
from mkrpc.devicetree.naming import plain_name
from mkrpc.errors import NotFoundError, TopologyError
from mkrpc.topology_file import read_device_trees, read_files

__all__ = ["described_instances"]


def described_instances(
    files: Sequence[str | Path],
    *,
    name: str = "",
    on_warning: Callable[[str], None] | None = None,
) -> list[Instance]:
    """Those of the files, or the one called ``name``: first those with an id, by id, then the
    others, which the machine gives the lowest that are free.

    Raises TopologyError for files that cannot be read or describe no instance, with everything
    that is wrong, and NotFoundError (ENOENT) for a name that they have not. ``on_warning`` is told
    what is likely not meant, one line each.
    """
    read = read_files([Path(file) for file in files])
    description = read_device_trees(read)
    where = ", ".join(file for file, _ in read)
    if description is None:
        raise TopologyError(
            f"EINVAL: {where}: not a device tree",
            advice="give .dts or .dtb files, such as kerf dump writes; TOML is for mkrpc up",
        )
    if any(found.severity is Severity.ERROR for found in description.findings):
        raise DeviceTreeError(description.findings)
    if on_warning is not None:
        for found in description.findings:
            on_warning(f"{found}: {found.suggestion}")
    found_here = list(description.instances.values())
    if not found_here:
        raise TopologyError(
            f"EINVAL: {where}: describes no instance",
            advice="it is a pool: start a machine with it, mkrpc up --topology; "
            "or give the dump or the overlay of an instance",
        )
    if name:
        chosen = [each for each in found_here if name in (each.name, plain_name(each.name))]
        if not chosen:
            known = ", ".join(plain_name(each.name) for each in found_here[:16])
            raise NotFoundError(f"ENOENT: no instance {name} in {where}", advice=f"it has: {known}")
        found_here = chosen
    with_id = [each for each in found_here if each.id is not None]
    return sorted(with_id, key=lambda each: each.id or 0) + [
        each for each in found_here if each.id is None
    ]
