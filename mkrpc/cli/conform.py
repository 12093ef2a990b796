"""``mkrpc conform``: recorded scenarios of real implementations, replayed on the model."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from mkrpc.cli.group import EXIT_INTERRUPTED, EXIT_NO, EXIT_OK
from mkrpc.cli.options import json_option
from mkrpc.cli.output import print_json, print_table

if TYPE_CHECKING:
    from mkrpc.conformance.against import AgainstReport
    from mkrpc.conformance.report import FileReport, Finding
    from mkrpc.conformance.runner import Progress
    from mkrpc.conformance.sides import Side

__all__ = ["conform"]

_VALUE_WIDTH = 40
"""Characters of a value that are shown; --json has the whole."""
_BEFORE_DIFFERENCE = 8
"""Characters that are shown of what is alike in two long values."""
_NOTE_WIDTH = 120


@click.command(short_help="Replay recordings of other machines and score the model.")
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
    try:
        if against is not None:
            return _against(against, paths, summary=summary, as_json=as_json)
        return _score(paths, summary=summary, as_json=as_json)
    except KeyboardInterrupt:
        click.echo("mkrpc: interrupted", err=True)
        return EXIT_INTERRUPTED


def _score(paths: Sequence[Path], *, summary: bool, as_json: bool) -> int:
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
    from mkrpc.conformance.deviations import UNEXPLAINED

    played = [report for report in reports if not report.note]
    rows = [
        (r.file, r.scenarios, r.scored, r.passed, len(r.failed), len(r.reported)) for r in played
    ]
    if rows:
        columns = ("file", "scenarios#", "scored#", "passed#", "failed#", "reported#")
        print_table(columns, rows)
    for line in (*_traces(reports), *_ignored(reports)):
        click.echo(line)
    if sides:
        click.echo("where the implementations disagree:")
    for side in sides:
        _print_side(side)
        if summary and side.name == UNEXPLAINED:
            click.echo("    without --summary they are named, with --json in full")
    for report in reports:
        for finding in report.failed:
            _print_finding("FAILED", report.file, finding)
        for finding in () if summary else report.reported:
            _print_finding("reported", report.file, finding)
        for finding in () if summary else _unexplained(report, UNEXPLAINED):
            _print_finding(UNEXPLAINED, report.file, finding)
    scored, passed = sum(r.scored for r in reports), sum(r.passed for r in reports)
    click.echo(f"{passed} of {scored} scored scenarios pass{'' if scored else _hint(reports)}")


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
        click.echo(f"  {_titled(side)}")
        click.echo(f"    {engine} {side.engine}")
        click.echo(f"    model: {side.model}")
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


def _traces(reports: Sequence["FileReport"]) -> Iterator[str]:
    """What became of the engines' own traces; those that matched nothing by name."""
    companions = [report for report in reports if report.note]
    matched = [report for report in companions if report.matched]
    if matched:
        traces = sum(report.matched for report in matched)
        yield (
            f"{_counted(len(matched), 'file')} with {_counted(traces, 'trace')} of single engines "
            f"{'was' if len(matched) == 1 else 'were'} compared with the scenarios above; "
            "`--against ENGINE` replays them."
        )
    for report in matched:
        if report.matched < report.scenarios:
            of = _counted(report.scenarios, "trace")
            yield f"{report.file}: only {report.matched} of {of} match a scenario"
    alone = {report.file for report in companions if not report.matched}
    alone |= {file for report in reports for file, n in report.compared.items() if not n}
    if alone:
        from mkrpc.conformance.files import why_alone

        for file in sorted(alone):
            yield f"{file}: compared with nothing: {why_alone(Path(file))}"


def _ignored(reports: Sequence["FileReport"]) -> Iterator[str]:
    for report in reports:
        if report.ignored:
            fields = ", ".join(report.ignored)
            yield f"{report.file}: fields that cannot be compared: {fields}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _hint(reports: Sequence["FileReport"]) -> str:
    """What to do with traces of an engine, in which nothing is scored."""
    from mkrpc.conformance.files import engine_named

    own = [engine_named(Path(report.file)) for report in reports if report.own]
    if not own:
        return ""
    engines = sorted({engine for engine in own if engine})
    if engines:
        return f": no line has `agree`; compare with `--against {engines[0]}`"
    return ": no line has `agree`; name the file NAME-GROUP.jsonl and compare with `--against NAME`"


def _titled(side: "Side") -> str:
    rules = f" ({', '.join(side.rules)})" if side.rules else ""
    return f"{side.name}{rules}, scenarios: {side.scenarios}"


def _print_side(side: "Side") -> None:
    apart = ", ".join(f"{engine or 'the recording'} {n}" for engine, n in side.apart.items())
    along = f"; with the model: {', '.join(side.with_model)}" if side.with_model else ""
    click.echo(f"  {_titled(side)}: otherwise: {apart}{along}")
    click.echo(f"    model: {side.model}")


def _unexplained(report: "FileReport", name: str) -> Iterator["Finding"]:
    """Those that are not shown as reported already, of that engine or of all that are alike."""
    shown = {(each.line, each.engine) for each in report.reported if each.deviation == name}
    for finding in report.unexplained:
        if shown.isdisjoint({(finding.line, finding.engine), (finding.line, "")}):
            yield finding


def _print_finding(verdict: str, file: str, finding: "Finding") -> None:
    """One line, and a second one with the values, unless they differ only in passing."""
    at = f" {finding.where}" if finding.where else ""
    status = f" ({finding.status.removeprefix('not scored: ')})" if finding.status else ""
    rules = f" ({', '.join(finding.rules)})" if finding.rules else ""
    why = f"{finding.deviation}{rules}"
    head = f"{verdict} {file}:{finding.line} {finding.name}{at}{status}"
    if not finding.deviation:
        click.echo(f"{head}: {'the model agrees' if finding.agrees_with else 'nothing to compare'}")
    elif finding.agrees_with and not finding.parts_from:
        click.echo(f"{head}: in passing {why}")
    else:
        expected, actual = _cut(finding.expected, finding.actual)
        click.echo(head)
        click.echo(f"    expected {expected} | actual {actual} | why: {why}")
    if verdict == "FAILED" and finding.note:
        click.echo(f"    note: {_end_cut(finding.note, _NOTE_WIDTH)}")


def _cut(expected: str, actual: str) -> tuple[str, str]:
    """Both values, no longer than ``_VALUE_WIDTH``: what is alike before they differ goes first.

    What stands before the value, the CPU and the field, is told once if it is the same.
    """
    name, equals, recorded = expected.partition(" = ")
    other_name, _, seen = actual.partition(" = ")
    alike = 0
    if max(len(recorded), len(seen)) > _VALUE_WIDTH:
        pairs = enumerate(zip(recorded, seen, strict=False))
        differs = next((i for i, (a, b) in pairs if a != b), min(len(recorded), len(seen)))
        alike = recorded.rfind(" ", 0, max(0, differs - _BEFORE_DIFFERENCE)) + 1
    cut = [
        _end_cut(f"…{value[alike:]}" if alike else value, _VALUE_WIDTH)
        for value in (recorded, seen)
    ]
    # An engine's name stands before what it did, and not before what the model did.
    repeated = "" if name.endswith(other_name) else f"{other_name}{equals}"
    return f"{name}{equals}{cut[0]}", f"{repeated}{cut[1]}"


def _end_cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
