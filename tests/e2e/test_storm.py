"""A storm in small: whatever the machine's speed, nothing is lost and every refusal is booked."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from mkrpc.benchmarks.storm import Plan, main, measure
from mkrpc.outcome import Outcome

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def state_dir(mk_cluster_factory):
    """The fixture's private directory is where clusters of this test live."""


@pytest.mark.parametrize("at_pair", [True, False])
def test_a_storm_costs_the_pair_no_interrupt_and_is_in_the_books_to_the_last_write(at_pair):
    # Niceness 0: on a machine that has other work, the idle class might attack nobody.
    small = Plan(attackers=2, rate=4000, bucket=500, burst=20, seconds=1, rounds=1, nice=0)
    plan = replace(small, at_pair=at_pair)
    report = measure(plan)
    assert report.failures == []
    assert report.attackers[Outcome.REJECTED_RATE_LIMITED.text] > 0
    assert report.attackers["in flight"] == 0
    assert [each.storm for each in report.rounds] == [False, True] * 2
    assert all(each.received for each in report.rounds)


def test_the_command_prints_json_and_says_by_its_exit_code_how_it_went():
    options = ("--attackers", "2", "--rate", "400", "--bucket", "100", "--seconds", "0.5")
    done = CliRunner().invoke(main, [*options, "--rounds", "1", "--json"])
    report = json.loads(done.stdout)
    assert report["failures"] == []
    assert done.exit_code == bool(report["slow"])
    assert set(report["ratios"]) == {"ping_pong", "one_way"}
