"""How a kernel stops its other CPUs, and what a CPU does when told to, perhaps by a foreign kernel.

Source: native_stop_other_cpus, sysvec_reboot and smp_stop_nmi_callback (arch/x86/kernel/smp.c), and
the filter of the multikernel tree, which knows an IPI of another kernel by ``stopping_cpu``: -1 as
long as nobody in this kernel stops the others. Two departures. The answer to a stop NMI is there
from the start, as the tree needs it for a forced halt, and not only once a stop has begun. Nobody
waits a second between the reboot vector and the NMI: each is asked for by itself.
"""

from typing import TYPE_CHECKING, Literal

from mkrpc.instance.instructions import WriteIcr
from mkrpc.instance.multikernel.channel import Steps
from mkrpc.instance.sysvec import exc_nmi, ignore_stop, stop_this_cpu
from mkrpc.x86.icr import DeliveryMode, Shorthand, fixed, nmi, shorthand_word
from mkrpc.x86.irq_vectors import NMI_VECTOR, REBOOT_VECTOR

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu
    from mkrpc.instance.kernel import Kernel

__all__ = ["NOBODY_STOPS", "StopCpus"]

NOBODY_STOPS = -1
"""Of ``stopping_cpu``."""


class StopCpus:
    """Of one kernel with an IDT; it takes the gates of the reboot vector and of the NMI.

    ``filters``: ignore a stop that did not begin in this kernel, with a line in the log.
    ``stopping_cpu``: the number of the CPU that stops the others, or NOBODY_STOPS.
    """

    def __init__(self, kernel: "Kernel", *, filters: bool) -> None:
        self._kernel = kernel
        self._filters = filters
        self.stopping_cpu = NOBODY_STOPS
        kernel.idt.install(REBOOT_VECTOR, "sysvec_reboot", self._sysvec_reboot)
        kernel.idt.install(NMI_VECTOR, "asm_exc_nmi", self._exc_nmi)

    def stop_other_cpus(
        self, cpu: "Cpu", *, by: Literal["reboot", "nmi"] = "reboot", shorthand: bool = True
    ) -> Steps[None]:
        """Stop every CPU of this kernel but ``cpu``, which runs this.

        ``shorthand``: by one IPI to all but self, as Linux does where it may use shorthands; or one
        to each of its own CPUs.
        """
        self.stopping_cpu = cpu.number
        if shorthand:
            is_nmi = by == "nmi"
            mode = DeliveryMode.NMI if is_nmi else DeliveryMode.FIXED
            vector = 0 if is_nmi else REBOOT_VECTOR
            yield WriteIcr(shorthand_word(Shorthand.ALL_EXCLUDING_SELF, vector, delivery_mode=mode))
            return
        for other in self._kernel.cpus:
            # One that has left may be another kernel's by now.
            if other is not cpu and other.number not in self._kernel.hotplug.vacant:
                to = other.apic_id
                yield WriteIcr(nmi(to) if by == "nmi" else fixed(to, REBOOT_VECTOR))

    def _sysvec_reboot(self, cpu: "Cpu") -> None:
        cpu.apic_eoi()
        self._stop(cpu, "REBOOT_VECTOR")

    def _exc_nmi(self, cpu: "Cpu") -> None:
        exc_nmi(cpu)
        if cpu.number != self.stopping_cpu and not cpu.stopped:
            self._stop(cpu, "stop NMI")

    def _stop(self, cpu: "Cpu", what: str) -> None:
        if self._filters and self.stopping_cpu == NOBODY_STOPS:
            ignore_stop(cpu, what)
            return
        stop_this_cpu(cpu)
