"""CPUs that come to an instance that runs, and leave it: orders to kernels and to host agents.

A CPU leaves by REMOVE_CPU and its acknowledgement. It belongs to the pool once the host agent has
been told. It comes in the other order: the host agent is told, then the kernel takes the CPU in
(ADD_CPU) and brings it online by INIT and SIPI of its boot CPU. What has been done is not done
again, so that the same call goes on from wherever an earlier one was cut short.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

import structlog

from mkrpc.errors import (
    InstanceBusyError,
    InvalidArgumentError,
    MkrpcError,
    NoCpuError,
    ProtocolError,
    StuckError,
    UnavailableError,
)
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.asks import ask
from mkrpc.interconnect.host_orders import HostedProcess
from mkrpc.interconnect.hosts import HostRegistry
from mkrpc.interconnect.session import Session
from mkrpc.link.frames import CommandKind

__all__ = ["HOTPLUG_TIMEOUT_S", "CpuHotplug", "differs", "keep_as_kernel_has"]

HOTPLUG_TIMEOUT_S = 10.0
"""Seconds for one CPU to leave or to come, as a request of the series waits for its ACK."""

_LOOK_S = 0.005

_log = structlog.get_logger("mkrpc.interconnect")


class CpuHotplug:
    """Of one instance that is active."""

    def __init__(
        self, bus: ApicBus, drain: Callable[[], None], hosts: HostRegistry, process: HostedProcess
    ) -> None:
        self._bus = bus
        self._drain = drain
        self._hosts = hosts
        self._process = process

    async def change_to(self, apic_ids: Sequence[int]) -> None:
        """These CPUs and no others: first all leave that are not among them.

        Raises InvalidArgumentError (EINVAL) if the boot CPU would, InstanceBusyError (EBUSY),
        StuckError (ETIMEDOUT), and what the kernel or the host agent answers. What was done before
        that stays done.
        """
        process = self._process
        session = self._bus.session(process.instance_id)
        boot = session.addresses[0].apic_id
        if boot not in apic_ids:
            raise InvalidArgumentError(
                f"EINVAL: the CPU with APIC id {boot} is the boot CPU of instance "
                f"{process.instance_id} ({process.name}), which cannot be removed",
                advice=f"name it among its CPUs, or end the instance first: mkrpc kill "
                f"{process.name}",
            )
        what = f"instance {process.instance_id} ({process.name}) to"
        for apic_id in dict.fromkeys((*process.apic_ids, *_cpus_of(session))):
            if apic_id not in apic_ids:
                async with _limited(f"{what} give up the CPU with APIC id {apic_id}"):
                    await self._remove(apic_id)
        for apic_id in apic_ids:
            if apic_id not in process.apic_ids or not _has(session, apic_id):
                async with _limited(f"{what} take in the CPU with APIC id {apic_id}"):
                    await self._add(session, apic_id)

    async def _remove(self, apic_id: int) -> None:
        process = self._process
        with suppress(NoCpuError):  # it never came: the host agent has it there all the same
            await self._ask(CommandKind.REMOVE_CPU, word=apic_id)
        await self._keep(each for each in process.apic_ids if each != apic_id)

    async def _add(self, session: Session, apic_id: int) -> None:
        before = [each for each in self._process.apic_ids if each != apic_id]
        await self._keep((*before, apic_id))
        try:
            await self._take_in(apic_id)
            number = _number_of(session, apic_id)
        except MkrpcError:
            await self._keep(before)
            raise
        if not session.addresses[number].software_enabled:
            await self._ask(CommandKind.SET_CPU, cpu=number, action="online=1")
        while not session.addresses[number].software_enabled:
            if not session.alive:
                raise UnavailableError(
                    f"instance {session.instance_id} ended: {session.end_reason}",
                    advice="it has the CPU when it is started again",
                )
            await asyncio.sleep(_LOOK_S)

    async def _take_in(self, apic_id: int) -> None:
        """What is on its way to where the CPU was has its outcome first, and what was asked before
        its answer."""
        while True:
            try:
                await self._ask(CommandKind.ADD_CPU, word=apic_id)
                return
            except InstanceBusyError:
                if not self._bus.is_moving(apic_id):
                    raise
            await asyncio.sleep(_LOOK_S)

    async def _ask(
        self, kind: CommandKind, *, cpu: int = 0, word: int = 0, action: str = ""
    ) -> None:
        number = self._process.instance_id
        await ask(self._bus, self._drain, number, kind, cpu=cpu, word=word, action=action)

    async def _keep(self, apic_ids: Iterable[int]) -> None:
        process = self._process
        cpus = tuple(apic_ids)
        await self._hosts.keep(process.instance_id, process.name, cpus, hotplug=True)


async def keep_as_kernel_has(hosts: HostRegistry, session: Session, process: HostedProcess) -> None:
    """The host agent has of an instance the CPUs that its kernel has, and no others.

    An interconnect that died between the acknowledgement of a kernel and that of its host agent has
    left them with different ones. What is nobody's then is the pool's. Raises as HostRegistry.keep.
    """
    has = _cpus_of(session)
    cpus = [each for each in process.apic_ids if each in has]
    cpus += [each for each in has if each not in cpus]
    _log.warning(
        "a move of a CPU that another interconnect began",
        instance=process.name,
        host_agent=process.apic_ids,
        kernel=cpus,
    )
    await hosts.keep(process.instance_id, process.name, cpus, hotplug=True)


def differs(session: Session, process: HostedProcess) -> bool:
    """Whether a kernel has other CPUs than its host agent would start it with."""
    return set(_cpus_of(session)) != set(process.apic_ids)


def _cpus_of(session: Session) -> list[int]:
    return [each.apic_id for each in session.addresses if not each.vacant]


def _number_of(session: Session, apic_id: int) -> int:
    """Of a CPU that a kernel says it has taken in: its stream has said so before."""
    for each in session.addresses:
        if each.apic_id == apic_id and not each.vacant:
            return each.cpu
    raise ProtocolError(
        f"instance {session.instance_id} says that it took in APIC id {apic_id}, and has not"
    )


def _has(session: Session, apic_id: int) -> bool:
    return apic_id in _cpus_of(session)


@asynccontextmanager
async def _limited(what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(HOTPLUG_TIMEOUT_S):
            yield
    except TimeoutError:
        raise StuckError(
            f"ETIMEDOUT: {HOTPLUG_TIMEOUT_S:g} s were not enough for {what}",
            advice="it may have been done or not: the same again goes on from there",
        ) from None
