"""The part of the Control service that has host agents start, end, stop and continue processes."""

import asyncio
from typing import Any, TypeAlias

import grpc

from mkrpc.interconnect.hosts import HostRegistry
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import control_pb2_grpc

__all__ = ["ProcessControl"]

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class ProcessControl(control_pb2_grpc.ControlServicer):
    """Serves who wants processes to begin or to end.

    ``recovered``: set while the interconnect waits for nobody of an earlier one.
    """

    def __init__(self, hosts: HostRegistry, recovered: asyncio.Event) -> None:
        self._hosts = hosts
        self._recovered = recovered

    async def ExecInstance(  # noqa: N802
        self, request: pb.ExecInstanceRequest, context: Context
    ) -> pb.ExecInstanceResponse:
        """Start an instance's process."""
        await self._recovered.wait()
        report = await self._hosts.start(request.instance_id)
        return pb.ExecInstanceResponse(pid=report.pid)

    async def KillInstance(  # noqa: N802
        self, request: pb.KillInstanceRequest, context: Context
    ) -> pb.KillInstanceResponse:
        """End an instance's process."""
        await self._recovered.wait()
        report = await self._hosts.kill(request.instance_id, force=request.force)
        return pb.KillInstanceResponse(exit_code=report.exit_code)

    async def PauseInstance(  # noqa: N802
        self, request: pb.PauseInstanceRequest, context: Context
    ) -> pb.PauseInstanceResponse:
        """Stop an instance's process for a while."""
        report = await self._hosts.pause(request.instance_id, for_us=request.for_us)
        return pb.PauseInstanceResponse(pid=report.pid)

    async def ResumeInstance(  # noqa: N802
        self, request: pb.ResumeInstanceRequest, context: Context
    ) -> pb.ResumeInstanceResponse:
        """Let an instance's process go on."""
        report = await self._hosts.resume(request.instance_id)
        return pb.ResumeInstanceResponse(pid=report.pid)

    async def Shutdown(self, request: pb.ShutdownRequest, context: Context) -> pb.ShutdownResponse:  # noqa: N802
        """Have the host agents stop everything."""
        self._hosts.stop_all()
        return pb.ShutdownResponse()
