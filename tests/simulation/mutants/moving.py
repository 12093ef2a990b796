"""Mistakes about CPUs that move between kernels: each is shown by a seed with ``moving``."""

from typing import Any

from mkrpc.instance.cpu import Cpu
from mkrpc.instance.moves import Moves
from mkrpc.interconnect.cpu_owners import CpuOwners
from mkrpc.interconnect.session import Session
from mkrpc.link.frames import CpuAddress
from mkrpc.x86.lapic import LocalApic


def a_cpu_that_has_left_is_still_found(self: Any, apic_id: int) -> None:
    session, _ = self._owners.pop(apic_id)
    if not session.alive:
        self.map.discard(apic_id)


def nobody_says_that_cpus_have_moved(self: Any) -> tuple[()]:
    return ()


def what_an_apic_held_goes_without_a_trace(self: Any, apic: LocalApic) -> None:
    self.apic = apic
    self.core_pending = False
    self.forget_lvt_errors()
    self.observe((apic.irr, apic.isr))


_grow = Session.grow


def the_mirror_has_no_row_for_a_cpu_that_comes(self: Any, address: CpuAddress) -> None:
    _grow(self, address)
    self.mirror._cpus.pop()


MUTANTS = [
    (CpuOwners, "remove", a_cpu_that_has_left_is_still_found, 3),
    (Moves, "told", nobody_says_that_cpus_have_moved, 291),
    (Cpu, "replace_apic", what_an_apic_held_goes_without_a_trace, 22),
    (Session, "grow", the_mirror_has_no_row_for_a_cpu_that_comes, 2),
]
"""Whose method, its name, what stands in its place, and the seed that shows it."""
