"""The instances that a host agent has: with which CPUs, and what is loaded into each.

It outlives interconnects, which learn it from the hello of their host agent. What may be done when
is not decided here (:mod:`mkrpc.lifecycle`).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from mkrpc.errors import InvalidArgumentError, NotFoundError
from mkrpc.limits import MAX_X2APIC_ID
from mkrpc.topology import MAX_XAPIC_ID, InstanceSpec, ProgramSpec, Topology
from mkrpc.v1 import types_pb2 as types

__all__ = ["KeptInstances"]


class KeptInstances:
    """``specs`` by instance id; ``pool``: APIC ids that no instance has; ``deleted``: ids that were
    deleted, and not created again. ``scripted``: how many callables of a script each has."""

    def __init__(self, topology: Topology, scripted: Mapping[int, int] | None = None) -> None:
        self._topology = topology
        self._scripted = dict(scripted or {})
        self.specs: dict[int, InstanceSpec] = {spec.id: spec for spec in topology.instances}
        self.pool: set[int] = set(topology.pool)
        self.deleted: set[int] = set()
        self.images: dict[int, types.Image] = {
            spec.id: _image_of(spec, self._scripted.get(spec.id, 0)) for spec in topology.instances
        }
        """What is loaded, by instance id."""
        self.first_images: Mapping[int, types.Image] = dict(self.images)

    def name(self, instance_id: int) -> str:
        """Of an instance. NotFoundError."""
        return self._spec(instance_id).name

    def machine(self, instance_id: int, boot_apic_id: int | None) -> Topology:
        """What a process learns of the machine, its own CPU to boot on as number 0. NotFoundError.

        Instances without CPUs are none of it.
        """
        spec = self._spec(instance_id)
        if boot_apic_id is not None and boot_apic_id != spec.cpus[0]:
            others = tuple(apic_id for apic_id in spec.cpus if apic_id != boot_apic_id)
            spec = spec.model_copy(update={"cpus": (boot_apic_id, *others)})
        specs = (spec if each.id == instance_id else each for each in self.specs.values())
        return self._topology.model_copy(update={"instances": tuple(s for s in specs if s.cpus)})

    def runs_callables(self, instance_id: int) -> bool:
        """Whether what is loaded has callables of a script in it."""
        image = self.images.get(instance_id)
        return image is not None and image.callables > 0

    def keep(self, instance_id: int, name: str, apic_ids: Iterable[int]) -> None:
        """A new instance, or other CPUs for one that is known.

        InvalidArgumentError for APIC ids that the machine's mode has not.
        """
        cpus = tuple(apic_ids)
        limit = MAX_XAPIC_ID if self._topology.mode == "xapic" else MAX_X2APIC_ID
        if cpus and max(cpus) > limit:
            raise InvalidArgumentError(
                f"EINVAL: APIC id {max(cpus)} is above {limit}, the highest in this machine's mode",
                advice="choose CPUs of the pool: 'mkrpc show' lists them",
            )
        known = self.specs.get(instance_id)
        before = known.cpus if known is not None else ()
        made = known or InstanceSpec(
            id=instance_id, name=name, mode=self._topology.mode, apic=self._topology.apic
        )
        spare_cpus = min(made.spare_cpus, max(0, len(cpus) - 1))
        self.specs[instance_id] = made.model_copy(update={"cpus": cpus, "spare_cpus": spare_cpus})
        self.pool = (self.pool | set(before)) - set(cpus)
        self.deleted.discard(instance_id)

    def load(self, instance_id: int, image: types.Image) -> None:
        """What it is to run from now on. NotFoundError; InvalidArgumentError for a program that
        cannot be."""
        try:
            programs = tuple(ProgramSpec(cpu=p.cpu, entry=p.entry) for p in image.programs)
        except ValidationError as error:
            raise InvalidArgumentError(
                "EINVAL: no process can run these programs",
                advice="write each as package.module:name, on a CPU of the instance",
            ) from error
        update: dict[str, Any] = {
            "cmdline": image.cmdline,
            "handlers": tuple(image.handlers),
            "programs": programs,
        }
        self.specs[instance_id] = self._spec(instance_id).model_copy(update=update)
        self.images[instance_id] = image

    def unload(self, instance_id: int) -> None:
        """Nothing is loaded any more."""
        self.images.pop(instance_id, None)

    def drop(self, instance_id: int) -> None:
        """There is no such instance any more. NotFoundError."""
        self.pool |= set(self._spec(instance_id).cpus)
        del self.specs[instance_id]
        self.images.pop(instance_id, None)
        self.deleted.add(instance_id)

    def _spec(self, instance_id: int) -> InstanceSpec:
        found = self.specs.get(instance_id)
        if found is None:
            raise NotFoundError(
                f"ENOENT: this host agent has no instance {instance_id}",
                advice="'mkrpc show' lists them",
            )
        return found


def _image_of(spec: InstanceSpec, callables: int) -> types.Image:
    return types.Image(
        cmdline=spec.cmdline,
        handlers=spec.handlers,
        programs=[types.ImageProgram(cpu=p.cpu, entry=p.entry) for p in spec.programs],
        callables=callables,
    )
