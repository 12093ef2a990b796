"""The benchmark of a burst's destination counts what it measures."""

import json

from click.testing import CliRunner

from mkrpc.benchmarks.destination import Destination, main


def test_every_word_of_a_burst_is_handled_and_its_outcome_reported():
    destination = Destination()
    for number in (1, 2):
        assert destination.take(destination.frames(5000)) > 0
        assert destination.runs == [number * 5000]


def test_it_runs_and_says_what_the_model_is():
    done = CliRunner().invoke(main, ["--words", "200", "--rounds", "2", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["model"].startswith(("pure Python", "compiled"))
    assert found["path_ns"] > 0
    assert found["model_alone_ns"] > 0
