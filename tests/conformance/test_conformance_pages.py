"""The two pages on recordings: their tables are those of a run, their examples run."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from mkrpc.conformance.against import run_against
from mkrpc.conformance.deviations import DEVIATIONS, UNEXPLAINED
from mkrpc.conformance.linux_deviations import LINUX_DEVIATIONS
from mkrpc.conformance.parse import read_recording
from mkrpc.conformance.recording import REGISTER_FIELDS, REGISTER_NAMES, Agree, Op, Verb
from mkrpc.conformance.runner import Progress, run_file

DOCS = Path(__file__).parents[2] / "docs"
CONFORMANCE = DOCS / "conformance.md"
RECORDINGS = DOCS / "recordings.md"
GOLDEN = Path(__file__).parents[1] / "golden"


def told(_progress: Progress) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def document() -> ModuleType:
    path = Path(__file__).with_name("document.py")
    spec = importlib.util.spec_from_file_location("conformance_document", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_a_run(document: ModuleType) -> None:
    page = CONFORMANCE.read_text()
    assert document.documented(page) == page, "run python tests/conformance/document.py"
    assert UNEXPLAINED not in page.partition("<!-- scores: begin -->")[2]
    assert page.count("\n### `") == 10
    names = {each.name for each in (*DEVIATIONS, *LINUX_DEVIATIONS)}
    assert {name for name in names if f"| `{name}` | " not in page} == set()
    assert max(len(line) for line in page.splitlines()) < 300


def test_other_pages_print_the_same_score() -> None:
    (score,) = re.findall(r"\d+ of \d+ scored scenarios pass", CONFORMANCE.read_text())
    for page in (DOCS / "faithfulness.md", DOCS.parent / "README.md"):
        assert score in page.read_text()


@pytest.mark.parametrize("engine", ["bochs", "kvm", "tcg", "tcg10"])
def test_every_difference_to_every_engine_has_a_rule(engine: str) -> None:
    reports = run_against(engine, [GOLDEN], on_progress=told)
    unexplained = [
        (report.file, finding.name, finding.step)
        for report in reports
        for finding in report.differing
        if finding.deviation == UNEXPLAINED
    ]
    assert unexplained == []
    assert sum(report.scenarios for report in reports) > 50


EXAMPLES = re.findall(r"^```json\n(.*?)^```$", RECORDINGS.read_text(), re.MULTILINE | re.DOTALL)


def test_the_example_on_bare_metal_runs_and_agrees(tmp_path: Path) -> None:
    path = tmp_path / "engines" / "mymachine-first.jsonl"
    path.parent.mkdir()
    example = json.loads(EXAMPLES[0])
    path.write_text(json.dumps(example) + "\n")
    (report,) = run_against("mymachine", [tmp_path], on_progress=told)
    assert [finding.name for finding in report.agreeing] == [example["name"]]
    scored = tmp_path / "scored.jsonl"
    scored.write_text(json.dumps(example | {"agree": "all"}))
    assert (run_file(scored).scored, run_file(scored).passed) == (1, 1)
    example["steps"][2]["cpus"]["1"]["delivered"] = []
    scored.write_text(json.dumps(example | {"agree": "all"}))
    assert run_file(scored).passed == 0


def test_the_example_of_a_patched_kernel_passes(tmp_path: Path) -> None:
    path = tmp_path / "linux.jsonl"
    path.write_text(json.dumps(json.loads(EXAMPLES[1])))
    assert (run_file(path).scored, run_file(path).passed) == (1, 1)


def test_every_name_of_the_format_is_on_the_page() -> None:
    page = RECORDINGS.read_text()
    words = set(re.findall(r"[a-z][\w-]*", page))
    banks = {f"{bank}{word}" for bank in ("isr", "tmr", "irr") for word in range(8)}
    assert {str(op) for op in Op} <= words
    assert {str(verb) for verb in Verb} <= words
    assert {str(agree) for agree in Agree} - {"unstated"} <= words
    assert set(REGISTER_FIELDS) <= words
    assert REGISTER_NAMES.keys() - banks <= words


def test_a_recording_needs_no_more_than_the_page_says(tmp_path: Path) -> None:
    example = json.loads(EXAMPLES[0])
    for key in ("name", "cpus", "mode", "initial", "steps"):
        assert f"| `{key}` | " in RECORDINGS.read_text()
    del example["ids"]
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(example))
    assert read_recording(path).apic[0].ids == (0, 1)
