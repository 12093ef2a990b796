"""The host agent's link to the interconnect: orders come in, reports go out."""

import asyncio
import os
import signal
import socket
from functools import partial
from typing import Any

import structlog

from mkrpc.errors import (
    ClusterStateError,
    InvalidArgumentError,
    MkrpcError,
    ProtocolError,
    StartUpError,
)
from mkrpc.host.agent import HostAgent
from mkrpc.host.child import Child
from mkrpc.host.hello import describe
from mkrpc.host.keeper import InterconnectKeeper
from mkrpc.host.orders import change
from mkrpc.host.pauses import Pauses
from mkrpc.interconnect.hosts import ATTACH_HOST
from mkrpc.link.frames import WIRE_VERSION
from mkrpc.transport import supervision
from mkrpc.transport.address import parse
from mkrpc.transport.choice import chosen
from mkrpc.transport.stream import Connection
from mkrpc.v1 import interconnect_pb2 as pb

__all__ = ["serve"]

EXIT_START_FAILED = 1
EXIT_INTERCONNECT_ENDED = 6

COME_BACK_PAUSE_S = 0.05
"""Seconds between two attempts to attach again."""
COME_BACK_PATIENCE_S = 60.0
"""Seconds after which an agent that no interconnect takes ends the cluster."""

_log = structlog.get_logger("mkrpc.host")


