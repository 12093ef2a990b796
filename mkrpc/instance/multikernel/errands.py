"""What somebody outside has a kernel do over its channel: send a message, make a request.

Each is work of one of the kernel's CPUs (``irq_work``) and goes the way of every message: into the
ring, or to the interconnect, and then the doorbell.
"""

from typing import TYPE_CHECKING

from mkrpc.errors import ClusterStateError, InvalidArgumentError, LimitReachedError, MkrpcError
from mkrpc.instance.config import takes_messages
from mkrpc.instance.execution import Body
from mkrpc.instance.multikernel.live import Multikernel, Sent, Way
from mkrpc.instance.multikernel.mk_message import CpuPayload, MkType, Subtype
from mkrpc.instance.multikernel.requests import Request
from mkrpc.limits import MAX_INSTANCE_ID
from mkrpc.link.frames import Command, CommandKind, Reply
from mkrpc.link.messages import Doorbell

if TYPE_CHECKING:
    from mkrpc.instance.kernel import Kernel

__all__ = ["MAX_OPEN_REQUESTS", "Errands"]

MAX_OPEN_REQUESTS = 256
"""Requests of clients that wait for their ACK in one kernel; one more is LimitReachedError."""

_CPU_REQUESTS = (Subtype.MK_RES_CPU_ADD, Subtype.MK_RES_CPU_REMOVE)


class Errands:
    """Of one kernel."""

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel
        self._replies: list[Reply] = []
        self._open: list[tuple[Command, Request]] = []

    def take_replies(self) -> list[Reply]:
        """Of what has been done, or has been answered, since."""
        if self._open:
            still = []
            for command, request in self._open:
                result = self._multikernel().system.pending.poll(request)
                if result is None:
                    still.append((command, request))
                else:
                    self._replies.append(Reply(command.number, text=str(result)))
            self._open = still
        replies, self._replies = self._replies, []
        return replies

    def execute(self, command: Command) -> Reply | None:
        """The reply, or None if it comes later. Raises what keeps it from being begun."""
        multikernel = self._multikernel()
        target, what = command.word >> 32, command.word & 0xFFFF_FFFF
        if target > MAX_INSTANCE_ID:
            raise InvalidArgumentError(
                f"no instance can be {target}", advice=f"0 to {MAX_INSTANCE_ID}"
            )
        if command.kind is CommandKind.MESSAGE_FATE:
            fate = multikernel.links.fate(Way(command.action), target, command.count)
            return Reply(command.number, text=fate)
        self._kernel.post.told_of([Doorbell(target, command.count & 0xFFFF_FFFF)])
        cpu = self._kernel.cpu(command.cpu)
        if command.kind is CommandKind.SEND_MESSAGE:
            data = command.action.encode()
            self._kernel.irq_work.queue(
                cpu, lambda _cpu: self._send(multikernel, command, target, what, data)
            )
            return None
        assert command.kind is CommandKind.SEND_REQUEST
        if len(self._open) >= MAX_OPEN_REQUESTS:
            raise LimitReachedError(
                f"{MAX_OPEN_REQUESTS} requests of clients wait for their ACK",
                advice="wait until some have it or have timed out",
            )
        if what == Subtype.MK_SYS_SHUTDOWN:
            # Before it runs: its type may be somebody else's.
            multikernel.layer(MkType.MK_MSG_SYSTEM)
        elif what in _CPU_REQUESTS:
            multikernel.layer(MkType.MK_MSG_RESOURCE)
        else:
            raise InvalidArgumentError(
                f"no request 0x{what:x} is made for a client",
                advice="ask for CPU_ADD, CPU_REMOVE or SHUTDOWN",
            )
        self._kernel.irq_work.queue(cpu, lambda _cpu: self._ask(multikernel, command, target, what))
        return None

    def _send(
        self, multikernel: Multikernel, command: Command, target: int, ipi_type: int, data: bytes
    ) -> Body:
        sent: list[Sent] = []

        def on_sent() -> None:
            way, number = multikernel.links.latest[target]
            if way is Way.INTERCONNECT:
                self._kernel.post.watch(target, number)
            sent.append(Sent(way, number))

        result = yield from multikernel.send_ipi_data(target, data, ipi_type, on_sent=on_sent)
        text = f"{sent[0].way} {sent[0].number}" if sent else str(result)
        self._replies.append(Reply(command.number, text=text))

    def _ask(self, multikernel: Multikernel, command: Command, target: int, operation: int) -> Body:
        resource = command.count >> 32
        try:
            if operation == Subtype.MK_SYS_SHUTDOWN:
                request = yield from multikernel.system.shut_down(target)
            else:
                own = self._kernel.config.instance_id
                payload = CpuPayload(resource, 0, 0, own).encode()
                request = yield from multikernel.system.request(
                    target, operation, payload, resource_id=resource
                )
        except MkrpcError as error:
            self._replies.append(
                Reply(command.number, error=str(error), reason=error.reason, advice=error.advice)
            )
            return
        self._open.append((command, request))

    def _multikernel(self) -> Multikernel:
        config = self._kernel.config
        if not takes_messages(config):
            raise ClusterStateError(
                f"instance {config.instance_id} takes no multikernel interrupt",
                advice='only kernels with multikernel = true and entry = "idt" have messages',
            )
        return self._kernel.multikernel
