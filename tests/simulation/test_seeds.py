"""Runs under seeds: the promises hold in each, and each replays to the byte (design, section 4).

More of them with ``--full``, and by ``mkrpc sim``.
"""

import os
import random
import subprocess
import sys
from collections import Counter

import pytest

from mkrpc.simulation.options import FAULT_KINDS, Options
from mkrpc.simulation.run import Result, draw, run

QUICK_SEEDS = range(1, 101)
FULL_SEEDS = range(1, 2001)
SHARE = 10


def check(seeds: range) -> list[Result]:
    results = [run(seed, random.Random) for seed in seeds]
    assert [(each.seed, each.violation) for each in results if each.violation] == []
    return results


@pytest.mark.parametrize("first", QUICK_SEEDS[::SHARE])
def test_no_seed_breaks_a_promise(first: int) -> None:
    check(range(first, first + SHARE))


@pytest.mark.parametrize(
    "seed",
    [
        53_900,  # whoever had moved to another xAPIC id and was dead had no leg
        61_906,  # the run was over while writes that had been read waited for their turn
    ],
)
def test_what_a_seed_has_shown_it_shows_no_more(seed: int) -> None:
    check(range(seed, seed + 1))


@pytest.mark.full
@pytest.mark.parametrize("first", FULL_SEEDS[::100])
def test_none_of_many_seeds_breaks_a_promise(first: int) -> None:
    check(range(first, first + 100))


def test_all_that_can_happen_happens_within_a_few_seeds() -> None:
    """Else a law would hold for want of an occasion."""
    faults: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for result in check(range(1, 41)):
        faults.update(result.faults)
        outcomes.update(result.outcomes)
    assert {*FAULT_KINDS, "drop", "late", "lost", "duplicate", "fenced", "gave up"} <= faults.keys()
    assert {
        *("delivered", "coalesced", "lost(target_dead)", "lost(target_dead, maybe_delivered)"),
        *("rejected(no_such_apic)", "rejected(not_permitted)", "rejected(software_disabled)"),
        *("rejected(not_waiting_for_sipi)", "rejected(illegal_vector)", "rejected(blocked)"),
        "rejected(injected_fault)",
        *("rejected(reserved_mode)", "rejected(redirectable_ipi)", "rejected(init_deassert)"),
        "lost(interconnect_restart, maybe_delivered)",
    } <= outcomes.keys()


@pytest.mark.parametrize("seed", [1, 2, 7])
def test_a_seed_replays_to_the_byte(seed: int) -> None:
    first: list[str] = []
    second: list[str] = []
    results = [run(seed, random.Random, tell=lines.append) for lines in (first, second)]
    assert first == second
    assert results[0] == results[1]
    assert run(seed, random.Random).digest == results[0].digest, "whoever listens or not"


def test_a_seed_replays_in_other_processes_whatever_their_hashes() -> None:
    code = "import random; from mkrpc.simulation.run import run; "
    code += "print(*(run(seed, random.Random).digest for seed in (3, 4, 5)))"
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "4711")
    }
    assert digests == {" ".join(run(seed, random.Random).digest for seed in (3, 4, 5)) + "\n"}


def test_every_seed_is_another_run() -> None:
    assert len({run(seed, random.Random).digest for seed in range(1, 21)}) == 20


def test_a_part_that_is_left_out_changes_nothing_in_what_was_drawn() -> None:
    """Options and plan are drawn before, and have streams of chance of their own."""
    seen: list[str] = []
    everything = run(8, random.Random, tell=seen.append)
    _, plan, _ = draw(8, random.Random)
    steps = frozenset(f"s{step.number}" for step in plan.steps)
    without = run(8, random.Random, without=steps)
    assert without.legs == 0
    assert without.violation == everything.violation == ""
    assert {name: without.faults.get(name) for name in FAULT_KINDS if name in without.faults}


def test_options_are_drawn_whole_and_can_be_compared() -> None:
    assert Options.draw(random.Random("9/options")) == draw(9, random.Random)[0]
    assert draw(9, random.Random)[1] == draw(9, random.Random)[1]
