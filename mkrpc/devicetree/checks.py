"""What is wrong with a description as a whole: what kerf and the kernel check, and the trap that
they do not, logical CPU numbers where APIC ids are meant."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations

from mkrpc.devicetree.cpu_list import as_ids, listed
from mkrpc.devicetree.description import CpuList, Description, Memory
from mkrpc.devicetree.finding import Finding, error, warning
from mkrpc.devicetree.naming import plain_name
from mkrpc.limits import MAX_CPUS, MAX_INSTANCE_ID, MAX_POOL, MAX_X2APIC_ID

__all__ = ["check"]

_PAGE = 4096
_NOT_LOGICAL = 'CPUs are APIC ids ("apicid" in /proc/cpuinfo), not logical CPU numbers'


def check(description: Description, apic_ids: Mapping[int, int] | None = None) -> Iterator[Finding]:
    """Everything that no single property shows. ``apic_ids``: those of the machine that the trees
    are for, by logical CPU number, if they are known."""
    yield from _names(description)
    yield from _ids(description)
    for owner, cpus in description.lists():
        yield from _list(owner, cpus)
    for instance in description.instances.values():
        if not instance.cpus.ids:
            what, advice = f"{instance.described} has no CPU", "cpus = <0x0 0x2>;"
            yield error(instance.cpus.place, what, advice, current=instance.cpus.written)
    yield from _owners(description)
    yield from _pool(description)
    if apic_ids is not None:
        for owner, cpus in description.lists():
            yield from _machine(owner, cpus, apic_ids)
    yield from _memory(description)


def _names(description: Description) -> Iterator[Finding]:
    plain = {description.host_name: "the host"}
    for instance in description.instances.values():
        name = plain_name(instance.name)
        if (other := plain.setdefault(name, instance.name)) != instance.name:
            what = f"{other} and {instance.name} are both {name} here"
            yield error(instance.place, what, "rename one of them: a-z, 0-9 and hyphens")
        elif name != instance.name:
            what = f"{instance.name!r} is called {name} here"
            advice = "names are a-z, 0-9 and hyphens, and neither all, others nor self"
            yield warning(instance.place, what, advice)


def _ids(description: Description) -> Iterator[Finding]:
    owners: dict[int, str] = {}
    for instance in description.instances.values():
        if instance.id is None:
            continue
        if (other := owners.setdefault(instance.id, instance.name)) != instance.name:
            what = f"id {instance.id} belongs to {other} and to {instance.name}"
            free = next(n for n in range(1, MAX_INSTANCE_ID + 2) if n not in owners)
            yield error(instance.place, what, f"give {instance.name} its own: id = <{free}>;")


def _list(owner: str, cpus: CpuList) -> Iterator[Finding]:
    """What is wrong with a list by itself."""
    twice = tuple(sorted(one for one, n in Counter(cpus.ids).items() if n > 1))
    if twice:
        once = as_ids(cpus.key, tuple(dict.fromkeys(cpus.ids)))
        yield error(
            cpus.place, f"{listed(twice)} more than once in {owner}", once, current=cpus.written
        )
    if (highest := max(cpus.ids, default=0)) > MAX_X2APIC_ID:
        what = f"{highest:#x} is no APIC id: the highest is {MAX_X2APIC_ID:#x}"
        advice = f"an id has two cells, the first 0 on x86: {as_ids(cpus.key, (2, 3))}"
        yield error(cpus.place, what, advice, current=cpus.written)
    most = MAX_POOL if owner == "the pool" else MAX_CPUS
    if len(cpus.ids) > most:
        what = f"{len(cpus.ids)} CPUs in {owner}"
        yield error(cpus.place, what, f"at most {most}", current=cpus.written)


def _owners(description: Description) -> Iterator[Finding]:
    owners: dict[int, str] = {}
    if description.host is not None:
        owners = dict.fromkeys(description.host.ids, "the host")
    for instance in description.instances.values():
        shared: dict[str, list[int]] = {}
        for one in dict.fromkeys(instance.cpus.ids):
            if (owner := owners.setdefault(one, instance.described)) != instance.described:
                shared.setdefault(owner, []).append(one)
        for owner, ids in shared.items():
            what = f"{listed(tuple(ids))} in {owner} and in {instance.described}"
            rest = tuple(one for one in instance.cpus.ids if one not in ids)
            advice = "a CPU belongs to one instance"
            advice += f": {as_ids(instance.cpus.key, rest)}" if rest else ""
            yield error(instance.cpus.place, what, advice, current=instance.cpus.written)


def _pool(description: Description) -> Iterator[Finding]:
    """Instances have CPUs of the pool; the pool has CPUs of its NUMA nodes."""
    pool = description.pool
    known = {one for node in description.nodes for one in node.ids}
    if pool is not None and known:
        yield from _outside("the pool", pool, known, "the tree's NUMA nodes")
    if pool is not None:
        owned = set(pool.ids)
        for instance in description.instances.values():
            yield from _outside(instance.described, instance.cpus, owned, "the pool")


def _outside(owner: str, cpus: CpuList, known: set[int], where: str) -> Iterator[Finding]:
    outside = tuple(one for one in cpus.ids if one not in known)
    if not outside:
        return
    verb = "is" if len(outside) == 1 else "are"
    what = f"{listed(outside)} of {owner} {verb} not in {where}"
    ordered = tuple(sorted(known))
    if ordered and max(cpus.ids) < ordered[0]:
        what += ", whose ids are all higher: logical CPU numbers, it seems"
    has = f"{where} {'has' if where == 'the pool' else 'have'} {listed(ordered)}"
    yield error(cpus.place, what, f"{_NOT_LOGICAL}; {has}", current=cpus.written)


def _machine(owner: str, cpus: CpuList, apic_ids: Mapping[int, int]) -> Iterator[Finding]:
    there = set(apic_ids.values())
    missing = tuple(one for one in cpus.ids if one not in there)
    if not missing:
        return
    what = f"the machine has no APIC id {', '.join(map(str, missing[:8]))}, in {owner}"
    if all(one in apic_ids for one in cpus.ids):
        meant = as_ids(cpus.key, tuple(apic_ids[one] for one in cpus.ids))
        what += "; all are logical CPU numbers of it"
        advice = f"write the APIC ids of those CPUs: {meant}"
    else:
        advice = f"{_NOT_LOGICAL}; those of the machine: {listed(tuple(sorted(there)))}"
    yield error(cpus.place, what, advice, current=cpus.written)


def _memory(description: Description) -> Iterator[Finding]:
    owned = [(i.described, m) for i in description.instances.values() for m in i.memory]
    pool = [("the pool", chunk) for chunk in description.pool_memory]
    for owner, memory in (*pool, *owned):
        if memory.size == 0 or memory.size % _PAGE or (memory.base or 0) % _PAGE:
            up = max(_PAGE, -(-memory.size // _PAGE) * _PAGE)
            at = f" at {memory.base:#x}" if memory.base is not None else ""
            what = f"memory of {owner}: {memory.size:#x} bytes{at} are not whole pages"
            advice = f"pages have {_PAGE} bytes: write <{up >> 32:#x} {up & 0xFFFF_FFFF:#x}>"
            yield error(memory.place, what, advice, current=memory.written)
    for (one, first), (other, second) in combinations(owned, 2):
        if _overlap(first, second):
            what = f"memory of {other} overlaps that of {one}, at {first.place}"
            yield error(second.place, what, "give each its own range", current=second.written)
    chunks = [chunk for _, chunk in pool if chunk.base is not None]
    for owner, memory in owned if chunks and len(chunks) == len(pool) else ():
        if memory.base is not None and not any(_within(memory, chunk) for chunk in chunks):
            spans = ", ".join(f"{c.base:#x} to {(c.base or 0) + c.size:#x}" for c in chunks[:4])
            what = f"memory of {owner} is not in the pool"
            yield error(memory.place, what, f"the pool has {spans}", current=memory.written)


def _overlap(one: Memory, other: Memory) -> bool:
    if one.base is None or other.base is None:
        return False
    return one.base < other.base + other.size and other.base < one.base + one.size


def _within(one: Memory, chunk: Memory) -> bool:
    assert one.base is not None
    assert chunk.base is not None
    return chunk.base <= one.base and one.base + one.size <= chunk.base + chunk.size
