"""The model beside one engine's own traces, scenario by scenario: ``mkrpc conform --against``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mkrpc.conformance.comparison import Comparison, compare
from mkrpc.conformance.deviations import UNEXPLAINED
from mkrpc.conformance.files import files_of
from mkrpc.conformance.judge import finding_of, judge_linux
from mkrpc.conformance.parse import read_recording
from mkrpc.conformance.report import Finding, finding_as_json
from mkrpc.conformance.runner import Progress, play_apic, play_linux
from mkrpc.conformance.sides import Side, linux_side, merged, side_as_json, sides_of

__all__ = ["AgainstReport", "against_as_json", "run_against"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainstReport:
    """One file of an engine's traces.

    ``agreeing``: scenarios without any difference, by name. ``differing``: the others, each with
    its first difference and what explains it. ``incomparable``: those of which the engine recorded
    nothing that can be compared.
    """

    file: str
    agreeing: tuple[Finding, ...]
    differing: tuple[Finding, ...]
    incomparable: tuple[Finding, ...]
    sides: tuple[Side, ...]

    @property
    def scenarios(self) -> int:
        """How many the file has."""
        return len(self.agreeing) + len(self.differing) + len(self.incomparable)

    @property
    def unexplained(self) -> int:
        """How many differ by something that no rule explains."""
        return sum(finding.deviation == UNEXPLAINED for finding in self.differing)


def run_against(
    engine: str, paths: Sequence[Path], *, on_progress: Callable[[Progress], None]
) -> list[AgainstReport]:
    """Replay every trace of ``engine`` beside or below ``paths``.

    Raises NotFoundError for an unknown engine, naming those that there are, and as
    :func:`mkrpc.conformance.runner.run`.
    """
    return [_file(engine, file, on_progress) for file in files_of(engine, paths)]


def _file(engine: str, file: Path, on_progress: Callable[[Progress], None]) -> AgainstReport:
    recording = read_recording(file)
    findings: list[Finding] = []
    incomparable: list[Finding] = []
    linux: list[Finding] = []
    comparisons: list[Comparison] = []
    for scenario, played in play_apic(file, recording.apic, on_progress):
        comparison = compare(engine, scenario, played)
        finding = finding_of(scenario, (comparison,), [])
        (findings if comparison.fields else incomparable).append(finding)
        comparisons.append(comparison)
    for test, seen in play_linux(file, recording.linux, on_progress) if recording.linux else ():
        verdict = judge_linux(test, seen)
        plain = Finding(name=test.name, line=test.line, note=test.note)
        linux.append(verdict.failed or verdict.reported or plain)
    findings += linux
    return AgainstReport(
        file=str(file),
        agreeing=tuple(finding for finding in findings if not finding.deviation),
        differing=tuple(finding for finding in findings if finding.deviation),
        incomparable=tuple(incomparable),
        sides=merged(
            [
                *(side for each in comparisons for side in sides_of([each])),
                *(linux_side(engine, each.deviation) for each in linux if each.deviation),
            ]
        ),
    )


def against_as_json(engine: str, reports: Sequence[AgainstReport]) -> dict[str, object]:
    """``{"against", "files": [{file, scenarios, agree, explained, ...}], "deviations"}``: every
    scenario is under one of ``agreeing``, ``differing`` and ``incomparable``."""
    return {
        "against": engine,
        "files": [
            {
                "file": report.file,
                "scenarios": report.scenarios,
                "agree": len(report.agreeing),
                "explained": len(report.differing) - report.unexplained,
                "unexplained": report.unexplained,
                "agreeing": [finding.name for finding in report.agreeing],
                "incomparable": [finding.name for finding in report.incomparable],
                "differing": [finding_as_json(finding) for finding in report.differing],
            }
            for report in reports
        ],
        "deviations": [side_as_json(side) for side in merged(s for r in reports for s in r.sides)],
    }
