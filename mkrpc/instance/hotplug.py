"""CPUs of a kernel that are taken offline and brought back, as far as that exists here.

Source: kernel/cpu.c (cpu_down, cpu_up) and arch/x86/kernel/smpboot.c (native_cpu_disable,
play_dead, wakeup_secondary_cpu_via_init, start_secondary). Departures: a program cannot move to
another CPU, so only an idle CPU goes offline; the boot CPU's accesses to its ESR between the
start-up IPIs are left out.
"""

from typing import TYPE_CHECKING

from mkrpc.errors import ClusterStateError, LimitReachedError
from mkrpc.instance.parking import Parking
from mkrpc.instance.smp_boot import BOOT_CPU, START_PAGE, SmpBoot, come_online
from mkrpc.instance.sysvec import stop_this_cpu
from mkrpc.x86.icr import DeliveryMode, TriggerMode, icr_word, init_assert, startup

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu
    from mkrpc.instance.execution import Program
    from mkrpc.instance.kernel import Kernel

__all__ = ["BOOT_CPU", "START_PAGE", "Hotplug"]


class Hotplug:
    """``offline``: CPUs by number that are offline, by :meth:`take_offline` or because the reboot
    vector stopped them. All are online at boot but the spare ones.

    ``vacant``: CPUs by number that have left this kernel; all of them are offline.
    ``boot``: of a kernel whose CPUs wait for SIPI; None of one that was online from the start.
    ``parking``: its end.

    A CPU that an INIT from elsewhere has stopped is still online: its kernel knows nothing of it.
    """

    __slots__ = ("_kernel", "_starting", "boot", "offline", "parking", "vacant")

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel
        self._starting: set[int] = set()
        self.offline: set[int] = set()
        self.vacant: set[int] = set()
        self.parking = Parking(kernel)
        self.boot = SmpBoot(kernel) if kernel.config.wait_for_sipi else None

    @property
    def waits_for_sipi(self) -> bool:
        """No CPU has run yet: the boot CPU has still to get its first SIPI."""
        return self.boot is not None and not self.boot.begun

    @property
    def online_cpus(self) -> tuple["Cpu", ...]:
        """The CPUs that have a column in /proc/interrupts, in order."""
        return tuple(cpu for cpu in self._kernel.cpus if cpu.number not in self.offline)

    def leave_out_spares(self) -> None:
        """At boot: the last ``spare_cpus`` of the kernel stay offline until they are asked for; all
        of a kernel that waits for SIPI."""
        if self.boot is not None:
            self.boot.await_sipi()
            return
        for cpu in self._kernel.cpus[len(self._kernel.cpus) - self._kernel.config.spare_cpus :]:
            stop_this_cpu(cpu)

    def take_offline(self, number: int) -> None:
        """Software-disable the APIC of an idle CPU and halt it with IF = 0; only INIT wakes it.

        Raises NotFoundError; ClusterStateError for the boot CPU, a CPU that is offline, busy or
        cannot execute, and in a failed kernel.
        """
        cpu = self._cpu(number)
        if number == BOOT_CPU:
            raise ClusterStateError(
                f"CPU 0, APIC id {cpu.apic_id}, is the boot CPU and stays online",
                advice="take another one offline, or end the instance: mkrpc kill",
            )
        if number in self.offline:
            raise ClusterStateError(
                f"CPU {number}, APIC id {cpu.apic_id}, is offline already",
                advice=f"bring it up: mkrpc cpu {cpu.apic_id} --online on",
            )
        cpu.assert_can_execute()
        if cpu.execution.busy or not cpu.interrupts_enabled:
            raise ClusterStateError(
                f"CPU {number}, APIC id {cpu.apic_id}, is busy, or has interrupts disabled",
                advice="wait until it is idle: its work has no other CPU to go to",
            )
        stop_this_cpu(cpu)

    def bring_online(self, number: int) -> None:
        """The boot CPU sends INIT, INIT de-assert and two SIPIs; the rest happens as they arrive.

        The CPU is online once it has set up its local APIC, as it was at boot.

        :raises NotFoundError: there is no such CPU.
        :raises ClusterStateError: the CPU is online; the boot CPU cannot send; the kernel has
            failed, or its ``on_startup`` was replaced; or ``icr_busy`` is ``"drop"``, which would
            lose all IPIs but the first, for nothing waits between them here.
        :raises LimitReachedError: the boot CPU has too many ICR writes outstanding.
        """
        kernel = self._kernel
        cpu = self._cpu(number)
        boot = kernel.cpus[BOOT_CPU]
        if number not in self.offline:
            raise ClusterStateError(
                f"CPU {number}, APIC id {cpu.apic_id}, is online already",
                advice="'mkrpc cpu' shows what it does",
            )
        if number in self.vacant:
            raise ClusterStateError(
                f"CPU {number}, APIC id {cpu.apic_id}, has left this kernel",
                advice="have it added again: mkrpc update",
            )
        if kernel.on_startup != self.start_secondary:
            raise ClusterStateError(
                "on_startup was replaced: this kernel's CPUs start as that says",
                advice="send the CPU INIT and SIPI",
            )
        if kernel.config.apic_policy.icr_busy == "drop":
            raise ClusterStateError(
                'with icr_busy = "drop" the IPIs after the first would be lost',
                advice="send INIT and SIPI by a program that waits for delivery status in between",
            )
        boot.assert_can_execute()
        if not boot.may_write:
            raise LimitReachedError(
                "the boot CPU has too many ICR writes outstanding", advice="try again later"
            )
        self._starting.add(number)
        deassert = icr_word(
            destination=cpu.apic_id,
            delivery_mode=DeliveryMode.INIT,
            trigger_mode=TriggerMode.LEVEL,
        )
        sipi = startup(cpu.apic_id, START_PAGE)
        for word in (init_assert(cpu.apic_id), deassert, sipi, sipi):
            if not boot.write_icr(word):
                self._starting.discard(number)
                raise ClusterStateError(
                    "the APIC of the boot CPU is globally disabled: it can send no IPI",
                    advice="set bit 11 of its IA32_APIC_BASE first",
                )

    def defers(self, cpu: "Cpu", program: "Program") -> bool:
        """Whether a program has to wait for the boot of this kernel, and then does."""
        if self.boot is None or self.boot.begun:
            return False
        self.boot.programs[cpu.number] = program
        return True

    def expect(self, number: int) -> None:
        """The boot CPU is about to send INIT and SIPI to this one."""
        self._starting.add(number)

    def start_secondary(self, cpu: "Cpu", vector: int) -> "Program | None":
        """What a CPU runs after SIPI: its way online if it was asked to come, else nothing.

        The boot CPU of a kernel that waits for SIPI was asked by whoever started the process.
        """
        if vector != START_PAGE:
            return None
        boot = self.boot
        if boot is not None and cpu.number == BOOT_CPU and not boot.begun:
            boot.begun = True
            return boot.start_kernel
        if cpu.number not in self._starting:
            return None
        self._starting.discard(cpu.number)
        return come_online if boot is None else boot.start_other

    def _cpu(self, number: int) -> "Cpu":
        if self._kernel.failed is not None:
            raise ClusterStateError(
                f"the kernel has failed: {self._kernel.failed}", advice="start the instance again"
            )
        return self._kernel.cpu(number)
