"""``mkrpc conform``: recorded scenarios of real implementations, replayed on the model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from mkrpc.cli.group import EXIT_NO, EXIT_OK
from mkrpc.cli.options import json_option
from mkrpc.cli.output import print_json, print_table

if TYPE_CHECKING:
    from mkrpc.conformance.report import FileReport, Finding

__all__ = ["conform"]


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--summary", is_flag=True, help="Leave out what is reported and not scored.")
@json_option
def conform(paths: tuple[Path, ...], summary: bool, as_json: bool) -> int:
    """Replay recordings (files, or folders of them) and score the model against them.

    Lists each scenario that fails, and each that is reported without being scored, with its first
    differing step. Exits 0 only if every scored scenario passes.
    """
    from mkrpc.conformance.runner import Progress, report_as_json, run

    # Shown on a terminal only: rich draws no status into a pipe or file.
    with Console(stderr=True).status("reading recordings") as status:

        def tell(progress: Progress) -> None:
            status.update(f"{progress.file.name}: {progress.done} of {progress.scenarios}")

        reports = run(paths, on_progress=tell)
    if as_json:
        print_json(report_as_json(reports))
    else:
        _print(reports, summary=summary)
    return EXIT_OK if all(report.passed == report.scored for report in reports) else EXIT_NO


def _print(reports: Sequence["FileReport"], *, summary: bool) -> None:
    played = [report for report in reports if not report.note]
    rows = [
        (r.file, r.scenarios, r.scored, r.passed, len(r.failed), len(r.reported)) for r in played
    ]
    if rows:
        columns = ("file", "scenarios#", "scored#", "passed#", "failed#", "reported#")
        print_table(columns, rows)
    for line in _beside(reports):
        click.echo(line)
    for report in reports:
        for finding in report.failed:
            _print_finding("FAILED", report.file, finding)
        for finding in () if summary else report.reported:
            _print_finding("reported", report.file, finding)
    scored, passed = sum(r.scored for r in reports), sum(r.passed for r in reports)
    click.echo(f"{passed} of {scored} scored scenarios pass")


def _beside(reports: Sequence["FileReport"]) -> list[str]:
    """The files that were not replayed as a whole, in a line for each reason."""
    by_note: dict[str, list[FileReport]] = {}
    for report in reports:
        if report.note:
            by_note.setdefault(report.note, []).append(report)
    return [
        f"files: {len(files)}, scenarios: {sum(file.scenarios for file in files)}: {note}"
        for note, files in by_note.items()
    ]


def _print_finding(verdict: str, file: str, finding: "Finding") -> None:
    at = "" if finding.step is None else f" step {finding.step}"
    note = f" ({finding.note})" if finding.note else ""
    click.echo(f"{verdict} {file}:{finding.line} {finding.name}{at}{note}")
    if finding.step is not None:
        click.echo(f"    expected {finding.expected} | actual {finding.actual}")
