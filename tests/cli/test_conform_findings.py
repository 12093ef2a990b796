"""``mkrpc conform``: how differences, and traces that match nothing, are told to a person."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mkrpc.cli import main

GOLDEN = Path(__file__).parent.parent / "golden"
STATE = {"tpr": 0, "isr": [], "irr": [], "svr": 0x1FF, "ldr": 1 << 24, "dfr": 0xFFFFFFFF, "if": 1}
SENT = {"delivered": [0xEA], "ppr_at_entry": [0xE0], "icr_lo": 0x40EA}


def scenario(name: str, *, agree: str | None = "all", **changes: Any) -> dict[str, Any]:
    """CPU 0 sends 0xEA to itself, as every machine does."""
    made = {
        "name": name,
        "cpus": 1,
        "mode": "flat",
        "initial": {"0": STATE},
        "steps": [{"op": "icr", "cpu": 0, "hi": 0, "lo": 0x40EA, "cpus": {"0": SENT}}],
        **changes,
    }
    return made if agree is None else made | {"agree": agree, "first_disagree_step": 0}


def odd(name: str, **delta: Any) -> dict[str, Any]:
    """The trace of an engine that does what no rule explains."""
    step = {"op": "icr", "cpu": 0, "hi": 0, "lo": 0x40EA, "cpus": {"0": SENT | delta}}
    return scenario(name, agree=None, steps=[step])


def write(path: Path, *scenarios: dict[str, Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in scenarios))
    return path


def conform(*args: object) -> Result:
    return CliRunner().invoke(main, ["conform", *map(str, args)])


def test_what_no_rule_explains_is_named_for_each_engine(tmp_path: Path) -> None:
    """A scored scenario passes whatever an engine did, so its line would say nothing of it."""
    path = write(tmp_path / "g.jsonl", scenario("a"), scenario("b"))
    write(tmp_path / "engines" / "lab-g.jsonl", scenario("a", agree=None), odd("b", tpr=0x20))
    write(tmp_path / "engines" / "kvm-g.jsonl", scenario("a", agree=None), odd("b", svr=0x10F))
    result = conform(path)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[-5:] == [
        f"unexplained {path}:2 b step 0",
        "    expected kvm: cpu 0: svr = 0x10f | actual 0x1ff | why: unexplained",
        f"unexplained {path}:2 b step 0",
        "    expected lab: cpu 0: tpr = 0x20 | actual 0x0 | why: unexplained",
        "2 of 2 scored scenarios pass",
    ]
    brief = conform("--summary", path).stdout.splitlines()
    assert brief[-2].strip() == "without --summary they are named, with --json in full"
    (file,) = json.loads(conform("--json", path).stdout)["files"]
    assert [(each["engine"], each["where"]) for each in file["unexplained"]] == [
        ("kvm", "step 0"),
        ("lab", "step 0"),
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lab.jsonl", "it is not named ENGINE-GROUP"),
        ("lab-.jsonl", "it is not named ENGINE-GROUP"),
        ("my-lab-g.jsonl", "no lab-g.jsonl lies beside the folder engines"),
        ("lab-g.jsonl", "no scenario of g has the name, ids and steps of one of its traces"),
    ],
)
def test_traces_that_match_nothing_are_named_with_the_reason(
    tmp_path: Path, name: str, reason: str
) -> None:
    path = write(tmp_path / "g.jsonl", scenario("a"))
    changed = scenario("a", agree=None, steps=[{"op": "nop", "cpu": 0, "cpus": {}}])
    trace = write(tmp_path / "engines" / name, changed)
    lines = conform(tmp_path).stdout.splitlines()
    assert lines[2:-1] == [f"{trace}: compared with nothing: {reason}"]
    beside_the_file = conform(path).stdout.splitlines()[2:-1]
    assert beside_the_file == (lines[2:-1] if name == "lab-g.jsonl" else [])


def test_the_name_of_an_engine_has_no_dash(tmp_path: Path) -> None:
    write(tmp_path / "engines" / "my-lab-g.jsonl", scenario("a", agree=None))
    write(tmp_path / "engines" / "lab.jsonl", scenario("a", agree=None))
    result = conform("--against", "my-lab", tmp_path)
    assert result.exit_code == 3
    what, advice = result.stderr.splitlines()
    assert what.endswith("no traces of an engine 'my-lab' here: the name of an engine has no dash")
    assert advice.startswith("  → not named ENGINE-GROUP: lab.jsonl; engines with traces")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("lab-g.jsonl", "compare with `--against lab`"),
        ("g.jsonl", "name the file NAME-GROUP.jsonl and compare with `--against NAME`"),
    ],
)
def test_a_lone_trace_scores_nothing_and_says_what_to_do(
    tmp_path: Path, name: str, hint: str
) -> None:
    path = write(tmp_path / name, scenario("a", agree=None))
    lines = conform(path).stdout.splitlines()
    assert lines[-2] == f"reported {path}:1 a (no `agree`): the model agrees"
    assert lines[-1] == f"0 of 0 scored scenarios pass: no line has `agree`; {hint}"


@pytest.mark.parametrize(
    "changes", [{"final": {"0": {"tpr": 0x10}}}, {"delivered_total": {"0": [0xEB]}}]
)
def test_what_differs_at_the_end_differs_in_no_step(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = write(tmp_path / "g.jsonl", scenario("a", **changes))
    assert f"FAILED {path}:1 a final state" in conform(path).stdout.splitlines()
    trace = write(tmp_path / "lab-x.jsonl", scenario("a", agree=None, **changes))
    lines = conform("--against", "lab", trace).stdout.splitlines()
    assert f"differs {trace}:1 a final state" in lines


def test_long_values_are_cut_to_where_they_differ(tmp_path: Path) -> None:
    total = list(range(0x40, 0x80))
    path = write(tmp_path / "g.jsonl", scenario("a", delivered_total={"0": total}, note="n" * 300))
    *_, difference, note, _ = conform(path).stdout.splitlines()
    assert difference.startswith("    expected cpu 0: delivered_total = [0x40, 0x41, ")
    assert difference.endswith("… | actual [0xea] | why: unexplained")
    assert len(difference) < 120
    assert len(note) < 140
    (file,) = json.loads(conform("--json", path).stdout)["files"]
    assert file["failed"][0]["expected"].endswith("0x7e, 0x7f]")
    late = [*([0xEA] * 20), 0xEB]
    steps = [scenario("x")["steps"][0]] * 21
    path = write(tmp_path / "late.jsonl", scenario("a", steps=steps, delivered_total={"0": late}))
    difference = conform(path).stdout.splitlines()[-2]
    assert difference.endswith("| actual …0xea, 0xea] | why: unexplained")
    assert "= …0xea, 0xeb] |" in difference


def test_no_line_about_the_recordings_here_is_long() -> None:
    length = max(map(len, conform(GOLDEN).stdout.splitlines()))
    assert length - len(str(GOLDEN)) < 150


def test_ctrl_c_is_told(tmp_path: Path) -> None:
    """It reads a FIFO that nobody closes, so the signal comes while it works."""
    fifo = tmp_path / "g.jsonl"
    os.mkfifo(fifo)
    command = [sys.executable, "-m", "mkrpc", "conform", str(fifo)]
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process,
        fifo.open("w"),
    ):
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert (process.returncode, told) == (130, "mkrpc: interrupted\n")
