"""A kernel whose stop NMI reaches the others."""

from typing import ClassVar, Literal

from mkrpc.scenarios.stopping import ForeignStop

__all__ = ["StopNmiForeign"]


class StopNmiForeign(ForeignStop):
    """A kernel stops its CPUs by a broadcast NMI, and the CPUs of all others stop with them

    Hardware: an NMI carries no vector and names no sender; the shorthand all-but-self reaches every
    local APIC of the machine, and IF does not hold it off.

    Upstream: CPUs that did not answer the reboot vector get an NMI, whose callback stops them. The
    tree ignores it in a kernel in which nobody stops the others, with the line "CPU 1: Ignoring
    stop NMI from other kernel instance (stopping_cpu=-1)".

    The policy "filtered" keeps the NMIs of all kernels but the host's, which needs them for a
    forced halt: it is no remedy when it is the host that stops.
    """

    name: ClassVar[str] = "stop-nmi-foreign"
    by: ClassVar[Literal["reboot", "nmi"]] = "nmi"
    remedies: ClassVar[tuple[dict[str, str], ...]] = ({"filter": "on"}, {"send": "each"})
