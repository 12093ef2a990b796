"""Every switch of a topology reaches the machine: one small scenario each, and all its values.

What a value means is shown where the model is tested (tests/x86, tests/instance); here, that it
gets there by every way there is: the ``[apic]`` table of a topology, that of one instance, and a
:class:`KernelConfig` given to the machine. The second kernel, CPUs 2 and 3, is looked at.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from mkrpc.instance.config import KernelConfig, kernel_config
from mkrpc.instance.instructions import (
    Cli,
    Nop,
    Rdmsr,
    ReadRegister,
    ReadTpr,
    SelfIpi,
    Sti,
    Store,
    WriteIcr,
    WriteRegister,
    WriteTpr,
    Wrmsr,
)
from mkrpc.simulation.machine import Machine
from mkrpc.topology import ApicSpec, InstanceSpec, Topology
from mkrpc.x86.apic_base import (
    APIC_BASE_ADDRESS,
    APIC_BASE_ENABLE,
    APIC_BASE_EXTD,
    ApicMode,
    GeneralProtection,
)
from mkrpc.x86.apic_policy import ApicPolicy
from mkrpc.x86.icr import (
    DeliveryMode,
    DestinationMode,
    Shorthand,
    fixed,
    icr_word,
    nmi,
    shorthand_word,
)
from mkrpc.x86.irq_vectors import REBOOT_VECTOR, SPURIOUS_APIC_VECTOR
from mkrpc.x86.registers import IA32_APIC_BASE, Register, msr_of

LOWEST = icr_word(
    vector=0x51,
    destination=0b1111,
    delivery_mode=DeliveryMode.LOWEST_PRIORITY,
    destination_mode=DestinationMode.LOGICAL,
)
"""To all four CPUs, which are bits 0 to 3 of one cluster in x2APIC mode. 0x51 mod 4 is 1."""

NMI_TO_ALL = shorthand_word(Shorthand.ALL_INCLUDING_SELF, 0, delivery_mode=DeliveryMode.NMI)
MULTIKERNEL = fixed(2, 0xEA)
BUSY = 1 << 12
REBOOT_TO_OTHERS = shorthand_word(Shorthand.ALL_EXCLUDING_SELF, REBOOT_VECTOR)


def run(machine: Machine, *instructions: object) -> list[Any]:
    """What instructions of CPU 2 give, with IF = 0 at first; a fault is its class."""
    results: list[Any] = []
    machine.settle()  # every CPU has told its PPR

    def program(cpu: object) -> Iterator[Any]:
        yield Cli()
        for instruction in instructions:
            try:
                results.append((yield instruction))
            except GeneralProtection:
                results.append(GeneralProtection)

    machine.kernels[1].start_program(0, program)
    machine.settle()
    return results


def who_got(machine: Machine, vector: int) -> list[int]:
    return [apic_id for apic_id in range(4) if machine.cpu(apic_id).books.delivered[vector]]


def lines(machine: Machine, start: str) -> int:
    return sum(record.text.startswith(start) for record in machine.kernels[1].log.since(0))


def lowest_priority(machine: Machine) -> object:
    run(machine, WriteIcr(LOWEST))
    return who_got(machine, 0x51)


def second_write_while_busy(machine: Machine) -> object:
    write, again = WriteIcr(fixed(0, 0x41)), WriteIcr(fixed(0, 0x42))
    _, icr, _ = run(machine, write, ReadRegister(Register.ICR), again)
    return bool(icr & BUSY), who_got(machine, 0x42)


def icr_write_with_bit_12(machine: Machine) -> object:
    (result,) = run(machine, Wrmsr(msr_of(Register.ICR), fixed(0, 0x41) | BUSY))
    return result is GeneralProtection, who_got(machine, 0x41)


def nmi_to_all_including_self(machine: Machine) -> object:
    run(machine, WriteIcr(NMI_TO_ALL))
    return [machine.cpu(apic_id).irq_stat.nmi_count for apic_id in range(4)]


def nmi_while_software_disabled(machine: Machine) -> object:
    run(machine, WriteRegister(Register.SVR, SPURIOUS_APIC_VECTOR))
    machine.inject(nmi(2))
    machine.settle()
    return machine.cpu(2).irq_stat.nmi_count


def pending_while_software_disabled(machine: Machine) -> object:
    disable = WriteRegister(Register.SVR, SPURIOUS_APIC_VECTOR)
    run(machine, SelfIpi(0xEA), disable, Sti(), Nop(), Nop())
    return machine.cpu(2).multikernel_count


def reboot_by_another_kernel(machine: Machine) -> object:
    """Kernel 0 sends the reboot vector to all but itself."""
    machine.settle()
    machine.kernels[0].cpus[0].write_icr(REBOOT_TO_OTHERS)
    machine.settle()
    machine.inject(fixed(2, 0xEA))
    machine.inject(fixed(3, 0xEA))
    machine.settle()
    ignored = sum(
        "Ignoring REBOOT_VECTOR from other kernel instance (stopping_cpu=-1)" in record.text
        for record in machine.kernels[1].log.since(0)
    )
    return who_got(machine, 0xEA), ignored


def irr_after_global_disable(machine: Machine) -> object:
    run(machine, SelfIpi(0x51), Wrmsr(IA32_APIC_BASE, APIC_BASE_ADDRESS))
    return bool(machine.cpu(2).apic.irr)


def tpr_raised_over_a_pending_interrupt(machine: Machine) -> object:
    run(machine, SelfIpi(0x41), WriteTpr(0x50), Sti(), Nop(), Nop())
    return machine.cpu(2).irq_stat.irq_spurious_count


def esr_after_an_illegal_self_ipi(machine: Machine) -> object:
    written = run(machine, SelfIpi(5), WriteRegister(Register.ESR, 0), ReadRegister(Register.ESR))
    return written[-1]


def id_after_a_write(machine: Machine) -> object:
    return run(machine, WriteRegister(Register.ID, 7 << 24), ReadRegister(Register.ID))[1] >> 24


def icr_after_a_self_ipi(machine: Machine) -> object:
    return run(machine, SelfIpi(0x41), Rdmsr(msr_of(Register.ICR)))[1] & 0xFF


def into_x2apic_mode(machine: Machine) -> object:
    base = APIC_BASE_ADDRESS | APIC_BASE_ENABLE | APIC_BASE_EXTD
    run(machine, Wrmsr(IA32_APIC_BASE, base))
    return machine.cpu(2).apic.mode


def three_at_once(machine: Machine) -> object:
    machine.inject(MULTIKERNEL, 3)
    machine.settle()
    return machine.cpu(2).irq_stat.irq_call_count


def one_multikernel_interrupt(machine: Machine) -> object:
    machine.inject(MULTIKERNEL)
    machine.settle()
    return machine.cpu(2).irq_stat.irq_call_count, lines(machine, "No irq handler for 0.234")


def an_apic_error(machine: Machine) -> object:
    run(machine, SelfIpi(5), Sti(), Nop(), Nop())
    return machine.kernels[1].irq_err_count, lines(machine, "APIC error on CPU0: ")


def memory_after_a_store(machine: Machine) -> object:
    seen = []

    def program(cpu: object) -> Iterator[Any]:
        yield Store(8, 41)
        seen.append(machine.memory.load(8, 8))

    machine.kernels[1].start_program(0, program)
    machine.settle()
    assert machine.memory.load(8, 8) == 41, "in the end everybody sees it"
    return seen


def ldr_after_boot(machine: Machine) -> object:
    return machine.cpu(2).apic.ldr >> 24


def tpr_after_boot(machine: Machine) -> object:
    return run(machine, ReadTpr())[0]


def a_handler_that_fails(machine: Machine) -> object:
    def fails(cpu: object) -> None:
        raise ValueError("on purpose")

    machine.kernels[1].register_handler(fails)
    machine.inject(MULTIKERNEL)
    machine.settle()
    return machine.kernels[1].failed is not None


@dataclass(frozen=True)
class Case:
    """One switch: what a scenario shows with each value; ``beside`` is set for the scenario."""

    scenario: Callable[[Machine], object]
    shows: dict[Any, object]
    mode: str = "x2apic"
    beside: dict[str, Any] = field(default_factory=dict)


APIC: dict[str, Case] = {
    "lowest_priority": Case(lowest_priority, {"ppr": [0], "hash": [1], "unsupported": []}),
    "icr_busy": Case(
        second_write_while_busy,
        {"never": (False, [0]), "queue": (True, [0]), "drop": (True, [])},
        mode="xapic",
    ),
    "icr_bit12": Case(icr_write_with_bit_12, {"cleared": (False, [0]), "gp": (True, [])}),
    "invalid_combination": Case(
        nmi_to_all_including_self, {"deliver": [1, 1, 1, 1], "drop": [0, 0, 0, 0]}
    ),
    "nmi_while_software_disabled": Case(nmi_while_software_disabled, {"deliver": 1, "drop": 0}),
    "pending_while_software_disabled": Case(
        pending_while_software_disabled, {"hold": 0, "deliver": 1}
    ),
    "global_disable": Case(irr_after_global_disable, {"reset": False, "keep": True}),
    "intr": Case(tpr_raised_over_a_pending_interrupt, {"synchronous": 0, "latched": 1}),
    "self_ipi_illegal_vector": Case(
        esr_after_an_illegal_self_ipi, {"send": 0x20, "receive": 0x40, "both": 0x60}
    ),
    "xapic_id_writable": Case(id_after_a_write, {True: 7, False: 2}, mode="xapic"),
    "self_ipi_stored_in_icr": Case(icr_after_a_self_ipi, {True: 0x41, False: 0}),
    "x2apic_supported": Case(
        into_x2apic_mode, {True: ApicMode.X2APIC, False: ApicMode.XAPIC}, mode="xapic"
    ),
}
KERNEL: dict[str, Case] = {
    "entry": Case(one_multikernel_interrupt, {"idt": (1, 0), "fred": (0, 1)}),
    "multikernel": Case(one_multikernel_interrupt, {True: (1, 0), False: (0, 1)}),
    "apic_debug": Case(an_apic_error, {True: (1, 1), False: (1, 0)}, beside={"lvt_error": True}),
    "lvt_error": Case(an_apic_error, {True: (1, 0), False: (0, 0)}),
    "xapic_ldr": Case(ldr_after_boot, {"flat": 1 << 2, "zero": 0}, mode="xapic"),
    "initial_tpr": Case(tpr_after_boot, {0x10: 0x10, 0: 0, 0xFF: 0xFF}),
    "store_buffer": Case(memory_after_a_store, {0: [41], 64: [0]}),
    "foreign_stop": Case(reboot_by_another_kernel, {"obey": ([], 0), "ignore": ([2, 3], 2)}),
    "boundary": Case(three_at_once, {"word": 3, "frame": 1}),
    "panic_on_oops": Case(a_handler_that_fails, {True: True, False: False}),
}


def machine_of(topology: dict[str, Any]) -> Machine:
    whole = Topology.from_dict(topology)
    configs = [kernel_config(whole, spec.id) for spec in whole.instances]
    return Machine(configs, arbitration=whole.arbitration)


def topology_of(case: Case, **second: Any) -> dict[str, Any]:
    instances = [{"id": 0, "cpus": [0, 1]}, {"id": 1, "cpus": [2, 3]} | case.beside | second]
    return {"mode": case.mode, "instances": instances}


def by_the_machines_table(key: str, value: object, case: Case) -> Machine:
    return machine_of(topology_of(case) | {"apic": {key: value}})


def by_the_instances_table(key: str, value: object, case: Case) -> Machine:
    return machine_of(topology_of(case, apic={key: value}))


def against_the_machines_table(key: str, value: object, case: Case) -> Machine:
    """The machine says otherwise, and so does the first kernel."""
    other = next(each for each in case.shows if each not in (value, "hash"))
    return machine_of(topology_of(case, apic={key: value}) | {"apic": {key: other}})


def by_the_configuration(key: str, value: object, case: Case) -> Machine:
    policy = ApicPolicy(**{key: value})  # type: ignore[arg-type]
    mode = ApicMode[case.mode.upper()]
    return Machine(
        [
            KernelConfig(instance_id=0, name="mk0", apic_ids=(0, 1), mode=mode, apic_policy=policy),
            KernelConfig(instance_id=1, name="mk1", apic_ids=(2, 3), mode=mode, apic_policy=policy),
        ]
    )


WAYS = [
    by_the_machines_table,
    by_the_instances_table,
    against_the_machines_table,
    by_the_configuration,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, case in APIC.items() for value in case.shows]
)
def test_a_switch_of_the_apics_shows(key: str, value: object, way: Any) -> None:
    if value == "hash" and way in (by_the_instances_table, against_the_machines_table):
        pytest.skip("how the machine arbitrates is no instance's choice")
    assert APIC[key].scenario(way(key, value, APIC[key])) == APIC[key].shows[value]


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, case in KERNEL.items() for value in case.shows]
)
def test_a_switch_of_a_kernel_shows(key: str, value: object) -> None:
    case = KERNEL[key]
    by_topology = machine_of(topology_of(case, **{key: value}))
    assert case.scenario(by_topology) == case.shows[value]
    config: Any = case.beside | {key: value, "mode": ApicMode[case.mode.upper()]}
    first = KernelConfig(instance_id=0, name="mk0", apic_ids=(0, 1), mode=config["mode"])
    second = KernelConfig(instance_id=1, name="mk1", apic_ids=(2, 3), **config)
    assert case.scenario(Machine([first, second])) == case.shows[value]


def test_no_switch_and_no_value_is_left_out() -> None:
    assert {key: sorted(map(spelt, case.shows)) for key, case in APIC.items()} == {
        key: sorted(ApicSpec.choices(key)) for key in ApicSpec.model_fields
    }
    whole = Topology.of(instances=1, cpus=1).instances[0]
    plain = {key: getattr(whole, key) for key in KERNEL}
    assert all(plain[key] in case.shows and len(case.shows) > 1 for key, case in KERNEL.items())
    machine_alone = {"id", "name", "cpus", "cpu_count", "spare_cpus", "mode", "apic", "rate"}
    programs_and_log = {"programs", "cmdline", "handlers", "printk_records"}
    assert set(KERNEL) == InstanceSpec.model_fields.keys() - machine_alone - programs_and_log


def spelt(value: object) -> str:
    return str(value).lower()
