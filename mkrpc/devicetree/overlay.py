"""Overlays: transactions that create instances and move CPUs, applied to what is described.

Fragments in the order of their unit addresses, operations within one in the order that
Documentation/multikernel/overlays.rst gives: a CPU is released before it is given away. The kernel
wants ``target-path``; kerf writes ``mk,instance`` into the operation instead. Both are read.
"""

from collections.abc import Callable
from dataclasses import replace

from mkrpc.devicetree.description import CpuList, Instance
from mkrpc.devicetree.finding import error, warning
from mkrpc.devicetree.node import Node
from mkrpc.devicetree.reading import Reader

__all__ = ["OPERATIONS", "apply_overlay"]

OPERATIONS = (
    "instance-create",
    "memory-remove",
    "memory-add",
    "cpu-remove",
    "cpu-add",
    "device-remove",
    "device-add",
    "instance-remove",
)
"""In the order in which the kernel does them."""

_INSTANCES, _POOL = "/instances", "/resources"


def apply_overlay(reader: Reader) -> None:
    """Apply every fragment of the reader's tree to its description."""
    reader.host()
    for fragment in sorted(reader.tree.root.starting_with("fragment@"), key=_address):
        overlay = fragment.children.get("__overlay__")
        if overlay is None:
            advice = "put the operations into __overlay__ { };"
            reader.say(error(reader.place(fragment), "no __overlay__", advice))
            continue
        for name in OPERATIONS:
            if (operation := overlay.children.get(name)) is not None:
                _apply(reader, fragment, operation)
        for name, node in overlay.children.items():
            if name not in OPERATIONS:
                advice = f"operations: {', '.join(OPERATIONS)}"
                reader.say(error(reader.place(node), f"{name} is no operation", advice))


def _address(fragment: Node) -> int:
    _, _, address = fragment.name.partition("@")
    try:
        return int(address, 16)
    except ValueError:
        return 1 << 64


def _apply(reader: Reader, fragment: Node, operation: Node) -> None:
    target = fragment.string("target-path") or ""
    match operation.name:
        case "instance-create":
            _expect(reader, fragment, target)
            name = operation.string("instance-name") or ""
            if not name:
                place, advice = reader.place(operation), 'add instance-name = "web";'
                reader.say(error(place, "an instance without a name", advice))
            else:
                reader.instance(operation, name)
        case "instance-remove":
            _expect(reader, fragment, target)
            if (instance := _named(reader, operation, "instance-name", "")) is not None:
                del reader.description.instances[instance.name]
        case "cpu-add":
            _cpus(reader, operation, target, _added)
        case "cpu-remove":
            _cpus(reader, operation, target, _removed)
        case name:
            # Memory and devices: mkrpc has neither.
            reader.description.left_out.add(name)


def _expect(reader: Reader, fragment: Node, target: str) -> None:
    """Instances are created and removed under /instances; kerf leaves the target out."""
    if target not in ("", _INSTANCES):
        place = reader.place(fragment, fragment.properties["target-path"])
        reader.say(error(place, f"no place for instances: {target}", f'"{_INSTANCES}"'))


def _named(reader: Reader, operation: Node, key: str, target: str) -> Instance | None:
    """The instance that an operation is about; what is wrong is said."""
    own = operation.string(key)
    name = own if own is not None else target.removeprefix(f"{_INSTANCES}/")
    instance = reader.description.instances.get(name)
    if instance is None:
        known = ", ".join(list(reader.description.instances)[:16]) or "none"
        advice = f"create it first, in this file or one given before it; instances: {known}"
        what = f"no instance {name}" if name else "which instance?"
        reader.say(error(reader.place(operation), what, advice))
    return instance


def _added(cpus: CpuList, more: CpuList) -> CpuList:
    return replace(cpus, ids=cpus.ids + more.ids, place=more.place, written=more.written)


def _removed(cpus: CpuList, less: CpuList) -> CpuList:
    gone = set(less.ids)
    return replace(cpus, ids=tuple(one for one in cpus.ids if one not in gone))


def _cpus(
    reader: Reader, operation: Node, target: str, change: Callable[[CpuList, CpuList], CpuList]
) -> None:
    moved = [_cpu(reader, node) for node in operation.starting_with("cpu@")]
    owner: str
    if target == _POOL:
        if (pool := reader.description.pool) is None:
            what = "the pool is changed, but no file has one; passed over"
            advice = "give the baseline before the overlay"
            reader.say(warning(reader.place(operation), what, advice))
            return
        cpus, owner = pool, "the pool"
    else:
        instance = _named(reader, operation, "mk,instance", target)
        if instance is None:
            return
        cpus, owner = instance.cpus, instance.described
    owned = set(cpus.ids)
    for one in moved:
        missing = [number for number in one.ids if number not in owned]
        if change is _removed and missing:
            what = f"{owner} has no CPU {missing[0]}"
            advice = f"CPUs of it: {', '.join(map(str, cpus.ids[:16])) or 'none'}"
            reader.say(error(one.place, what, advice, current=one.written))
    if moved:
        ids = tuple(number for one in moved for number in one.ids)
        cpus = change(cpus, replace(moved[-1], ids=ids))
    if target == _POOL:
        reader.description.pool = cpus
    elif instance is not None:
        instance.cpus = cpus


def _cpu(reader: Reader, node: Node) -> CpuList:
    """``cpu@N { reg }``: 64 bits, or 32 in older overlays."""
    reg = node.properties.get("reg")
    if reg is None or reg.number is None:
        place = reader.place(node, reg)
        now = reg.shown() if reg is not None else ""
        reader.say(error(place, "not one APIC id", "reg = <0x0 0x9>;", current=now))
        return CpuList(place)
    return CpuList(reader.place(node, reg), (reg.number,), reg.shown(), "reg")
