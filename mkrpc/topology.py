"""What a machine is made of: instances, CPUs, APIC ids, policy.

A topology comes from files, TOML or device trees (:meth:`Topology.load`), from two numbers
(:meth:`Topology.of`) or from the plain form handed to other processes (:meth:`Topology.from_dict`).
It is validated whole: in one that exists the ids, names and APIC ids are unique, and every name,
CPU list, APIC mode and table of switches is filled in. All that is wrong is told in one
:class:`mkrpc.errors.TopologyError`: what is wrong with single keys, or, if they are all right, with
how they go together. The keys are in :mod:`mkrpc.topology_spec`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    Field,
    StrictInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from mkrpc.errors import NotFoundError, TopologyError
from mkrpc.limits import MAX_CPUS, MAX_FAULTS, MAX_POOL, MAX_X2APIC_ID, RESERVED_NAMES
from mkrpc.topology_faults import FaultSpec, fault_problems
from mkrpc.topology_file import MAX_TOPOLOGY_BYTES, read_topology
from mkrpc.topology_report import KeyPath, Problem, report
from mkrpc.topology_spec import (
    MAX_INSTANCES,
    MAX_PRINTK_RECORDS,
    ApicSpec,
    InstanceSpec,
    LeaseSeconds,
    Mode,
    Name,
    ProgramSpec,
    RateSpec,
    Spec,
)

__all__ = [
    "MAX_INSTANCES",
    "MAX_PRINTK_RECORDS",
    "MAX_TOPOLOGY_BYTES",
    "MAX_X2APIC_ID",
    "MAX_XAPIC_ID",
    "RESERVED_NAMES",
    "ApicSpec",
    "FaultSpec",
    "InstanceSpec",
    "Mode",
    "PolicyName",
    "ProgramSpec",
    "RateSpec",
    "Topology",
]

MAX_XAPIC_ID = 254
"""An xAPIC id has 8 bits, and 0xFF is the broadcast (SDM vol. 3, 10.6.2.1; rule R23)."""

PolicyName = Literal["bare-metal", "filtered"]


class Topology(Spec):
    """A whole machine, valid by construction.

    ``policy``: who may ring whom, ``bare-metal`` (everybody, as on the machine) or ``filtered``.
    ``mode``: the APIC mode of every instance that names none of its own. ``apic``: the switches of
    every local APIC, where its instance does not say otherwise. ``rate``: how many ICR writes pass
    of each instance that says nothing else, ``client_rate`` of all clients together.
    ``faults``: what goes wrong from the start. ``links``: messages between kernels of one host go
    through memory that they share, or all through the interconnect. ``lease_s``: seconds of silence
    after which an instance is taken for dead; 0 for 3 s, and more where many share a core.
    ``pool``: APIC ids of CPUs that no instance has yet.
    """

    name: Name = "machine"
    policy: PolicyName = "bare-metal"
    mode: Mode = "x2apic"
    apic: ApicSpec = ApicSpec()
    rate: RateSpec = RateSpec()
    client_rate: RateSpec = RateSpec()
    links: Literal["memory", "interconnect"] = "memory"
    lease_s: LeaseSeconds = 0
    faults: Annotated[tuple[FaultSpec, ...], Field(max_length=MAX_FAULTS)] = ()
    instances: Annotated[tuple[InstanceSpec, ...], Field(min_length=1, max_length=MAX_INSTANCES)]
    pool: Annotated[tuple[Annotated[StrictInt, Field(ge=0)], ...], Field(max_length=MAX_POOL)] = ()

    @classmethod
    def of(
        cls,
        *,
        instances: int,
        cpus: int,
        policy: PolicyName = "bare-metal",
        mode: Mode = "x2apic",
        apic: Mapping[str, Any] | None = None,
        pool: int = 0,
        lease_s: int = 0,
    ) -> Self:
        """Instances 0 to ``instances - 1`` of ``cpus`` CPUs each, APIC ids in order from 0.

        ``instances`` and ``cpus`` are 1 to 512; more than 255 CPUs in all need x2APIC mode.
        ``apic``: the table of switches. ``pool``: CPUs for instances that are created later. Raises
        TopologyError.
        """
        for what, value, limit in (
            ("instances", instances, MAX_INSTANCES),
            ("cpus", cpus, MAX_CPUS),
        ):
            if not 1 <= value <= limit:
                message = f"{what}: {value} is not between 1 and {limit}"
                raise TopologyError(message, advice=f"choose 1 to {limit}")
        specs = [{"id": number, "cpu_count": cpus} for number in range(instances)]
        table = {} if apic is None else apic
        plain = {"policy": policy, "mode": mode, "apic": table, "instances": specs}
        return cls.from_dict({**plain, "lease_s": lease_s}).with_pool(pool)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`; also the plain form of a file. Raises TopologyError."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise report(error, where="topology", specs=_SPECS, lines={}) from None

    @classmethod
    def load(
        cls,
        path: Path | str,
        *more: Path | str,
        apic: Mapping[str, Any] | None = None,
        on_warning: Callable[[str], None] | None = None,
    ) -> Self:
        """Read a TOML file, or one or more device trees, which together describe the machine.

        ``apic`` in place of those keys of its ``[apic]``. ``on_warning`` is told what in a device
        tree is likely not meant, one line each. Raises TopologyError, which names the file, the
        line where it can be found, and the key.
        """
        file = read_topology(Path(path), *map(Path, more), on_warning=on_warning)
        data = file.data
        if apic and isinstance(data.setdefault("apic", {}), dict):
            data["apic"].update(apic)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise report(error, where=file.where, specs=_SPECS, lines=file.lines) from None

    def rates(self) -> dict[str, Any]:
        """Who is limited to how many ICR writes: ``instances`` by id, and ``clients``."""
        instances = {str(spec.id): spec.rate.model_dump() for spec in self.instances}
        return {"instances": instances, "clients": self.client_rate.model_dump()}

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, strings and numbers, fit for JSON."""
        return self.model_dump(mode="json")

    @property
    def apic_ids(self) -> tuple[int, ...]:
        """Every APIC id of the machine, by instance in the order of the file."""
        return tuple(apic_id for instance in self.instances for apic_id in instance.cpus)

    @property
    def arbitration(self) -> Literal["ppr", "hash"]:
        """Whom the interconnect gives a lowest-priority IPI; ``ppr`` too where none is sent."""
        return "hash" if self.apic.lowest_priority == "hash" else "ppr"

    def injected(self) -> list[dict[str, Any]]:
        """The faults as plain tables, for :meth:`mkrpc.fault.Fault.of`."""
        ids = {spec.name: spec.id for spec in self.instances}
        return [spec.as_fault(ids).to_dict() for spec in self.faults]

    def with_pool(self, count: int) -> Self:
        """With so many CPUs more in the pool, after the highest there is. Raises TopologyError."""
        if not count:
            return self
        free = 1 + max((*self.apic_ids, *self.pool))
        return self.from_dict(self.to_dict() | {"pool": [*self.pool, *range(free, free + count)]})

    def instance(self, instance_id: int) -> InstanceSpec:
        """The instance of that id; :class:`NotFoundError` if there is none."""
        for spec in self.instances:
            if spec.id == instance_id:
                return spec
        known = ", ".join(str(spec.id) for spec in self.instances)
        raise NotFoundError(f"no instance {instance_id} in the topology", advice=f"ids: {known}")

    @field_validator("instances")
    @classmethod
    def _fill_in(
        cls, instances: tuple[InstanceSpec, ...], info: ValidationInfo
    ) -> tuple[InstanceSpec, ...]:
        """Names, modes, switches and APIC ids that the instances left to us."""
        machine = info.data.get("apic", ApicSpec())
        free = 1 + max((apic_id for spec in instances for apic_id in spec.cpus), default=-1)
        filled = []
        for spec in instances:
            update: dict[str, Any] = {"name": spec.name or f"mk{spec.id}"}
            update["apic"] = spec.apic.over(machine)
            for key in ("mode", "rate"):
                if key not in spec.model_fields_set and key in info.data:
                    update[key] = info.data[key]
            if not spec.cpus and spec.cpu_count is not None:
                update["cpus"] = tuple(range(free, free + spec.cpu_count))
                free += spec.cpu_count
                update["cpu_count"] = None
            filled.append(spec.model_copy(update=update))
        return tuple(filled)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        ids = {spec.name: spec.id for spec in self.instances}
        problems = (
            *_machine_problems(self.instances),
            *_pool_problems(self),
            *_apic_problems(self),
            *fault_problems(self.faults, ids),
        )
        if problems:
            raise PydanticCustomError(
                "machine", "{what}", {"what": problems[0].what, "problems": problems}
            )
        return self


