"""``mkrpc conform``: what it prints, the JSON keys, the exit codes (issue 2, point 5)."""

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mkrpc.cli import main

GOLDEN = Path(__file__).parent.parent / "golden" / "apic" / "xapic.jsonl.gz"


@pytest.fixture
def scenario() -> dict:
    """A recorded scenario on which all engines agree: one physical fixed IPI, vector 0xea."""
    with gzip.open(GOLDEN, "rt") as lines:
        recorded = json.loads(next(lines))
    assert recorded["agree"] == "all"
    assert recorded["steps"][0]["cpus"]["1"]["delivered"] == [0xEA]
    return recorded


def conform(*args: object):
    return CliRunner().invoke(main, ["conform", *map(str, args)])


def write(path: Path, *scenarios: dict) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in scenarios))
    return path


def test_a_scenario_that_passes_exits_0(scenario, tmp_path):
    path = write(tmp_path / "one.jsonl", scenario)
    result = conform(path)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "1 of 1 scored scenarios pass"


def test_a_wrong_expectation_exits_1_with_its_first_differing_step(scenario, tmp_path):
    wrong = json.loads(json.dumps(scenario))
    wrong["name"] = "made-wrong"
    wrong["steps"][0]["cpus"]["1"]["delivered"] = [0xEB]
    path = write(tmp_path / "two.jsonl", scenario, wrong)
    result = conform(path)
    assert result.exit_code == 1, result.output
    assert f"FAILED {path}:2 made-wrong step 0" in result.stdout
    expected, actual = result.stdout.splitlines()[-3:-1]
    assert expected.split() == ["expected", "cpu", "1:", "delivered", "=", "[0xeb]"]
    assert actual.split()[0] == "actual"
    assert "0xea" in actual
    assert result.stdout.splitlines()[-1] == "1 of 2 scored scenarios pass"


def test_json_has_the_promised_keys(scenario, tmp_path):
    wrong = json.loads(json.dumps(scenario)) | {"name": "made-wrong"}
    wrong["steps"][0]["cpus"]["1"]["delivered"] = []
    unscored = json.loads(json.dumps(wrong)) | {"name": "alone", "agree": "single-engine"}
    path = write(tmp_path / "three.jsonl", scenario, wrong, unscored)
    result = conform(path, "--json")
    assert result.exit_code == 1
    (file,) = json.loads(result.stdout)["files"]
    counts = {key: file[key] for key in ("file", "scenarios", "scored", "passed")}
    assert counts == {"file": str(path), "scenarios": 3, "scored": 2, "passed": 1}
    assert [finding["name"] for finding in file["failed"]] == ["made-wrong"]
    assert [finding["name"] for finding in file["reported"]] == ["alone"]
    assert file["failed"][0]["step"] == 0


def test_what_is_not_scored_is_shown_on_request(scenario, tmp_path):
    path = write(tmp_path / "four.jsonl", scenario | {"name": "alone", "agree": "single-engine"})
    assert "reported" not in conform(path).stdout.partition("\n")[2]
    assert f"reported {path}:1 alone" in conform(path, "--verbose").stdout


@pytest.mark.parametrize(
    ("text", "code"),
    [(None, 3), ("not json\n", 2), ('{"name": "x"}\n', 2)],
    ids=["absent", "not-json", "no-scenario"],
)
def test_what_cannot_be_read_is_told_in_two_lines(tmp_path, text, code):
    path = tmp_path / "five.jsonl"
    if text is not None:
        path.write_text(text)
    result = conform(path)
    assert result.exit_code == code
    what, advice = result.stderr.splitlines()
    assert what.startswith("mkrpc: ")
    assert str(path) in what
    assert advice.startswith("  → ")


def test_a_folder_without_recordings_is_a_usage_error(tmp_path):
    result = conform(tmp_path)
    assert result.exit_code == 2
    assert str(tmp_path) in result.stderr
