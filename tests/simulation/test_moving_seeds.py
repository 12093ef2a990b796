"""Runs under seeds in which CPUs move from kernel to kernel: the promises hold in each."""

import random
from collections import Counter

import pytest

from mkrpc.simulation.run import Result, draw, run

QUICK_SEEDS = range(1, 26)
FULL_SEEDS = range(1, 2001)


def check(seeds: range) -> list[Result]:
    results = [run(seed, random.Random, moving=True) for seed in seeds]
    assert [(each.seed, each.violation) for each in results if each.violation] == []
    return results


def test_no_seed_breaks_a_promise_while_cpus_move() -> None:
    """And they do: they leave, come, and are refused by name; what names them meanwhile is
    rejected."""
    faults: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for result in check(QUICK_SEEDS):
        faults.update(result.faults)
        outcomes.update(result.outcomes)
    assert faults["move of a cpu"] > len(QUICK_SEEDS)
    assert faults["move refused"]
    assert outcomes["rejected(no_such_apic)"]
    assert outcomes["lost(interconnect_restart, maybe_delivered)"]


@pytest.mark.full
@pytest.mark.parametrize("first", FULL_SEEDS[::100])
def test_none_of_many_seeds_breaks_a_promise_while_cpus_move(first: int) -> None:
    check(range(first, first + 100))


@pytest.mark.parametrize("seed", [3, 15])
def test_without_its_moves_a_seed_is_the_run_that_it_was(seed: int) -> None:
    """All that moving adds has streams of chance of its own."""
    _, plan, _ = draw(seed, random.Random, moving=True)
    moves = frozenset(f"s{step.number}" for step in plan.steps if step.kind == "move")
    assert moves
    plain = run(seed, random.Random)
    assert run(seed, random.Random, moving=True, without=moves).digest == plain.digest
    assert run(seed, random.Random, moving=True).digest != plain.digest
