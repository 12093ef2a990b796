"""The acceptance test of issue #14 of multikernel/linux: the host sends to a spawn and back, and
/proc/interrupts shows the IPI on both sides. Its programs and commands are those of the page."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mkrpc.topology import Topology

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).parent.parent.parent / "docs" / "patches.md"


def block(language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(found) == 1, language
    return found[0]


@pytest.fixture
def cluster(tmp_path, mk_cluster_factory, monkeypatch):
    (tmp_path / "pingpong.py").write_text(block("python"))
    (tmp_path / "pingpong.toml").write_text(block("toml"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    return mk_cluster_factory(Topology.load(tmp_path / "pingpong.toml"))


def wait_for(cluster, instance_id: int, text: str) -> None:
    """Asks until the line is there, or the test times out."""
    while not any(text in each.text for each in cluster.client.log(instance_id).records):
        continue


def test_the_host_sends_to_a_spawn_and_back(cluster, read_cal, assert_mirrors):
    wait_for(cluster, 1, "from 0: b'to the spawn'")
    wait_for(cluster, 0, "from 1: b'and back'")
    cluster.client.quiesce()
    assert [read_cal(cluster, number) for number in (0, 1)] == [[1], [1]]
    assert_mirrors(cluster)
    ledger = cluster.client.ledger()
    assert ledger.balanced
    assert (ledger.totals.written, ledger.totals.delivered) == (2, 2)


def test_the_commands_of_the_page_show_it(cluster, shell):
    wait_for(cluster, 0, "from 1: b'and back'")
    shown = {}
    lines = [shlex.split(line) for line in block("sh").splitlines()]
    assert lines[0][-1] == "--detach"
    assert lines[-1] == ["mkrpc", "down"]
    for words in lines[1:-1]:
        done = shell(cluster).run(*words[1:])
        assert done.returncode == 0, done.stderr
        shown[" ".join(words[1:])] = done.stdout
    assert "from 0: b'to the spawn'" in shown["dmesg 1"]
    assert "from 1: b'and back'" in shown["dmesg 0"]
    for number in (0, 1):
        rows = shown[f"interrupts {number}"].splitlines()
        assert next(row for row in rows if "CAL:" in row).split()[1] == "1"
    assert "the books balance" in shown["ledger"]


def test_the_topology_of_the_page_is_one_that_up_takes(tmp_path):
    path = tmp_path / "pingpong.toml"
    path.write_text(block("toml"))
    command = [sys.executable, "-m", "mkrpc", "topology", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
