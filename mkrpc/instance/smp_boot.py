"""How a kernel whose CPUs wait for SIPI comes up: one CPU first, which brings up the others.

Whoever starts the kernel sends INIT and SIPI to the CPU that boots it; that one does the same for
the rest, as do_boot_cpu (arch/x86/kernel/smpboot.c), all at once as since Linux 6.5. Then every CPU
runs the program that it was given. A CPU that does not come within START_TIMEOUT_US is left
offline, with a line in the log.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from mkrpc.instance.config import setup_local_apic
from mkrpc.instance.instructions import Instruction, Nop, Sti, WriteIcr, WriteRegister
from mkrpc.instance.printk import KERN_ERR, KERN_INFO
from mkrpc.lifecycle import cpus_to_start
from mkrpc.x86.icr import init_assert, startup

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu
    from mkrpc.instance.execution import Program
    from mkrpc.instance.kernel import Kernel

__all__ = ["BOOT_CPU", "START_PAGE", "START_TIMEOUT_US", "SmpBoot", "come_online"]

BOOT_CPU = 0
"""It brings the others up, and cannot go offline itself (Linux 6.5 and later)."""

START_PAGE = 0x08
"""The page that the start-up IPIs name; nothing is there, a CPU's first program is a callable."""

START_TIMEOUT_US = 10_000_000
"""How long a CPU may take to come online, as in do_boot_cpu."""

Steps = Generator[Instruction | None, Any, None]


def come_online(cpu: "Cpu") -> Steps:
    """setup_local_APIC, then online."""
    for register, value in setup_local_apic(cpu.kernel.config, cpu.number):
        yield WriteRegister(register, value)
    cpu.kernel.hotplug.offline.discard(cpu.number)


class SmpBoot:
    """Of a kernel with ``KernelConfig.wait_for_sipi``. ``programs``: what CPUs run once they are
    online, by number. ``begun``: the boot CPU has had its SIPI."""

    __slots__ = ("_kernel", "begun", "programs")

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel
        self.begun = False
        self.programs: dict[int, Program] = {}

    def await_sipi(self) -> None:
        """Nothing runs yet: every CPU offline, IF = 0."""
        for cpu in self._kernel.cpus:
            cpu.interrupts_enabled = False
            self._kernel.hotplug.offline.add(cpu.number)

    def start_kernel(self, cpu: "Cpu") -> Steps:
        """What the boot CPU runs after its SIPI."""
        kernel = self._kernel
        config = kernel.config
        wanted = cpus_to_start(config.cmdline, len(kernel.cpus) - config.spare_cpus)
        kernel.log.emit(KERN_INFO, f"Command line: {config.cmdline}".rstrip(), cpu.number)
        yield from come_online(cpu)
        kernel.log.emit(KERN_INFO, f"smpboot: CPU0: APIC id {cpu.apic_id:#x}", cpu.number)
        for number in range(1, wanted):
            yield from self._wake(cpu, number)
        yield from self._wait_for(cpu, wanted)
        up = len(kernel.hotplug.online_cpus)
        plural = "" if up == 1 else "s"
        kernel.log.emit(KERN_INFO, f"smp: Brought up 1 node, {up} CPU{plural}", cpu.number)
        yield from self.first_program(cpu)

    def start_other(self, cpu: "Cpu") -> Steps:
        """What any other CPU runs after its SIPI."""
        yield from come_online(cpu)
        yield from self.first_program(cpu)

    def first_program(self, cpu: "Cpu") -> Steps:
        """Interrupts on, and what the CPU was given to run; it idles after that."""
        program = self.programs.get(cpu.number)
        if program is not None:
            yield Sti()
            yield Nop()
            yield from program(cpu)

    def _wake(self, boot: "Cpu", number: int) -> Steps:
        """INIT, then two SIPIs: the second one finds the CPU running, unless the first was lost."""
        apic_id = self._kernel.cpus[number].apic_id
        self._kernel.hotplug.expect(number)
        sipi = startup(apic_id, START_PAGE)
        for word in (init_assert(apic_id), sipi, sipi):
            while not boot.icr_idle:
                yield Nop()
            yield WriteIcr(word)

    def _wait_for(self, boot: "Cpu", wanted: int) -> Steps:
        kernel = self._kernel
        if wanted == 1:
            return
        deadline_us = kernel.now_us() + START_TIMEOUT_US
        missing = [n for n in range(1, wanted) if n in kernel.hotplug.offline]
        while missing and kernel.now_us() < deadline_us:
            yield Nop()
            missing = [n for n in missing if n in kernel.hotplug.offline]
        for number in missing:
            text = f"CPU{number} failed to report alive state"
            kernel.log.emit(KERN_ERR, text, boot.number)
