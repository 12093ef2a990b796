"""What device trees describe: instances, the pool that they are made of, the host."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from mkrpc.devicetree.finding import Finding, Place

__all__ = [
    "HOST_CPUS",
    "HOST_LABEL",
    "HOST_NAME",
    "POOL_CPUS",
    "CpuList",
    "Description",
    "Instance",
    "Memory",
]

HOST_NAME = "host"
HOST_CPUS = "mkrpc,host-cpus"
"""Property of the root: the CPUs of instance 0, which no dialect has a place for."""
HOST_LABEL = "mkrpc,host-name"
"""Property of the root: the name of instance 0."""
POOL_CPUS = "mkrpc,pool-cpus"
"""Property of the root: the CPUs that no instance has, which an overlay has no place for."""


@dataclass(frozen=True, slots=True)
class CpuList:
    """APIC ids, where they are written, and how."""

    place: Place
    ids: tuple[int, ...] = ()
    written: str = ""
    key: str = "cpus"


@dataclass(frozen=True, slots=True)
class Memory:
    """A range of bytes, or a request for some (``base`` None). mkrpc has no memory map: this is
    checked, and goes from one device tree into another, and nowhere else."""

    place: Place
    size: int
    base: int | None = None
    written: str = ""


@dataclass(slots=True)
class Instance:
    """One kernel. ``name``: as in the tree. ``id``: None if the tree leaves it to the kernel.
    ``added``: CPUs that overlays brought."""

    name: str
    place: Place
    cpus: CpuList
    id: int | None = None
    memory: list[Memory] = field(default_factory=list)

    @property
    def described(self) -> str:
        """For messages."""
        return self.name if self.id is None else f"{self.name} (id {self.id})"


@dataclass(slots=True)
class Description:
    """Everything that the files given say.

    ``dialects``: which one each file is, by file. ``pool``: None if no file has one. ``nodes``:
    CPUs that the tree knows to exist, by NUMA node. ``host``, ``host_label``: the CPUs and the name
    of instance 0, if a file says them. ``free``: CPUs that a file says nobody has.
    ``is_full``: an instance was refused, one too many.
    ``left_out``: names of properties and nodes that mkrpc has no use for.
    """

    dialects: dict[str, str] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    pool: CpuList | None = None
    pool_memory: list[Memory] = field(default_factory=list)
    nodes: list[CpuList] = field(default_factory=list)
    host: CpuList | None = None
    host_label: str = ""
    free: CpuList | None = None
    is_full: bool = False
    left_out: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)

    def lists(self) -> Iterator[tuple[str, CpuList]]:
        """Every list of CPUs that somebody owns, with whom."""
        if self.host is not None:
            yield "the host", self.host
        if self.pool is not None:
            yield "the pool", self.pool
        if self.free is not None:
            yield "the pool", self.free
        for instance in self.instances.values():
            yield instance.described, instance.cpus

    @property
    def taken(self) -> set[int]:
        """APIC ids that a file gives to somebody."""
        return {one for _, cpus in self.lists() for one in cpus.ids}

    @property
    def host_cpus(self) -> tuple[int, ...]:
        """What instance 0 has. No dialect says: at least the CPU at which its kernels are told to
        ring it, else the lowest APIC id that nobody else has."""
        if self.host is not None:
            return self.host.ids
        taken = self.taken
        return (next(number for number in range(len(taken) + 1) if number not in taken),)

    @property
    def pool_cpus(self) -> tuple[int, ...]:
        """What nobody has: of the pool what is not given to an instance or the host; ascending."""
        pool = {one for cpus in (self.pool, self.free) if cpus is not None for one in cpus.ids}
        owned = {one for instance in self.instances.values() for one in instance.cpus.ids}
        return tuple(sorted(pool - owned - set(self.host_cpus)))

    @property
    def host_name(self) -> str:
        """As a file says, else ``host``, unless an instance is called so."""
        return self.host_label or ("mk0" if HOST_NAME in self.instances else HOST_NAME)
