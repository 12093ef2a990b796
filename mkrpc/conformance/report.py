"""What a run over recordings has to say, file by file."""

from collections.abc import Sequence
from dataclasses import dataclass

from mkrpc.conformance.sides import Side, side_as_json

__all__ = ["FileReport", "Finding", "finding_as_json", "report_as_json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A scenario that failed, or that is reported without being scored, with its first difference.

    ``step``: index of the differing step; -1 is the state before the first one, the number of
    steps the state after the last one; None where nothing differs. ``expected`` and ``actual`` are
    empty then. ``deviation``: the name of what explains the difference, ``unexplained`` if nothing
    does, empty where nothing differs; ``rules``: its numbers in docs/rules.md. ``agrees_with``: the
    engines that the model agrees with to the end, but for what passes; ``parts_from``: the others.
    """

    name: str
    line: int
    step: int | None = None
    expected: str = ""
    actual: str = ""
    note: str = ""
    deviation: str = ""
    rules: tuple[str, ...] = ()
    agrees_with: tuple[str, ...] = ()
    parts_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """One file. ``passed`` of ``scored`` of ``scenarios``; ``scored - passed`` are in ``failed``.

    ``reported`` holds what is not scored: whole scenarios, the rest of those on which the engines
    disagree, and the unscored fields of others. Nothing is left out of both in silence. ``note``
    says why a file as a whole was not replayed; ``ignored`` names fields of CPUs that it holds and
    that nobody here can compare. ``sides``: who departs from the model in its scenarios.
    """

    file: str
    scenarios: int
    scored: int
    passed: int
    reported: tuple[Finding, ...] = ()
    failed: tuple[Finding, ...] = ()
    note: str = ""
    ignored: tuple[str, ...] = ()
    sides: tuple[Side, ...] = ()

    def __post_init__(self) -> None:
        assert self.scored - self.passed == len(self.failed), self.file
        assert self.scored <= self.scenarios, self.file


def report_as_json(reports: Sequence[FileReport], sides: Sequence[Side] = ()) -> dict[str, object]:
    """The form that scripts read: ``{"files": [{file, scenarios, scored, passed, ...}],
    "deviations": [{name, rules, ...}]}``; ``sides`` are those of all files together."""
    return {
        "files": [
            {
                "file": report.file,
                "scenarios": report.scenarios,
                "scored": report.scored,
                "passed": report.passed,
                "reported": [finding_as_json(finding) for finding in report.reported],
                "failed": [finding_as_json(finding) for finding in report.failed],
                "note": report.note,
                "ignored": list(report.ignored),
            }
            for report in reports
        ],
        "deviations": [side_as_json(side) for side in sides],
    }


def finding_as_json(finding: Finding) -> dict[str, object]:
    """One finding, by the names of its fields."""
    return {
        "name": finding.name,
        "line": finding.line,
        "step": finding.step,
        "expected": finding.expected,
        "actual": finding.actual,
        "note": finding.note,
        "deviation": finding.deviation,
        "rules": list(finding.rules),
        "agrees_with": list(finding.agrees_with),
        "parts_from": list(finding.parts_from),
    }
