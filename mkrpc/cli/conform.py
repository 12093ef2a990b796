"""``mkrpc conform``: recorded scenarios of real implementations, replayed on the model."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from mkrpc.cli.group import EXIT_NO, EXIT_OK
from mkrpc.cli.options import json_option
from mkrpc.cli.output import print_json, print_table

if TYPE_CHECKING:
    from mkrpc.conformance.against import AgainstReport
    from mkrpc.conformance.report import FileReport, Finding
    from mkrpc.conformance.runner import Progress
    from mkrpc.conformance.sides import Side

__all__ = ["conform"]


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--against", metavar="ENGINE", help="Compare with one engine's own traces instead.")
@click.option("--summary", is_flag=True, help="Leave out the single scenarios that do not fail.")
@json_option
def conform(paths: tuple[Path, ...], against: str | None, summary: bool, as_json: bool) -> int:
    """Replay recordings (files, or folders of them) and score the model against them.

    Lists each scenario that fails, and each that is reported without being scored, with its first
    differing step, and where the recorded implementations disagree. Exits 0 only if every scored
    scenario passes.

    With --against nothing is scored: every trace of ENGINE in engines/ENGINE-GROUP.jsonl beside or
    below the paths is compared, and exit 0 means that a named rule explains every difference.
    """
    if against is not None:
        return _against(against, paths, summary=summary, as_json=as_json)
    from mkrpc.conformance.runner import report_as_json, run
    from mkrpc.conformance.sides import merged

    with _progress() as tell:
        reports = run(paths, on_progress=tell)
    sides = merged(side for report in reports for side in report.sides)
    if as_json:
        print_json(report_as_json(reports, sides))
    else:
        _print(reports, sides, summary=summary)
    return EXIT_OK if all(report.passed == report.scored for report in reports) else EXIT_NO


def _against(engine: str, paths: Sequence[Path], *, summary: bool, as_json: bool) -> int:
    from mkrpc.conformance.against import against_as_json, run_against

    with _progress() as tell:
        reports = run_against(engine, paths, on_progress=tell)
    if as_json:
        print_json(against_as_json(engine, reports))
    else:
        _print_against(engine, reports, summary=summary)
    return EXIT_NO if any(report.unexplained for report in reports) else EXIT_OK


@contextmanager
def _progress() -> Iterator[Callable[["Progress"], None]]:
    """Shown on a terminal only: rich draws no status into a pipe or file."""
    with Console(stderr=True).status("reading recordings") as status:

        def tell(progress: "Progress") -> None:
            status.update(f"{progress.file.name}: {progress.done} of {progress.scenarios}")

        yield tell


def _print(reports: Sequence["FileReport"], sides: Sequence["Side"], *, summary: bool) -> None:
    played = [report for report in reports if not report.note]
    rows = [
        (r.file, r.scenarios, r.scored, r.passed, len(r.failed), len(r.reported)) for r in played
    ]
    if rows:
        columns = ("file", "scenarios#", "scored#", "passed#", "failed#", "reported#")
        print_table(columns, rows)
    for line in _beside(reports):
        click.echo(line)
    if sides:
        click.echo("where the implementations disagree:")
    for side in sides:
        click.echo(f"  {_side_text(side)}")
    for report in reports:
        for finding in report.failed:
            _print_finding("FAILED", report.file, finding)
        for finding in () if summary else report.reported:
            _print_finding("reported", report.file, finding)
    scored, passed = sum(r.scored for r in reports), sum(r.passed for r in reports)
    click.echo(f"{passed} of {scored} scored scenarios pass")


def _print_against(engine: str, reports: Sequence["AgainstReport"], *, summary: bool) -> None:
    columns = ("file", "scenarios#", "agree#", "explained#", "unexplained#", "not comparable#")
    rows = [
        (
            r.file,
            r.scenarios,
            len(r.agreeing),
            len(r.differing) - r.unexplained,
            r.unexplained,
            len(r.incomparable),
        )
        for r in reports
    ]
    print_table(columns, rows)
    from mkrpc.conformance.deviations import UNEXPLAINED
    from mkrpc.conformance.sides import merged

    for side in merged(side for report in reports for side in report.sides):
        click.echo(f"  {_titled(side)}: {engine} {side.engine}; model: {side.model}")
    for report in reports:
        for finding in report.differing:
            if not summary or finding.deviation == UNEXPLAINED:
                _print_finding("differs", report.file, finding)
    unexplained = sum(report.unexplained for report in reports)
    differing = sum(len(report.differing) for report in reports)
    agreeing = sum(len(report.agreeing) for report in reports)
    click.echo(
        f"the model agrees with {engine} in {agreeing} scenarios and differs in {differing}, "
        f"{unexplained} of them unexplained"
    )


def _beside(reports: Sequence["FileReport"]) -> list[str]:
    """What was not compared, in a line for each reason."""
    by_note: dict[str, list[FileReport]] = {}
    for report in reports:
        if report.note:
            by_note.setdefault(report.note, []).append(report)
    return [
        f"files: {len(files)}, scenarios: {sum(file.scenarios for file in files)}: {note}"
        for note, files in by_note.items()
    ] + [
        f"{report.file}: fields that cannot be compared: {', '.join(report.ignored)}"
        for report in reports
        if report.ignored
    ]


def _titled(side: "Side") -> str:
    rules = f" ({', '.join(side.rules)})" if side.rules else ""
    return f"{side.name}{rules}, scenarios: {side.scenarios}"


def _side_text(side: "Side") -> str:
    apart = ", ".join(f"{engine or 'the recording'} {n}" for engine, n in side.apart.items())
    along = f"with the model: {', '.join(side.with_model)}; " if side.with_model else ""
    return f"{_titled(side)}: otherwise: {apart}; {along}model: {side.model}"


def _print_finding(verdict: str, file: str, finding: "Finding") -> None:
    at = "" if finding.step is None else f" step {finding.step}"
    rules = f" ({', '.join(finding.rules)})" if finding.rules else ""
    note = f" ({finding.note})" if finding.note else ""
    click.echo(f"{verdict} {file}:{finding.line} {finding.name}{at}{note}")
    if finding.step is not None:
        differs = f"expected {finding.expected} | actual {finding.actual}"
        click.echo(f"    {differs} | why: {finding.deviation}{rules}")
