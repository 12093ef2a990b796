"""Messages and requests over the framework: MK_MSG_* by type, ACKs, time-outs.

A request is a message whose ACK repeats its msg_id. An ACK of MK_MSG_RESOURCE carries
{operation, result, resource id}; SHUTDOWN is answered by SHUTDOWN_ACK, with the id of the instance
that shuts down.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from errno import EEXIST, EINVAL, EMSGSIZE, ENOENT
from typing import TYPE_CHECKING, Any

from mkrpc.errors import AlreadyExistsError
from mkrpc.instance.execution import body_of
from mkrpc.instance.instructions import Nop
from mkrpc.instance.multikernel.channel import Delivery, Steps
from mkrpc.instance.multikernel.ipi import MultikernelIpi
from mkrpc.instance.multikernel.mk_message import (
    HEADER_BYTES,
    AckPayload,
    MkMessage,
    MkType,
    ShutdownFlags,
    ShutdownPayload,
    Subtype,
    decode,
    encode,
)
from mkrpc.instance.multikernel.requests import MessageIds, PendingRequests, Request
from mkrpc.instance.printk import KERN_WARNING

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu

__all__ = ["MessageHandler", "MkMessages", "Received"]


@dataclass(frozen=True, slots=True)
class Received:
    """A message, and the instance that the channel vouches for; None if it vouches for none."""

    sender: int | None
    message: MkMessage


MessageHandler = Callable[["Cpu", Received, Any], object]
"""``handler(cpu, received, ctx)``: a function, or a generator function of instructions."""


class MkMessages:
    """The message layer of one kernel. ``spawn`` and ``unique_ids`` as in ``requests``.

    ``types``: those that are its own from the start. ``defaults``: by type what is called where
    nobody has registered a handler. Raises as :meth:`cover`.
    """

    def __init__(
        self,
        ipi: MultikernelIpi,
        *,
        spawn: int,
        unique_ids: bool = True,
        types: Iterable[MkType] = MkType,
        defaults: "Mapping[int, MessageHandler] | None" = None,
    ) -> None:
        self.ipi = ipi
        self._own = ipi.kernel.config.instance_id
        self._unique_ids = unique_ids
        self._ids = MessageIds(self._own, spawn=spawn)
        self.pending = PendingRequests(
            ipi.kernel.now_us, ids=self._ids, unique_ids=unique_ids, warn=self._warn
        )
        self._handlers: dict[int, tuple[MessageHandler, Any]] = {}
        self._defaults = dict(defaults or {})
        self._covered: set[MkType] = set()
        self.cover(types)

    def cover(self, types: Iterable[MkType]) -> None:
        """Have these types too. AlreadyExistsError if one has a handler in the framework."""
        for msg_type in types:
            if msg_type in self._covered:
                continue
            if self.ipi.register_handler(msg_type, self._arrived):
                raise AlreadyExistsError(
                    f"IPI type {msg_type:#x} has a handler already",
                    advice="unregister that one first: messages need the type for themselves",
                )
            self._covered.add(msg_type)

    def register_handler(self, msg_type: int, handler: MessageHandler, ctx: Any = None) -> int:
        """Call ``handler`` for messages of a type that are no ACK. -EINVAL, -EEXIST."""
        if msg_type not in set(MkType) or not callable(handler):
            return -EINVAL
        if msg_type in self._handlers:
            return -EEXIST
        self._handlers[msg_type] = (handler, ctx)
        return 0

    def unregister_handler(self, msg_type: int, handler: MessageHandler) -> int:
        """Call it no longer. -ENOENT."""
        known = self._handlers.get(msg_type)
        if known is None or known[0] != handler:
            return -ENOENT
        del self._handlers[msg_type]
        return 0

    def send(
        self, target: int, msg_type: int, subtype: int, payload: bytes = b"", *, msg_id: int = 0
    ) -> Steps[int]:
        """Send a message; one without ``msg_id`` is given its own (0 without unique ids).

        -EMSGSIZE if 24 + n bytes are more than the channel takes; else as ``send_ipi_data``.
        """
        channel = self.ipi.channel
        size = HEADER_BYTES + len(payload)
        if channel is not None and size > channel.max_data:
            limit = channel.max_data
            self.ipi.kernel.log.emit(
                KERN_WARNING, f"Multikernel message too large: {size} > {limit} bytes", 0
            )
            return -EMSGSIZE
        if self._unique_ids and not msg_id:
            msg_id = self._ids.next()
        message = MkMessage(
            msg_type=msg_type,
            msg_subtype=subtype,
            msg_id=msg_id if self._unique_ids else 0,
            payload=payload,
        )
        return (yield from self.ipi.send_ipi_data(target, encode(message), msg_type))

    def request(
        self, target: int, operation: int, payload: bytes, *, resource_id: int
    ) -> Steps[Request]:
        """Send what has to be acknowledged; ``operation`` is a subtype, its type follows from it.

        If it cannot be sent, ``result`` is set at once. Raises as ``PendingRequests.open``.
        """
        msg_type = operation & 0xF000
        request = self.pending.open(
            target, msg_type=msg_type, operation=operation, resource_id=resource_id
        )
        # The ACK may be there before this goes on.
        sent = yield from self.send(target, msg_type, operation, payload, msg_id=request.msg_id)
        if sent < 0:
            self.pending.cancel(request, sent)
        return request

    def shut_down(self, target: int) -> Steps[Request]:
        """Ask an instance to shut down, gracefully."""
        payload = ShutdownPayload(ShutdownFlags.GRACEFUL, self._own).encode()
        return (
            yield from self.request(target, Subtype.MK_SYS_SHUTDOWN, payload, resource_id=target)
        )

    def wait(self, request: Request) -> Steps[int]:
        """Its result: 0, what the ACK says, or -ETIMEDOUT. Looks at every instruction."""
        while (result := self.pending.poll(request)) is None:
            yield Nop()
        return result

    def acknowledge(
        self, target: int, request: MkMessage, *, resource_id: int, result: int = 0
    ) -> Steps[int]:
        """Answer a request of ``target``. As :meth:`send`."""
        if request.msg_subtype == Subtype.MK_SYS_SHUTDOWN:
            subtype = int(Subtype.MK_SYS_SHUTDOWN_ACK)
            payload = ShutdownPayload(0, self._own).encode()
        else:
            subtype = int(Subtype.MK_RES_ACK)
            payload = AckPayload(request.msg_subtype, result, resource_id).encode()
        return (
            yield from self.send(target, request.msg_type, subtype, payload, msg_id=request.msg_id)
        )

    def _arrived(self, cpu: "Cpu", delivery: Delivery, _ctx: Any) -> Steps[None] | None:
        _, message, warning = decode(delivery.data, ipi_type=delivery.ipi_type)
        if message is None:
            cpu.printk(warning, KERN_WARNING)
            return None
        channel = self.ipi.channel
        assert channel is not None, "something arrived"
        received = Received(delivery.sender if channel.knows_sender else None, message)
        if message.msg_subtype in (Subtype.MK_RES_ACK, Subtype.MK_SYS_SHUTDOWN_ACK):
            self._acknowledged(received)
            return None
        default = self._defaults.get(message.msg_type)
        known = self._handlers.get(message.msg_type, (default, None) if default else None)
        if known is None:
            cpu.printk(f"no handler for message type 0x{message.msg_type:x}", KERN_WARNING)
            return None
        handler, ctx = known
        result = handler(cpu, received, ctx)
        return None if result is None else body_of(result, handler)

    def _acknowledged(self, received: Received) -> None:
        message = received.message
        if message.msg_subtype == Subtype.MK_RES_ACK:
            ack = AckPayload.decode(message.payload)
        else:
            shutdown = ShutdownPayload.decode(message.payload)
            ack = (
                None
                if shutdown is None
                else AckPayload(Subtype.MK_SYS_SHUTDOWN, 0, shutdown.sender_instance_id)
            )
        if ack is None:
            self._warn(f"ACK of {len(message.payload)} bytes is too small")
            return
        completed = self.pending.acknowledge(
            received.sender,
            msg_id=message.msg_id,
            msg_type=message.msg_type,
            operation=ack.operation,
            resource_id=ack.resource_id,
            result=ack.result,
        )
        if completed is None:
            self._warn(
                f"ACK of operation 0x{ack.operation:x} on resource {ack.resource_id} "
                "completes nothing"
            )

    def _warn(self, text: str) -> None:
        self.ipi.kernel.log.emit(KERN_WARNING, text, 0)
