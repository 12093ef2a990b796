"""How a kernel comes down: its CPUs park, in HLT for good, every LVT masked, the APIC enabled.

Asked to shut down it parks them by itself. Where it may not answer, the marker is armed, and every
CPU parks at the next NMI. A departure: a kernel that shuts down parks all its CPUs at once, without
IPIs between them. A parked CPU comes back by INIT and SIPI alone.
"""

from typing import TYPE_CHECKING

from mkrpc.instance.printk import KERN_EMERG, KERN_INFO
from mkrpc.x86.apic_state import LVT_MASKED

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu
    from mkrpc.instance.kernel import Kernel

__all__ = ["Parking"]


class Parking:
    """``force_halt``: the marker. ``parked``: CPUs that have parked, by number."""

    __slots__ = ("_kernel", "force_halt", "parked")

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel
        self.force_halt = False
        self.parked: set[int] = set()

    @property
    def complete(self) -> bool:
        """Is no CPU left that could run?"""
        return all(cpu.stopped or cpu.apic.wait_for_sipi for cpu in self._kernel.cpus)

    def shut_down(self) -> None:
        """Asked to: every CPU parks."""
        for cpu in self._kernel.cpus:
            if not (cpu.stopped or cpu.apic.wait_for_sipi):
                self.park(cpu)
        self._kernel.log.emit(KERN_INFO, "reboot: System halted", 0)

    def take_nmi(self, cpu: "Cpu") -> None:
        """An NMI while the marker is armed."""
        instance_id = self._kernel.config.instance_id
        text = f"CPU {cpu.number}: Forcible shutdown via NMI (instance {instance_id})"
        cpu.printk(text, KERN_EMERG)
        self.park(cpu)

    def park(self, cpu: "Cpu") -> None:
        """This one."""
        for name, value in list(cpu.apic.lvt.items()):
            cpu.apic.write_lvt(name, value | LVT_MASKED)
        cpu.stop()
        self.parked.add(cpu.number)