_SPECS: Mapping[tuple[str, ...], type[BaseModel]] = {
    (): Topology,
    ("apic",): ApicSpec,
    ("rate",): RateSpec,
    ("client_rate",): RateSpec,
    ("faults",): FaultSpec,
    ("instances",): InstanceSpec,
    ("instances", "apic"): ApicSpec,
    ("instances", "rate"): RateSpec,
    ("instances", "programs"): ProgramSpec,
}


def _machine_problems(instances: Sequence[InstanceSpec]) -> Iterator[Problem]:
    """What no single key shows: who shares an id, a name or an APIC id with whom."""
    by_id: dict[int, InstanceSpec] = {}
    by_name: dict[str, InstanceSpec] = {}
    owners: dict[int, InstanceSpec] = {}
    for index, spec in enumerate(instances):
        at = ("instances", index)
        if (other := by_id.setdefault(spec.id, spec)) is not spec:
            what = f"id {spec.id} belongs to {other.name} and to {spec.name}"
            yield Problem((*at, "id"), what, "give every instance an id of its own, 0 to 511")
        named = by_name.setdefault(spec.name, spec)
        if named is not spec and named.id != spec.id:
            what = f"name {spec.name} belongs to the instances {named.id} and {spec.id}"
            yield Problem((*at, "name"), what, "give every instance a name of its own")
        if spec.name in RESERVED_NAMES:
            what = f"{spec.name!r} is a destination shorthand, not a name"
            yield Problem((*at, "name"), what, "call the instance something else")
        if spec.handlers and not spec.multikernel:
            what = f"in {spec.name}, which has multikernel = false: nothing there would call them"
            yield Problem((*at, "handlers"), what, "leave out handlers, or multikernel = false")
        yield from _cpu_problems(at, spec, owners)
        yield from _program_problems(at, spec)


