"""SHUTDOWN, as the host sends it: acknowledged, then every CPU parks.

Source: the series' messaging layer (MK_SYS_SHUTDOWN, MK_SYS_SHUTDOWN_ACK). Two departures: the
request of anybody else but the host is refused with a line in the log, since a link says who sends;
and all CPUs park at once, without IPIs between them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mkrpc.instance.instructions import Instruction
from mkrpc.instance.multikernel.channel import Steps
from mkrpc.instance.multikernel.messages import MkMessages, Received
from mkrpc.instance.multikernel.mk_message import ShutdownPayload, Subtype
from mkrpc.instance.printk import KERN_WARNING

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu

__all__ = ["HOST_ID", "shut_down_when_asked"]

HOST_ID = 0
"""The first kernel, from which the others were spawned."""


@dataclass(frozen=True, slots=True)
class _ParkAll(Instruction):
    """The last one of this kernel."""

    def execute(self, cpu: "Cpu") -> None:
        """Every CPU parks, this one too."""
        cpu.kernel.hotplug.parking.shut_down()


def shut_down_when_asked(
    messages: Callable[[], MkMessages],
) -> Callable[["Cpu", Received, Any], Steps[None]]:
    """A handler for MK_MSG_SYSTEM."""

    def asked(cpu: "Cpu", received: Received, _ctx: Any) -> Steps[None]:
        message = received.message
        if message.msg_subtype != Subtype.MK_SYS_SHUTDOWN:
            text = f"no handler for message subtype 0x{message.msg_subtype:x}"
            cpu.printk(text, KERN_WARNING)
            return
        if ShutdownPayload.decode(message.payload) is None:
            text = f"SHUTDOWN of {len(message.payload)} bytes is too small"
            cpu.printk(text, KERN_WARNING)
            return
        if received.sender != HOST_ID:
            text = f"Ignoring SHUTDOWN from instance {received.sender}, which is not the host"
            cpu.printk(text, KERN_WARNING)
            return
        own = cpu.kernel.config.instance_id
        result = yield from messages().acknowledge(HOST_ID, message, resource_id=own)
        if result:
            cpu.printk(f"SHUTDOWN_ACK could not be sent: {result}", KERN_WARNING)
        yield _ParkAll()

    return asked
