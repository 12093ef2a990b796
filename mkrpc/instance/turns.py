"""How long an instance runs its programs before the link has its turn."""

import time
from collections.abc import Callable

__all__ = ["BUDGET", "run_for_a_turn"]

BUDGET = 512
"""Instruction boundaries that programs run before the link has its turn."""

TURN_S = 0.002
"""Seconds after which the link has it even so: the Python between two yields may take long, and
what was written before must not wait for five hundred times that."""


def run_for_a_turn(run: Callable[[int], int]) -> None:
    """Call ``run``, as :meth:`mkrpc.instance.attachment.Attachment.run`, until the turn is over.

    With budgets that double, so that a turn ends soon after a boundary that took long, and the
    clock is seldom looked at if none does.
    """
    end = time.perf_counter() + TURN_S
    left, part = BUDGET, 1
    while left > 0 and (ran := run(min(part, left))) and time.perf_counter() < end:
        left -= ran
        part *= 2