def _cpu_problems(
    at: tuple[str, int], spec: InstanceSpec, owners: dict[int, InstanceSpec]
) -> Iterator[Problem]:
    path = (*at, "cpus")
    if spec.cpu_count is not None:
        yield Problem((*at, "cpu_count"), "stands beside cpus", "give one of the two")
    if not spec.cpus:
        yield Problem(path, f"{spec.name} has no CPUs", "add cpus = [APIC ids] or cpu_count = N")
        return
    shared: dict[str, list[int]] = {}
    here = f"instance {spec.id} ({spec.name})"
    for apic_id in spec.cpus:
        owner = owners.setdefault(apic_id, spec)
        if owner is not spec:
            shared.setdefault(f"instance {owner.id} ({owner.name})", []).append(apic_id)
    if twice := sorted(apic_id for apic_id, n in Counter(spec.cpus).items() if n > 1):
        what = f"{_listed(twice)} more than once in {here}"
        yield Problem(path, what, "list every APIC id once")
    for other, apic_ids in shared.items():
        what = f"{_listed(apic_ids)} in {other} and in {here}"
        yield Problem(path, what, "an APIC id is one CPU of one instance: give each its own")
    limit = MAX_XAPIC_ID if spec.mode == "xapic" else MAX_X2APIC_ID
    if (highest := max(spec.cpus)) > limit:
        if spec.mode == "xapic":
            what = f"APIC id {highest} of {spec.name} is above {limit}, the highest in xAPIC mode"
            advice = 'use smaller ids, or mode = "x2apic"'
        else:
            what = f"APIC id {highest:#x} of {spec.name} is above {limit:#x}, the highest there is"
            advice = "0xFFFFFFFF is the broadcast of x2APIC mode; use smaller ids"
        yield Problem(path, what, advice)


