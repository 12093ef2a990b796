"""Clusters start by the fork server and by spawn, ring round, balance and leave nobody."""

import json
import subprocess
import sys

import pytest

from mkrpc.benchmarks.footprint import Footprint, footprint
from mkrpc.benchmarks.startup import Report, Start, as_json, measure_one, private_place

PRIVATE_MIB = 9.0
"""What an instance may have beyond what it shares: a MiB above what it has by the fork server."""


def start(method: str, up_s: float) -> Start:
    nothing = Footprint(0.0, 0.0, 0.0, 0.0)
    return Start(
        method=method,
        instances=8,
        up_s=up_s,
        registered_s=up_s / 2,
        rung_s=0.0,
        down_s=0.0,
        per_instance=nothing,
        interconnect=nothing,
        written=16,
    )


def test_the_ratio_is_of_medians():
    report = Report(cores=2, load_before=0.0)
    assert report.ratio(8) is None
    report.starts = [start("forkserver", up_s) for up_s in (1.0, 2.0, 9.0)]
    assert report.ratio(8) is None
    report.starts += [start("spawn", up_s) for up_s in (30.0, 20.0, 10.0)]
    assert report.ratio(8) == 10.0
    assert json.loads(json.dumps(as_json(report)))["spawn_over_forkserver"] == {"8": 10.0}


def test_a_footprint_is_of_the_process_itself():
    """What a child alone has written to is its own, and grows by what it writes."""
    code = "import sys; kept = bytearray(b'x' * (16 << 20)); print(); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        seen = footprint(process.pid)
        process.communicate()
    assert 16 < seen.private_mib <= seen.pss_mib < 64
    assert seen.threads == 1


@pytest.mark.e2e
def test_eight_instances_start_ring_round_and_leave_nobody():
    with private_place():
        report = measure_one("forkserver", 8)
    assert report.faults == []
    assert report.written == 16


@pytest.mark.e2e
@pytest.mark.full
def test_by_spawn_a_cluster_is_the_same():
    with private_place():
        report = measure_one("spawn", 2)
    assert report.faults == []


@pytest.mark.e2e
@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("instances", [128, 512])
def test_many_instances_start_ring_round_and_leave_nobody(instances):
    with private_place():
        report = measure_one("forkserver", instances)
    assert report.faults == []
    assert report.per_instance.private_mib < PRIVATE_MIB
