"""CPUs that leave a running kernel, APIC id and all, and CPUs that come to one.

A number of a kernel and the APIC id of its CPU belong together for as long as the kernel lives. A
CPU that leaves takes its id along, and its number is vacant from then on: it is found by no
destination and by no shorthand, and what was on its way is answered ``rejected(no_such_apic)``. One
that comes gets the next number, or, if it was here before, the one that it had. Counts go on where
they were, as Linux's per-CPU counts do over a hot-plug.

Source: the hot-plug of the multikernel tree (CPU_REMOVE, CPU_ADD), kernel/cpu.c. Departures: a CPU
that leaves is powered down, so that what is still pending in its IRR or ISR, and an NMI that is
latched, is discarded, where Linux retriggers what it finds in an IRR on another CPU.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from mkrpc.errors import ClusterStateError, InvalidArgumentError, LimitReachedError, NoCpuError
from mkrpc.instance.printk import KERN_INFO, KERN_WARNING
from mkrpc.instance.smp_boot import BOOT_CPU
from mkrpc.limits import MAX_CPUS
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.lapic import LocalApic

if TYPE_CHECKING:
    from mkrpc.instance.kernel import Kernel

__all__ = ["add_cpu", "remove_cpu"]


def remove_cpu(kernel: "Kernel", apic_id: int) -> int:
    """Take a CPU offline, if it is not yet, and give it up; the number that it had.

    The same again changes nothing. Raises NoCpuError (ENODEV) for one that never was here,
    InvalidArgumentError (EINVAL) for the boot CPU, ClusterStateError (EBUSY) for one that runs
    something, and in a kernel that has failed.
    """
    hotplug = kernel.hotplug
    if apic_id not in kernel.config.apic_ids:
        raise NoCpuError(
            f"ENODEV: instance {kernel.config.instance_id} has no CPU with APIC id {apic_id}",
            advice="'mkrpc show' says who has it",
        )
    number = kernel.config.apic_ids.index(apic_id)
    if number in hotplug.vacant:
        return number
    if number == BOOT_CPU:
        kernel.log.emit(KERN_WARNING, "Multikernel hotplug: Cannot remove boot CPU", BOOT_CPU)
        raise InvalidArgumentError(
            f"EINVAL: the CPU with APIC id {apic_id} is the boot CPU of instance "
            f"{kernel.config.instance_id}, which cannot be removed",
            advice="remove another one, or delete the instance",
        )
    if number not in hotplug.offline:
        try:
            hotplug.take_offline(number)
        except ClusterStateError as error:
            raise ClusterStateError(f"EBUSY: {error}", advice=error.advice) from None
    _check_may_change(kernel)
    cpu = kernel.cpus[number]
    cpu.stop()  # what it runs may still write in a `finally`: before it has left
    cpu.program = None
    hotplug.vacant.add(number)
    policy = kernel.config.apic_policy
    cpu.replace_apic(LocalApic(apic_id, mode=ApicMode.DISABLED, policy=policy))
    text = f"Multikernel hotplug: Removing CPU {apic_id} (CPU {number} of this kernel)"
    kernel.log.emit(KERN_INFO, text, BOOT_CPU)
    return number


def add_cpu(kernel: "Kernel", apic_id: int) -> int:
    """Take a CPU in, offline, as after power-up: it waits for SIPI. Its number.

    Of one that is here already nothing changes. Whoever asks has seen to it that nobody else has
    the id. Raises LimitReachedError (ENOSPC) at MAX_CPUS numbers, InvalidArgumentError (EINVAL) for
    an id that the kernel's mode cannot name, ClusterStateError (EBUSY) before the kernel has
    booted, and after it has failed.
    """
    hotplug, config = kernel.hotplug, kernel.config
    again = apic_id in config.apic_ids
    number = config.apic_ids.index(apic_id) if again else len(config.apic_ids)
    if again and number not in hotplug.vacant:
        return number
    _check_may_change(kernel)
    if number >= MAX_CPUS:
        raise LimitReachedError(
            f"ENOSPC: instance {config.instance_id} has had {MAX_CPUS} CPUs",
            advice="start it again: its numbers begin afresh",
        )
    if not again:
        try:
            kernel.config = replace(config, apic_ids=(*config.apic_ids, apic_id))
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"EINVAL: {error}", advice=error.advice) from None
    apic = LocalApic(apic_id, mode=config.mode, policy=config.apic_policy)
    apic.wait_for_sipi = True
    hotplug.offline.add(number)
    hotplug.vacant.discard(number)
    if not again:
        kernel.add_cpu(apic)
    cpu = kernel.cpus[number]
    cpu.stopped = cpu.halted = cpu.interrupts_enabled = False
    cpu.replace_apic(apic)
    text = f"Multikernel hotplug: Adding CPU {apic_id} (CPU {number} of this kernel)"
    kernel.log.emit(KERN_INFO, text, BOOT_CPU)
    return number


def _check_may_change(kernel: "Kernel") -> None:
    boot = kernel.hotplug.boot
    if kernel.failed is not None:
        raise ClusterStateError(
            f"EBUSY: the kernel has failed: {kernel.failed}", advice="start the instance again"
        )
    if boot is not None and not boot.begun:
        raise ClusterStateError(
            f"EBUSY: instance {kernel.config.instance_id} has not booted",
            advice="wait until it is active",
        )
