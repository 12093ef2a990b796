"""Writes the tables of docs/conformance.md from a run over tests/golden.

``python tests/conformance/document.py [OUTPUT]``; a test runs it and compares.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mkrpc.conformance.report import FileReport, Finding
from mkrpc.conformance.runner import run
from mkrpc.conformance.sides import Side, merged

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


def _reported(reports: Sequence[FileReport]) -> Iterator[str]:
    for report in reports:
        if not report.reported:
            continue
        yield from ("", f"### `{_name(report)}`", "")
        parting = [each for each in report.reported if each.deviation and each.parts_from]
        if parting:
            yield _row("line", "scenario", "step", "deviation", "rules", "agrees to the end")
            yield "|---|---|---|---|---|---|"
        for each in parting:
            rules = ", ".join(each.rules) or "none"
            cells = (each.line, f"`{each.name}`", each.step, f"`{each.deviation}`", rules)
            yield _row(*cells, ", ".join(each.agrees_with) or "nobody")
        yield from _rest([each for each in report.reported if each not in parting])


def _rest(findings: Sequence[Finding]) -> Iterator[str]:
    """Those that part from nobody, in a paragraph for each deviation that merely passes."""
    for deviation in dict.fromkeys(each.deviation for each in findings):
        alike = [each for each in findings if each.deviation == deviation]
        yield ""
        if deviation:
            yield f"In passing `{deviation}` ({', '.join(alike[0].rules)}) alone:"
        else:
            yield "No difference:"
        shown = [
            f"{each.line} `{each.name}`" + (f" (step {each.step})" if deviation else "")
            for each in alike
        ]
        yield f"{', '.join(shown)}."


def main() -> None:
    """Write the page to the file named on the command line, docs/conformance.md by default."""
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    output.write_text(documented(PAGE.read_text()))


if __name__ == "__main__":
    main()
