"""Whole simulated runs, recorded: the bus of each replays, whatever has gone wrong in it."""

import itertools
import random
from pathlib import Path
from typing import Any

import pytest

from mkrpc.interconnect.books_text import books_of
from mkrpc.interconnect.recording import RecordedBus
from mkrpc.journal.recorder import Recording
from mkrpc.replay.run import replay
from mkrpc.simulation import hub
from mkrpc.simulation.run import run

SEEDS = [*((seed, False) for seed in range(1, 13)), (3, True), (8, True), (15, True)]
"""And whether CPUs move from kernel to kernel in it."""
TAKES_CALLS_OVER = 3
"""One of them, in which an interconnect begins with calls that were answered before."""


@pytest.mark.parametrize(("seed", "moving"), SEEDS)
def test_the_bus_of_a_simulated_run_replays(seed, moving, tmp_path: Path, monkeypatch):
    """Faults, reconnects, fences, requests that are repeated or given up: every kind of input;
    moves of CPUs that are cut short, asked for again and taken over."""
    made: list[RecordedBus] = []
    numbers = itertools.count()

    def recorded(**arguments: Any) -> RecordedBus:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        made.append(RecordedBus(Recording(folder), **arguments))
        return made[-1]

    monkeypatch.setattr(hub, "ApicBus", recorded)
    result = run(seed, random.Random, moving=moving)
    assert not result.violation
    assert ("move of a cpu" in result.faults) is moving
    for bus in made:
        bus.close()
    assert made
    calls = [call for bus in made if bus.takeover is not None for call in bus.takeover.calls]
    assert calls or moving or seed != TAKES_CALLS_OVER
    for number, bus in enumerate(made):
        done = replay(tmp_path / str(number))
        (life,) = done.lives
        assert life.identical, (life.verdict, life.difference, life.books_differ[:3])
        assert not life.journal.stopped
        assert life.bus.takeover == bus.takeover
        assert books_of(life.bus) == books_of(bus)
