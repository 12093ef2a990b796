"""The part of the Control service that has one instance send something to another."""

from collections.abc import Callable
from typing import Any, TypeAlias

import grpc

from mkrpc.errors import InvalidArgumentError
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.errands import Errand, ask_for_cpu, send_message
from mkrpc.interconnect.fault_control import FaultControl
from mkrpc.link.messages import MAX_MESSAGE_BYTES
from mkrpc.v1 import control_pb2 as pb

__all__ = ["MAX_PATIENCE_US", "ErrandControl"]

MAX_PATIENCE_US = 3_600_000_000
"""For which a message may be watched, an hour; more is InvalidArgumentError."""

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class ErrandControl(FaultControl):
    """Serves who wants kernels to talk."""

    _bus: ApicBus
    _drain: Callable[[], None]

    async def SendMessage(  # noqa: N802 - gRPC's spelling
        self, request: pb.SendMessageRequest, context: Context
    ) -> pb.SendMessageResponse:
        """Have one instance send a message to another, and see what becomes of it."""
        await self._recovered.wait()
        errand = self._errand(request.sender, request.target)
        size = len(request.text.encode())
        if not 1 <= size <= MAX_MESSAGE_BYTES:
            raise InvalidArgumentError(
                f"EINVAL: a message of {size} bytes", advice=f"it has 1 to {MAX_MESSAGE_BYTES}"
            )
        if request.patience_us > MAX_PATIENCE_US:
            raise InvalidArgumentError(
                f"a message cannot be watched for {request.patience_us} us",
                advice=f"for {MAX_PATIENCE_US} at most",
            )
        end = await send_message(
            errand, request.ipi_type, request.text, patience_s=request.patience_us / 1e6
        )
        return pb.SendMessageResponse(way=end.way, fate=end.fate)

    async def AskForCpu(  # noqa: N802
        self, request: pb.AskForCpuRequest, context: Context
    ) -> pb.AskForCpuResponse:
        """Have one instance ask the owner of a CPU to bring it up, or to take it offline."""
        await self._recovered.wait()
        owner = self._bus.cpu_owner(request.apic_id)[0].instance_id
        errand = self._errand(request.asker, owner)
        await ask_for_cpu(errand, request.apic_id, online=request.online)
        return pb.AskForCpuResponse(owner=owner)

    def _errand(self, sender: int, target: int) -> Errand:
        if sender == target:
            raise InvalidArgumentError(
                f"EINVAL: instance {sender} cannot send to itself", advice="name two instances"
            )
        errand = Errand(self._bus, self._drain, sender, target)
        errand.session()
        return errand
