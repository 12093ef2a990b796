"""From a tree to what it describes: instances, an instance, a pool. Overlays have a room of their
own, :mod:`mkrpc.devicetree.overlay`."""

from difflib import get_close_matches

from mkrpc.devicetree.cpu_list import cpu_ids
from mkrpc.devicetree.description import (
    HOST_CPUS,
    HOST_LABEL,
    POOL_CPUS,
    CpuList,
    Description,
    Instance,
    Memory,
)
from mkrpc.devicetree.dialect import Dialect, Shape
from mkrpc.devicetree.finding import Finding, Place, error, warning
from mkrpc.devicetree.naming import plain_name
from mkrpc.devicetree.node import Node, Property, Tree
from mkrpc.limits import MAX_INSTANCE_ID

__all__ = ["Reader"]

_RESOURCES = (
    "cpus",
    "cpus-available",
    "memory-base",
    "memory-bytes",
    "device-names",
    "numa-nodes",
    "cpu-affinity",
    "memory-policy",
    "llc-way-mask",
    "linux,resctrl-closid",
    "devices",
    "topology",
    "uring",
)
"""What may be in a ``resources`` node, of any dialect."""
_READ = ("cpus", "cpus-available")
_NUMBER = "one cell, or two with the high one first, such as <0x0 0x40000000>"


