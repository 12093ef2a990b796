"""The part of the Control service that has host agents start, end, stop and continue processes."""

import asyncio
import contextlib
from typing import Any, TypeAlias

import grpc

from mkrpc.interconnect.attachments import Pump
from mkrpc.interconnect.hosts import HostRegistry
from mkrpc.interconnect.instance_state import state_to_pb
from mkrpc.interconnect.kernfs import proc_kimage, proc_multikernel, read_kernfs
from mkrpc.interconnect.lifecycle import Lifecycle
from mkrpc.lifecycle import HOST_ID
from mkrpc.transport.supervision import core_task
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import control_pb2_grpc

__all__ = ["HOST_PATIENCE_S", "ProcessControl"]

HOST_PATIENCE_S = 5.0
"""Seconds that a call waits for the host agent of an interconnect that has just begun."""

_HOST_FILES = {"multikernel": proc_multikernel, "kimage": proc_kimage}

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class ProcessControl(control_pb2_grpc.ControlServicer):
    """Serves who wants instances to come and go.

    ``pump``: what asks for an instance waits until the interconnect waits for nobody of an earlier
    one.
    """

    def __init__(self, hosts: HostRegistry, pump: Pump) -> None:
        self._hosts = hosts
        self._recovered = pump.recovered
        self._lifecycle = Lifecycle(hosts, pump)
        self._adopting: asyncio.Task[None] | None = None
        self._host_told = asyncio.Event()
        if not hosts.hosted:
            self._host_told.set()
        hosts.on_told = self._told

    def _told(self) -> None:
        """A host agent has said what runs: perhaps something whose start-up nobody waits for."""
        self._host_told.set()
        if self._recovered.is_set():
            self._lifecycle.adopt()
        elif self._adopting is None:
            self._adopting = core_task(self._adopt(), "start-ups that go on")

    async def _adopt(self) -> None:
        await self._recovered.wait()
        self._lifecycle.adopt()

    async def _ready(self) -> None:
        await self._recovered.wait()
        await self._host_is_there()

    async def _host_is_there(self) -> None:
        """After a restart clients may be back before the host agent, which comes by itself."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._host_told.wait(), HOST_PATIENCE_S)

    async def CreateInstance(  # noqa: N802
        self, request: pb.CreateInstanceRequest, context: Context
    ) -> pb.CreateInstanceResponse:
        """Reserve an id, a name and CPUs."""
        await self._ready()
        made = await self._lifecycle.create(
            request.instance_id if request.HasField("instance_id") else None,
            request.name,
            request.apic_ids,
            request.cpu_count,
        )
        return pb.CreateInstanceResponse(
            instance_id=made.instance_id,
            name=made.name,
            apic_ids=made.apic_ids,
            state=self._state(made.instance_id),
        )

    async def UpdateInstance(  # noqa: N802
        self, request: pb.UpdateInstanceRequest, context: Context
    ) -> pb.UpdateInstanceResponse:
        """Give an instance other CPUs."""
        await self._ready()
        await self._lifecycle.update(request.instance_id, request.apic_ids)
        return pb.UpdateInstanceResponse(state=self._state(request.instance_id))

    async def LoadInstance(  # noqa: N802
        self, request: pb.LoadInstanceRequest, context: Context
    ) -> pb.LoadInstanceResponse:
        """Load a kernel."""
        await self._ready()
        asked = request.image if request.HasField("image") else None
        image = await self._lifecycle.load(request.instance_id, asked)
        return pb.LoadInstanceResponse(state=self._state(request.instance_id), image=image)

    async def UnloadInstance(  # noqa: N802
        self, request: pb.UnloadInstanceRequest, context: Context
    ) -> pb.UnloadInstanceResponse:
        """Unload it."""
        await self._ready()
        await self._lifecycle.unload(request.instance_id)
        return pb.UnloadInstanceResponse(state=self._state(request.instance_id))

    async def DeleteInstance(  # noqa: N802
        self, request: pb.DeleteInstanceRequest, context: Context
    ) -> pb.DeleteInstanceResponse:
        """Forget an instance."""
        await self._ready()
        apic_ids = await self._lifecycle.delete(request.instance_id)
        return pb.DeleteInstanceResponse(apic_ids=apic_ids)

    async def GetKernfs(  # noqa: N802
        self, request: pb.GetKernfsRequest, context: Context
    ) -> pb.GetKernfsResponse:
        """A file or folder of /sys/fs/multikernel."""
        processes = list(self._hosts.processes.values())
        found = read_kernfs(request.path, processes, self._lifecycle.states(), self._hosts.pool)
        if found.text is not None:
            return pb.GetKernfsResponse(text=found.text)
        return pb.GetKernfsResponse(is_folder=True, entries=found.entries)

    async def ExecInstance(  # noqa: N802
        self, request: pb.ExecInstanceRequest, context: Context
    ) -> pb.ExecInstanceResponse:
        """Start an instance's process, and boot it."""
        await self._ready()
        pid, apic_id = await self._lifecycle.exec(
            request.instance_id,
            direct=request.direct,
            apic_id=request.apic_id if request.HasField("apic_id") else None,
        )
        return pb.ExecInstanceResponse(pid=pid, apic_id=apic_id)

    async def KillInstance(  # noqa: N802
        self, request: pb.KillInstanceRequest, context: Context
    ) -> pb.KillInstanceResponse:
        """End an instance."""
        await self._ready()
        exit_code, parked = await self._lifecycle.kill(
            request.instance_id, force=request.force, signal=request.signal
        )
        return pb.KillInstanceResponse(exit_code=exit_code, parked=parked)

    def _state(self, instance_id: int) -> str:
        return state_to_pb(self._lifecycle.state(instance_id))

    def _host_file(self, instance_id: int, path: str) -> str | None:
        """A file of the host's /proc that its kernel here cannot know; None for any other."""
        render = _HOST_FILES.get(path) if instance_id == HOST_ID else None
        return None if render is None else render(self._hosts.processes.values())

    async def PauseInstance(  # noqa: N802
        self, request: pb.PauseInstanceRequest, context: Context
    ) -> pb.PauseInstanceResponse:
        """Stop an instance's process for a while."""
        await self._host_is_there()
        report = await self._hosts.pause(request.instance_id, for_us=request.for_us)
        return pb.PauseInstanceResponse(pid=report.pid)

    async def ResumeInstance(  # noqa: N802
        self, request: pb.ResumeInstanceRequest, context: Context
    ) -> pb.ResumeInstanceResponse:
        """Let an instance's process go on."""
        await self._host_is_there()
        report = await self._hosts.resume(request.instance_id)
        return pb.ResumeInstanceResponse(pid=report.pid)

    async def Shutdown(self, request: pb.ShutdownRequest, context: Context) -> pb.ShutdownResponse:  # noqa: N802
        """Have the host agents stop everything."""
        await self._host_is_there()
        self._hosts.stop_all()
        return pb.ShutdownResponse()
