"""The model against the recordings: every scored scenario, in every run.

What is scored, and how, is the README's law; these tests only say that nothing scored fails, how
many there are, and that those that are not scored are all reported.
"""

import gzip
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mkrpc.conformance.apic_guest import Layout, play
from mkrpc.conformance.parse import read_recording
from mkrpc.conformance.report import FileReport
from mkrpc.conformance.runner import run, run_file

GOLDEN = Path(__file__).parents[1] / "golden"
APIC = ("xapic", "xapic-8cpu", "x2apic", "x2apic-8cpu")
SCORED = {
    "apic/xapic": 284,
    "apic/xapic-8cpu": 95,
    "apic/x2apic": 206,
    "apic/x2apic-8cpu": 82,
    "apic/tcg10-x2apic-sparse": 0,
    "linux/smp1-plain": 5,
    "linux/smp2-plain": 8,
    "linux/smp4-plain": 56,
    "linux/smp4-caller": 56,
    "linux/smp4-x2apic-cluster-plain": 60,
    "linux/smp4-x2apic-phys-caller": 60,
    "linux/smp8-caller": 56,
}
"""667 on bare metal, 301 in the patched kernel."""


def path_of(name: str) -> Path:
    return GOLDEN / f"{name}.jsonl.gz"


@cache
def report_of(name: str) -> FileReport:
    return run_file(path_of(name))


def raw_lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.open(path_of(name), "rt")]


@pytest.mark.parametrize("name", SCORED)
def test_every_scored_scenario_passes(name: str) -> None:
    report = report_of(name)
    shown = [f"{f.name} step {f.step}: {f.expected}, model {f.actual}" for f in report.failed]
    assert shown == []
    assert (report.scored, report.passed) == (SCORED[name], SCORED[name])


@pytest.mark.parametrize("name", SCORED)
def test_nothing_is_skipped_in_silence(name: str) -> None:
    """What does not count whole is reported: other kinds of line, and the rest of a dispute."""
    report = report_of(name)
    lines = raw_lines(name)
    assert report.scenarios == len(lines)
    if name.startswith("linux"):
        unscored = {line["name"] for line in lines if line["expected"] is None}
    else:
        unscored = {ln["name"] for ln in lines if ln.get("agree") not in ("all", "delivery")}
    assert {finding.name for finding in report.reported} == unscored


@pytest.mark.parametrize("name", [name for name in SCORED if name.startswith("linux")])
def test_what_linux_peeked_at_and_printed_is_the_same_to_the_letter(name: str) -> None:
    """IRR, ISR and PPR of CPUs that spin, and "No irq handler for 1.233": beside the score, so a
    difference would be a report about a scored test."""
    beside = [finding for finding in report_of(name).reported if "beside" in finding.note]
    assert beside == []


@pytest.mark.parametrize("name", APIC)
def test_the_layout_of_kernels_does_not_matter(name: str) -> None:
    """A machine of one kernel and a multikernel with a kernel per CPU behave alike (design 3.5:
    bare metal has no filter), also where the recordings disagree."""
    for scenario in read_recording(path_of(f"apic/{name}")).apic[::4]:
        one = play(scenario, layout=Layout.ONE_KERNEL)
        many = play(scenario, layout=Layout.KERNEL_PER_CPU)
        assert one == many, scenario.name


def delivered_by_step(steps: Any) -> list[list[Any]]:
    """Every vector that some CPU's handler saw, by step, whoever it was."""
    return [
        sorted(str(vector) for state in cpus for vector in state.get("delivered", ()))
        for cpus in steps
    ]


@pytest.mark.rule("R32")
@pytest.mark.parametrize("name", APIC)
def test_lowest_priority_picks_exactly_one(name: str) -> None:
    """Which CPU wins differs among the engines; how many handlers run does not (note of the
    lines). ENGINE-GROUP of QEMU 10, which never drops one."""
    engine = read_recording(path_of(f"apic/engines/tcg10-{name}")).apic
    traces = {trace.name: trace for trace in engine}
    chosen = [
        s for s in read_recording(path_of(f"apic/{name}")).apic if s.agree == "nondeterministic"
    ]
    assert chosen
    for scenario in chosen:
        recorded = delivered_by_step(step.cpus.values() for step in traces[scenario.name].steps)
        assert delivered_by_step(step.cpus for step in play(scenario).steps) == recorded


DISTURBANCES: dict[str, Callable[[dict[str, Any]], None]] = {
    "a vector that nobody sent": lambda line: (
        line["steps"][-1]["cpus"].setdefault("0", {}).update(delivered=[0x99], ppr_at_entry=[0x90])
    ),
    "a pending vector": lambda line: (
        line["steps"][-1]["cpus"].setdefault("0", {}).update(irr=[0x99])
    ),
    "another final state": lambda line: line["final"]["0"].update(tpr=0x77),
    "another total": lambda line: line["delivered_total"].update({"0": [1]}),
    "a fault": lambda line: line["steps"][-1].update(gp=True),
}


@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_a_disturbed_recording_fails(tmp_path: Path, disturbance: str) -> None:
    """A scorer that cannot fail would pass all of the above."""
    lines = [line for line in raw_lines("apic/xapic") if line["agree"] == "all"][::10]
    for line in lines:
        DISTURBANCES[disturbance](line)
    path = tmp_path / "disturbed.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    report = run_file(path)
    assert [finding.name for finding in report.failed] == [line["name"] for line in lines]


def test_a_disturbed_linux_recording_fails(tmp_path: Path) -> None:
    lines = raw_lines("linux/smp4-plain")
    for line in lines:
        line["cal"] = [count + 1 for count in line["cal"]]
    path = tmp_path / "disturbed.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    report = run_file(path)
    assert report.scored == len(report.failed) + report.passed
    assert report.passed == sum(
        line["expected"] is not None and not line["clean"] for line in lines
    )


def test_a_folder_of_recordings_runs_whole() -> None:
    reports = run([GOLDEN / "linux"])
    assert [sum(report.scored for report in reports), len(reports)] == [301, 7]
    assert not any(report.note or report.failed for report in reports)
