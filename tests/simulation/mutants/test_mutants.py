"""Every planted mistake, in the place of its method, is shown by a seed."""

import inspect
import random
from typing import Any

import pytest
from compiled_model import skip_if_compiled
from simulation.mutants import bus, injected, instance, link, restart

from mkrpc.simulation.run import run

SEEDS = 1_000
"""Within so many seeds every mistake must show."""

MUTANTS = [*bus.MUTANTS, *injected.MUTANTS, *instance.MUTANTS, *link.MUTANTS, *restart.MUTANTS]
"""Whose method, its name, what stands in its place, and the seed that shows it."""


@pytest.mark.parametrize(
    ("owner", "method", "mistake", "seed"),
    MUTANTS,
    ids=[mistake.__name__ for _, _, mistake, _ in MUTANTS],
)
def test_a_seed_shows_the_mistake(
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    *,
    owner: Any,
    method: str,
    mistake: Any,
    seed: int,
) -> None:
    """A seed that shows it no longer, since the machine or the workload has changed, is looked for
    again from 1 on; with ``--full`` the one that is written down must do."""
    skip_if_compiled(owner)
    kind = type(inspect.getattr_static(owner, method))
    instead = kind(mistake) if kind in (property, staticmethod) else mistake
    others = () if request.config.getoption("--full") else range(1, SEEDS + 1)
    with monkeypatch.context() as patch:
        patch.setattr(owner, method, instead)
        results = (run(each, random.Random) for each in (seed, *others))
        broken = next((result for result in results if result.violation), None)
    assert broken is not None, "no law is broken"
    assert "TypeError" not in broken.violation, "it does not fit its place any more"
    assert run(broken.seed, random.Random).violation == "", "it is the mistake that breaks it"
