"""Mistakes about CPUs that move between kernels: each is shown by a seed with ``moving``."""

import random
from typing import Any

import pytest
from compiled_model import skip_if_compiled

from mkrpc.instance.cpu import Cpu
from mkrpc.instance.moves import Moves
from mkrpc.interconnect.cpu_owners import CpuOwners
from mkrpc.interconnect.session import Session
from mkrpc.link.frames import CpuAddress
from mkrpc.simulation.run import run
from mkrpc.x86.lapic import LocalApic

SEEDS = 1_000
"""Within so many seeds every mistake must show."""


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


@pytest.mark.parametrize(
    ("owner", "method", "mistake", "seed"), MUTANTS, ids=[each[2].__name__ for each in MUTANTS]
)
def test_a_seed_shows_the_mistake_about_a_cpu_that_moves(
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    *,
    owner: Any,
    method: str,
    mistake: Any,
    seed: int,
) -> None:
    """A seed that shows it no longer is looked for again from 1 on; with ``--full`` the one that is
    written down must do."""
    skip_if_compiled(owner)
    others = () if request.config.getoption("--full") else range(1, SEEDS + 1)
    with monkeypatch.context() as patch:
        patch.setattr(owner, method, mistake)
        results = (run(each, random.Random, moving=True) for each in (seed, *others))
        broken = next((result for result in results if result.violation), None)
    assert broken is not None, "no law is broken"
    assert "TypeError" not in broken.violation, "it does not fit its place any more"
    assert run(broken.seed, random.Random, moving=True).violation == "", "the mistake breaks it"
