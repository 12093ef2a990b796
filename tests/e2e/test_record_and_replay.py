"""A recorded cluster of real processes, replayed in one thread to the same books."""

import json
import os
import select
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import recorded_programs

from mkrpc.client import apic
from mkrpc.fault import Fault, FaultKind
from mkrpc.instance.cpu import Cpu
from mkrpc.journal.recorder import Recording
from mkrpc.outcome import Outcome
from mkrpc.replay.run import Replay, replay
from mkrpc.topology import Topology

pytestmark = pytest.mark.e2e

PROGRAMS = Path(recorded_programs.__file__).parent


@pytest.fixture
def topology(monkeypatch: pytest.MonkeyPatch) -> Topology:
    """Two instances that ring each other, by programs and handlers that a topology names."""
    paths = [str(PROGRAMS), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    return Topology.from_dict(
        {
            "instances": [
                {
                    "id": number,
                    "cpus": [number, 10 + number],
                    "handlers": ["recorded_programs:take_note"],
                    "programs": [{"cpu": 0, "entry": "recorded_programs:ring_the_other"}],
                }
                for number in (0, 1)
            ]
        }
    )


def told(done: Replay) -> str:
    return "\n".join(f"{life.name}: {life.verdict} {life.difference}" for life in done.lives)


def test_a_cluster_under_load_replays_over_a_kill_and_reconnects(
    mk_cluster_factory, topology, tmp_path, assert_mirrors, monkeypatch
):
    folder = tmp_path / "recording"
    cluster = mk_cluster_factory(topology, recording=Recording(folder))
    client = cluster.client
    flapping = client.set_fault(Fault(kind=FaultKind.FLAP, instance=0, period_us=50_000))
    cuts = 0
    while cuts < 3:
        client.inject(to=apic(0), count=100)
        client.write_icr(0, to=apic(11), vector=0x41, count=100)
        (cut,) = client.faults()
        cuts = cut.struck
    client.clear_faults([flapping.number])
    client.kill_instance(1, force=True, signal=True)
    client.exec_instance(1)
    client.inject(to=apic(1), count=500)
    client.inject(to=apic(99))
    assert_mirrors(cluster)
    totals = client.ledger().totals
    cluster.stop()

    done = replay(folder)
    assert done.identical, told(done)
    names = [life.name for life in done.lives]
    assert names[0] == "interconnect.1"
    assert sorted(names[1:]) == ["mk0.1", "mk1.1", "mk1.2"]
    lives = {life.name: life for life in done.lives}
    assert ", killed" in lives["mk1.1"].verdict
    bus = lives["interconnect.1"].bus
    assert asdict(bus.totals()) == asdict(totals)
    assert lives["interconnect.1"].journal.end is not None
    assert lives["mk0.1"].attachment.generation > 1, "its link was cut"

    arrived = []
    plain = Cpu.arrive

    def changed(cpu: Cpu, icr: object) -> Outcome:
        arrived.append(icr)
        outcome = plain(cpu, icr)
        return Outcome.REJECTED_BLOCKED if len(arrived) == 100 else outcome

    monkeypatch.setattr(Cpu, "arrive", changed)
    different = [life for life in replay(folder).lives if life.difference is not None]
    assert len(different) == 1
    assert "REJECTED_BLOCKED" in different[0].difference.detail


def test_an_interconnect_that_took_over_replays_too(
    mk_cluster_factory, topology, tmp_path, assert_mirrors
):
    folder = tmp_path / "recording"
    cluster = mk_cluster_factory(topology, recording=Recording(folder))
    client = cluster.client
    client.inject(to=apic(1), count=100)
    first = client.cluster()
    os.kill(first.interconnect_pid, signal.SIGKILL)
    client.inject(to=apic(0), count=300)
    client.write_icr(0, to=apic(11), vector=0x41, count=300)
    assert_mirrors(cluster)
    totals = client.ledger().totals
    assert client.cluster().epoch != first.epoch
    cluster.stop()

    done = replay(folder)
    assert done.identical, told(done)
    lives = {life.name: life for life in done.lives}
    assert sorted(lives) == ["interconnect.1", "interconnect.2", "mk0.1", "mk1.1"]
    assert ", killed" in lives["interconnect.1"].verdict
    assert lives["interconnect.2"].bus.takeover is not None
    assert asdict(lives["interconnect.2"].bus.totals()) == asdict(totals)


def test_the_commands_record_and_replay(tmp_path, monkeypatch, mk_cluster_factory):
    """As a person does it, with a handler in one instance that never returns.

    ``mk_cluster_factory`` gives a state directory.
    """
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(PROGRAMS), os.environ.get("PYTHONPATH", "")])
    )
    os.mkfifo(tmp_path / "hung")
    monkeypatch.setenv("HUNG", str(tmp_path / "hung"))
    hung = os.open(tmp_path / "hung", os.O_RDONLY | os.O_NONBLOCK)
    file = tmp_path / "hang.toml"
    file.write_text(
        "[[instances]]\nid = 0\ncpus = [0]\n[[instances]]\nid = 1\ncpus = [1]\n"
        'handlers = ["recorded_programs:hang"]\n'
    )

    def mkrpc(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mkrpc", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    folder = tmp_path / "recording"
    done = mkrpc("up", "--detach", "--topology", file, "--record", folder)
    assert done.returncode == 0, done.stderr
    try:
        assert mkrpc("ipi", "--to", "0").returncode == 0
        ringing = subprocess.Popen(
            [sys.executable, "-m", "mkrpc", "ipi", "--to", "1"], stdout=subprocess.DEVNULL
        )
        poll = select.poll()
        poll.register(hung, select.POLLIN)
        began = poll.poll(60_000)
        ringing.kill()
        ringing.wait()
        assert began, "the handler has not been called"
        assert mkrpc("kill", "--force", "1").returncode == 0
    finally:
        os.close(hung)
        mkrpc("down")
    found = mkrpc("replay", folder, "--json")
    assert found.returncode == 0, found.stdout + found.stderr
    lives = {life["name"]: life for life in json.loads(found.stdout)["lives"]}
    assert "its last step, receive, not known to have returned" in lives["mk1.1"]["verdict"]
    assert lives["interconnect.1"]["ended_by_itself"]
    assert "not empty" in mkrpc("up", "--record", folder, "--detach").stderr
