"""The link has its turn after so many boundaries, or so much time, whichever is first."""

import time

from mkrpc.instance.turns import BUDGET, TURN_S, run_for_a_turn


def test_a_turn_of_quick_boundaries_is_the_whole_budget() -> None:
    budgets: list[int] = []

    def run(budget: int) -> int:
        budgets.append(budget)
        return budget

    while sum(budgets) < BUDGET:
        budgets.clear()  # a stalled machine may cut a turn short
        run_for_a_turn(run)
    assert budgets == [1, 2, 4, 8, 16, 32, 64, 128, 256, 1]


def test_a_boundary_that_takes_long_is_the_last_of_its_turn() -> None:
    budgets: list[int] = []

    def run(budget: int) -> int:
        budgets.append(budget)
        end = time.perf_counter() + TURN_S
        while time.perf_counter() < end:
            pass
        return budget

    run_for_a_turn(run)
    assert budgets == [1]


def test_a_turn_ends_when_nobody_can_run() -> None:
    budgets: list[int] = []
    run_for_a_turn(lambda budget: budgets.append(budget) or 0)
    assert budgets == [1]
