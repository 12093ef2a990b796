"""Every planted mistake, in the place of its method, is shown by a seed."""

import inspect
import random
from typing import Any

import pytest
from compiled_model import skip_if_compiled
from simulation.mutants import bus, calling, injected, instance, link, moving, restart

from mkrpc.simulation.run import run

SEEDS = 1_000
"""Within so many seeds every mistake must show."""

MUTANTS = [
    *((*mutant, {}) for of in (bus, injected, instance, link, restart) for mutant in of.MUTANTS),
    *((*mutant, {"moving": True}) for mutant in moving.MUTANTS),
    *((*mutant, {"calls": True}) for mutant in calling.MUTANTS),
]
"""Whose method, its name, what stands in its place, the seed that shows it, and what is in that run
besides."""


@pytest.mark.parametrize(
    ("owner", "method", "mistake", "seed", "besides"),
    MUTANTS,
    ids=[mistake.__name__ for _, _, mistake, _, _ in MUTANTS],
)
def test_a_seed_shows_the_mistake(
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    *,
    owner: Any,
    method: str,
    mistake: Any,
    seed: int,
    besides: dict[str, bool],
) -> None:
    """A seed that shows it no longer, since the machine or the workload has changed, is looked for
    again from 1 on; with ``--full`` the one that is written down must do. What needs something
    besides does not show without it."""
    skip_if_compiled(owner)
    kind = type(inspect.getattr_static(owner, method))
    instead = kind(mistake) if kind in (property, staticmethod) else mistake
    others = () if request.config.getoption("--full") else range(1, SEEDS + 1)
    with monkeypatch.context() as patch:
        patch.setattr(owner, method, instead)
        results = (run(each, random.Random, **besides) for each in (seed, *others))
        broken = next((result for result in results if result.violation), None)
        assert broken is not None, "no law is broken"
        if besides:
            assert run(broken.seed, random.Random).violation == "", "it shows in any run"
    assert "TypeError" not in broken.violation, "it does not fit its place any more"
    found = run(broken.seed, random.Random, **besides)
    assert found.violation == "", "it is the mistake that breaks it"
