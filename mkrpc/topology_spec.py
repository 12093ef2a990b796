"""The tables of a topology: what each key may hold, and what it holds if nothing is said.

:mod:`mkrpc.topology` puts them together to a machine; docs/topology.md explains every key.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, create_model

from mkrpc.limits import (
    ENTRY,
    MAX_BURST,
    MAX_CMDLINE,
    MAX_CPUS,
    MAX_ENTRY,
    MAX_HANDLERS,
    MAX_INSTANCE_ID,
    MAX_LEASE_S,
    MAX_STORE_BUFFER,
    MAX_WRITES_PER_S,
)
from mkrpc.x86.apic_policy import ApicPolicy

__all__ = [
    "MAX_INSTANCES",
    "MAX_PRINTK_RECORDS",
    "ApicSpec",
    "InstanceSpec",
    "LeaseSeconds",
    "Mode",
    "Name",
    "ProgramSpec",
    "RateSpec",
    "Spec",
]

MAX_INSTANCES = MAX_INSTANCE_ID + 1
"""Instances of one machine, id 0 among them."""
MAX_PRINTK_RECORDS = 1 << 20
"""Records in one instance's printk ring."""

Mode = Literal["x2apic", "xapic"]

Name = Annotated[StrictStr, Field(pattern=r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")]
LeaseSeconds = Annotated[StrictInt, Field(ge=0, le=MAX_LEASE_S)]
_Entry = Annotated[StrictStr, Field(max_length=MAX_ENTRY, pattern=ENTRY)]


class Spec(BaseModel):
    """A table: frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_SWITCHES = get_type_hints(ApicPolicy)
_KEYS: dict[str, Any] = {
    name: (StrictBool if hint is bool else hint, getattr(ApicPolicy(), name))
    for name, hint in _SWITCHES.items()
}
_Switches = create_model("_Switches", __base__=Spec, **_KEYS)


class ApicSpec(_Switches):  # type: ignore[misc, valid-type] # made from the policy
    """The ``[apic]`` table: every switch of :class:`mkrpc.x86.apic_policy.ApicPolicy` is a key.

    In a :class:`mkrpc.topology.Topology` the table of an instance is whole: what it does not
    say itself is that of the machine.
    """

    @classmethod
    def choices(cls, key: str) -> tuple[str, ...]:
        """What a switch may be, as a TOML file spells it; KeyError for an unknown one."""
        hint = _SWITCHES[key]
        return ("true", "false") if hint is bool else get_args(hint)

    def as_policy(self) -> ApicPolicy:
        """The switches, as a local APIC has them."""
        return ApicPolicy(**self.model_dump())

    def over(self, machine: Self) -> Self:
        """This table where it says something, that of the machine elsewhere."""
        said = {key: getattr(self, key) for key in self.model_fields_set}
        whole: Self = machine.model_copy(update=said)
        return whole

    def switches(self, other: "ApicSpec | None" = None) -> dict[str, str]:
        """What differs from another table, or from the defaults, as a TOML file spells it."""
        return _differing(self, other or _DEFAULT_APIC, type(self).model_fields)


_DEFAULT_APIC = ApicSpec()


class RateSpec(Spec):
    """How many ICR writes of a source pass: ``writes_per_s`` of them, 0 for no limit, and ``burst``
    at once, 0 for what passes in 0.1 s, but at least one."""

    writes_per_s: Annotated[StrictInt, Field(ge=0, le=MAX_WRITES_PER_S)] = 0
    burst: Annotated[StrictInt, Field(ge=0, le=MAX_BURST)] = 0


_UNLIMITED = RateSpec()


class ProgramSpec(Spec):
    """A program and where it runs: ``cpu`` is the CPU's number within its instance, from 0.

    ``entry`` is ``package.module:name`` of a callable.
    """

    cpu: Annotated[StrictInt, Field(ge=0, lt=MAX_CPUS)]
    entry: _Entry


class InstanceSpec(Spec):
    """One kernel. Within a Topology, ``name``, ``cpus``, ``mode``, ``apic`` and ``rate`` are filled
    in.

    ``id``: 0 (the host instance) to 511. ``name``: as a DNS label, beginning with a letter;
    ``mk<id>`` if not given. ``cpus``: APIC ids in the order of the CPUs' numbers; or ``cpu_count``
    in its place, which takes the ids after the highest that any instance lists, in file order.
    ``mode``: that of the topology if not given. ``handlers``: ``package.module:name`` of
    multikernel handlers, called in this order. ``printk_records``: size of the log ring.
    ``cmdline``: parameters of the kernel (docs/lifecycle.md).
    ``boundary``: ``word`` takes interrupts after every accepted ICR word, ``frame`` after every
    frame, which coalesces more. The others are those of
    :class:`mkrpc.instance.config.KernelConfig`.
    """

    id: Annotated[StrictInt, Field(ge=0, lt=MAX_INSTANCES)]
    name: Name = ""
    cpus: Annotated[
        tuple[Annotated[StrictInt, Field(ge=0)], ...], Field(min_length=1, max_length=MAX_CPUS)
    ] = ()
    cpu_count: Annotated[StrictInt, Field(ge=1, le=MAX_CPUS)] | None = Field(
        default=None, exclude=True
    )
    mode: Mode = "x2apic"
    apic: ApicSpec = _DEFAULT_APIC
    rate: RateSpec = _UNLIMITED
    programs: tuple[ProgramSpec, ...] = ()
    handlers: Annotated[tuple[_Entry, ...], Field(max_length=MAX_HANDLERS)] = ()
    cmdline: Annotated[StrictStr, Field(max_length=MAX_CMDLINE, pattern=r"^[ -~]*$")] = ""
    panic_on_oops: StrictBool = False
    printk_records: Annotated[StrictInt, Field(ge=1, le=MAX_PRINTK_RECORDS)] = 4096
    boundary: Literal["word", "frame"] = "word"
    entry: Literal["idt", "fred"] = "idt"
    multikernel: StrictBool = True
    apic_debug: StrictBool = False
    store_buffer: Annotated[StrictInt, Field(ge=0, le=MAX_STORE_BUFFER)] = 0
    foreign_stop: Literal["obey", "ignore"] = "obey"
    spare_cpus: Annotated[StrictInt, Field(ge=0, lt=MAX_CPUS)] = 0
    lvt_error: StrictBool = False
    xapic_ldr: Literal["zero", "flat"] = "flat"
    initial_tpr: Annotated[StrictInt, Field(ge=0, le=0xFF)] = 0x10

    def switches(self, machine: ApicSpec) -> dict[str, str]:
        """What is special about this kernel: keys that differ from the defaults, or, as
        ``apic.KEY``, from the machine's table; as a TOML file spells them."""
        own = _differing(self, _PLAIN_INSTANCE, _KERNEL_SWITCHES)
        return own | {f"apic.{key}": text for key, text in self.apic.switches(machine).items()}


_PLAIN_INSTANCE = InstanceSpec(id=0)
_KERNEL_SWITCHES = (
    "entry",
    "multikernel",
    "apic_debug",
    "store_buffer",
    "foreign_stop",
    "spare_cpus",
    "lvt_error",
    "xapic_ldr",
    "initial_tpr",
    "boundary",
    "panic_on_oops",
)


def _differing(spec: Spec, plain: Spec, keys: Iterable[str]) -> dict[str, str]:
    pairs = ((key, getattr(spec, key)) for key in keys if getattr(spec, key) != getattr(plain, key))
    return {key: str(value).lower() for key, value in pairs}
