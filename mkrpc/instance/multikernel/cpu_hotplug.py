"""CPUs that one instance asks another to give up or to bring up: CPU_REMOVE, CPU_ADD, their ACKs.

By these an APIC id stays with its kernel. What moves is the CPU as a resource: the giver takes one
of its own offline, and the taker brings one of its own up, by INIT and SIPI, that it has kept for
this (``spare_cpus``) or was given (:mod:`mkrpc.instance.cpu_slots`). Upstream moves the APIC id
itself by them.

====================  =========================================================================
0                     done; also if the CPU is as it is asked to be already, so that whoever has
                      had no ACK may ask again
-EINVAL               the boot CPU; a payload that is none
-ENODEV               the CPU is not in this kernel's pool
-EBUSY                it runs something, or the boot CPU cannot start it now
-EIO                  it was sent INIT and SIPI and has not come up in START_TIMEOUT_US
-ETIMEDOUT            no ACK in time: it may have been done or not
====================  =========================================================================
"""

from errno import EBUSY, EINVAL, EIO, ENODEV
from typing import TYPE_CHECKING, Any

from mkrpc.errors import AlreadyExistsError, MkrpcError
from mkrpc.instance.execution import Body
from mkrpc.instance.hotplug import BOOT_CPU
from mkrpc.instance.instructions import Nop
from mkrpc.instance.multikernel.channel import Steps
from mkrpc.instance.multikernel.messages import MkMessages, Received
from mkrpc.instance.multikernel.mk_message import CpuPayload, MkType, Subtype
from mkrpc.instance.printk import KERN_INFO, KERN_WARNING

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu

__all__ = ["START_TIMEOUT_US", "CpuHotplug", "serve_cpus"]

START_TIMEOUT_US = 5_000_000
"""For a CPU to come up after its SIPI, half of what the requester waits."""


class CpuHotplug:
    """Of one kernel: it answers requests from now on, and makes them.

    Raises AlreadyExistsError if somebody else answers to MK_MSG_RESOURCE there.
    """

    def __init__(self, messages: MkMessages) -> None:
        self._messages = messages
        self._kernel = messages.ipi.kernel
        if messages.register_handler(MkType.MK_MSG_RESOURCE, self._asked):
            raise AlreadyExistsError(
                "MK_MSG_RESOURCE has a handler already",
                advice="unregister that one first: one of the two answers",
            )

    # Asking.

    def remove_cpu(self, instance: int, apic_id: int) -> Steps[int]:
        """Have an instance take its CPU offline: 0 or a negative errno."""
        return self._ask(instance, Subtype.MK_RES_CPU_REMOVE, apic_id)

    def add_cpu(self, instance: int, apic_id: int) -> Steps[int]:
        """Have it bring its CPU up: 0 or a negative errno."""
        return self._ask(instance, Subtype.MK_RES_CPU_ADD, apic_id)

    def move_cpu(self, giver: tuple[int, int], taker: tuple[int, int]) -> Steps[int]:
        """Remove one CPU, then add the other; each an instance and an APIC id.

        The second is asked for only once the first is known to be off: never are both up. If the
        taker refuses, the giver is asked to bring its own up again, and the refusal is returned.
        After -ETIMEDOUT nobody knows whether the last step was done; the same call goes on from
        where it was, whatever had been done.
        """
        result = yield from self.remove_cpu(*giver)
        if result:
            return result
        result = yield from self.add_cpu(*taker)
        if result in (-EINVAL, -ENODEV, -EBUSY, -EIO):
            yield from self.add_cpu(*giver)
        return result

    def _ask(self, instance: int, operation: Subtype, apic_id: int) -> Steps[int]:
        own = self._kernel.config.instance_id
        payload = CpuPayload(apic_id, 0, 0, own).encode()
        request = yield from self._messages.request(
            instance, operation, payload, resource_id=apic_id
        )
        result = yield from self._messages.wait(request)
        self._print(
            f"Multikernel hotplug: ACK op=0x{operation:x} resource={apic_id} result={result}"
        )
        return result

    # Answering.

    def _asked(self, cpu: "Cpu", received: Received, _ctx: Any) -> Body:
        message = received.message
        payload = CpuPayload.decode(message.payload)
        if received.sender is None:
            return
        if payload is None:
            yield from self._messages.acknowledge(
                received.sender, message, resource_id=0, result=-EINVAL
            )
            return
        match message.msg_subtype:
            case Subtype.MK_RES_CPU_ADD:
                self._print(
                    f"Multikernel hotplug: Adding CPU {payload.cpu_id} "
                    f"(numa={payload.numa_node}, flags=0x{payload.flags:x})"
                )
                result = yield from self._add(payload.cpu_id)
            case Subtype.MK_RES_CPU_REMOVE:
                self._print(
                    f"Multikernel hotplug: Removing CPU {payload.cpu_id} "
                    f"(numa={payload.numa_node}, flags=0x{payload.flags:x})"
                )
                result = self._remove(payload.cpu_id)
            case _:
                result = -EINVAL
        yield from self._messages.acknowledge(
            received.sender, message, resource_id=payload.cpu_id, result=result
        )

    def _remove(self, apic_id: int) -> int:
        number = self._number(apic_id)
        if number is None:
            return -ENODEV
        if number == BOOT_CPU:
            self._print("Multikernel hotplug: Cannot remove boot CPU", KERN_WARNING)
            return -EINVAL
        if number in self._kernel.hotplug.offline:
            return 0
        try:
            self._kernel.hotplug.take_offline(number)
        except MkrpcError as error:
            self._print(f"Multikernel hotplug: CPU {apic_id}: {error}", KERN_WARNING)
            return -EBUSY
        return 0

    def _add(self, apic_id: int) -> Steps[int]:
        number = self._number(apic_id)
        if number is None:
            return -ENODEV
        hotplug = self._kernel.hotplug
        if number not in hotplug.offline:
            return 0
        deadline_us = self._kernel.now_us() + START_TIMEOUT_US
        try:
            hotplug.bring_online(number)
        except MkrpcError as error:
            self._print(f"Multikernel hotplug: CPU {apic_id}: {error}", KERN_WARNING)
            return -EBUSY
        while number in hotplug.offline:
            if self._kernel.now_us() >= deadline_us:
                self._print(f"Multikernel hotplug: CPU {apic_id} did not come up", KERN_WARNING)
                return -EIO
            yield Nop()
        return 0

    def _number(self, apic_id: int) -> int | None:
        """Of a CPU within this kernel."""
        if apic_id in self._kernel.config.apic_ids:
            number = self._kernel.config.apic_ids.index(apic_id)
            if number not in self._kernel.hotplug.vacant:
                return number
        self._print(
            f"Multikernel hotplug: CPU {apic_id} is not in this kernel's pool", KERN_WARNING
        )
        return None

    def _print(self, text: str, level: int = KERN_INFO) -> None:
        self._kernel.log.emit(level, text, BOOT_CPU)


def serve_cpus(cpu: "Cpu") -> Body:
    """A program for a topology: from its start on this kernel answers requests for its CPUs."""
    assert cpu.kernel.multikernel.hotplug is not None
    yield Nop()
