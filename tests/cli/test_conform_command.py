"""``mkrpc conform``: what it prints, the JSON keys, the exit codes (design, section 7)."""

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
    difference = result.stdout.splitlines()[-2].strip()
    assert difference == ("expected cpu 1: delivered = [0xeb] | actual [0xea] | why: unexplained")
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


def test_what_is_not_scored_is_listed_unless_a_summary_is_asked_for(scenario, tmp_path):
    differing = json.loads(json.dumps(scenario)) | {"name": "alone", "agree": "single-engine"}
    differing["steps"][0]["cpus"]["1"]["delivered"] = []
    agreeing = scenario | {"name": "alike", "agree": "single-engine"}
    path = write(tmp_path / "four.jsonl", differing, agreeing)
    whole = conform(path)
    assert whole.exit_code == 0
    disagree, side, model, first, difference, second = whole.stdout.splitlines()[2:-1]
    assert disagree == "where the implementations disagree:"
    assert side.startswith("  unexplained, scenarios: 1: ")
    assert model == "    model: no rule explains it"
    assert first == f"reported {path}:1 alone step 0 (single-engine)"
    assert difference.strip() == (
        "expected cpu 1: delivered = [] | actual [0xea] | why: unexplained"
    )
    assert second == f"reported {path}:2 alike (single-engine): the model agrees"
    brief = conform("--summary", path)
    assert brief.exit_code == 0
    assert brief.stdout.splitlines() == [
        *whole.stdout.splitlines()[:5],
        "    without --summary they are named, with --json in full",
        whole.stdout.splitlines()[-1],
    ]


def test_a_summary_leaves_no_failure_out(scenario, tmp_path):
    wrong = json.loads(json.dumps(scenario)) | {"name": "made-wrong"}
    wrong["steps"][0]["cpus"]["1"]["delivered"] = []
    path = write(tmp_path / "six.jsonl", wrong)
    result = conform("--summary", path)
    assert result.exit_code == 1
    assert f"FAILED {path}:1 made-wrong step 0" in result.stdout


def test_engines_own_traces_are_one_line_unless_named(scenario, tmp_path):
    trace = {key: value for key, value in scenario.items() if key != "agree"}
    engines = tmp_path / "engines"
    engines.mkdir()
    write(tmp_path / "seven.jsonl", scenario)
    for engine in ("kvm", "bochs"):
        write(engines / f"{engine}-seven.jsonl", trace, trace | {"name": "another"})
    _, _, beside, *partly, verdict = conform(tmp_path).stdout.splitlines()
    assert beside == (
        "2 files with 2 traces of single engines were compared with the scenarios above; "
        "`--against ENGINE` replays them."
    )
    assert partly == [
        f"{engines / name}: only 1 of 2 traces match a scenario"
        for name in ("bochs-seven.jsonl", "kvm-seven.jsonl")
    ]
    assert verdict == "1 of 1 scored scenarios pass"
    named = conform(engines / "kvm-seven.jsonl").stdout.splitlines()
    assert named[1].split()[1:] == ["2", "0", "0", "0", "2"]


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


@pytest.fixture
def disputed(scenario, tmp_path) -> Path:
    """A folder: every engine agrees but QEMU, which let a vector below 16 through."""
    illegal = json.loads(json.dumps(scenario)) | {"name": "illegal", "agree": "no"}
    illegal |= {"first_disagree_step": 0, "final": None, "delivered_total": None}
    illegal["steps"] = [{"op": "icr", "cpu": 0, "hi": 1 << 24, "lo": 5, "cpus": {"0": {}}}]
    sent = {"icr_lo": 5, "icr_hi": 1 << 24}
    engines = tmp_path / "engines"
    engines.mkdir()
    write(tmp_path / "group.jsonl", illegal)
    for engine, arrival in (("bochs", {}), ("tcg", {"delivered": ["exc5"], "isr": [5]})):
        trace = {key: value for key, value in illegal.items() if key != "agree"}
        events = arrival and arrival | {"ppr_at_entry": [0]}
        trace["steps"] = [illegal["steps"][0] | {"cpus": {"0": sent, "1": events}}]
        write(engines / f"{engine}-group.jsonl", trace)
    return tmp_path


def test_where_the_engines_disagree_both_sides_are_named(disputed):
    result = conform("--summary", disputed / "group.jsonl")
    assert result.exit_code == 0, result.output
    side, model = [line for line in result.stdout.splitlines() if line.startswith("  ")]
    assert side == (
        "  illegal-vector-delivered (R52, R44), scenarios: 1: otherwise: tcg 1; "
        "with the model: bochs"
    )
    assert model == "    model: refuses it at the sender: SDM 10.5.2 and 10.5.3"
    (entry,) = json.loads(conform("--json", disputed).stdout)["deviations"]
    assert (entry["name"], entry["apart"], entry["with_model"], entry["scenarios"]) == (
        "illegal-vector-delivered",
        {"tcg": 1},
        ["bochs"],
        1,
    )


def test_against_an_engine_that_differs_by_a_rule_exits_0(disputed):
    result = conform("--against", "tcg", disputed)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[1].split()[1:] == ["1", "0", "1", "0", "0"]
    assert lines[-2].strip() == (
        "expected cpu 1: delivered = [exc5] | actual [] | why: illegal-vector-delivered (R52, R44)"
    )
    assert lines[-1] == (
        "the model agrees with tcg in 0 scenarios and differs in 1, 0 of them unexplained"
    )
    alike = conform("--against", "bochs", disputed / "group.jsonl")
    assert alike.exit_code == 0
    assert alike.stdout.splitlines()[-1].startswith("the model agrees with bochs in 1 scenarios")


def test_against_an_engine_that_no_rule_explains_exits_1(disputed):
    path = disputed / "engines" / "tcg-group.jsonl"
    trace = json.loads(path.read_text())
    trace["steps"][0]["cpus"]["1"] = {"tpr": 0x20}
    write(path, trace)
    result = conform("--summary", "--against", "tcg", disputed)
    assert result.exit_code == 1
    assert "why: unexplained" in result.stdout
    report = json.loads(conform("--json", "--against", "tcg", disputed).stdout)
    (file,) = report["files"]
    assert (file["scenarios"], file["agree"], file["explained"], file["unexplained"]) == (
        1,
        0,
        0,
        1,
    )
    assert file["differing"][0]["deviation"] == "unexplained"


@pytest.mark.parametrize("where", ["", "group.jsonl", "engines", "engines/bochs-group.jsonl"])
def test_an_unknown_engine_is_an_error_that_lists_those_there_are(disputed, where):
    result = conform("--against", "xen", disputed / where)
    assert result.exit_code == 3
    what, advice = result.stderr.splitlines()
    assert "'xen'" in what
    assert "bochs" in advice
    assert ("tcg" in advice) is (where != "engines/bochs-group.jsonl")
