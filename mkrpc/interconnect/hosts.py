"""Host agents: who can start and kill the processes of instances, and what they said of them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from google.protobuf.message import DecodeError

from mkrpc.errors import ClusterStateError, MkrpcError, NotFoundError, ProtocolError, StartUpError
from mkrpc.link.endpoint import check_wire_version
from mkrpc.transport.stream import Connection
from mkrpc.v1 import interconnect_pb2 as pb

__all__ = ["ATTACH_HOST", "MAX_HOSTS", "HostLink", "HostRegistry", "HostedProcess"]

ATTACH_HOST = "/mkrpc.v1.Interconnect/AttachHost"

MAX_HOSTS = 64
"""Host agents at a time; the next one is refused."""

_log = structlog.get_logger("mkrpc.interconnect")


@dataclass(slots=True)
class HostedProcess:
    """An instance that a host agent can start. ``exit_code`` is minus the signal, if one ended it;
    it means nothing while the process runs or before it ever ran (``pid`` 0)."""

    instance_id: int
    name: str
    apic_ids: tuple[int, ...]
    host: "HostLink"
    pid: int = 0
    running: bool = False
    exit_code: int = 0


class HostRegistry:
    """All attached host agents. ``epoch``: that of the bus, for the welcome."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.processes: dict[int, HostedProcess] = {}
        self.hosts: list[HostLink] = []
        self._orders: dict[int, asyncio.Future[pb.HostReport]] = {}
        self._next_order = 1

    def open(self, connection: Connection) -> "HostLink":
        """A host agent has connected."""
        host = HostLink(self, connection)
        if len(self.hosts) >= MAX_HOSTS:
            connection.close(ClusterStateError(f"{MAX_HOSTS} host agents are attached already"))
        return host

    async def start(self, instance_id: int) -> pb.HostReport:
        """Start an instance's process; :class:`StartUpError` with the host agent's words."""
        process = self._process(instance_id)
        if process.running:
            raise ClusterStateError(
                f"instance {instance_id} runs already, as process {process.pid}",
                advice=f"end it first: mkrpc kill {instance_id}",
            )
        return await self._order(
            process, lambda order: order.start.CopyFrom(pb.StartProcess(instance_id=instance_id))
        )

    async def kill(self, instance_id: int, *, force: bool) -> pb.HostReport:
        """End an instance's process; answered once it has ended."""
        process = self._process(instance_id)
        if not process.running:
            raise ClusterStateError(
                f"instance {instance_id} does not run", advice=f"start it: mkrpc exec {instance_id}"
            )
        message = pb.KillProcess(instance_id=instance_id, force=force)
        return await self._order(process, lambda order: order.kill.CopyFrom(message))

    def stop_all(self) -> None:
        """Tell every host agent to stop its processes, this interconnect's own among them."""
        if not self.hosts:
            raise ClusterStateError(
                "no host agent is attached: this interconnect was started by hand",
                advice="end it with SIGTERM",
            )
        for host in self.hosts:
            order = pb.AttachHostResponse()
            order.stop.SetInParent()
            host.send(order)

    def reported(self, host: "HostLink", report: pb.HostReport) -> None:
        """A host agent said how a process is."""
        process = self.processes.get(report.instance_id)
        if process is None or process.host is not host:
            raise ProtocolError(f"a report on instance {report.instance_id}, which is not its own")
        process.pid, process.running = report.pid, report.running
        process.exit_code = report.exit_code
        waiting = self._orders.pop(report.order, None)
        if waiting is None or waiting.done():
            return
        if report.error:
            waiting.set_exception(StartUpError(report.error, advice="see the log of the instance"))
        else:
            waiting.set_result(report)

    def forget(self, host: "HostLink") -> None:
        """A host agent has gone."""
        if host in self.hosts:
            self.hosts.remove(host)
        for instance_id, process in list(self.processes.items()):
            if process.host is host:
                del self.processes[instance_id]
        if not self.hosts:
            for waiting in self._orders.values():
                if not waiting.done():
                    waiting.set_exception(StartUpError("the host agent went away"))
            self._orders.clear()

    def _process(self, instance_id: int) -> HostedProcess:
        process = self.processes.get(instance_id)
        if process is None:
            known = ", ".join(map(str, sorted(self.processes))) or "none"
            raise NotFoundError(
                f"no host agent can start instance {instance_id}",
                advice=f"instances of the host agents: {known}",
            )
        return process

    async def _order(
        self, process: HostedProcess, fill: Callable[[pb.AttachHostResponse], None]
    ) -> pb.HostReport:
        number = self._next_order
        self._next_order += 1
        order = pb.AttachHostResponse(order=number)
        fill(order)
        answer: asyncio.Future[pb.HostReport] = asyncio.get_running_loop().create_future()
        self._orders[number] = answer
        process.host.send(order)
        return await answer


class HostLink:
    """One host agent's stream; a ``ConnectionHandler``."""

    def __init__(self, registry: HostRegistry, connection: Connection) -> None:
        self._registry = registry
        self._connection = connection
        self._outgoing: list[pb.AttachHostResponse] = []

    def send(self, order: pb.AttachHostResponse) -> None:
        """Send an order, after those before it."""
        self._outgoing.append(order)
        self._pump()

    def on_frame(self, connection: Connection, frame: bytes) -> None:
        """The host agent spoke."""
        try:
            message = pb.AttachHostRequest.FromString(frame)
            match message.WhichOneof("message"):
                case "hello":
                    self._hello(message.hello)
                case "report":
                    self._registry.reported(self, message.report)
                case _:
                    raise ProtocolError("an empty message from a host agent")
        except DecodeError:
            connection.close(ProtocolError("a message that is no AttachHostRequest"))
        except MkrpcError as error:
            _log.warning("refused a host agent", peer=connection.peer, error=str(error))
            connection.close(error)

    def on_writable(self, connection: Connection) -> None:
        """Send what has gathered."""
        self._pump()

    def on_closed(self, connection: Connection, error: MkrpcError | None) -> None:
        """The host agent has gone."""
        self._registry.forget(self)

    def _hello(self, hello: pb.HostHello) -> None:
        check_wire_version(hello.wire_version)
        for instance in hello.instances:
            if instance.instance_id in self._registry.processes:
                raise ClusterStateError(f"instance {instance.instance_id} has a host agent already")
        for instance in hello.instances:
            self._registry.processes[instance.instance_id] = HostedProcess(
                instance.instance_id,
                instance.name,
                tuple(instance.apic_ids),
                self,
                pid=instance.pid,
                running=instance.pid != 0,
            )
        self._registry.hosts.append(self)
        self.send(pb.AttachHostResponse(welcome=pb.HostWelcome(epoch=self._registry.epoch)))

    def _pump(self) -> None:
        if self._outgoing and self._connection.writable:
            self._connection.send(self._outgoing.pop(0).SerializeToString())
