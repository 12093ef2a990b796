"""A kernel that reboots and stops the CPUs of the others."""

from typing import ClassVar, Literal

from mkrpc.scenarios.stopping import ForeignStop

__all__ = ["RebootVectorForeign"]


class RebootVectorForeign(ForeignStop):
    """A kernel stops its CPUs by a broadcast REBOOT_VECTOR, and those of all others stop with them

    Hardware: the shorthand all-but-self reaches every local APIC of the machine; no APIC knows
    which kernel it belongs to. The handler of 0xf8 software-disables the APIC and halts for good.

    Upstream: native_stop_other_cpus sends by shorthand. The tree has a filter in the handler: a
    kernel in which nobody stops the others ignores it, with the line "CPU 1: Ignoring REBOOT_VECTOR
    from other kernel instance (stopping_cpu=-1)". IPI filtering below the kernels was named, and
    not built; here it is a policy of the interconnect.
    """

    name: ClassVar[str] = "reboot-vector-foreign"
    by: ClassVar[Literal["reboot", "nmi"]] = "reboot"
