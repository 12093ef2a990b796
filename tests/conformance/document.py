"""Writes the tables of docs/conformance.md from a run over tests/golden.

``python tests/conformance/document.py [OUTPUT]``; a test runs it and compares.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mkrpc.conformance.report import FileReport
from mkrpc.conformance.runner import run
from mkrpc.conformance.sides import Side, merged, unseen

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
PAGE = ROOT / "docs" / "conformance.md"


def documented(page: str) -> str:
    """The page with fresh tables between its markers."""
    reports = [report for report in run([GOLDEN]) if not report.note]
    sides = merged(side for report in reports for side in report.sides)
    for name, lines in (
        ("scores", _scores(reports)),
        ("deviations", _deviations(sides)),
        ("unseen", _unseen(sides)),
        ("reported", _reported(reports)),
    ):
        head, begin, rest = page.partition(f"<!-- {name}: begin -->\n")
        _, end, tail = rest.partition(f"<!-- {name}: end -->\n")
        assert begin, f"no marker for {name}"
        assert end, f"no end marker for {name}"
        page = "".join([head, begin, "\n", *(f"{line}\n" for line in lines), "\n", end, tail])
    return page


def _name(report: FileReport) -> str:
    return str(Path(report.file).relative_to(GOLDEN)).removesuffix(".jsonl.gz")


def _row(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _scores(reports: Sequence[FileReport]) -> Iterator[str]:
    yield _row("file", "scenarios", "scored", "passed", "reported")
    yield "|---|---|---|---|---|"
    for r in reports:
        yield _row(f"`{_name(r)}`", r.scenarios, r.scored, r.passed, len(r.reported))
    scored, passed = sum(r.scored for r in reports), sum(r.passed for r in reports)
    yield ""
    yield f"{passed} of {scored} scored scenarios pass."


def _deviations(sides: Iterable[Side]) -> Iterator[str]:
    head = ("deviation", "rules", "who", "what they do", "with the model", "what the model does")
    yield _row(*head, "scenarios")
    yield "|---|---|---|---|---|---|---|"
    for side in sides:
        who = ", ".join(f"{engine} {count}" for engine, count in side.apart.items())
        along = ", ".join(side.with_model) or "nobody"
        rules = ", ".join(side.rules) or "none"
        yield _row(f"`{side.name}`", rules, who, side.engine, along, side.model, side.scenarios)


def _unseen(sides: Iterable[Side]) -> Iterator[str]:
    yield _row("deviation", "rules", "what an engine may do", "what the model does")
    yield "|---|---|---|---|"
    for side in unseen(sides):
        yield _row(f"`{side.name}`", ", ".join(side.rules) or "none", side.engine, side.model)


def _reported(reports: Sequence[FileReport]) -> Iterator[str]:
    for report in reports:
        if not report.reported:
            continue
        yield from ("", f"### `{_name(report)}`", "")
        yield _row("line", "scenario", "step", "deviation", "rules", "agrees to the end")
        yield "|---|---|---|---|---|---|"
        for each in report.reported:
            name = f"`{each.deviation}`" if each.deviation else "none"
            passing = " in passing" if each.deviation and not each.parts_from else ""
            step = each.where.removeprefix("step ")
            rules = ", ".join(each.rules)
            agreeing = ", ".join(each.agrees_with) or "nobody"
            yield _row(each.line, f"`{each.name}`", step, f"{name}{passing}", rules, agreeing)


def main() -> None:
    """Write the page to the file named on the command line, docs/conformance.md by default."""
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    output.write_text(documented(PAGE.read_text()))


if __name__ == "__main__":
    main()
