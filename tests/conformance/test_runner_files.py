"""Which files a run replays, and what a report looks like from outside."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from mkrpc.conformance.files import files_of
from mkrpc.conformance.runner import Progress, report_as_json, run
from mkrpc.errors import InvalidArgumentError, NotFoundError

STATE = {"tpr": 0, "isr": [], "irr": [], "svr": 0x1FF, "ldr": 1 << 24, "dfr": 0xFFFFFFFF, "if": 1}
SEND = {"op": "icr", "cpu": 0, "hi": 0, "lo": 0x40EA, "cpus": {"0": {}}}


def line(name: str, *, agree: str | None = "all", vector: int = 0xEA) -> dict[str, Any]:
    """CPU 0 sends 0xEA to itself; the recording says which vector its handler saw."""
    step = {
        **SEND,
        "cpus": {"0": {"delivered": [vector], "ppr_at_entry": [0xE0], "icr_lo": 0x40EA}},
    }
    made = {
        "name": name,
        "cpus": 1,
        "mode": "flat",
        "ids": [0],
        "initial": {"0": STATE},
        "steps": [step],
    }
    return made if agree is None else {**made, "agree": agree, "first_disagree_step": 0}


def write(path: Path, *lines: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(json.dumps(each) for each in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_a_report_counts_and_names_what_failed(tmp_path: Path) -> None:
    path = write(
        tmp_path / "g.jsonl",
        line("right"),
        line("wrong", vector=0x41),
        line("alone", agree="single-engine"),
    )
    (report,) = run([path])
    assert (report.scenarios, report.scored, report.passed) == (3, 2, 1)
    (failed,) = report.failed
    assert (failed.name, failed.line, failed.step) == ("wrong", 2, 0)
    assert (failed.expected, failed.actual) == (
        "cpu 0: delivered = [0x41]",
        "cpu 0: delivered = [0xea]",
    )
    assert [finding.name for finding in report.reported] == ["alone"]


def test_the_json_form_has_the_promised_keys(tmp_path: Path) -> None:
    path = write(tmp_path / "g.jsonl", line("wrong", vector=0x41), line("x", agree="all-deviates"))
    made = report_as_json(run([path]))
    assert json.loads(json.dumps(made)) == made
    files = made["files"]
    assert isinstance(files, list)
    (file,) = files
    assert set(file) >= {"file", "scenarios", "scored", "passed", "reported", "failed"}
    assert file["file"] == str(path)
    assert file["failed"][0]["name"] == "wrong"
    assert file["failed"][0]["step"] == 0
    assert set(file["failed"][0]) >= {"name", "line", "step", "expected", "actual", "note"}
    assert (file["failed"][0]["deviation"], file["failed"][0]["rules"]) == ("unexplained", [])
    assert made["deviations"] == []


def test_folders_are_searched_and_engines_listed_as_companions(tmp_path: Path) -> None:
    write(tmp_path / "apic" / "g.jsonl", line("a"), line("b", agree="no"))
    write(tmp_path / "apic" / "engines" / "bochs-g.jsonl.gz", line("b", agree=None))
    write(tmp_path / "apic" / "engines" / "tcg-g.jsonl", line("b", agree=None, vector=0x41))
    write(tmp_path / "apic" / "engines" / "tcg-other-g.jsonl", line("b", agree=None))
    (tmp_path / "notes.txt").write_text("no recording")
    main, *companions = run([tmp_path])
    assert main.file == str(tmp_path / "apic" / "g.jsonl")
    assert [Path(c.file).name for c in companions] == [
        "bochs-g.jsonl.gz",
        "tcg-g.jsonl",
        "tcg-other-g.jsonl",
    ]
    assert all((c.scenarios, c.scored) == (1, 0) and "engine" in c.note for c in companions)
    (dispute,) = main.reported
    assert "agrees to the end with bochs" in dispute.note
    assert "tcg parts at step 0" in dispute.note
    assert "other" not in dispute.note


def test_an_engine_that_ran_another_script_is_not_laid_beside(tmp_path: Path) -> None:
    path = write(tmp_path / "g.jsonl", line("b", agree="no"))
    other = line("b", agree=None)
    other["steps"] = [{**SEND, "lo": 0x4041}]
    write(tmp_path / "engines" / "tcg-g.jsonl", other)
    (report,) = run([path])
    assert "no engine's own trace" in report.reported[0].note


@pytest.mark.parametrize("named", ["engines", "engines/bochs-g.jsonl"])
def test_an_engines_trace_that_is_named_is_replayed_and_reported(
    tmp_path: Path, named: str
) -> None:
    write(tmp_path / "engines" / "bochs-g.jsonl", line("b", agree=None, vector=0x41))
    (report,) = run([tmp_path / named])
    assert (report.scenarios, report.scored, report.note) == (1, 0, "")
    assert report.reported[0].step == 0


def test_a_path_named_twice_is_replayed_once(tmp_path: Path) -> None:
    path = write(tmp_path / "g.jsonl", line("a"))
    assert len(run([path, tmp_path, path])) == 1


def test_progress_is_told_scenario_by_scenario(tmp_path: Path) -> None:
    path = write(tmp_path / "g.jsonl", line("a"), line("b"))
    told: list[Progress] = []
    run([path], on_progress=told.append)
    assert told == [Progress(path, 1, 2), Progress(path, 2, 2)]


def test_what_cannot_be_found_is_an_error_of_the_operator(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        run([tmp_path / "absent"])
    with pytest.raises(InvalidArgumentError, match="no recordings in this folder"):
        run([tmp_path])


def test_a_script_that_uses_an_offline_cpu_is_an_error_of_the_operator(tmp_path: Path) -> None:
    test = {
        "name": "cpu3-offline-hold-3",
        "sender": 0,
        "script": ["hold 3"],
        "cal": [0, 0, 0, 0],
        "printk": 0,
        "expected": None,
        "clean": True,
        "apic": "apic=physical flat",
    }
    path = write(tmp_path / "x.jsonl", test)
    with pytest.raises(InvalidArgumentError, match=r"x\.jsonl:1: cpu3-offline-hold-3: CPU 3"):
        run([path])


def test_fields_that_nobody_knows_are_named_and_hide_nothing(tmp_path: Path) -> None:
    odd = line("odd")
    odd["steps"][0]["cpus"]["0"]["rip"] = 7
    (report,) = run([write(tmp_path / "g.jsonl", odd)])
    assert (report.scored, report.passed, report.ignored) == (1, 1, ("rip",))


def test_a_folder_of_engines_may_hold_machines_of_ones_own(tmp_path: Path) -> None:
    path = write(tmp_path / "g.jsonl", line("b"))
    write(tmp_path / "engines" / "mymachine-g.jsonl", line("b", agree=None))
    write(tmp_path / "engines" / "two-words-g.jsonl", line("b", agree=None, vector=0x41))
    (report,) = run([path])
    assert (report.passed, report.sides) == (1, ())
    assert [file.name for file in files_of("mymachine", [tmp_path])] == ["mymachine-g.jsonl"]
    with pytest.raises(NotFoundError) as caught:
        files_of("yours", [path])
    assert caught.value.advice.endswith(": mymachine")
