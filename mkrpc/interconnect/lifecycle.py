"""What the verbs of the lifecycle do: create, update, load, exec, kill, unload, delete.

What may be done when stands in :mod:`mkrpc.lifecycle`; here it is done, by orders to host agents,
commands to kernels and ICR writes of the host's boot CPU. Of an instance one thing is done at a
time; what comes meanwhile is refused (EBUSY).
"""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import structlog

from mkrpc.errors import (
    DeadlineExceededError,
    InstanceBusyError,
    InvalidArgumentError,
    MkrpcError,
    NotFoundError,
    StuckError,
    UnavailableError,
)
from mkrpc.interconnect.asks import ask
from mkrpc.interconnect.attachments import Pump
from mkrpc.interconnect.cpu_pool import check_name, choose_cpus, choose_id
from mkrpc.interconnect.errands import shut_down_on_channel
from mkrpc.interconnect.host_orders import HostedProcess
from mkrpc.interconnect.hosts import HostRegistry
from mkrpc.interconnect.image import check_image
from mkrpc.interconnect.instance_state import instance_state, known_ids
from mkrpc.interconnect.start_up import boot_by_host, ring_nmi
from mkrpc.lifecycle import HOST_ID, InstanceState, Verb, next_state
from mkrpc.link.frames import CommandKind
from mkrpc.v1 import types_pb2 as types

__all__ = ["FORCE_TIMEOUT_S", "SHUTDOWN_TIMEOUT_S", "Lifecycle"]

SHUTDOWN_TIMEOUT_S = 30.0
"""Seconds for a kernel to acknowledge its shutdown, as in the series."""

FORCE_TIMEOUT_S = 1.0
"""Seconds for every CPU to park at an NMI; then the process gets SIGKILL."""

_log = structlog.get_logger("mkrpc.interconnect")


