"""What a run over recordings has to say, file by file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mkrpc.conformance.sides import Side, side_as_json

__all__ = [
    "AFTER_SCRIPT",
    "FINAL_STATE",
    "FileReport",
    "Finding",
    "finding_as_json",
    "place",
    "report_as_json",
]

FINAL_STATE = "final state"
"""In place of a step: where the state after the last one, or a total, differs."""
AFTER_SCRIPT = "after the script"
"""In place of a step: where the counts of a test of a patched kernel differ."""


def place(step: int, steps: int) -> str:
    """``step 3`` of a script with that many ``steps``, whose last one is ``steps - 1``."""
    if step < 0:
        return "initial state"
    return f"step {step}" if step < steps else FINAL_STATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A scenario that failed, or that is reported without being scored, with its first difference.

    ``step``: index of the differing step; -1 is the state before the first one, the number of
    steps the state after the last one; None where nothing differs. ``where`` has it in words.
    ``expected`` and ``actual`` are empty where nothing differs; ``engine``: whose value the first
    is, if it is one engine's. ``status``: why nothing is scored here, in short. ``deviation``: the
    name of what explains the difference, ``unexplained`` if nothing does, empty where nothing
    differs; ``rules``: its numbers in docs/rules.md. ``agrees_with``: the engines that the model
    agrees with to the end, but for what passes; ``parts_from``: the others.
    """

    name: str
    line: int
    step: int | None = None
    where: str = ""
    engine: str = ""
    status: str = ""
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
    ``unexplained``: where an engine departs by what no rule explains, once for each engine.
    ``own``: no line says how far engines agree, so it is one engine's. ``compared``: by file of
    engines' own traces, how many of them were compared with scenarios of this one; ``matched``: how
    many of its own scenarios were, if it is such a file itself.
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
    unexplained: tuple[Finding, ...] = ()
    own: bool = False
    compared: Mapping[str, int] = field(default_factory=dict)
    matched: int = 0

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
                "unexplained": [finding_as_json(finding) for finding in report.unexplained],
                "compared": dict(report.compared),
                "matched": report.matched,
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
        "where": finding.where,
        "engine": finding.engine,
        "status": finding.status,
        "expected": finding.expected,
        "actual": finding.actual,
        "note": finding.note,
        "deviation": finding.deviation,
        "rules": list(finding.rules),
        "agrees_with": list(finding.agrees_with),
        "parts_from": list(finding.parts_from),
    }
