"""Writing what is described: as an overlay of today's kernel (D4), text or blob, or as TOML.

Of the four dialects an overlay is the only one of today's that creates several instances. It cannot
say what the host has, whom nobody creates, nor what nobody has: that stands in properties of the
root with the prefix ``mkrpc,``, which are for the way back and mean nothing to a kernel.
"""

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mkrpc.devicetree.description import (
    HOST_CPUS,
    HOST_LABEL,
    POOL_CPUS,
    CpuList,
    Description,
    Instance,
)
from mkrpc.devicetree.finding import Place
from mkrpc.devicetree.naming import numbered, plain_name
from mkrpc.devicetree.node import Node, Property, as_cells

__all__ = [
    "as_overlay",
    "as_source",
    "as_toml",
    "described",
    "instance_source",
    "pool_source",
]

_INDENT = "\t"


def described(plain: Mapping[str, Any]) -> Description:
    """A topology's plain form, for writing: id, name and APIC ids of instances, and the pool."""
    made = Description()
    nowhere = Place("topology")
    if plain.get("pool"):
        made.free = CpuList(nowhere, tuple(plain["pool"]))
    for spec in plain["instances"]:
        cpus = CpuList(nowhere, tuple(spec["cpus"]))
        if spec["id"] == 0:
            made.host, made.host_label = cpus, spec["name"]
        else:
            made.instances[spec["name"]] = Instance(spec["name"], nowhere, cpus, spec["id"])
    return made


def as_overlay(description: Description) -> Node:
    """The root of an overlay that creates every instance, one fragment each."""
    root = Node("", "/")
    _string(root, "compatible", "multikernel-v1")
    _string(root, HOST_LABEL, description.host_name)
    _ids(root, HOST_CPUS, description.host_cpus)
    if description.pool_cpus:
        _ids(root, POOL_CPUS, description.pool_cpus)
    for number, (instance_id, instance) in enumerate(numbered(description.instances.values())):
        fragment = _child(root, f"fragment@{number:x}")
        _string(fragment, "target-path", "/instances")
        create = _child(_child(fragment, "__overlay__"), "instance-create")
        _string(create, "instance-name", instance.name)
        _put(create, "id", struct.pack(">I", instance_id))
        resources = _child(create, "resources")
        _ids(resources, "cpus", instance.cpus.ids)
        for memory in instance.memory[:1]:
            if memory.base is not None:
                _put(resources, "memory-base", struct.pack(">Q", memory.base))
            _put(resources, "memory-bytes", struct.pack(">Q", memory.size))
    return root


def _child(parent: Node, name: str) -> Node:
    made = parent.children[name] = Node(name, parent.child_path(name))
    return made


def _put(node: Node, name: str, data: bytes) -> None:
    cells = struct.unpack(f">{len(data) // 4}I", data)
    node.properties[name] = Property(name, data, written=as_cells(cells))


def _string(node: Node, name: str, text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    node.properties[name] = Property(name, text.encode("ascii") + b"\0", written=f'"{quoted}"')


def _ids(node: Node, name: str, ids: tuple[int, ...]) -> None:
    _put(node, name, struct.pack(f">{len(ids)}Q", *ids))


def as_source(root: Node) -> str:
    """The text of a tree made by :func:`as_overlay`."""
    return "/dts-v1/;\n/plugin/;\n\n" + "\n".join(_lines(root, "/", "")) + "\n"


def _lines(node: Node, name: str, indent: str) -> Iterator[str]:
    yield f"{indent}{name} {{"
    inner = indent + _INDENT
    for found in node.properties.values():
        yield f"{inner}{found.name} = {found.written};"
    for child in node.children.values():
        yield from _lines(child, child.name, inner)
    yield f"{indent}}};"


def instance_source(name: str, instance_id: int, cpus: tuple[int, ...]) -> str:
    """The device tree of one instance as today's kernel serves it (D4); without CPUs it has none
    of them."""
    root = _tree()
    _string(root, "model", name)
    _put(root, "id", struct.pack(">I", instance_id))
    if cpus:
        _ids(_child(root, "resources"), "cpus", cpus)
    return _text(root)


def pool_source(cpus: Sequence[int]) -> str:
    """The device tree of a pool (D4)."""
    root = _tree()
    resources = _child(root, "resources")
    if cpus:
        _ids(resources, "cpus", tuple(cpus))
    return _text(root)


def _tree() -> Node:
    root = Node("", "/")
    _string(root, "compatible", "multikernel-v1")
    return root


def _text(root: Node) -> str:
    return "/dts-v1/;\n\n" + "\n".join(_lines(root, "/", "")) + "\n"


def as_toml(description: Description) -> str:
    """The same as a topology file: ids, names, APIC ids and the pool."""
    rows = [(0, description.host_name, description.host_cpus)]
    rows += [
        (number, plain_name(one.name), one.cpus.ids)
        for number, one in numbered(description.instances.values())
    ]
    pool = f"pool = {list(description.pool_cpus)}\n\n" if description.pool_cpus else ""
    return pool + "\n".join(
        f"[[instances]]\nid = {number}\nname = {json.dumps(name)}\ncpus = {list(cpus)}\n"
        for number, name, cpus in rows
    )
