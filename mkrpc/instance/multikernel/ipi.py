"""Data behind the doorbell: handlers by type, and sending, with the results of the series.

What returns an int returns 0 or a negative errno, as the kernel's functions do. Patch 4 of the
first series and the tree after it differ in details; where they do, this follows the later one:

========  ==========================================================================
-EINVAL   no such instance id (0 to 511), oneself; no data, or more than the channel takes; a
          callback that cannot be called
-ENOMEM   no shared memory, or not enough for the channel; MAX_HANDLERS are registered
-ENODEV   the instance has no part in the channel, or no CPU to ring
-EEXIST   a second handler for a type
-ENOENT   the handler is not registered
-ENOSPC   full (-EBUSY in a channel that retries)
========  ==========================================================================

Data of no bytes is -EINVAL here: in every ring whose size is its flag it would never arrive.
What a kernel can be made to do otherwise is in ``ipi_switches``.
"""

from collections.abc import Callable, Mapping
from errno import EEXIST, EINVAL, ENODEV, ENOENT, ENOMEM
from typing import TYPE_CHECKING, Any

from mkrpc.errors import InvalidArgumentError
from mkrpc.instance.execution import body_of
from mkrpc.instance.instructions import (
    Cli,
    Mfence,
    Nop,
    Popf,
    Pushf,
    ReadRegister,
    SelfIpi,
    WriteIcr,
)
from mkrpc.instance.multikernel.channel import Channel, Delivery, Steps
from mkrpc.instance.multikernel.ipi_switches import IpiSwitches
from mkrpc.instance.printk import KERN_WARNING
from mkrpc.limits import MAX_HANDLERS, MAX_INSTANCE_ID
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.icr import ICR_DELIVERY_STATUS, fixed
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR
from mkrpc.x86.registers import Register

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu
    from mkrpc.instance.kernel import Kernel

__all__ = ["Callback", "MultikernelIpi"]

_DEFAULTS = IpiSwitches()

Callback = Callable[["Cpu", Delivery, Any], object]
"""``callback(cpu, delivery, ctx)``: a function, or a generator function of instructions."""


