"""The host agent's link to the interconnect: orders come in, reports go out."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable

import structlog

from mkrpc.errors import MkrpcError
from mkrpc.host.agent import Child, HostAgent
from mkrpc.link.frames import WIRE_VERSION
from mkrpc.transport.address import parse
from mkrpc.transport.aio import connect
from mkrpc.transport.stream import Connection
from mkrpc.v1 import interconnect_pb2 as pb

__all__ = ["serve"]

ATTACH_HOST = "/mkrpc.v1.Interconnect/AttachHost"

EXIT_INTERCONNECT_ENDED = 6

_log = structlog.get_logger("mkrpc.host")


class HostLink:
    """Serves the orders of the interconnect; a ``ConnectionHandler``."""

    def __init__(self, agent: HostAgent) -> None:
        self._agent = agent
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[int] = self._loop.create_future()
        self._connection: Connection | None = None
        self._outgoing: list[pb.AttachHostRequest] = []

    async def run(self) -> int:
        """Serve until told to stop or until the interconnect has ended; the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._finish, 0)
        assert self._agent.interconnect is not None
        self._watch(self._agent.interconnect, self._interconnect_ended)
        for instance_id in self._agent.instances:
            self._watch_instance(instance_id)
        await connect(parse(self._agent.address), ATTACH_HOST, self._open)
        return await self._done

    def _open(self, connection: Connection) -> "HostLink":
        self._connection = connection
        hello = pb.AttachHostRequest()
        hello.hello.wire_version = WIRE_VERSION
        hello.hello.pid = os.getpid()
        hello.hello.host_name = socket.gethostname()
        for instance in self._agent.topology.instances:
            child = self._agent.instances.get(instance.id)
            hello.hello.instances.add(
                instance_id=instance.id,
                name=instance.name,
                apic_ids=instance.cpus,
                pid=child.pid if child is not None and child.exit_code is None else 0,
            )
        self._outgoing.append(hello)
        self._pump()
        return self

    def on_frame(self, connection: Connection, frame: bytes) -> None:
        """An order has come."""
        order = pb.AttachHostResponse.FromString(frame)
        match order.WhichOneof("message"):
            case "welcome":
                self._agent.ready()
            case "start":
                self._start(order.start.instance_id, order.order)
            case "kill":
                self._kill(order.kill.instance_id, order.kill.force, order.order)
            case "stop":
                _log.info("asked to stop the cluster")
                self._finish(0)
            case _:
                _log.error("an empty order from the interconnect")

    def on_writable(self, connection: Connection) -> None:
        """Send what has gathered."""
        self._pump()

    def on_closed(self, connection: Connection, error: MkrpcError | None) -> None:
        """The interconnect closed the link; its process's end is watched apart."""
        self._connection = None
        if not self._done.done():
            _log.error("the link to the interconnect broke", error=str(error))
            self._finish(EXIT_INTERCONNECT_ENDED)

    def _start(self, instance_id: int, order: int) -> None:
        child = self._agent.instances.get(instance_id)
        if child is not None and child.exit_code is None:
            self._report(instance_id, order, f"{child.name} runs already, as process {child.pid}")
            return
        # Starting blocks until the child is attached, which takes well under a second.
        future = self._loop.run_in_executor(None, self._agent.start_instance, instance_id)
        future.add_done_callback(lambda done: self._started(instance_id, order, done))

    def _started(self, instance_id: int, order: int, done: "asyncio.Future[Child]") -> None:
        error = done.exception()
        if isinstance(error, MkrpcError):
            self._report(instance_id, order, str(error))
        elif error is not None:
            raise error
        else:
            self._report(instance_id, order)
        if instance_id in self._agent.instances:
            self._watch_instance(instance_id)

    def _kill(self, instance_id: int, force: bool, order: int) -> None:
        child = self._agent.instances.get(instance_id)
        if child is None or child.exit_code is not None:
            self._report(instance_id, order, "it does not run")
            return
        os.kill(child.pid, signal.SIGKILL if force else signal.SIGTERM)
        self._watch(child, lambda: self._report(instance_id, order))

    def _watch_instance(self, instance_id: int) -> None:
        self._watch(self._agent.instances[instance_id], lambda: self._report(instance_id))

    def _watch(self, child: Child, on_end: Callable[[], None]) -> None:
        """Call ``on_end`` once the child's process has ended."""
        sentinel = os.dup(child.process.sentinel)

        def ended() -> None:
            self._loop.remove_reader(sentinel)
            os.close(sentinel)
            child.process.join()
            child.exit_code = child.process.exitcode
            _log.info("ended", child=child.name, exit_code=child.exit_code)
            on_end()

        self._loop.add_reader(sentinel, ended)

    def _interconnect_ended(self) -> None:
        if not self._done.done():
            _log.error("the interconnect ended by itself")
            self._finish(EXIT_INTERCONNECT_ENDED)

    def _report(self, instance_id: int, order: int = 0, error: str = "") -> None:
        report = pb.AttachHostRequest()
        report.report.instance_id = instance_id
        report.report.order = order
        report.report.error = error
        child = self._agent.instances.get(instance_id)
        if child is not None:
            report.report.pid = child.pid
            report.report.running = child.exit_code is None
            report.report.exit_code = child.exit_code or 0
        self._outgoing.append(report)
        self._pump()

    def _pump(self) -> None:
        connection = self._connection
        if connection is not None and connection.writable and self._outgoing:
            connection.send(self._outgoing.pop(0).SerializeToString())

    def _finish(self, code: int) -> None:
        if not self._done.done():
            self._done.set_result(code)


def serve(agent: HostAgent) -> int:
    """Serve the interconnect's orders, then stop everything; the exit code."""

    async def main() -> int:
        return await HostLink(agent).run()

    try:
        return asyncio.run(main())
    except MkrpcError as error:
        _log.error("cannot attach to the interconnect", error=str(error))
        return EXIT_INTERCONNECT_ENDED
    finally:
        agent.stop()
