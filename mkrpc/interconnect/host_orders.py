"""Instances as host agents have them, and the orders that host agents have not answered."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mkrpc.errors import (
    ClusterStateError,
    LimitReachedError,
    ProtocolError,
    StartUpError,
    UnavailableError,
    error_for_reason,
)
from mkrpc.v1 import interconnect_pb2 as pb
from mkrpc.v1 import types_pb2 as types

if TYPE_CHECKING:
    from mkrpc.interconnect.hosts import HostLink

__all__ = ["MAX_ORDERS", "HostOrders", "HostedProcess", "no_host"]

MAX_ORDERS = 1024
"""Orders that a host agent has not answered; the next one is refused with LimitReachedError."""


@dataclass(slots=True)
class HostedProcess:
    """An instance that a host agent has. ``exit_code`` is minus the signal, if one ended it;
    it means nothing while the process runs or before it ever ran (``pid`` 0). ``paused``: by a
    SIGSTOP of its host agent's. ``image``: what is loaded, if anything is; ``first_image``: what
    was when the cluster began. ``booting``: its boot CPU has not come up yet. ``failure``: why its
    last start came to nothing, or empty. ``spare_cpus``: how many of its last CPUs stay offline at
    boot."""

    instance_id: int
    name: str
    apic_ids: tuple[int, ...]
    host: "HostLink"
    pid: int = 0
    running: bool = False
    exit_code: int = 0
    paused: bool = False
    ended_by_order: bool = False
    image: types.Image | None = None
    first_image: types.Image | None = None
    booting: bool = False
    failure: str = ""
    spare_cpus: int = 0

    @classmethod
    def of(cls, hosted: pb.HostedInstance, host: "HostLink") -> "HostedProcess":
        """As a host agent's hello has it."""
        return cls(
            hosted.instance_id,
            hosted.name,
            tuple(hosted.apic_ids),
            host,
            pid=hosted.pid,
            running=hosted.running,
            exit_code=hosted.exit_code,
            paused=hosted.paused and hosted.running,
            ended_by_order=hosted.ended_by_order,
            image=hosted.image if hosted.HasField("image") else None,
            first_image=hosted.first_image if hosted.HasField("first_image") else None,
            spare_cpus=hosted.spare_cpus,
        )


@dataclass(slots=True)
class _Order:
    """What a host agent was told to do; ``then`` is what that changes here, ``answer`` is awaited
    by whoever asked for it."""

    host: "HostLink"
    instance_id: int
    then: Callable[[], None]
    answer: "asyncio.Future[pb.HostReport]"


class HostOrders:
    """Orders, numbered from 1 over all host agents."""

    def __init__(self) -> None:
        self._orders: dict[int, _Order] = {}
        self._next = 1

    async def give(
        self,
        host: "HostLink",
        instance_id: int,
        fill: Callable[[pb.AttachHostResponse], None],
        then: Callable[[], None] = lambda: None,
    ) -> pb.HostReport:
        """Send an order and wait for its answer; raises the host agent's own error, and
        :class:`UnavailableError` if the host agent goes away meanwhile.

        ``then`` is called the moment it is answered that it was done: before anything else that
        the host agent says, and before it can go away."""
        if sum(order.host is host for order in self._orders.values()) >= MAX_ORDERS:
            raise LimitReachedError(
                f"{MAX_ORDERS} orders wait for the host agent of instance {instance_id}",
                advice="it may be stopped or hung: look at its log, or take the cluster down",
            )
        number = self._next
        self._next += 1
        message = pb.AttachHostResponse(order=number)
        fill(message)
        answer: asyncio.Future[pb.HostReport] = asyncio.get_running_loop().create_future()
        self._orders[number] = _Order(host, instance_id, then, answer)
        host.send(message)
        return await answer

    def check(self, host: "HostLink", report: pb.HostReport) -> bool:
        """Whether a report answers an order; :class:`ProtocolError` if that was given to another
        host, for another instance, or not at all."""
        order = self._orders.get(report.order)
        if report.order and (
            order is None or order.host is not host or order.instance_id != report.instance_id
        ):
            raise ProtocolError(f"an answer to order {report.order}, which it was not given")
        return order is not None

    def answered(self, report: pb.HostReport) -> None:
        """Do what follows from it, and tell whoever asked."""
        order = self._orders.pop(report.order)
        if not report.error:
            order.then()
        if order.answer.done():
            return  # Whoever asked has stopped waiting.
        if report.error:
            kind = error_for_reason(report.reason) if report.reason else StartUpError
            order.answer.set_exception(kind(report.error, advice=report.advice))
        else:
            order.answer.set_result(report)

    def forget(self, host: "HostLink") -> None:
        """A host agent has gone: nobody will answer what it was told to do."""
        for number, order in list(self._orders.items()):
            if order.host is not host:
                continue
            del self._orders[number]
            if not order.answer.done():
                order.answer.set_exception(
                    UnavailableError(
                        f"the host agent of instance {order.instance_id} went away",
                        advice="what it was told to do may still have happened: see mkrpc show",
                    )
                )


def no_host() -> ClusterStateError:
    """No host agent is there that could do it."""
    return ClusterStateError(
        "no host agent is attached: no process can be started or ended here",
        advice="if it has died, clear the cluster away with mkrpc down and start it again",
    )
