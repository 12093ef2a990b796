"""The benchmark of the drivers runs, and accounts for every step of a word."""

import json

import pytest
from click.testing import CliRunner

from mkrpc.benchmarks import drivers


@pytest.mark.parametrize("arguments", [[], ["--evict", "64"]])
def test_every_step_of_a_word_takes_some_time(arguments: list[str]) -> None:
    done = CliRunner().invoke(drivers.main, ["--words", "20", "--json", *arguments])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert list(found) == list(drivers.STEPS)
    assert all(taken > 0 for taken in found.values())


def test_the_table_ends_with_what_all_steps_take() -> None:
    done = CliRunner().invoke(drivers.main, ["--words", "20"])
    _head, _line, *rows = done.stdout.splitlines()
    taken = [float(row.split("|")[2]) for row in rows]
    assert len(taken) == len(drivers.STEPS) + 2
    assert taken[-1] == pytest.approx(sum(taken[:-2]), abs=0.1 * len(taken))
