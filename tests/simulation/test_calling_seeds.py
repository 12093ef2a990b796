"""Runs under seeds in which clients call over streams, as the real ones do: bursts of different
words, and words one by one. The promises hold in each."""

import random
from collections import Counter

import pytest
from compiled_model import skip_if_compiled

from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.leg_block import LegBlock
from mkrpc.simulation.run import Result, draw, run

QUICK_SEEDS = range(1, 17)
QUICK_MOVING_SEEDS = range(17, 23)
FULL_SEEDS = range(1, 2001)


def check(seeds: range, *, moving: bool = False) -> list[Result]:
    results = [run(seed, random.Random, calls=True, moving=moving) for seed in seeds]
    assert [(each.seed, each.violation) for each in results if each.violation] == []
    return results


def test_no_seed_breaks_a_promise_while_clients_call() -> None:
    """And they do: streams break, calls are sent again, some are refused."""
    faults: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for result in check(QUICK_SEEDS):
        faults.update(result.faults)
        outcomes.update(result.outcomes)
    assert faults["singles made together"] > 5 * len(QUICK_SEEDS)
    assert faults["call sent again"] > 5 * len(QUICK_SEEDS)
    assert faults["stream of calls broke"] > len(QUICK_SEEDS)
    assert faults["hub-crash"]
    assert outcomes["rejected(rate_limited)"]


def test_no_seed_breaks_a_promise_while_clients_call_and_cpus_move() -> None:
    check(QUICK_MOVING_SEEDS, moving=True)


@pytest.mark.full
@pytest.mark.parametrize("first", FULL_SEEDS[::100])
@pytest.mark.parametrize("moving", [False, True])
def test_none_of_many_seeds_breaks_a_promise_while_clients_call(first: int, moving: bool) -> None:
    check(range(first, first + 100), moving=moving)


def test_calls_are_made_in_every_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a law would hold for want of an occasion: bursts that go as blocks and one by one,
    single words by themselves and together, repetitions, instalments."""
    skip_if_compiled(LegBlock)
    seen: Counter[str] = Counter()
    words, singles, columns = ApicBus.inject_words, ApicBus.inject_singles, LegBlock.columns
    go_on = ApicBus.go_on

    def inject_words(self, **asked):
        size = "single" if len(asked["words"]) == 8 else "burst"
        tally = words(self, **asked)
        seen[f"{size}{' again' * asked['again']}"] += 1
        seen[f"{size}{' repeated' * tally.repeated}"] += 1
        return tally

    def inject_singles(self, **asked):
        made = singles(self, **asked)
        seen["together"] += made.count
        return made

    def counted(self):
        seen["in blocks"] += self.count
        return columns(self)

    def instalment(self):
        seen["instalment"] += 1
        go_on(self)

    monkeypatch.setattr(ApicBus, "inject_words", inject_words)
    monkeypatch.setattr(ApicBus, "inject_singles", inject_singles)
    monkeypatch.setattr(ApicBus, "go_on", instalment)
    monkeypatch.setattr(LegBlock, "columns", counted)
    check(range(1, 6))
    for way in ("single", "burst"):
        assert min(seen[way], seen[f"{way} again"], seen[f"{way} repeated"]) > 3, seen
    assert min(seen["together"], seen["in blocks"]) > 100, seen
    assert seen["instalment"] > 1


@pytest.mark.parametrize("seed", [3, 15])
def test_without_its_calls_a_seed_is_the_run_that_it_was(seed: int) -> None:
    """All that calling adds has streams of chance of its own."""
    _, plan, _ = draw(seed, random.Random, calls=True)
    _, plain_plan, _ = draw(seed, random.Random)
    added = frozenset(f"s{step.number}" for step in plan.steps[len(plain_plan.steps) :])
    assert added
    plain = run(seed, random.Random)
    assert run(seed, random.Random, calls=True, without=added).digest == plain.digest
    first, second = (run(seed, random.Random, calls=True).digest for _ in range(2))
    assert first == second != plain.digest