class HostLink:
    """Serves the orders of the interconnect; a ``ConnectionHandler`` of one stream after another.

    Until the interconnect has said welcome the cluster is starting: whatever ends before that
    makes the start fail, and the launcher is told why. After that an interconnect that dies is
    started again, and the agent attaches to the new one.
    """

    def __init__(self, agent: HostAgent) -> None:
        self._agent = agent
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[int] = self._loop.create_future()
        self._connection: Connection | None = None
        self._link = 0
        """Counts the streams. Orders of an earlier one have no answer any more."""
        self._broken = asyncio.Event()
        self._outgoing: list[pb.AttachHostRequest] = []
        self._kills: dict[int, list[int]] = {}
        self._keeper = InterconnectKeeper(agent, on_end=self._interconnect_ended)
        self._pauses = Pauses(
            self._loop, lambda instance, order, child: self._report(instance, order, child=child)
        )

    async def run(self) -> int:
        """Serve until told to stop or until there is no interconnect; the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._asked_to_stop)
        if self._agent.stopping:
            self._asked_to_stop()  # While nobody looked: between the start and this loop.
        self._keeper.watch()
        serving = asyncio.create_task(self._serve())
        either: set[asyncio.Future[Any]] = {serving, self._done}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            serving.cancel()
        elif (error := serving.exception()) is not None and not self._done.done():
            raise error
        return await self._done

    async def _serve(self) -> None:
        """One stream after another; raises what keeps the agent from attaching for good."""
        address = parse(self._agent.address)
        connect = chosen().connect
        await connect(address, ATTACH_HOST, self._open)
        while True:
            await self._broken.wait()
            self._broken.clear()
            patience_until_s = self._loop.time() + COME_BACK_PATIENCE_S
            while self._connection is None:
                await asyncio.sleep(COME_BACK_PAUSE_S)
                try:
                    await connect(address, ATTACH_HOST, self._open)
                except MkrpcError as error:
                    if not _is_passing(error) or self._loop.time() > patience_until_s:
                        raise
                    _log.debug("cannot come back", error=str(error))

    def _open(self, connection: Connection) -> "HostLink":
        self._connection = connection
        self._link += 1
        hello = pb.AttachHostRequest()
        hello.hello.wire_version = WIRE_VERSION
        hello.hello.pid = os.getpid()
        hello.hello.host_name = socket.gethostname()
        describe(self._agent, hello.hello)
        # What has gathered since the last stream broke is in the hello.
        self._outgoing = [hello]
        self._kills.clear()
        self._pump()
        if self._link == 1:
            # Only now: what they report follows the hello.
            for instance_id in self._agent.instances:
                self._watch_instance(instance_id)
        return self

    def on_frame(self, connection: Connection, frame: bytes) -> None:
        """An order has come."""
        order = pb.AttachHostResponse.FromString(frame)
        match order.WhichOneof("message"):
            case "welcome":
                self._welcome()
            case "start":
                self._start(order.start, order.order)
            case "kill":
                self._kill(order.kill.instance_id, order.kill.force, order.order)
            case "pause":
                self._pause(order.pause.instance_id, order.pause.for_us / 1e6, order.order)
            case "resume":
                self._resume(order.resume.instance_id, order.order)
            case "keep" | "load" | "unload" | "drop":
                self._report(*change(self._agent, order))
            case "stop":
                self._asked_to_stop()
            case _:
                _log.error("an empty order from the interconnect")

    def on_writable(self, connection: Connection) -> None:
        """Send what has gathered."""
        self._pump()

    def on_closed(self, connection: Connection, error: MkrpcError | None) -> None:
        """The interconnect, or its end, closed the stream; its process's end is watched apart."""
        self._connection = None
        if self._done.done():
            return
        if not self._agent.is_ready or not _is_passing(error):
            _log.error("the link to the interconnect broke", error=str(error))
            self._lost(StartUpError(f"the interconnect let go of the host agent: {error}"))
            return
        _log.warning("the link to the interconnect broke", error=str(error or "closed"))
        self._broken.set()

    def _welcome(self) -> None:
        if self._done.done():
            return
        if self._agent.is_ready:
            _log.info("attached again", link=self._link)
            return
        try:
            self._agent.ready()
        except StartUpError as error:
            self._lost(error)

    def _asked_to_stop(self) -> None:
        _log.info("asked to stop the cluster")
        if self._agent.is_ready:
            self._finish(0)
        else:
            self._lost(StartUpError("asked to stop before the cluster was up"))

    def _start(self, what: pb.StartProcess, order: int) -> None:
        instance_id = what.instance_id
        child = self._agent.instances.get(instance_id)
        if instance_id in self._agent.starting:
            self._refuse(instance_id, order, "is being started already")
            return
        if child is not None and child.exit_code is None:
            self._refuse(instance_id, order, f"runs already, as process {child.pid}")
            return
        # Marked here and now: the next order may come before the executor's thread has begun.
        self._agent.starting.add(instance_id)
        # Starting blocks until the child is attached, which takes well under a second.
        start = partial(
            self._agent.start_instance,
            instance_id,
            wait_for_sipi=what.wait_for_sipi,
            apic_id=what.apic_id if what.HasField("apic_id") else None,
        )
        future = self._loop.run_in_executor(None, start)
        link = self._link
        future.add_done_callback(
            # An order of an interconnect that is no more has no answer; a report it is.
            lambda done: self._started(instance_id, order if link == self._link else 0, done)
        )

    def _started(self, instance_id: int, order: int, done: "asyncio.Future[Child]") -> None:
        self._agent.starting.discard(instance_id)
        if done.cancelled():
            return
        error = done.exception()
        if isinstance(error, MkrpcError):
            self._report(instance_id, order, error=error)
            return
        child = done.result()  # A bug is raised here, and ends this process.
        self._report(instance_id, order, child=child)
        self._watch_instance(instance_id)

    def _kill(self, instance_id: int, force: bool, order: int) -> None:
        child = self._runs(instance_id, order)
        if child is None:
            return
        self._kills.setdefault(instance_id, []).append(order)
        child.ended_by_order = True
        child.send(signal.SIGKILL if force else signal.SIGTERM)
        if not force:
            # A stopped process takes no SIGTERM before it goes on (signal(7)).
            child.send(signal.SIGCONT)

    def _pause(self, instance_id: int, for_s: float, order: int) -> None:
        child = self._runs(instance_id, order)
        if child is not None and child.paused:
            self._refuse(instance_id, order, "is paused already")
        elif child is not None:
            self._pauses.stop(instance_id, child, for_s=for_s, order=order)

    def _resume(self, instance_id: int, order: int) -> None:
        child = self._runs(instance_id, order)
        if child is not None and not child.paused:
            self._refuse(instance_id, order, "is not paused")
        elif child is not None:
            self._pauses.go_on(instance_id, child, order)

    def _runs(self, instance_id: int, order: int) -> Child | None:
        """The process of an instance that runs; if it does not, the order is refused."""
        child = self._agent.instances.get(instance_id)
        if instance_id in self._agent.starting:
            self._refuse(instance_id, order, "is being started")
            return None
        if child is None or child.exit_code is not None:
            self._refuse(instance_id, order, "does not run")
            return None
        return child

    def _watch_instance(self, instance_id: int) -> None:
        child = self._agent.instances[instance_id]
        child.watch(self._loop, lambda: self._instance_ended(instance_id, child))

    def _instance_ended(self, instance_id: int, child: Child) -> None:
        self._pauses.ended(instance_id)
        if not self._agent.is_ready:
            self._check_start()
            return
        for order in self._kills.pop(instance_id, [0]):
            self._report(instance_id, order, child=child)

    def _interconnect_ended(self) -> None:
        """While the cluster starts, or for good."""
        self._check_start()
        self._finish(EXIT_INTERCONNECT_ENDED)

    def _check_start(self) -> None:
        """While the cluster starts, an end is the end of the start."""
        if self._agent.is_ready:
            return
        try:
            self._agent.check_alive()
        except StartUpError as error:
            self._lost(error)

    def _lost(self, error: StartUpError) -> None:
        """There is no cluster any longer; while it starts, the launcher is told why."""
        if self._done.done():
            return
        if self._agent.is_ready:
            self._finish(EXIT_INTERCONNECT_ENDED)
        else:
            self._agent.failed(error)
            self._finish(EXIT_START_FAILED)

    def _refuse(self, instance_id: int, order: int, why: str) -> None:
        name = self._agent.kept.name(instance_id)
        self._report(
            instance_id,
            order,
            error=ClusterStateError(
                f"instance {instance_id} ({name}) {why}", advice="mkrpc show tells its state"
            ),
        )

    def _report(
        self,
        instance_id: int,
        order: int,
        error: MkrpcError | None = None,
        *,
        child: Child | None = None,
    ) -> None:
        report = pb.HostReport(instance_id=instance_id, order=order)
        if error is not None:
            report.error, report.reason, report.advice = str(error), error.reason, error.advice
        child = child or self._agent.instances.get(instance_id)
        if child is not None:
            report.pid, report.running, report.exit_code = child.state
            report.paused = child.paused
            report.ended_by_order = child.ended_by_order
        self._outgoing.append(pb.AttachHostRequest(report=report))
        self._pump()

    def _pump(self) -> None:
        connection = self._connection
        if connection is not None and connection.writable and self._outgoing:
            connection.send(self._outgoing.pop(0).SerializeToString())

    def _finish(self, code: int) -> None:
        # Whoever still waits for a process to start is not to delay the end.
        self._agent.interrupt()
        if not self._done.done():
            self._done.set_result(code)


def _is_passing(error: MkrpcError | None) -> bool:
    """Whether it is worth attaching again after this.

    An id that is taken passes too: it is this agent's own, over the stream before.
    """
    return not isinstance(error, ProtocolError | InvalidArgumentError)


def serve(agent: HostAgent) -> int:
    """Serve the interconnect's orders, then stop everything; the exit code."""

    async def main() -> int:
        return await HostLink(agent).run()

    try:
        return supervision.run(main())
    except MkrpcError as error:
        _log.error("cannot attach to the interconnect", error=str(error))
        if agent.is_ready:
            return EXIT_INTERCONNECT_ENDED
        agent.failed(error)
        return EXIT_START_FAILED
    finally:  # The loop has taken its handlers along: a second SIGTERM must not cut this short.
        signal.signal(signal.SIGTERM, agent.interrupt)
        agent.stop()
