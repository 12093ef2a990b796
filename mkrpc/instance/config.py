"""What a kernel is made of, and its local APICs as Linux leaves them at the end of boot."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mkrpc.errors import InvalidArgumentError
from mkrpc.instance.printk import DEFAULT_RECORDS
from mkrpc.limits import MAX_CPUS, MAX_INSTANCE_ID, MAX_STORE_BUFFER
from mkrpc.x86.apic_policy import ApicPolicy
from mkrpc.x86.apic_state import LVT_MASKED, SVR_APIC_ENABLED
from mkrpc.x86.icr import BROADCAST, XAPIC_BROADCAST
from mkrpc.x86.irq_vectors import ERROR_APIC_VECTOR, SPURIOUS_APIC_VECTOR
from mkrpc.x86.lapic import ApicMode, LocalApic
from mkrpc.x86.registers import Register, mmio_write, msr_of, wrmsr
from mkrpc.x86.switches import check_switches

if TYPE_CHECKING:
    # Only a name here: the validation behind it loads far more than a kernel needs.
    from mkrpc.topology import Topology

__all__ = [
    "LINUX_TPR",
    "KernelConfig",
    "booted_apic",
    "kernel_config",
    "setup_local_apic",
    "takes_messages",
]

LINUX_TPR = 0x10
"""What Linux leaves in TPR: vectors 0x10 to 0x1F, which belong to exceptions, stay out
(setup_local_APIC, arch/x86/kernel/apic/apic.c; read back in the recordings)."""

_FLAT_CPUS = 8
_DEFAULT_POLICY = ApicPolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelConfig:
    """What a kernel is made of.

    ``instance_id`` 0 to 511; CPU n of the kernel has ``apic_ids[n]``, 1 to 512 of them, distinct,
    within the range of ``mode``. CPU 0 of instance 0 is the machine's boot processor.
    ``boundary``: ``word`` takes interrupts after each accepted word, ``frame`` after a whole frame.
    ``xapic_ldr``: ``flat`` sets LDR to 1 << APIC id for ids below 8 and 0 above, as Linux's flat
    driver does on a machine of up to 8 CPUs numbered in order; ``zero`` leaves 0, as its "physical
    flat" driver does. ``lvt_error`` unmasks LVT ERROR with vector 0xFE as Linux does; off by
    default, a departure: such an interrupt has no ICR write behind it.
    ``entry``: how the CPUs deliver events, by an IDT or by FRED, where 0xEA finds no handler.
    ``multikernel``: False is a kernel without the patch: no gate, no handlers for 0xEA.
    ``apic_debug``: booted with apic=debug, so that APIC errors are printed in words.
    ``store_buffer``: stores (0 to MAX_STORE_BUFFER) that wait in each CPU; 0 is none at all.
    ``foreign_stop``: what a CPU does with a REBOOT_VECTOR that nobody in this kernel has sent.
    ``cmdline``: as in /proc/cmdline. ``wait_for_sipi``: CPUs begin as after power-up: whoever
    starts this kernel sends one of them INIT and SIPI, and that one brings up the others.
    ``spare_cpus``: how many of the last CPUs are offline at boot.
    ``links``: where messages to the instances of the same host go. ``doorbells``: which CPU is rung
    in which instance, as ``0=0,1=2``: APIC ids by instance id.

    Raises InvalidArgumentError for values outside these ranges, and for other choices.
    """

    instance_id: int
    name: str
    apic_ids: tuple[int, ...]
    mode: ApicMode = ApicMode.X2APIC
    panic_on_oops: bool = False
    printk_records: int = DEFAULT_RECORDS
    boundary: Literal["word", "frame"] = "word"
    apic_policy: ApicPolicy = _DEFAULT_POLICY
    xapic_ldr: Literal["zero", "flat"] = "flat"
    initial_tpr: int = LINUX_TPR
    lvt_error: bool = False
    entry: Literal["idt", "fred"] = "idt"
    multikernel: bool = True
    apic_debug: bool = False
    store_buffer: int = 0
    foreign_stop: Literal["obey", "ignore"] = "obey"
    cmdline: str = ""
    wait_for_sipi: bool = False
    spare_cpus: int = 0
    links: Literal["memory", "interconnect"] = "memory"
    doorbells: str = ""

    def __post_init__(self) -> None:
        check_switches(self)
        limit = BROADCAST if self.mode is ApicMode.X2APIC else XAPIC_BROADCAST
        for wrong, problem, advice in (
            (
                not 0 <= self.instance_id <= MAX_INSTANCE_ID,
                f"instance id {self.instance_id}",
                f"ids are 0 to {MAX_INSTANCE_ID}",
            ),
            (
                not 1 <= len(self.apic_ids) <= MAX_CPUS,
                f"an instance of {len(self.apic_ids)} CPUs",
                f"give it 1 to {MAX_CPUS}",
            ),
            (
                len(set(self.apic_ids)) != len(self.apic_ids),
                "an APIC id is given twice",
                "every CPU of the machine has its own",
            ),
            (
                not all(0 <= apic_id < limit for apic_id in self.apic_ids),
                f"an APIC id is beyond {limit - 1:#x}",
                f"mode {self.mode.name} has ids from 0 to {limit - 1:#x}",
            ),
            (
                self.mode is ApicMode.X2APIC and not self.apic_policy.x2apic_supported,
                "x2APIC mode on a CPU that has none",
                "choose mode xapic, or x2apic_supported = true",
            ),
            (
                not 0 <= self.spare_cpus < max(1, len(self.apic_ids)),
                f"{self.spare_cpus} spare CPUs of {len(self.apic_ids)}",
                "the boot CPU is none",
            ),
            (not 0 <= self.initial_tpr <= 0xFF, f"TPR {self.initial_tpr:#x}", "it has 8 bits"),
            (
                not 0 <= self.store_buffer <= MAX_STORE_BUFFER,
                f"a store buffer of {self.store_buffer} entries",
                f"it holds 0 to {MAX_STORE_BUFFER} stores",
            ),
        ):
            if wrong:
                raise InvalidArgumentError(problem, advice=advice)


def takes_messages(config: KernelConfig) -> bool:
    """Whether a multikernel interrupt does anything in this kernel: it has the patch, and its CPUs
    deliver by an IDT."""
    return config.multikernel and config.entry == "idt"


def kernel_config(
    topology: "Topology", instance_id: int, *, wait_for_sipi: bool = False
) -> KernelConfig:
    """The configuration of one kernel of the topology. ``apic=debug`` and ``oops=panic`` on its
    command line are as the keys of these names."""
    spec = topology.instance(instance_id)
    parameters = spec.cmdline.split()
    return KernelConfig(
        instance_id=spec.id,
        name=spec.name,
        apic_ids=tuple(spec.cpus),
        mode=ApicMode[spec.mode.upper()],
        panic_on_oops=spec.panic_on_oops or "oops=panic" in parameters,
        printk_records=spec.printk_records,
        boundary=spec.boundary,
        apic_policy=spec.apic.as_policy(),
        xapic_ldr=spec.xapic_ldr,
        initial_tpr=spec.initial_tpr,
        lvt_error=spec.lvt_error,
        entry=spec.entry,
        multikernel=spec.multikernel,
        apic_debug=spec.apic_debug or "apic=debug" in parameters,
        store_buffer=spec.store_buffer,
        foreign_stop=spec.foreign_stop,
        cmdline=spec.cmdline,
        wait_for_sipi=wait_for_sipi,
        spare_cpus=spec.spare_cpus,
        links=topology.links,
        doorbells=",".join(f"{each.id}={each.cpus[0]}" for each in topology.instances),
    )


def booted_apic(config: KernelConfig, number: int) -> LocalApic:
    """A local APIC as Linux's setup_local_APIC leaves it, or that of a CPU that waits for SIPI."""
    apic_id = config.apic_ids[number]
    bsp = config.instance_id == 0 and number == 0 and not config.wait_for_sipi
    apic = LocalApic(apic_id, bsp=bsp, mode=config.mode, policy=config.apic_policy)
    if config.wait_for_sipi:
        apic.wait_for_sipi = True
        return apic
    for register, value in setup_local_apic(config, number):
        if config.mode is ApicMode.X2APIC:
            wrmsr(apic, msr_of(register), value)
        else:
            mmio_write(apic, register, value)
    return apic


def setup_local_apic(config: KernelConfig, number: int) -> list[tuple[Register, int]]:
    """The register writes of CPU ``number`` on its way up, in Linux's order."""
    apic_id = config.apic_ids[number]
    writes = [
        (Register.TPR, config.initial_tpr),
        (Register.SVR, SVR_APIC_ENABLED | SPURIOUS_APIC_VECTOR),
        (Register.LVT_ERROR, ERROR_APIC_VECTOR | (0 if config.lvt_error else LVT_MASKED)),
    ]
    if config.mode is ApicMode.XAPIC and config.xapic_ldr == "flat" and apic_id < _FLAT_CPUS:
        writes.insert(0, (Register.LDR, 1 << apic_id << 24))
    return writes
