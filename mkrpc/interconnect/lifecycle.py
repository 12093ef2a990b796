"""What the verbs of the lifecycle do: create, update, load, exec, kill, unload, delete.

What may be done when stands in :mod:`mkrpc.lifecycle`; here it is done, by orders to host agents,
commands to kernels and ICR writes of the host's boot CPU. Of an instance one thing is done at a
time; what comes meanwhile is refused (EBUSY).
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import structlog

from mkrpc.errors import (
    ClusterStateError,
    InstanceBusyError,
    InvalidArgumentError,
    MkrpcError,
    NotFoundError,
)
from mkrpc.interconnect.attachments import Pump
from mkrpc.interconnect.booting import Booting
from mkrpc.interconnect.cpu_hotplug import CpuHotplug, differs, keep_as_kernel_has
from mkrpc.interconnect.cpu_pool import check_name, choose_cpus, choose_id
from mkrpc.interconnect.host_orders import HostedProcess
from mkrpc.interconnect.hosts import HostRegistry
from mkrpc.interconnect.image import check_image
from mkrpc.interconnect.instance_state import instance_state, known_ids
from mkrpc.interconnect.parking import halt, shut_down
from mkrpc.interconnect.registry import InstanceRecord
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.start_up import sender_of
from mkrpc.lifecycle import HOST_ID, InstanceState, Verb, next_state
from mkrpc.v1 import types_pb2 as types

__all__ = ["Lifecycle"]

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
        self._booting = Booting(hosts, pump)
        self._looked_at: set[bytes] = set()
        """Incarnations that came over from another interconnect, and whose CPUs were compared."""

    def states(self) -> dict[int, InstanceState]:
        """By instance id."""
        records = {record.instance_id: record for record in self._bus.instances()}
        return {
            number: instance_state(
                self._bus, records.get(number), self._hosts.processes.get(number)
            )
            for number in known_ids(self._bus, self._hosts)
        }

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
        cpus = self._choose(apic_ids, cpu_count, own=(), instance_id=number)
        keep = self._hosts.keep(number, name, cpus)
        await self._order(number, verb, keep, promised=(name, cpus))
        return self._hosts.process(number)

    async def update(self, instance_id: int, apic_ids: Sequence[int]) -> InstanceState:
        """All the CPUs that it is to have, or none. If it runs, they leave and come one by one."""
        verb = Verb.UPDATE if apic_ids else Verb.UPDATE_TO_NO_CPUS
        process = self._check(instance_id, verb)
        cpus = self._choose(apic_ids, 0, own=process.apic_ids, instance_id=instance_id)
        if self.state(instance_id) is InstanceState.ACTIVE:
            hotplug = CpuHotplug(self._bus, self._drain, self._hosts, process)
            order = hotplug.change_to(cpus)
        else:
            order = self._hosts.keep(instance_id, process.name, cpus)
        await self._order(instance_id, verb, order, promised=(process.name, cpus))
        return self.state(instance_id)

    async def load(self, instance_id: int, image: types.Image | None) -> types.Image:
        """What its process is to run; None: what it had when the cluster began."""
        process = self._check(instance_id, Verb.LOAD)
        image = image or process.first_image or types.Image()
        check_image(image, cpus=len(process.apic_ids))
        load = self._once_ended(process, lambda number: self._hosts.load(number, image))
        await self._order(instance_id, Verb.LOAD, load)
        return image

    async def unload(self, instance_id: int) -> InstanceState:
        """Nothing is loaded any more."""
        process = self._check(instance_id, Verb.UNLOAD)
        unload = self._once_ended(process, self._hosts.unload)
        await self._order(instance_id, Verb.UNLOAD, unload)
        return self.state(instance_id)

    async def delete(self, instance_id: int) -> tuple[int, ...]:
        """It is gone; the APIC ids that are back in the pool."""
        if self._forget_stranger(instance_id):
            return ()
        process = self._check(instance_id, Verb.DELETE)
        drop = self._once_ended(process, self._hosts.drop)
        await self._order(instance_id, Verb.DELETE, drop)
        return process.apic_ids

    def _forget_stranger(self, instance_id: int) -> bool:
        """Whether this was an instance that was started by hand and has gone: then its id is free,
        and there is no host agent to tell."""
        record = self._record(instance_id)
        if record is None or instance_id == HOST_ID or instance_id in self._hosts.processes:
            return False
        if record.attached or self._bus.is_awaited(record.incarnation):
            return False
        self._hosts.forgotten[instance_id] = record.incarnation
        return True

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
        with ExitStack() as held:
            held.enter_context(self._one_at_a_time(instance_id, Verb.EXEC))
            if not direct:
                sender_of(self._bus)  # Refused before anything has begun.
            await self._end_what_is_left(process)
            process.failure = ""
            if direct:
                return (await self._hosts.start(instance_id, apic_id=apic_id)).pid, None
            return await self._booting.start(process, apic_id, held)

    def adopt(self) -> None:
        """Start-ups that an interconnect before this one began go on, and moves of CPUs are told to
        host agents as they are, if nobody else does anything of the instance."""
        for process in self._booting.left_over():
            if process.instance_id not in self._under_way:
                held = ExitStack()
                held.enter_context(self._one_at_a_time(process.instance_id, Verb.EXEC))
                self._booting.go_on(self._booting.finish(process, held))
        for session, process in self._cut_short():
            self._booting.go_on(self._agree(session, process))

    def _cut_short(self) -> Iterator[tuple[Session, HostedProcess]]:
        """Who came over from another interconnect with other CPUs than its host agent knows of."""
        for session in self._bus.sessions():
            hello, number = session.hello, session.instance_id
            process = self._hosts.processes.get(number)
            if process is None or not process.running or number in self._under_way:
                continue
            if hello.epoch in (0, self._bus.epoch) or hello.incarnation in self._looked_at:
                continue
            # Once: what differs later is a move under way, or one that is to go on.
            self._looked_at.add(hello.incarnation)
            if session.alive and differs(session, process):
                yield session, process

    async def _agree(self, session: Session, process: HostedProcess) -> None:
        try:
            await keep_as_kernel_has(self._hosts, session, process)
        except MkrpcError as error:
            _log.warning("its host agent was not told", instance=process.name, error=str(error))
            self._looked_at.discard(session.hello.incarnation)

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
            active = self.state(instance_id) is InstanceState.ACTIVE
            if active and not signal and not process.paused:
                parked = await (halt if force else shut_down)(self._bus, self._drain, process)
            return await self._end(process, force=force and not parked), parked

    async def _end(self, process: HostedProcess, *, force: bool) -> int:
        """Its exit code, also if it ends by itself before it is told to."""
        try:
            return (await self._hosts.kill(process.instance_id, force=force)).exit_code
        except ClusterStateError:
            if process.running:
                raise
            return process.exit_code

    async def _end_what_is_left(self, process: HostedProcess) -> None:
        """Of an instance that is not active the process may still run: paused, hung, fenced, or
        about to end by itself. What is done next is done of nothing that runs."""
        if process.running:
            failed = self.state(process.instance_id) is InstanceState.FAILED
            await self._end(process, force=failed)

    async def _once_ended(
        self, process: HostedProcess, order: Callable[[int], Awaitable[None]]
    ) -> None:
        await self._end_what_is_left(process)
        await order(process.instance_id)

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
            if any(a.apic_id == apic_id and not a.vacant for a in session.addresses):
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
        self, apic_ids: Sequence[int], count: int, *, own: Sequence[int], instance_id: int
    ) -> tuple[int, ...]:
        owners = {
            apic_id: process.instance_id
            for process in self._hosts.processes.values()
            for apic_id in process.apic_ids
            if apic_id not in own
        }
        for session in self._bus.sessions():
            for address in session.addresses:
                if not address.vacant and session.instance_id != instance_id:
                    owners.setdefault(address.apic_id, session.instance_id)
        for other, (_, promised) in self._promised.items():
            owners |= dict.fromkeys(promised, other)
        pool = (self._hosts.pool | set(own)) - owners.keys()
        return choose_cpus(apic_ids, count, pool=pool, owners=owners)

    def _has_host(self) -> bool:
        return HOST_ID in known_ids(self._bus, self._hosts)

    def state(self, instance_id: int) -> InstanceState:
        """Of one instance. NotFoundError for what nobody knows of, or no longer."""
        record, process = self._record(instance_id), self._hosts.processes.get(instance_id)
        if record is None and process is None:
            raise NotFoundError(
                f"nobody knows of instance {instance_id}: its host agent may have gone away",
                advice="'mkrpc show' lists them",
            )
        return instance_state(self._bus, record, process)

    def _record(self, instance_id: int) -> InstanceRecord | None:
        found = (each for each in self._bus.instances() if each.instance_id == instance_id)
        return next(found, None)

    def _name(self, instance_id: int) -> str:
        known = self._hosts.processes.get(instance_id) or self._record(instance_id)
        return known.name if known is not None else ""

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
        task = self._booting.go_on(order)
        task.add_done_callback(lambda _task: until_done.close())
        await asyncio.shield(task)

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
