"""The calls of a client that make instances come and go (docs/lifecycle.md)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mkrpc.client.calls import Caller
from mkrpc.client.faults import HOST_SILENT
from mkrpc.client.numbers import check_apic_id, check_bits, check_instance_id
from mkrpc.errors import MkrpcError
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import types_pb2 as types

__all__ = ["Created", "Image", "KernfsEntry", "LifecycleCalls"]

_STILL_RUNS = "it may be stopped or stuck in a handler: `mkrpc kill --force` ends it all the same"

EXEC_PATIENCE_S = 45.0
"""Seconds that a start may take: of its process, and of its boot CPU after that."""

UPDATE_PATIENCE_S = 45.0
"""Seconds that an update may take: of an instance that runs each CPU leaves or comes by itself, and
one that does not within 10 s ends it."""

KILL_PATIENCE_S = 45.0
"""Seconds that an end may take: of a shutdown that nobody acknowledges, and of its process."""


@dataclass(frozen=True, slots=True)
class Image:
    """What is loaded into an instance. ``handlers`` and, by CPU number, ``programs`` are
    ``package.module:name``. ``callables``: how many came from a script beside them."""

    cmdline: str = ""
    handlers: tuple[str, ...] = ()
    programs: Mapping[int, str] = field(default_factory=dict)
    callables: int = 0

    @classmethod
    def of(cls, message: types.Image) -> "Image":
        """Translate."""
        return cls(
            cmdline=message.cmdline,
            handlers=tuple(message.handlers),
            programs={program.cpu: program.entry for program in message.programs},
            callables=message.callables,
        )

    def to_pb(self) -> types.Image:
        """Translate; what came from a script cannot be named, and is left out."""
        programs = [
            types.ImageProgram(cpu=check_bits("CPU", number, 32), entry=entry)
            for number, entry in sorted(self.programs.items())
        ]
        return types.Image(cmdline=self.cmdline, handlers=self.handlers, programs=programs)


@dataclass(frozen=True, slots=True)
class Created:
    """A new instance."""

    id: int
    name: str
    apic_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KernfsEntry:
    """A file with its ``text``, or a folder (``text`` None) with its ``entries``."""

    text: str | None
    entries: tuple[str, ...]


class LifecycleCalls(Caller):
    """The part of :class:`mkrpc.client.Client` that has the verbs.

    Each raises what the table of states says: InstanceBusyError (EBUSY), NothingLoadedError and
    NotActiveError (EINVAL), NoCpuError (ENODEV), NotFoundError (ENOENT), AlreadyExistsError
    (EEXIST), PermissionDeniedError (EPERM), InvalidArgumentError (EINVAL); ClusterStateError if no
    host agent is there to do it. After UnavailableError or DeadlineExceededError it may have
    happened.
    """

    _stub: Any

    def create_instance(
        self,
        name: str = "",
        *,
        instance_id: int | None = None,
        apic_ids: Sequence[int] = (),
        cpu_count: int = 0,
    ) -> Created:
        """Reserve an id (the lowest free one if none is given), a name and CPUs of the pool."""
        request = pb.CreateInstanceRequest(
            instance_id=None if instance_id is None else check_instance_id(instance_id),
            name=name,
            apic_ids=map(check_apic_id, apic_ids),
            cpu_count=check_bits("count of CPUs", cpu_count, 32),
        )
        made = self._call(self._stub.CreateInstance, request, if_silent=HOST_SILENT)
        return Created(made.instance_id, made.name, tuple(made.apic_ids))

    def create_described(
        self,
        *files: str | Path,
        name: str = "",
        on_warning: Callable[[str], None] | None = None,
    ) -> list[Created]:
        """Create the instances that device trees describe, of any dialect; or the one of that name.

        All or none: if one is refused, those before it are deleted again. Pool, host and memory of
        the trees are checked and given to nobody: CPUs come from the machine's own pool.
        ``on_warning`` is told what is likely not meant, one line each. Raises TopologyError too.
        """
        # Imported late: pydantic is for those who need it.
        from mkrpc.client.described import described_instances
        from mkrpc.devicetree.naming import plain_name

        made: list[Created] = []
        try:
            for spec in described_instances(files, name=name, on_warning=on_warning):
                ids = spec.cpus.ids
                called = plain_name(spec.name)
                made.append(self.create_instance(called, instance_id=spec.id, apic_ids=ids))
        except MkrpcError as error:
            self._take_back(made, error)
            raise
        return made

    def _take_back(self, made: Sequence[Created], error: MkrpcError) -> None:
        """Delete what was created before the error, whose advice says so."""
        for each in reversed(made):
            try:
                self.delete_instance(each.id)
            except MkrpcError as problem:
                error.advice += f"; instance {each.id} ({each.name}) stays: {problem}"
        if made:
            error.advice += "; until then none of them is created"

    def update_instance(self, instance_id: int, apic_ids: Sequence[int]) -> None:
        """Give an instance other CPUs, or none.

        One that runs gives up those that are not named, but for its boot CPU, and takes in those
        that it has not: of the pool. One that does not run must have nothing loaded.
        """
        request = pb.UpdateInstanceRequest(
            instance_id=check_instance_id(instance_id), apic_ids=map(check_apic_id, apic_ids)
        )
        limit_s = max(self.timeout_s, UPDATE_PATIENCE_S)
        self._call(self._stub.UpdateInstance, request, limit_s=limit_s, if_silent=HOST_SILENT)

    def load_instance(self, instance_id: int, image: Image | None = None) -> Image:
        """Load a kernel; None: what it had when the cluster began, else the plain one."""
        given = image.to_pb() if image is not None else None
        request = pb.LoadInstanceRequest(instance_id=check_instance_id(instance_id), image=given)
        answer = self._call(self._stub.LoadInstance, request, if_silent=HOST_SILENT)
        return Image.of(answer.image)

    def unload_instance(self, instance_id: int) -> None:
        """Unload the kernel of an instance that does not run."""
        request = pb.UnloadInstanceRequest(instance_id=check_instance_id(instance_id))
        self._call(self._stub.UnloadInstance, request, if_silent=HOST_SILENT)

    def delete_instance(self, instance_id: int) -> tuple[int, ...]:
        """Forget an instance; returns the APIC ids that are back in the pool."""
        request = pb.DeleteInstanceRequest(instance_id=check_instance_id(instance_id))
        answer = self._call(self._stub.DeleteInstance, request, if_silent=HOST_SILENT)
        return tuple(answer.apic_ids)

    def exec_instance(
        self, instance_id: int, *, direct: bool = False, apic_id: int | None = None
    ) -> int:
        """Start an instance that has a kernel loaded: a new incarnation. Returns its process id.

        The host's boot CPU sends INIT and SIPI to its first CPU, or to ``apic_id``; with ``direct``
        nobody does, and all CPUs are online at once, as when the cluster starts. StuckError if the
        boot CPU does not come up.
        """
        request = pb.ExecInstanceRequest(
            instance_id=check_instance_id(instance_id),
            direct=direct,
            apic_id=None if apic_id is None else check_apic_id(apic_id),
        )
        limit_s = max(self.timeout_s, EXEC_PATIENCE_S)
        call = self._stub.ExecInstance
        return int(self._call(call, request, limit_s=limit_s, if_silent=HOST_SILENT).pid)

    def kill_instance(self, instance_id: int, *, force: bool = False, signal: bool = False) -> int:
        """End an instance; returns its process's exit code.

        It is asked to shut down, parks its CPUs, and its process ends. ``force``: its CPUs park at
        an NMI, and a process in which they do not gets SIGKILL. ``signal``: nothing but SIGTERM, or
        SIGKILL with ``force``.
        """
        request = pb.KillInstanceRequest(
            instance_id=check_instance_id(instance_id), force=force, signal=signal
        )
        if_silent = HOST_SILENT if force else _STILL_RUNS
        limit_s = max(self.timeout_s, KILL_PATIENCE_S)
        call = self._stub.KillInstance
        return int(self._call(call, request, limit_s=limit_s, if_silent=if_silent).exit_code)

    def kernfs(self, path: str = "") -> KernfsEntry:
        """A file or folder below /sys/fs/multikernel. NotFoundError."""
        answer = self._read(self._stub.GetKernfs, pb.GetKernfsRequest(path=path))
        if answer.is_folder:
            return KernfsEntry(None, tuple(answer.entries))
        return KernfsEntry(answer.text, ())
