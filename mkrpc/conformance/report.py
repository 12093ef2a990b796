"""What a run over recordings has to say, file by file."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["FileReport", "Finding", "report_as_json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A scenario that failed, or that is reported without being scored, with its first difference.

    ``step``: index of the differing step; -1 is the state before the first one, the number of
    steps the state after the last one; None where nothing differs. ``expected`` and ``actual`` are
    empty then.
    """

    name: str
    line: int
    step: int | None = None
    expected: str = ""
    actual: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """One file. ``passed`` of ``scored`` of ``scenarios``; ``scored - passed`` are in ``failed``.

    ``reported`` holds what is not scored: whole scenarios, the rest of those on which the engines
    disagree, and the unscored fields of others. Nothing is left out of both in silence. ``note``
    says why a file as a whole was not replayed.
    """

    file: str
    scenarios: int
    scored: int
    passed: int
    reported: tuple[Finding, ...] = ()
    failed: tuple[Finding, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        assert self.scored - self.passed == len(self.failed), self.file
        assert self.scored <= self.scenarios, self.file


def report_as_json(reports: Sequence[FileReport]) -> dict[str, object]:
    """The form that scripts read: ``{"files": [{file, scenarios, scored, passed, ...}]}``."""
    return {
        "files": [
            {
                "file": report.file,
                "scenarios": report.scenarios,
                "scored": report.scored,
                "passed": report.passed,
                "reported": [_finding_as_json(finding) for finding in report.reported],
                "failed": [_finding_as_json(finding) for finding in report.failed],
                "note": report.note,
            }
            for report in reports
        ]
    }


def _finding_as_json(finding: Finding) -> dict[str, object]:
    return {
        "name": finding.name,
        "line": finding.line,
        "step": finding.step,
        "expected": finding.expected,
        "actual": finding.actual,
        "note": finding.note,
    }