class Lifecycle:
    """The verbs. Each raises what the table says, and what host agents and kernels answer."""

    def __init__(self, hosts: HostRegistry, pump: Pump) -> None:
        self._hosts = hosts
        self._bus = pump.bus
        self._drain = pump.drain
        self._under_way: dict[int, Verb] = {}
        self._promised: dict[int, tuple[str, tuple[int, ...]]] = {}
        """The name and the CPUs of instances whose host agent has not taken them over yet."""
        self._going_on: set[asyncio.Task[None]] = set()

    def states(self) -> dict[int, InstanceState]:
        """By instance id."""
        return {number: self._state(number) for number in known_ids(self._bus, self._hosts)}

    async def create(
        self, instance_id: int | None, name: str, apic_ids: Sequence[int], cpu_count: int
    ) -> HostedProcess:
        """Reserve an id, a name and CPUs: those that are named, or so many of the pool."""
        states = self.states()
        number = choose_id(instance_id, states.keys() | self._under_way.keys())
        name = name or f"mk{number}"
        verb = Verb.CREATE if apic_ids or cpu_count else Verb.CREATE_WITHOUT_CPUS
        next_state(states.get(number), verb, instance_id=number, name=self._name(number) or name)
        names = {self._name(each): each for each in states}
        check_name(name, names | {each: to for to, (each, _) in self._promised.items()})
        cpus = self._choose(apic_ids, cpu_count, own=())
        keep = self._hosts.keep(number, name, cpus)
        await self._order(number, verb, keep, promised=(name, cpus))
        return self._hosts.process(number)

    async def update(self, instance_id: int, apic_ids: Sequence[int]) -> InstanceState:
        """All the CPUs that it is to have, or none."""
        verb = Verb.UPDATE if apic_ids else Verb.UPDATE_TO_NO_CPUS
        process = self._check(instance_id, verb)
        cpus = self._choose(apic_ids, 0, own=process.apic_ids)
        keep = self._hosts.keep(instance_id, process.name, cpus)
        await self._order(instance_id, verb, keep, promised=(process.name, cpus))
        return self._state(instance_id)

    async def load(self, instance_id: int, image: types.Image | None) -> types.Image:
        """What its process is to run; None: what it had when the cluster began."""
        process = self._check(instance_id, Verb.LOAD)
        image = image or process.first_image or types.Image()
        check_image(image, cpus=len(process.apic_ids))
        await self._order(instance_id, Verb.LOAD, self._hosts.load(instance_id, image))
        return image

    async def unload(self, instance_id: int) -> InstanceState:
        """Nothing is loaded any more."""
        self._check(instance_id, Verb.UNLOAD)
        await self._order(instance_id, Verb.UNLOAD, self._hosts.unload(instance_id))
        return self._state(instance_id)

    async def delete(self, instance_id: int) -> tuple[int, ...]:
        """It is gone; the APIC ids that are back in the pool."""
        process = self._check(instance_id, Verb.DELETE)
        await self._order(instance_id, Verb.DELETE, self._hosts.drop(instance_id))
        return process.apic_ids

    async def exec(
        self, instance_id: int, *, direct: bool, apic_id: int | None
    ) -> tuple[int, int | None]:
        """Start its process and boot it; the process id, and the CPU that was sent INIT and SIPI.

        The host itself boots without, as from firmware, and so does every other on a machine that
        has no host.
        """
        process = self._check(instance_id, Verb.EXEC)
        if apic_id is not None:
            self._check_boot_cpu(process, apic_id)
        direct = direct or instance_id == HOST_ID or not self._has_host()
        with self._one_at_a_time(instance_id, Verb.EXEC):
            process.failure = ""
            if direct:
                return (await self._hosts.start(instance_id, apic_id=apic_id)).pid, None
            return await self._boot(process, apic_id)

    async def _boot(self, process: HostedProcess, apic_id: int | None) -> tuple[int, int]:
        number = process.instance_id
        process.booting = True
        try:
            report = await self._hosts.start(number, wait_for_sipi=True, apic_id=apic_id)
            cmdline = process.image.cmdline if process.image is not None else ""
            booted = await boot_by_host(self._bus, self._drain, number, cmdline=cmdline)
        except MkrpcError as error:
            process.failure = str(error)
            await self._clear_away(process)
            raise
        except BaseException:
            # Whoever asked has gone: half of a kernel is of no use to anybody.
            process.failure = "its start-up was given up"
            self._go_on(asyncio.create_task(self._clear_away(process)))
            raise
        finally:
            process.booting = False
        return report.pid, booted

    async def _clear_away(self, process: HostedProcess) -> None:
        if not process.running:
            return
        try:
            await self._hosts.kill(process.instance_id, force=True)
        except MkrpcError as error:
            _log.warning("a start-up that failed", instance=process.name, error=str(error))

    async def kill(self, instance_id: int, *, force: bool, signal: bool) -> tuple[int, int]:
        """End its process; the exit code, and how many CPUs had parked before.

        It is asked to shut down or, with ``force``, gets an NMI on every CPU; ``signal`` leaves
        both out.
        """
        process = self._hosts.processes.get(instance_id)
        if process is None or not process.running:
            # What was fenced may still run; that is to be ended too.
            process = self._check(instance_id, Verb.KILL)
        with self._one_at_a_time(instance_id, Verb.KILL):
            parked = 0
            active = self._state(instance_id) is InstanceState.ACTIVE
            if active and not signal and not process.paused:
                parked = await (self._halt if force else self._shut_down)(process)
            report = await self._hosts.kill(instance_id, force=force and not parked)
        return report.exit_code, parked

    async def _shut_down(self, process: HostedProcess) -> int:
        """SHUTDOWN on the channel from the host's kernel, or, where there is none, as a command;
        its acknowledgement, and that every CPU has parked."""
        number = process.instance_id
        try:
            async with asyncio.timeout(SHUTDOWN_TIMEOUT_S):
                parked = await shut_down_on_channel(self._bus, self._drain, number)
                if parked is not None:
                    return parked
                reply = await ask(self._bus, self._drain, number, CommandKind.SHUTDOWN)
        except (TimeoutError, DeadlineExceededError):
            raise StuckError(
                f"ETIMEDOUT: instance {number} ({process.name}) did not acknowledge its shutdown "
                f"within {SHUTDOWN_TIMEOUT_S:g} s",
                advice=f"it may be stuck in a handler: mkrpc kill --force {process.name}",
            ) from None
        except (UnavailableError, NotFoundError):
            return 0  # It is ending by itself.
        return _number(reply.text)

    async def _halt(self, process: HostedProcess) -> int:
        """The marker, then an NMI on every CPU; 0 if they do not all park."""
        number = process.instance_id
        asked = asyncio.create_task(
            ask(self._bus, self._drain, number, CommandKind.FORCE_HALT), name="force halt"
        )
        try:
            await asyncio.sleep(0)  # It sends the marker before the NMIs follow.
            if not ring_nmi(self._bus, self._drain, number):
                return 0
            async with asyncio.timeout(FORCE_TIMEOUT_S):
                return _number((await asked).text)
        except (TimeoutError, MkrpcError) as error:
            _log.info("not parked by NMI", instance=process.name, error=str(error))
            return 0
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)

    def _check(self, instance_id: int, verb: Verb) -> HostedProcess:
        """Whether the table permits it. What no host agent has is refused before that."""
        if not self._hosts.hosts:
            return self._hosts.process(instance_id)
        state = self.states().get(instance_id)
        name = self._name(instance_id)
        if state is None:
            next_state(None, verb, instance_id=instance_id, name=name or f"mk{instance_id}")
        process = self._hosts.process(instance_id)
        next_state(state, verb, instance_id=instance_id, name=name)
        return process

    def _check_boot_cpu(self, process: HostedProcess, apic_id: int) -> None:
        if apic_id in process.apic_ids:
            return
        for session in self._bus.sessions():
            if any(address.apic_id == apic_id for address in session.addresses):
                raise InstanceBusyError(
                    f"EBUSY: the CPU with APIC id {apic_id} is currently running instance "
                    f"{session.instance_id} ({session.hello.name})",
                    advice=f"boot on one of {', '.join(map(str, process.apic_ids))}",
                )
        raise InvalidArgumentError(
            f"EINVAL: instance {process.instance_id} ({process.name}) has no CPU with APIC id "
            f"{apic_id}",
            advice=f"boot on one of {', '.join(map(str, process.apic_ids))}",
        )

    def _choose(
        self, apic_ids: Sequence[int], count: int, *, own: Sequence[int]
    ) -> tuple[int, ...]:
        owners = {
            apic_id: process.instance_id
            for process in self._hosts.processes.values()
            for apic_id in process.apic_ids
            if apic_id not in own
        }
        for session in self._bus.sessions():
            for address in session.addresses:
                owners.setdefault(address.apic_id, session.instance_id)
        for instance_id, (_, promised) in self._promised.items():
            owners |= dict.fromkeys(promised, instance_id)
        pool = (self._hosts.pool | set(own)) - owners.keys()
        return choose_cpus(apic_ids, count, pool=pool, owners=owners)

    def _has_host(self) -> bool:
        return HOST_ID in known_ids(self._bus, self._hosts)

    def _state(self, instance_id: int) -> InstanceState:
        records = {record.instance_id: record for record in self._bus.instances()}
        process = self._hosts.processes.get(instance_id)
        return instance_state(self._bus, records.get(instance_id), process)

    def _name(self, instance_id: int) -> str:
        process = self._hosts.processes.get(instance_id)
        if process is not None:
            return process.name
        found = (each for each in self._bus.instances() if each.instance_id == instance_id)
        record = next(found, None)
        return record.name if record is not None else ""

    async def _order(
        self,
        instance_id: int,
        verb: Verb,
        order: Coroutine[Any, Any, None],
        *,
        promised: tuple[str, tuple[int, ...]] | None = None,
    ) -> None:
        """Do it to its end, also if whoever asked leaves: what the host agent has been told to have
        is known here. Nobody else is given the name and the CPUs that are ``promised``."""
        with ExitStack() as begun:
            begun.callback(order.close)
            begun.enter_context(self._one_at_a_time(instance_id, verb))
            if promised is not None:
                self._promised[instance_id] = promised
                begun.callback(self._promised.pop, instance_id)
            until_done = begun.pop_all()
        task = asyncio.create_task(order)
        task.add_done_callback(lambda _task: until_done.close())
        self._go_on(task)
        await asyncio.shield(task)

    def _go_on(self, task: "asyncio.Task[None]") -> None:
        """Nobody need wait for it."""
        self._going_on.add(task)
        task.add_done_callback(self._going_on.discard)

    @contextmanager
    def _one_at_a_time(self, instance_id: int, verb: Verb) -> Iterator[None]:
        other = self._under_way.get(instance_id)
        if other is not None:
            raise InstanceBusyError(
                f"EBUSY: {other} of instance {instance_id} is under way",
                advice="wait until it is done: 'mkrpc show' tells",
            )
        self._under_way[instance_id] = verb
        try:
            yield
        finally:
            del self._under_way[instance_id]


def _number(text: str) -> int:
    """How many CPUs parked; 0 for what is no number."""
    return int(text) if text.isdecimal() else 0
