"""Many streams at one moment: all are welcomed, also the second ones of instances."""

import json

import pytest
from click.testing import CliRunner

from mkrpc.benchmarks.streams import BOUND_S, main, measure

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("tcp", [False, True])
def test_more_streams_than_a_machine_has_instances_are_all_welcomed(tcp):
    report = measure(streams=540, tcp=tcp)
    assert (report.welcomed, report.refused) == (540, {})
    assert 0 < report.accepted_s <= report.welcomed_s


def test_the_command_says_by_its_exit_code_whether_all_were_in_time():
    done = CliRunner().invoke(main, ["--streams", "20", "--processes", "1", "--json"])
    report = json.loads(done.stdout)
    assert report["welcomed"] == 20
    assert done.exit_code == (report["welcomed_s"] >= BOUND_S)
