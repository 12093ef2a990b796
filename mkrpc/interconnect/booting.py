"""How an instance's process is started and its boot CPU woken, and what becomes of half a start.

An interconnect that dies between the two leaves a kernel that is attached and of which no CPU has
ever run, and nobody who waits for it. The next interconnect knows it by its hello and goes on where
the other was; if it does not come up then, it has failed by name, as at any exec.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import Any

import structlog

from mkrpc.errors import MkrpcError
from mkrpc.interconnect.attachments import Pump
from mkrpc.interconnect.host_orders import HostedProcess
from mkrpc.interconnect.hosts import HostRegistry
from mkrpc.interconnect.start_up import boot_by_host
from mkrpc.v1 import interconnect_pb2 as pb

__all__ = ["Booting"]

_log = structlog.get_logger("mkrpc.interconnect")


class Booting:
    """Boots instances. What goes on though nobody waits for it is in ``going_on``."""

    def __init__(self, hosts: HostRegistry, pump: Pump) -> None:
        self._hosts = hosts
        self._bus = pump.bus
        self._drain = pump.drain
        self._up: dict[int, bytes] = {}
        """By instance id the incarnation that has come up: an INIT later is not its start."""
        self._going_on: set[asyncio.Task[None]] = set()

    def go_on(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Do it to its end, whoever waits for it."""
        task = asyncio.create_task(work)
        self._going_on.add(task)
        task.add_done_callback(self._going_on.discard)
        return task

    async def start(
        self, process: HostedProcess, apic_id: int | None, held: ExitStack
    ) -> tuple[int, int]:
        """Start the process and boot it; the process id, and the CPU that was sent INIT and SIPI.

        ``held``: until what has been begun is up, or cleared away.
        """
        number = process.instance_id
        process.booting = True
        held.callback(setattr, process, "booting", False)
        start = self._hosts.start(number, wait_for_sipi=True, apic_id=apic_id)
        starting = asyncio.ensure_future(start)
        try:
            report = await asyncio.shield(starting)
            booted = await self._boot(process, init=True)
        except MkrpcError as error:
            process.failure = str(error)
            await self._clear_away(process)
            raise
        except BaseException:
            # Whoever asked has gone: half of a kernel is of no use to anybody.
            process.failure = "its start-up was given up"
            self.go_on(self._give_up(process, starting, held.pop_all()))
            raise
        return report.pid, booted

    def left_over(self) -> list[HostedProcess]:
        """What was started to be booted, and none of its CPUs has ever run. Who is up when this
        looks is never left over again: what stops its boot CPU later is not its start."""
        found = []
        for session in self._bus.sessions():
            number, incarnation = session.instance_id, session.hello.incarnation
            process = self._hosts.processes.get(number)
            if process is None or not process.running or not session.hello.waits_for_sipi:
                continue
            if session.addresses[0].software_enabled:
                self._up[number] = incarnation
            elif self._up.get(number) != incarnation:
                found.append(process)
        return found

    async def finish(self, process: HostedProcess, held: ExitStack) -> None:
        """Boot what is left over; it has failed if that comes to nothing. ``held``: until then."""
        with held:
            process.booting = True
            held.callback(setattr, process, "booting", False)
            _log.warning("a start-up that another interconnect began", instance=process.name)
            try:
                await self._boot(process, init=False)
            except MkrpcError as error:
                process.failure = f"stuck at start-up, which another interconnect began: {error}"
                _log.warning("the start-up has failed", instance=process.name, error=str(error))
                await self._clear_away(process)

    async def _boot(self, process: HostedProcess, *, init: bool) -> int:
        number = process.instance_id
        booted = await boot_by_host(
            self._bus,
            self._drain,
            number,
            cmdline=process.image.cmdline if process.image is not None else "",
            spare_cpus=process.spare_cpus,
            init=init,
        )
        self._up[number] = self._bus.session(number).hello.incarnation
        return booted

    async def _give_up(
        self, process: HostedProcess, starting: "asyncio.Future[pb.HostReport]", held: ExitStack
    ) -> None:
        with held:
            # What the host agent was told to start it does start.
            await asyncio.gather(starting, return_exceptions=True)
            await self._clear_away(process)

    async def _clear_away(self, process: HostedProcess) -> None:
        if not process.running:
            return
        try:
            await self._hosts.kill(process.instance_id, force=True)
        except MkrpcError as error:
            _log.warning("a start-up that failed", instance=process.name, error=str(error))
