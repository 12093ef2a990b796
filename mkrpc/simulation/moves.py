"""CPUs that change the registers by which routing finds them, about when the interconnect dies.

What was routed by the addresses of before comes again by those of after.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from mkrpc.errors import ClusterStateError
from mkrpc.instance.cpu import Cpu
from mkrpc.instance.instructions import Instruction, WriteRegister, Wrmsr
from mkrpc.instance.memory import PageFault
from mkrpc.simulation.options import InstanceOptions, Rng
from mkrpc.simulation.plan import Fault
from mkrpc.x86.apic_base import (
    APIC_BASE_ADDRESS,
    APIC_BASE_BSP,
    APIC_BASE_ENABLE,
    APIC_BASE_EXTD,
    ApicMode,
    GeneralProtection,
)
from mkrpc.x86.registers import Register

if TYPE_CHECKING:
    from mkrpc.simulation.world import World

__all__ = ["Moves"]

_SHARE = 0.6
"""Of the deaths of an interconnect, this much has such changes about it."""
_BEFORE_US = 2_500
_APIC_BASE_MSR = 0x1B


class Moves:
    """Of one run; of each fault a stream of chance of its own, so that it can be left out."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def plan(self, fault: Fault) -> None:
        """About this death of an interconnect, or before its successor routes."""
        world = self._world
        rng = world.rng_of(f"moves of f{fault.number}")
        if fault.kind != "hub-crash" or rng.random() > _SHARE:
            return
        for _ in range(rng.randrange(1, 8)):
            where = rng.choice(world.options.instances)
            cpu = rng.randrange(0, len(where.apic_ids))
            after_us = fault.for_us + world.options.lease_us
            offset_us = rng.randrange(-_BEFORE_US, 1 if rng.random() < 0.7 else after_us)
            at_us = min(max(1, fault.at_us + offset_us), world.options.busy_us)
            world.at(at_us, self._move, where.instance_id, cpu, _instructions(rng, where))

    def _move(self, instance_id: int, number: int, instructions: tuple[Instruction, ...]) -> None:
        life = self._world.nodes[instance_id].life
        if life is None or number >= len(life.kernel.cpus):
            return

        def write() -> None:
            cpu: Cpu = life.kernel.cpus[number]
            for each in instructions:
                try:
                    cpu.execute(_as_boot_processor(each) if cpu.apic.bsp else each)
                except (GeneralProtection, PageFault, ClusterStateError):
                    continue
            self._world.faults["move"] += 1

        life.turn(write)


def _as_boot_processor(instruction: Instruction) -> Instruction:
    """The same by a CPU that stays one."""
    if not isinstance(instruction, Wrmsr):
        return instruction
    return replace(instruction, value=instruction.value | APIC_BASE_BSP)


def _instructions(rng: Rng, where: InstanceOptions) -> tuple[Instruction, ...]:
    """One change, in as many steps as it takes."""
    base = APIC_BASE_ADDRESS | APIC_BASE_ENABLE
    match rng.randrange(0, 8):
        case 0:
            return (WriteRegister(Register.DFR, rng.choice((0xFFFF_FFFF, 0x0FFF_FFFF))),)
        case 1 | 2 if where.mode is ApicMode.XAPIC and where.apic_policy.xapic_id_writable:
            return (WriteRegister(Register.ID, rng.choice(where.apic_ids) << 24),)
        case 3:
            return (
                Wrmsr(_APIC_BASE_MSR, APIC_BASE_ADDRESS),
                Wrmsr(_APIC_BASE_MSR, base),
                WriteRegister(Register.SVR, 0x1FF),
                WriteRegister(Register.LDR, 1 << rng.randrange(24, 28)),
            )
        case 4:
            return (
                Wrmsr(_APIC_BASE_MSR, base | APIC_BASE_EXTD),
                WriteRegister(Register.SVR, 0x1FF),
            )
        case _:
            return (WriteRegister(Register.LDR, 1 << rng.randrange(24, 28)),)
