"""Replays recordings on the model and scores them: what ``mkrpc conform`` runs.

Paths are files or folders. In a folder, files with engines' own traces serve the comparison, and
are listed as such. Such a file that is named itself is replayed and reported like any recording
that nobody scores. :mod:`mkrpc.conformance.files` tells them apart.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mkrpc.conformance.apic_guest import Layout, play
from mkrpc.conformance.files import (
    ENGINES_FOLDER,
    engine_of,
    is_own,
    recordings_in,
    traces_beside,
    why_alone,
)
from mkrpc.conformance.judge import LinuxObservation, Verdict, judge_apic, judge_linux
from mkrpc.conformance.linux_deviations import LINUX
from mkrpc.conformance.linux_guest import LinuxGuest
from mkrpc.conformance.parse import read_recording
from mkrpc.conformance.recording import ApicScenario, LinuxTest, Recording
from mkrpc.conformance.report import FileReport, report_as_json
from mkrpc.conformance.score import Run
from mkrpc.conformance.sides import Side, linux_side, merged, sides_of
from mkrpc.errors import ClusterStateError, InvalidArgumentError

__all__ = [
    "ENGINES_FOLDER",
    "Progress",
    "play_apic",
    "play_linux",
    "report_as_json",
    "run",
    "run_file",
]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: ``done`` of ``scenarios`` of ``file``."""

    file: Path
    done: int
    scenarios: int


def run(
    paths: Sequence[Path],
    *,
    on_progress: Callable[[Progress], None] | None = None,
    layout: Layout = Layout.ONE_KERNEL,
) -> list[FileReport]:
    """Replay every recording among ``paths``, in the order given.

    In a folder recordings come in order of their names; engines' own traces after all others.
    ``layout`` says how the CPUs of a bare-metal scenario are shared out among kernels.
    Raises NotFoundError for a path that does not exist, InvalidArgumentError for a folder without
    recordings and for a malformed file (with its line), LimitReachedError for a huge one.
    """
    found = recordings_in(paths)
    reports = [
        run_file(file, on_progress=on_progress, layout=layout)
        for file, companion in found
        if not companion
    ]
    matched = Counter[Path]()
    for report in reports:
        matched.update({Path(file).resolve(): n for file, n in report.compared.items()})
    companions = [file for file, companion in found if companion]
    return [*reports, *(_companion_report(each, matched[each.resolve()]) for each in companions)]


def run_file(
    file: Path,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    layout: Layout = Layout.ONE_KERNEL,
) -> FileReport:
    """Replay one file, whatever folder it lies in. Raises as :func:`run`."""
    progress = on_progress if on_progress is not None else _silent
    recording = read_recording(file)
    compared: Mapping[str, int] = {}
    if recording.linux:
        verdicts = [
            judge_linux(test, seen) for test, seen in play_linux(file, recording.linux, progress)
        ]
    else:
        verdicts, compared = _judged_apic(file, recording, progress, layout)
    scored = [verdict for verdict in verdicts if verdict.scored]
    return FileReport(
        file=str(file),
        scenarios=len(verdicts),
        scored=len(scored),
        passed=sum(verdict.failed is None for verdict in scored),
        reported=tuple(v.reported for v in verdicts if v.reported is not None),
        failed=tuple(v.failed for v in verdicts if v.failed is not None),
        ignored=tuple(sorted(set().union(*(each.ignored for each in recording.apic)))),
        sides=merged(side for verdict in verdicts for side in _sides(verdict)),
        unexplained=tuple(finding for verdict in verdicts for finding in verdict.unexplained),
        own=is_own(recording),
        compared=compared,
    )


def _sides(verdict: Verdict) -> Iterable[Side]:
    yield from sides_of(verdict.comparisons)
    reported = verdict.reported
    if reported is not None and reported.deviation and not verdict.comparisons:
        yield linux_side(LINUX, reported.deviation)


def _judged_apic(
    file: Path, recording: Recording, on_progress: Callable[[Progress], None], layout: Layout
) -> tuple[list[Verdict], Mapping[str, int]]:
    """Each scenario's verdict; by file of engines' own traces, how many were compared."""
    traces = traces_beside(file)
    engine = engine_of(file, recording)
    compared = {str(own.file): 0 for own in traces}
    verdicts = []
    for scenario, played in play_apic(file, recording.apic, on_progress, layout):
        beside = {}
        for own in traces:
            trace = own.by_name.get(scenario.name)
            if trace is not None and _same_script(trace, scenario) and own.engine not in beside:
                beside[own.engine] = trace
                compared[str(own.file)] += 1
        verdicts.append(judge_apic(scenario, played, traces=beside, engine=engine))
    return verdicts, compared


def play_apic(
    file: Path,
    scenarios: Sequence[ApicScenario],
    on_progress: Callable[[Progress], None],
    layout: Layout = Layout.ONE_KERNEL,
) -> Iterable[tuple[ApicScenario, Run]]:
    """Each scenario of a file with the model's run of it."""
    for done, scenario in enumerate(scenarios, start=1):
        try:
            played = play(scenario, layout=layout)
        except Exception as error:
            error.add_note(f"while playing {scenario.name}, {file}:{scenario.line}")
            raise
        yield scenario, played
        on_progress(Progress(file, done, len(scenarios)))


def play_linux(
    file: Path, tests: Sequence[LinuxTest], on_progress: Callable[[Progress], None]
) -> Iterable[tuple[LinuxTest, LinuxObservation]]:
    """Each test of a file, in one boot, with what the emulated kernel did."""
    guest = LinuxGuest(cpus=len(tests[0].cal), driver=tests[0].apic)
    for done, test in enumerate(tests, start=1):
        try:
            seen = guest.play(test)
        except ClusterStateError as error:
            raise InvalidArgumentError(
                f"{file}:{test.line}: {test.name}: {error}",
                advice="a script can use only CPUs that are online",
            ) from error
        except Exception as error:
            error.add_note(f"while playing {test.name}, {file}:{test.line}")
            raise
        yield test, seen
        on_progress(Progress(file, done, len(tests)))


def _same_script(trace: ApicScenario, scenario: ApicScenario) -> bool:
    """Did the engine run these very steps? Otherwise its trace cannot be laid beside the run."""
    return trace.ids == scenario.ids and [step.action for step in trace.steps] == [
        step.action for step in scenario.steps
    ]


def _companion_report(file: Path, matched: int) -> FileReport:
    recording = read_recording(file)
    scenarios = len(recording.apic) + len(recording.linux)
    match matched:
        case 0:
            note = f"an engine's own traces: none matches a scenario: {why_alone(file)}"
        case _ if matched < scenarios:
            note = f"an engine's own traces: {matched} of {scenarios} match a scenario"
        case _:
            note = "an engine's own traces: each matches a scenario"
    return FileReport(
        file=str(file), scenarios=scenarios, scored=0, passed=0, note=note, matched=matched
    )


def _silent(_progress: Progress) -> None:
    """Nobody watches."""