class MultikernelIpi:
    """The framework in one kernel.

    ``channel``: this kernel's end; None is a machine without the shared area. ``doorbells``: which
    CPU of an instance to ring, by APIC id. It takes part in every multikernel interrupt from now
    on, so that messages which come before their handler is registered are dropped with a line in
    the log, and not left in the ring. ``rung`` counts doorbells, ``interrupts`` runs.
    """

    def __init__(
        self,
        kernel: "Kernel",
        channel: Channel | None,
        *,
        doorbells: Mapping[int, int],
        switches: IpiSwitches = _DEFAULTS,
    ) -> None:
        if channel is not None and channel.own != kernel.config.instance_id:
            raise InvalidArgumentError(
                f"the channel's end of instance {channel.own} "
                f"in instance {kernel.config.instance_id}"
            )
        memory = kernel.memory
        if channel is not None and channel.needs_cmpxchg and memory and memory.between_processes:
            raise InvalidArgumentError(
                f"{channel.name} claims by compare-and-exchange, which is not atomic here: the "
                "memory is shared between processes",
                advice="use cpu.kernel.multikernel, or a channel with one producer for each ring",
            )
        self.kernel = kernel
        self.channel = channel
        self.rung = 0
        self.interrupts = 0
        self._doorbells = dict(doorbells)
        self._switches = switches
        self._handlers: dict[int, tuple[Callback, Any]] = {}
        self._sending = False
        self._receiving = False
        self._again = False
        kernel.register_handler(self.interrupt)

    def register_handler(self, ipi_type: int, callback: Callback, ctx: Any = None) -> int:
        """Call ``callback`` for what arrives under ``ipi_type``, 32 bits.

        -EINVAL, -EEXIST, -ENOMEM at MAX_HANDLERS.
        """
        if not callable(callback) or not 0 <= ipi_type < 1 << 32:
            return -EINVAL
        if ipi_type in self._handlers:
            return -EEXIST
        if len(self._handlers) >= MAX_HANDLERS:
            return -ENOMEM
        self._handlers[ipi_type] = (callback, ctx)
        return 0

    def unregister_handler(self, ipi_type: int, callback: Callback) -> int:
        """Call it no longer. -ENOENT."""
        known = self._handlers.get(ipi_type)
        if known is None or known[0] != callback:
            return -ENOENT
        del self._handlers[ipi_type]
        return 0

    def send_ipi_data(
        self,
        instance: int,
        data: bytes,
        ipi_type: int,
        *,
        on_sent: Callable[[], None] = lambda: None,
    ) -> Steps[int]:
        """Put ``data`` into the channel and ring the instance: 0 or a negative errno.

        For ``yield from`` in a program or handler. Interrupts are off meanwhile, and other CPUs of
        this kernel wait: a ring with one producer has one. The fence before the doorbell keeps it
        behind its payload, in x2APIC mode too (R17). ``on_sent`` is called when the channel has it:
        by the time that the doorbell is rung others may have sent, and it may have been taken.
        """
        result = self._refuse(instance, data, ipi_type)
        if result:
            return result
        assert self.channel is not None, "refused"
        interrupts_enabled: bool = yield Pushf()
        yield Cli()
        while self._sending:
            yield Nop()
        self._sending = True
        try:
            result = yield from self.channel.send(instance, ipi_type, data)
            if result == 0:
                on_sent()
        finally:
            self._sending = False
        if result == 0 and self.channel.doorbell:
            yield from self._ring(instance)
        yield Popf(interrupts_enabled)
        return result

    def _ring(self, instance: int) -> Steps[None]:
        if self._switches.fence:
            yield Mfence()
        waits = self._switches.waits_for_icr_idle and self.kernel.config.mode is ApicMode.XAPIC
        while waits and (yield ReadRegister(Register.ICR)) & ICR_DELIVERY_STATUS:
            yield Nop()
        doorbell = self.doorbell_of(instance)
        if doorbell is None:
            return  # Its CPU has become another's meanwhile, and nobody else is to be rung.
        self.rung += 1
        yield WriteIcr(fixed(doorbell, MULTIKERNEL_VECTOR))

    def doorbell_of(self, instance: int) -> int | None:
        """The APIC id of the CPU to ring; None if nobody knows one."""
        return self._doorbells.get(instance)

    def interrupt(self, cpu: "Cpu") -> Steps[None] | None:
        """The handler of the multikernel interrupt."""
        return self._drain(cpu)

    def _drain(self, cpu: "Cpu") -> Steps[None]:
        """Take what is there and hand it on."""
        self.interrupts += 1
        channel = self.channel
        if channel is None or not channel.fits(self.kernel.memory):
            cpu.printk("Multikernel IPI received but shared memory not initialized", KERN_WARNING)
            return
        taken = yield from self.receive(cpu, channel.per_interrupt)
        if taken == channel.per_interrupt > 1 and self._switches.rings_itself:
            # Doorbells that merged while this ran have no interrupt of their own.
            yield SelfIpi(MULTIKERNEL_VECTOR)

    def receive(self, cpu: "Cpu", limit: int) -> Steps[int]:
        """Take up to ``limit`` messages, call their handlers; how many there were.

        What a receiver without doorbell does in its program again and again. If another CPU of this
        kernel is at it, that one looks once more, and this one returns 0.
        """
        assert self.channel is not None, "nothing to receive from"
        if self._receiving:
            self._again = True
            return 0
        self._receiving = True
        taken = 0
        try:
            while taken < limit:
                self._again = False
                delivery = yield from self.channel.receive()
                if delivery is not None:
                    taken += 1
                    yield from self._dispatch(cpu, delivery)
                elif not self._again:
                    break
        finally:
            self._receiving = False
        return taken

    def unhandled(self, ipi_type: int) -> None:
        """Something has come for which there is no handler: the last moment to register one."""

    def _dispatch(self, cpu: "Cpu", delivery: Delivery) -> Steps[None]:
        if delivery.ipi_type not in self._handlers:
            self.unhandled(delivery.ipi_type)
        handler = self._handlers.get(delivery.ipi_type)
        if handler is None:
            cpu.printk(f"no handler for IPI type 0x{delivery.ipi_type:x}", KERN_WARNING)
            return
        callback, ctx = handler
        result = callback(cpu, delivery, ctx)
        body = None if result is None else body_of(result, callback)
        if body is not None:
            yield from body

    def _refuse(self, instance: int, data: bytes, ipi_type: int) -> int:
        channel = self.channel
        if (
            not 0 <= instance <= MAX_INSTANCE_ID
            or instance == self.kernel.config.instance_id
            or (not data and self._switches.refuses_empty)
            or not 0 <= ipi_type < 1 << 32
        ):
            return -EINVAL
        if channel is None or not channel.fits(self.kernel.memory):
            return -ENOMEM
        if len(data) > channel.max_data:
            return -EINVAL
        if instance not in channel.instances:
            return -ENODEV
        if channel.doorbell and self.doorbell_of(instance) is None:
            return -ENODEV
        return 0
