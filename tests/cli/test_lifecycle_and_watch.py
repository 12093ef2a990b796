"""``mkrpc exec``, ``kill``, ``limit`` and ``watch``."""

import json

import pytest

from mkrpc.errors import ClusterStateError, DeadlineExceededError
from mkrpc.v1 import control_pb2 as pb


def test_exec_and_kill_take_names_and_numbers(run, peer, two_instances):
    peer.will("GetCluster", two_instances)
    peer.will("ExecInstance", pb.ExecInstanceResponse(pid=78))
    peer.will("KillInstance", pb.KillInstanceResponse(exit_code=-9))
    assert "process 78" in run("exec", "db", "--address", peer.address).stdout
    assert "was ended by SIGKILL" in run("kill", "1", "--force", "--address", peer.address).stdout
    assert peer.requests[1].instance_id == 2
    assert (peer.requests[3].instance_id, peer.requests[3].force) == (1, True)


def test_exec_of_what_runs_is_refused_by_its_state(run, peer, told, two_instances):
    peer.will("GetCluster", two_instances)
    peer.will("ExecInstance", ClusterStateError("web is active", advice="kill it first"))
    result = run("exec", "web", "--address", peer.address)
    assert result.exit_code == 3
    assert told(result)[0] == "mkrpc: web is active"


def test_a_kill_that_gets_no_answer_says_what_to_do(run, peer, told, two_instances):
    peer.will("GetCluster", two_instances)
    peer.will("KillInstance", DeadlineExceededError("no answer"))
    for options, advice in (((), "mkrpc kill --force"), (("--force",), "mkrpc down")):
        result = run("kill", "web", *options, "--address", peer.address)
        assert result.exit_code == 3
        assert advice in told(result)[1]


@pytest.mark.parametrize(
    ("who", "rate", "asked", "line"),
    [
        ("db", "2000:7", (2, 2000, 7), "instance 2 (db): 2000 writes/s, burst 7: 0 passed"),
        ("clients", "30", (None, 30, 0), "clients: 30 writes/s, burst 3: 0 passed"),
        ("1", "off", (1, 0, 0), "instance 1 (web): no limit"),
    ],
)
def test_limit_sets_a_rate_and_says_what_holds_now(
    run, peer, two_instances, *, who, rate, asked, line
):
    peer.will("GetCluster", two_instances)
    writes, burst = asked[1], asked[2] or asked[1] // 10
    bucket = pb.RateLimit(writes_per_s=writes, burst=burst) if writes else None
    peer.will("SetRate", pb.SetRateResponse(rate=bucket))
    assert run("limit", who, rate, "--address", peer.address).stdout.startswith(line)
    request = peer.requests[-1]
    whose = request.instance_id if request.HasField("instance_id") else None
    assert (whose, request.writes_per_s, request.burst) == asked


@pytest.mark.parametrize("rate", ["", "x", "5:", "-5", "5/s"])
def test_limit_takes_no_rate_that_is_none(run, rate):
    result = run("limit", "clients", "--", rate)
    assert (result.exit_code, "is no rate" in result.stderr) == (2, True)


def test_watch_prints_events_and_ends_with_the_stream(run, peer):
    batch = pb.WatchResponse(missed=4, events=[pb.Event(kind="leg", number=5, fields={"to": "2"})])
    peer.will("Watch", iter([batch]), iter([batch]))
    result = run("watch", "--address", peer.address)
    assert result.stdout == "5 leg to=2\n"
    assert "missed 4 events" in result.stderr
    line = json.loads(run("watch", "--json", "--address", peer.address).stdout)
    assert line == {"number": 5, "kind": "leg", "fields": {"to": "2"}}
