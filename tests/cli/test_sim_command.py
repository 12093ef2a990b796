"""``mkrpc sim``: what it prints, the JSON keys, the exit codes (design, section 7)."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from compiled_model import skip_if_compiled

from mkrpc.cli import main
from mkrpc.interconnect.mirror import MirrorRow


def sim(*args: object) -> Result:
    return CliRunner().invoke(main, ["sim", *map(str, args)])


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose mirror never changes."""
    skip_if_compiled(MirrorRow)
    monkeypatch.setattr(MirrorRow, "apply", lambda row, account: None)


def test_seeds_that_break_no_law_exit_0() -> None:
    result = sim("--seeds", 12, "--first-seed", 5, "--jobs", 1)
    assert result.exit_code == 0, result.output
    last = result.stdout.splitlines()[-1]
    assert last.startswith("12 seeds in ")
    assert last.endswith("; 0 of them break a law")
    assert "seeds/s" in last
    assert "events/s" in last


def test_ctrl_c_is_answered_by_one_process_alone() -> None:
    """It comes to every process of the group, and to those that have hardly begun too."""
    # Who runs the tests in the background has switched SIGINT off.
    script = """
import signal
from mkrpc.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main(["sim", "--seeds", "1000000", "--jobs", "2"])
"""
    running = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    while running.poll() is None and len(children.read_text().split()) < 2:
        pass
    os.killpg(running.pid, signal.SIGINT)
    shown = running.communicate(timeout=60)[0]
    assert running.returncode == 130, shown
    assert "Traceback" not in shown


def test_several_processes_run_the_same_seeds_as_one() -> None:
    counts = []
    for jobs in (1, 2):
        result = sim("--seeds", 20, "--jobs", jobs, "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        del found["seconds"]
        counts.append(found)
    assert counts[0] == counts[1]
    assert {key: counts[0][key] for key in ("seeds", "first_seed", "violations")} == {
        "seeds": 20,
        "first_seed": 1,
        "violations": [],
    }
    assert counts[0]["events"] > 0


def test_a_reader_that_goes_away_breaks_no_law() -> None:
    command = [sys.executable, "-m", "mkrpc", "sim", "--seed", "3", "--steps"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


def test_one_seed_prints_its_steps_and_its_digest() -> None:
    first, second = sim("--seed", 3, "--steps"), sim("--seed", 3, "--steps")
    assert first.exit_code == 0, first.output
    assert first.stdout == second.stdout
    lines = first.stdout.splitlines()
    assert lines[-2].startswith("digest ")
    assert lines[-1].endswith(" breaks no law")
    assert any(line.endswith(" up hello") for line in lines)
    assert len(lines) > 100


def test_one_seed_as_json_has_the_promised_keys() -> None:
    found = json.loads(sim("--seed", 3, "--json", "--steps").stdout)
    assert found.keys() == {
        *("seed", "violation", "at_us", "events", "frames", "legs"),
        *("faults", "outcomes", "digest", "moving", "calls", "steps"),
    }
    assert found["violation"] == ""


@pytest.mark.usefixtures("broken")
def test_a_broken_law_exits_1_with_the_command_that_replays_it() -> None:
    result = sim("--seeds", 3, "--jobs", 1)
    assert result.exit_code == 1
    replay = next(line for line in result.stdout.splitlines() if line.startswith("  replay: "))
    words = replay.split()[1:]
    assert words[:4] == ["mkrpc", "sim", "--seed", "1"]
    again = sim(*words[2:], "--no-shrink")
    assert again.exit_code == 1
    assert "seed 1 at " in again.stdout


@pytest.mark.usefixtures("broken")
def test_the_command_that_replays_it_has_what_the_run_had() -> None:
    result = sim("--seed", 1, "--calls", "--move-cpus", "--no-shrink")
    assert result.exit_code == 1
    assert "  replay: mkrpc sim --seed 1 --move-cpus --calls --steps" in result.stdout.splitlines()


def test_calls_are_for_runs_without_a_scenario() -> None:
    result = sim("all", "--calls")
    assert result.exit_code == 2
    assert "--calls is for runs without a scenario" in result.stderr


@pytest.mark.usefixtures("broken")
def test_a_broken_law_as_json() -> None:
    result = sim("--seed", 1, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["violation"]
    assert found["replay"] == f"mkrpc sim --seed 1 --without {found['without']} --steps"
    assert len(found["left"]) <= 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("--seed", 1, "--seeds", 2),
        ("--without", "f1"),
        ("--steps",),
        ("--seed", 1, "--without", "nonsense"),
        ("--seeds", 0),
        ("--jobs", 0),
    ],
)
def test_wrong_usage_exits_2(arguments: tuple[object, ...]) -> None:
    result = sim(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("mkrpc: ")
