"""Every scenario has a seed that shows its defect, and none that shows it with a remedy."""

import random
import re

import pytest

from mkrpc.scenarios.catalogue import scenarios
from mkrpc.scenarios.playing import play
from mkrpc.scenarios.scenario import description, problem_of, title

LIBRARY = scenarios()
QUICK, FULL, CHUNK = 24, 10_000, 500
REMEDIES = [
    pytest.param(scenario, changes, id=f"{name}-{'-'.join(changes.values())}")
    for name, scenario in LIBRARY.items()
    for changes in scenario.remedies
]


@pytest.mark.parametrize("scenario", LIBRARY.values(), ids=LIBRARY)
def test_a_scenario_says_what_hardware_and_upstream_do(scenario):
    assert problem_of(scenario) == ""
    assert re.fullmatch(r"[a-z0-9-]+", scenario.name)
    assert len(title(scenario)) <= 100
    paragraphs = description(scenario).split("\n\n")
    assert [text.partition(":")[0] for text in paragraphs[1:3]] == ["Hardware", "Upstream"]
    for each in (scenario.play, scenario.check):
        assert each.__doc__


@pytest.mark.parametrize("scenario", LIBRARY.values(), ids=LIBRARY)
def test_its_seed_shows_the_defect_and_replays_to_the_same_digest(scenario):
    lines: list[list[str]] = [[], []]
    runs = [
        play(scenario, scenario.seed, random.Random, changes={}, tell=told.append) for told in lines
    ]
    assert runs[0].findings
    assert runs[0].broken == ()
    assert runs[0] == runs[1]
    assert lines[0] == lines[1]
    other = play(scenario, scenario.seed + 1, random.Random, changes={})
    assert other.digest != runs[0].digest


@pytest.mark.parametrize(("scenario", "changes"), REMEDIES)
def test_no_seed_shows_the_defect_with_a_remedy(scenario, changes):
    # The seed that shows the defect, and those that follow.
    for seed in range(scenario.seed, scenario.seed + QUICK):
        played = play(scenario, seed, random.Random, changes=changes)
        assert (played.findings, played.broken) == ((), ()), seed


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", range(0, FULL, CHUNK))
@pytest.mark.parametrize(("scenario", "changes"), REMEDIES)
def test_no_seed_of_ten_thousand_shows_it(scenario, changes, first):
    for seed in range(first, first + CHUNK):
        played = play(scenario, seed, random.Random, changes=changes)
        assert (played.findings, played.broken) == ((), ()), seed