class Reader:
    """Reads one tree into a description."""

    def __init__(self, description: Description, tree: Tree, dialect: Dialect) -> None:
        self.description, self.tree, self.dialect = description, tree, dialect

    def say(self, found: Finding) -> None:
        """Add a finding."""
        self.description.findings.append(found)

    def place(self, what: Node, found: Property | None = None) -> Place:
        """Where a node is, or a property of it."""
        place = Place(self.tree.file).at(what)
        return place if found is None else place.at(found)

    def root(self) -> None:
        """Whatever the root has: a pool, instances, or itself an instance."""
        root, shape = self.tree.root, self.dialect.shape
        resources = root.children.get("resources")
        if shape is Shape.INSTANCE:
            self.instance(root, root.string("model") or root.name)
        elif resources is not None:
            self.pool(resources)
        elif shape is Shape.POOL:
            self.say(error(self.place(root), "no resources", "add a node resources with cpus"))
        if shape is Shape.INSTANCES:
            self._instances(root.children["instances"], with_pool=resources is not None)
        if (chosen := root.children.get("chosen")) is not None:
            self._chosen(chosen)

    def host(self) -> None:
        """What :mod:`mkrpc.devicetree.writing` says of instance 0, and of CPUs that nobody has."""
        root = self.tree.root
        if HOST_CPUS in root.properties:
            self.description.host = self.cpus(root, HOST_CPUS)
        if POOL_CPUS in root.properties:
            self.description.free = self.cpus(root, POOL_CPUS)
        if (label := root.properties.get(HOST_LABEL)) is not None:
            name = label.string or ""
            if name and plain_name(name) == name:
                self.description.host_label = name
            else:
                place, advice = self.place(root, label), f'{HOST_LABEL} = "host";'
                self.say(error(place, "not a name", advice, current=label.shown()))

    def _instances(self, node: Node, *, with_pool: bool) -> None:
        if with_pool and self.dialect.compatible == ("linux,multikernel-host",):
            what = "instances in a baseline, which kerf init refuses; read all the same"
            advice = "leave them to kerf create, or to an overlay"
            self.say(warning(self.place(node), what, advice))
        for child in node.children.values():
            self.instance(child, child.name)

    def _chosen(self, node: Node) -> None:
        key = "multikernel,host-ipi-cpu"
        if (found := node.properties.get(key)) is None:
            return
        place = self.place(node, found)
        if (number := found.number) is None:
            advice = f"{key} = <0x0 0x0>;"
            self.say(error(place, "not one APIC id", advice, current=found.shown()))
        elif self.description.host is None:
            self.description.host = CpuList(place, (number,), found.shown(), key)

    def instance(self, node: Node, name: str) -> Instance | None:
        """Add the instance that a node describes; None if it cannot be."""
        known = self.description.instances
        place = self.place(node)
        if not name:
            advice = 'add model = "web" to the root of an instance tree'
            self.say(error(place, "an instance without a name", advice))
            return None
        if (other := known.get(name)) is not None:
            what = f"instance {name} twice, first at {other.place}"
            self.say(error(place, what, "give every instance a name of its own"))
            return None
        if len(known) >= MAX_INSTANCE_ID:
            # Once: whoever has thousands needs no thousands of lines.
            if not self.description.is_full:
                self.description.is_full = True
                advice = f"a machine has at most {MAX_INSTANCE_ID}, and its host"
                self.say(error(place, f"more than {MAX_INSTANCE_ID} instances", advice))
            return None
        made = known[name] = Instance(name, place, CpuList(place), self._id(node))
        resources = node.children.get("resources")
        if resources is None:
            advice = "add resources { cpus = <0x0 0x2>; };"
            self.say(error(place, f"instance {name} has no resources", advice))
            return made
        made.cpus = self.cpus(resources)
        made.memory = self._memory(resources)
        self._rest(resources)
        self.description.left_out.update({"options"} & node.children.keys())
        return made

    def _id(self, node: Node) -> int | None:
        if (found := node.properties.get("id")) is None:
            return None
        number = found.number
        if number is None or not 1 <= number <= MAX_INSTANCE_ID:
            what = "0 is the host's" if number == 0 else "not an instance's id"
            advice = f"id = <1>; to <{MAX_INSTANCE_ID}>, each once"
            self.say(error(self.place(node, found), what, advice, current=found.shown()))
        return number

    def pool(self, node: Node) -> None:
        """Read what instances are made of."""
        place = self.place(node)
        if self.description.pool is not None:
            advice = f"give one baseline; there is one at {self.description.pool.place}"
            self.say(error(place, "a second pool", advice))
            return
        self.description.pool = self.cpus(node)
        for child in node.starting_with("memory@"):
            self.description.pool_memory.extend(self._chunk(child))
        self.description.pool_memory.extend(self._memory(node))
        self._rest(node)
        topology = node.children.get("topology")
        nodes = topology.children.get("numa-nodes") if topology is not None else None
        for one in nodes.children.values() if nodes is not None else ():
            if "cpus" in one.properties:
                self.description.nodes.append(self.cpus(one))

    def cpus(self, node: Node, key: str = "cpus") -> CpuList:
        """The list of CPUs of a node; empty where there is none."""
        if (found := node.properties.get(key)) is None:
            return CpuList(self.place(node))
        place = self.place(node, found)
        ids, findings = cpu_ids(found, place, self.dialect)
        self.description.findings.extend(findings)
        return CpuList(place, ids, found.shown(), key)

    def number(self, node: Node, key: str) -> int | None:
        """A property that is one number; None if it is missing, or reported."""
        if (found := node.properties.get(key)) is None:
            return None
        if found.number is None:
            place = self.place(node, found)
            self.say(error(place, "not one number", f"{key} is {_NUMBER}", current=found.shown()))
        return found.number

    def _memory(self, node: Node) -> list[Memory]:
        base, size = self.number(node, "memory-base"), self.number(node, "memory-bytes")
        if size is None:
            return []
        found = node.properties["memory-bytes"]
        return [Memory(self.place(node, found), size, base, found.shown())]

    def _chunk(self, node: Node) -> list[Memory]:
        """``memory@N``: a request by size, or what the kernel reads back, by ``reg``."""
        reg = node.properties.get("reg")
        if reg is None:
            size = self.number(node, "size")
            return [] if size is None else [Memory(self.place(node), size)]
        match reg.cells:
            case (a, b, c, d):
                place, written = self.place(node, reg), reg.shown()
                return [Memory(place, (c << 32) + d, (a << 32) + b, written)]
        advice = "reg = <base-high base-low size-high size-low>;"
        self.say(error(self.place(node, reg), "not a range", advice, current=reg.shown()))
        return []

    def _rest(self, node: Node) -> None:
        """Note what is not for mkrpc, and ask about what nobody knows."""
        for name in (*node.properties, *node.children):
            known = name in _RESOURCES or name.startswith("memory@")
            close = [] if known else get_close_matches(name, _RESOURCES, n=1, cutoff=0.75)
            if close:
                found = node.properties.get(name)
                place = self.place(node, found) if found else self.place(node.children[name])
                what = f"{name} is not known, did you mean {close[0]}?"
                advice = f"write {close[0]}, or leave it out"
                self.say(warning(place, what, advice, current=found.shown() if found else ""))
            elif name not in _READ:
                self.description.left_out.add(name.partition("@")[0])
