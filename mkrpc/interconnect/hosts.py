"""Host agents: who can start and kill the processes of instances, and what they said of them."""

import asyncio
from collections.abc import Callable, Sequence

import structlog
from google.protobuf.message import DecodeError

from mkrpc.errors import (
    AlreadyExistsError,
    ClusterStateError,
    LimitReachedError,
    MkrpcError,
    NotFoundError,
    ProtocolError,
)
from mkrpc.interconnect.handshake import close_unless_hello
from mkrpc.interconnect.host_hello import check_hello
from mkrpc.interconnect.host_orders import MAX_ORDERS, HostedProcess, HostOrders, no_host
from mkrpc.link.endpoint import check_wire_version
from mkrpc.transport.stream import Connection
from mkrpc.v1 import interconnect_pb2 as pb
from mkrpc.v1 import types_pb2 as types

__all__ = [
    "ATTACH_HOST",
    "MAX_HOSTS",
    "MAX_ORDERS",
    "HostLink",
    "HostRegistry",
    "HostedProcess",
]

ATTACH_HOST = "/mkrpc.v1.Interconnect/AttachHost"

MAX_HOSTS = 64
"""Host agents at a time; the next one is refused with LimitReachedError."""

_log = structlog.get_logger("mkrpc.interconnect")


class HostRegistry:
    """All attached host agents.

    ``epoch``: that of the bus, for the welcome. ``limit_silence`` starts a new stream's timer.
    ``on_ended`` is told the instance id and the process id when a process has ended. ``pool``: APIC
    ids that no instance has. ``deleted``: ids of instances that were deleted. ``forgotten``: by id,
    the last incarnation of those deleted that no host agent had. ``hosted``: one comes by itself.
    """

    def __init__(
        self,
        epoch: int,
        *,
        limit_silence: Callable[[Connection], asyncio.TimerHandle] = close_unless_hello,
        on_ended: Callable[[int, int], None] = lambda _instance_id, _pid: None,
        hosted: bool = False,
    ) -> None:
        self.epoch = epoch
        self.hosted = hosted
        self._on_ended = on_ended
        self.on_paused: Callable[[int, bool], None] = lambda _instance_id, _paused: None
        self.on_told: Callable[[], None] = lambda: None
        """Called when a host agent has said by itself what runs."""
        self.limit_silence = limit_silence
        self.processes: dict[int, HostedProcess] = {}
        self.hosts: list[HostLink] = []
        self.pool: set[int] = set()
        self.deleted: set[int] = set()
        self.forgotten: dict[int, bytes] = {}
        self._orders = HostOrders()

    def open(self, connection: Connection) -> "HostLink":
        """A host agent has connected."""
        return HostLink(self, connection)

    def admit(self, host: "HostLink", hello: pb.HostHello) -> None:
        """A host agent said what it can start.

        Raises :class:`ProtocolError` (another wire version, a second hello),
        :class:`InvalidArgumentError` (an id, name, APIC id or process that cannot be),
        :class:`LimitReachedError` and :class:`AlreadyExistsError`; nothing has changed then.
        """
        if host in self.hosts:
            raise ProtocolError("a second hello on one stream")
        check_wire_version(hello.wire_version)
        check_hello(hello)
        if len(self.hosts) >= MAX_HOSTS:
            raise LimitReachedError(
                f"{MAX_HOSTS} host agents are attached already",
                advice="end one, or put more instances on each host",
            )
        for instance in hello.instances:
            if instance.instance_id in self.processes:
                raise AlreadyExistsError(
                    f"instance {instance.instance_id} has a host agent already",
                    advice="give every instance of the machine to one host",
                )
        self.hosts.append(host)
        for instance in hello.instances:
            self.processes[instance.instance_id] = HostedProcess.of(instance, host)
        self.pool |= set(hello.pool)
        self.deleted |= set(hello.deleted)
        for instance in hello.instances:
            # It may have been attached to an interconnect before this one.
            if instance.pid and not instance.running:
                self._on_ended(instance.instance_id, instance.pid)
            if self.processes[instance.instance_id].paused:
                self.on_paused(instance.instance_id, True)
        self.on_told()

    async def start(
        self, instance_id: int, *, wait_for_sipi: bool = False, apic_id: int | None = None
    ) -> pb.HostReport:
        """Start an instance's process; raises the host agent's own error if it did not start, and
        :class:`UnavailableError` if the host agent goes away meanwhile.

        ``wait_for_sipi``: with CPUs that do so, and ``apic_id``, if given, the one to boot on."""
        process = self.process(instance_id)
        if process.running:
            raise ClusterStateError(
                f"instance {instance_id} runs already, as process {process.pid}",
                advice=f"end it first: mkrpc kill {instance_id}",
            )
        message = pb.StartProcess(
            instance_id=instance_id, wait_for_sipi=wait_for_sipi, apic_id=apic_id
        )
        return await self._order(process, lambda order: order.start.CopyFrom(message))

    async def kill(self, instance_id: int, *, force: bool) -> pb.HostReport:
        """End an instance's process; answered once it has ended. Raises as :meth:`start` does."""
        process = self._running(instance_id)
        message = pb.KillProcess(instance_id=instance_id, force=force)
        return await self._order(process, lambda order: order.kill.CopyFrom(message))

    async def pause(self, instance_id: int, *, for_us: int) -> pb.HostReport:
        """SIGSTOP an instance's process, for so long or (0) until it is resumed; answered once that
        is done. Raises as :meth:`start` does."""
        process = self._running(instance_id)
        if process.paused:
            raise ClusterStateError(
                f"instance {instance_id} is paused already",
                advice=f"let it go on first: mkrpc resume {instance_id}",
            )
        message = pb.PauseProcess(instance_id=instance_id, for_us=for_us)
        return await self._order(process, lambda order: order.pause.CopyFrom(message))

    async def resume(self, instance_id: int) -> pb.HostReport:
        """SIGCONT what :meth:`pause` has stopped. Raises as :meth:`start` does."""
        process = self._running(instance_id)
        if not process.paused:
            raise ClusterStateError(
                f"instance {instance_id} is not paused",
                advice="mkrpc show tells its state; what else stopped it must let it go on",
            )
        message = pb.ResumeProcess(instance_id=instance_id)
        return await self._order(process, lambda order: order.resume.CopyFrom(message))

    def _running(self, instance_id: int) -> HostedProcess:
        process = self.process(instance_id)
        if not process.running:
            raise ClusterStateError(
                f"instance {instance_id} does not run", advice=f"start it: mkrpc exec {instance_id}"
            )
        return process

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
        """A host agent said how a process is.

        :class:`ProtocolError` if the process is not its own, or the order that it answers was given
        to another host, for another instance, or not at all.
        """
        process = self.processes.get(report.instance_id)
        is_answer = self._orders.check(host, report)
        if not (is_answer and process is None) and (process is None or process.host is not host):
            raise ProtocolError(f"a report on instance {report.instance_id}, which is not its own")
        if report.running and not report.pid:
            raise ProtocolError(f"instance {report.instance_id} runs as no process")
        if process is not None:
            self._note(process, report)
        if is_answer:
            self._orders.answered(report)
        else:
            self.on_told()

    def _note(self, process: HostedProcess, report: pb.HostReport) -> None:
        process.pid, process.running = report.pid, report.running
        process.exit_code = report.exit_code
        process.ended_by_order = report.ended_by_order
        if process.paused != (report.paused and report.running):
            process.paused = not process.paused
            self.on_paused(report.instance_id, process.paused)
        if process.pid and not process.running:
            self._on_ended(report.instance_id, process.pid)

    def forget(self, host: "HostLink") -> None:
        """A host agent has gone: nobody will answer what it was told to do."""
        if host in self.hosts:
            self.hosts.remove(host)
        for instance_id, process in list(self.processes.items()):
            if process.host is host:
                del self.processes[instance_id]
        self._orders.forget(host)

    def process(self, instance_id: int) -> HostedProcess:
        """An instance that a host agent has. NotFoundError, ClusterStateError without any."""
        process = self.processes.get(instance_id)
        if process is not None:
            return process
        if not self.hosts:
            raise no_host()
        known = ", ".join(map(str, sorted(self.processes))) or "none"
        raise NotFoundError(
            f"instance {instance_id} belongs to no host agent: it was not started with the cluster",
            advice=f"start or end its process by hand; the host agents have {known}",
        )

    async def _order(
        self,
        process: HostedProcess,
        fill: Callable[[pb.AttachHostResponse], None],
        then: Callable[[], None] = lambda: None,
    ) -> pb.HostReport:
        return await self._orders.give(process.host, process.instance_id, fill, then)

    async def keep(
        self, instance_id: int, name: str, apic_ids: Sequence[int], *, hotplug: bool = False
    ) -> None:
        """Have a new instance, at the first host agent, or other CPUs for one that is known.
        ``hotplug``: it runs, and has been told itself."""
        known = self.processes.get(instance_id)
        host = known.host if known is not None else self._first_host()
        kept = pb.KeepInstance(
            instance_id=instance_id, name=name, apic_ids=apic_ids, hotplug=hotplug
        )

        def then() -> None:
            process = self.processes.setdefault(
                instance_id, HostedProcess(instance_id, name, (), host)
            )
            self.pool = (self.pool | set(process.apic_ids)) - set(apic_ids)
            process.apic_ids = tuple(apic_ids)
            process.spare_cpus = min(process.spare_cpus, max(0, len(apic_ids) - 1))
            self.deleted.discard(instance_id)

        await self._orders.give(host, instance_id, lambda order: order.keep.CopyFrom(kept), then)

    async def load(self, instance_id: int, image: types.Image) -> None:
        """What its process is to run when it is next started."""
        process = self.process(instance_id)
        message = pb.LoadImage(instance_id=instance_id, image=image)

        def then() -> None:
            process.image = image
            process.failure = ""
            # How the last kernel ended says nothing of this one.
            process.ended_by_order = True

        await self._order(process, lambda order: order.load.CopyFrom(message), then)

    async def unload(self, instance_id: int) -> None:
        """Nothing is loaded any more, and how the last process ended is forgotten."""
        process = self.process(instance_id)
        message = pb.UnloadImage(instance_id=instance_id)

        def then() -> None:
            process.image, process.failure = None, ""
            process.pid = process.exit_code = 0

        await self._order(process, lambda order: order.unload.CopyFrom(message), then)

    async def drop(self, instance_id: int) -> None:
        """There is no such instance any more; its CPUs are the pool's."""
        process = self.process(instance_id)
        message = pb.DropInstance(instance_id=instance_id)

        def then() -> None:
            self.processes.pop(instance_id, None)
            self.pool |= set(process.apic_ids)
            self.deleted.add(instance_id)

        await self._order(process, lambda order: order.drop.CopyFrom(message), then)

    def _first_host(self) -> "HostLink":
        if not self.hosts:
            raise no_host()
        return self.hosts[0]


class HostLink:
    """One host agent's stream; a ``ConnectionHandler``."""

    def __init__(self, registry: HostRegistry, connection: Connection) -> None:
        self._registry = registry
        self._connection = connection
        self._outgoing: list[pb.AttachHostResponse] = []
        self._hello_timer = registry.limit_silence(connection)

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
        self._hello_timer.cancel()
        self._registry.forget(self)

    def _hello(self, hello: pb.HostHello) -> None:
        self._registry.admit(self, hello)
        self._hello_timer.cancel()
        self.send(pb.AttachHostResponse(welcome=pb.HostWelcome(epoch=self._registry.epoch)))

    def _pump(self) -> None:
        if self._outgoing and self._connection.writable:
            self._connection.send(self._outgoing.pop(0).SerializeToString())