def _pool_problems(topology: Topology) -> Iterator[Problem]:
    owned = set(topology.pool) & set(topology.apic_ids)
    limit = MAX_XAPIC_ID if topology.mode == "xapic" else MAX_X2APIC_ID
    if owned or len(set(topology.pool)) != len(topology.pool):
        whose = f"{_listed(sorted(owned))} of an instance" if owned else "an APIC id twice"
        yield Problem(("pool",), whose, "the pool has the CPUs that no instance has")
    if topology.pool and max(topology.pool) > limit:
        what = f"APIC id {max(topology.pool)} is above {limit}, the highest in {topology.mode} mode"
        yield Problem(("pool",), what, "use smaller ids")


def _apic_problems(topology: Topology) -> Iterator[Problem]:
    """Switches and numbers that contradict one another. Arbitration (R32) is the machine's: an
    instance can choose not to send, and no more."""
    arbitration = topology.arbitration
    without_x2apic: dict[KeyPath, list[str]] = {}
    for index, spec in enumerate(topology.instances):
        if spec.spare_cpus >= len(spec.cpus):
            what = f"{spec.spare_cpus} of {len(spec.cpus)} CPUs are spare"
            yield Problem(("instances", index, "spare_cpus"), what, "the boot CPU cannot be")
        path = ("instances", index, "apic")
        own = spec.apic.lowest_priority
        if own not in ("unsupported", arbitration):
            what = f"{own!r} in {spec.name}, where the machine arbitrates by {arbitration!r}"
            advice = f'set lowest_priority = "{own}" in [apic]; an instance may be "unsupported"'
            yield Problem((*path, "lowest_priority"), what, advice)
        if spec.mode == "x2apic" and not spec.apic.x2apic_supported:
            whose = path if topology.apic.x2apic_supported else ("apic",)
            without_x2apic.setdefault((*whose, "x2apic_supported"), []).append(spec.name)
    for at, names in without_x2apic.items():
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        what = f"false in {names[0]}{others}, whose mode is x2apic"
        yield Problem(at, what, 'add mode = "xapic" (R1)')


def _listed(apic_ids: Sequence[int]) -> str:
    named = ", ".join(str(apic_id) for apic_id in apic_ids[:8])
    return f"APIC {'id' if len(apic_ids) == 1 else 'ids'} {named}{', …' * (len(apic_ids) > 8)}"


def _program_problems(at: tuple[str, int], spec: InstanceSpec) -> Iterator[Problem]:
    seen: set[int] = set()
    for number, program in enumerate(spec.programs):
        path = (*at, "programs", number, "cpu")
        if spec.cpus and program.cpu >= len(spec.cpus):
            what = f"{spec.name} has no CPU {program.cpu}: it has 0 to {len(spec.cpus) - 1}"
            yield Problem(path, what, "cpu is the number within the instance, not the APIC id")
        if program.cpu in seen:
            what = f"CPU {program.cpu} of {spec.name} has two programs"
            yield Problem(path, what, "a CPU runs one program; call the second from the first")
        seen.add(program.cpu)
