"""From a run that breaks a law to a small one that breaks the same law.

Instances, faults and steps are left out as long as the violation stays: by halves, by quarters, and
so on down to one by one. What is left is what a person has to look at.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mkrpc.simulation.run import Chance, Result, draw, run

__all__ = ["MAX_TRIES", "Shrunk", "shrink"]

MAX_TRIES = 400
"""Runs that shrinking may take; the smallest found by then is what it gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunk:
    """``without``: what the small run leaves out; ``left``: what it still has, each in a line."""

    result: Result
    without: frozenset[str]
    left: tuple[str, ...]
    tries: int


def shrink(
    seed: int,
    chance: Chance,
    *,
    without: frozenset[str] = frozenset(),
    on_try: Callable[[int], None] = lambda _tries: None,
    moving: bool = False,
    calls: bool = False,
) -> Shrunk:
    """Leave out of a run what its violation does not need.

    ``moving``, ``calls``: as of :func:`run`. ``without``: what is left out already. ``on_try`` is
    told how many runs there have been. The run must break a law: assert.
    """
    result = run(seed, chance, without=without, moving=moving, calls=calls)
    assert result.violation, f"seed {seed} breaks no law"
    options, plan, _ = draw(seed, chance, moving=moving, calls=calls)
    faults = {f"f{fault.number}": str(fault) for fault in plan.faults}
    steps = {f"s{step.number}": str(step) for step in plan.steps}
    tries = 1
    for tags in (
        [f"i{each.instance_id}" for each in options.instances],
        list(faults),
        list(steps),
        list(faults),
    ):
        kept = [tag for tag in tags if tag not in without]
        size = len(kept)
        while size >= 1 and tries < MAX_TRIES:
            first = 0
            while first < len(kept) and tries < MAX_TRIES:
                fewer = without | set(kept[first : first + size])
                shorter = run(seed, chance, without=fewer, moving=moving, calls=calls)
                tries += 1
                on_try(tries)
                if shorter.law == result.law:
                    result, without = shorter, fewer
                    del kept[first : first + size]
                else:
                    first += size
            size //= 2
    left = tuple(text for tag, text in (faults | steps).items() if tag not in without)
    return Shrunk(result=result, without=without, left=left, tries=tries)
