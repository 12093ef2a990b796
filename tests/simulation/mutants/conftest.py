"""How a mistake is tried out: in the place of the method, under the seed that shows it."""

import inspect
import random
from collections.abc import Callable
from typing import Any

import pytest

from mkrpc.simulation.run import run

SEEDS = 1_000
"""Within so many seeds every mistake must show."""


@pytest.fixture
def shows(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Callable[..., None]:
    """``shows(owner, method, mistake, seed)``: with the mistake the seed breaks a law.

    A seed that shows it no longer, since the machine or the workload has changed, is looked for
    again from 1 on; with ``--full`` the one that is written down must do.
    """

    def check(owner: Any, method: str, mistake: Any, seed: int) -> None:
        kind = type(inspect.getattr_static(owner, method))
        instead = kind(mistake) if kind in (property, staticmethod) else mistake
        with monkeypatch.context() as patch:
            patch.setattr(owner, method, instead)
            others = () if request.config.getoption("--full") else range(1, SEEDS + 1)
            found = next((s for s in (seed, *others) if run(s, random.Random).violation), None)
        assert found is not None, f"{mistake.__name__}: no law is broken"
        assert run(found, random.Random).violation == "", "it is the mistake that breaks it"

    return check
