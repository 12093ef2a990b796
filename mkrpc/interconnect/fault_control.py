"""The part of the Control service that injects faults: decode, do, encode."""

import secrets
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeAlias

import grpc

from mkrpc.errors import InvalidArgumentError
from mkrpc.fault import FaultKind
from mkrpc.fault_codec import fault_from_pb, fault_to_pb
from mkrpc.interconnect.faults import ActiveFault
from mkrpc.interconnect.hosts import HostRegistry
from mkrpc.interconnect.link_faults import LinkFaults
from mkrpc.interconnect.process_control import ProcessControl
from mkrpc.v1 import control_pb2 as pb

__all__ = ["FaultControl", "faults_to_pb"]

_SEED_BITS = 64

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


def faults_to_pb(faults: Iterable[ActiveFault], now_us: int) -> list[pb.InjectedFault]:
    """Faults as they are at a time."""
    return [
        pb.InjectedFault(
            number=active.number,
            fault=fault_to_pb(active.fault),
            text=str(active.fault),
            age_us=now_us - active.since_us,
            left_us=None if active.until_us is None else max(0, active.until_us - now_us),
            struck=active.struck,
        )
        for active in faults
    ]


class FaultControl(ProcessControl):
    """Serves who wants something to go wrong."""

    def __init__(self, hosts: HostRegistry, faults: LinkFaults) -> None:
        super().__init__(hosts, faults.pump)
        self._faults = faults

    async def SetFault(self, request: pb.SetFaultRequest, context: Context) -> pb.SetFaultResponse:  # noqa: N802 - gRPC's spelling
        """Inject a fault."""
        fault = fault_from_pb(request.fault)
        if fault.kind is FaultKind.PAUSE:
            raise InvalidArgumentError(
                "a pause is a host agent's to make", advice="use PauseInstance: mkrpc pause"
            )
        if not fault.seed and "seed" in fault.takes:
            fault = replace(fault, seed=secrets.randbits(_SEED_BITS))
        active = self._faults.set(fault)
        return pb.SetFaultResponse(fault=self._to_pb([active])[0])

    async def ListFaults(  # noqa: N802
        self, request: pb.ListFaultsRequest, context: Context
    ) -> pb.ListFaultsResponse:
        """The faults that are injected now."""
        self._faults.pump.tell_time()
        return pb.ListFaultsResponse(faults=self._to_pb(self._faults.bus.faults))

    async def ClearFaults(  # noqa: N802
        self, request: pb.ClearFaultsRequest, context: Context
    ) -> pb.ClearFaultsResponse:
        """End faults: all that are named, or none if one of them does not exist."""
        table = self._faults.bus.faults
        asked = [table.find(number) for number in request.numbers]
        cleared = []
        for active in dict.fromkeys(asked) if request.numbers else table:
            if active.fault.kind is FaultKind.PAUSE:
                assert active.fault.instance is not None
                # What it reports takes the fault from the table.
                await self._hosts.resume(active.fault.instance)
            else:
                self._faults.clear(active.number)
            cleared.append(active)
        return pb.ClearFaultsResponse(faults=self._to_pb(cleared))

    def _to_pb(self, faults: Iterable[ActiveFault]) -> list[pb.InjectedFault]:
        return faults_to_pb(faults, self._faults.bus.now_us)
