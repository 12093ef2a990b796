"""``mkrpc compare --live``: the workload over real processes, by both ways."""

import json
import subprocess
import sys

import pytest

from mkrpc.state_dir import cluster_names

pytestmark = pytest.mark.e2e

SENDERS, MESSAGES = 2, 40


def test_every_message_of_both_ways_is_counted(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("MKRPC_STATE_DIR", str(tmp_path_factory.mktemp("s")))
    options = ["--senders", str(SENDERS), "--messages", str(MESSAGES), "--live", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "mkrpc", "compare", "link-rings", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert [each["channel"] for each in answer["channels"]] == ["link-rings"]
    assert [each["links"] for each in answer["live"]] == ["memory", "interconnect"]
    for each in answer["live"]:
        assert each["sent"] == each["received"] == SENDERS * MESSAGES
        assert each["astray"] == 0
        assert each["doorbells"] >= SENDERS * MESSAGES
        assert 0 <= each["coalesced"] < 1
        assert 0 < each["p50_us"] <= each["p99_us"] <= each["max_us"] <= 1000 * each["time_ms"]
    assert cluster_names() == []
