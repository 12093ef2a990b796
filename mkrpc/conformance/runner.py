"""Replays recordings on the model and scores them: what ``mkrpc conform`` runs.

Paths are files or folders; folders are searched for ``.jsonl`` and ``.jsonl.gz``. A folder
``engines`` beside a recording holds each engine's own traces: found on the way through its parent
it serves the comparison where the engines disagree, and is listed as such; named itself, or a file
in it, it is replayed and reported like any recording that nobody scores.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mkrpc.conformance.apic_guest import Layout, play
from mkrpc.conformance.judge import Verdict, judge_apic, judge_linux
from mkrpc.conformance.linux_guest import LinuxGuest
from mkrpc.conformance.parse import read_recording
from mkrpc.conformance.recording import Agree, ApicScenario, LinuxTest, Recording
from mkrpc.conformance.report import FileReport, report_as_json
from mkrpc.errors import ClusterStateError, InvalidArgumentError, NotFoundError

__all__ = ["ENGINES_FOLDER", "Progress", "report_as_json", "run", "run_file"]

ENGINES_FOLDER = "engines"
SUFFIXES = (".jsonl", ".jsonl.gz")
_ENGINES = ("bochs", "kvm", "tcg", "tcg10")


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

    In a folder recordings come in order of their names, engines' own traces after them.
    ``layout`` says how the CPUs of a bare-metal scenario are shared out among kernels.
    Raises NotFoundError for a path that does not exist, InvalidArgumentError for a folder without
    recordings and for a malformed file (with its line), LimitReachedError for a huge one.
    """
    progress = on_progress if on_progress is not None else _silent
    reports: list[FileReport] = []
    for file, companion in _files(paths):
        if companion:
            reports.append(_companion_report(file))
        else:
            reports.append(run_file(file, on_progress=progress, layout=layout))
    return reports


def run_file(
    file: Path,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    layout: Layout = Layout.ONE_KERNEL,
) -> FileReport:
    """Replay one file, whatever folder it lies in. Raises as :func:`run`."""
    progress = on_progress if on_progress is not None else _silent
    recording = read_recording(file)
    if recording.linux:
        verdicts = _play_linux(file, recording.linux, progress)
    else:
        verdicts = _play_apic(file, recording, progress, layout)
    scored = [verdict for verdict in verdicts if verdict.scored]
    return FileReport(
        file=str(file),
        scenarios=len(verdicts),
        scored=len(scored),
        passed=sum(verdict.failed is None for verdict in scored),
        reported=tuple(v.reported for v in verdicts if v.reported is not None),
        failed=tuple(v.failed for v in verdicts if v.failed is not None),
    )


def _play_apic(
    file: Path, recording: Recording, on_progress: Callable[[Progress], None], layout: Layout
) -> list[Verdict]:
    traces = _engine_traces(file) if any(s.agree is Agree.NO for s in recording.apic) else {}
    engine = _engine_of(file)
    verdicts = []
    for done, scenario in enumerate(recording.apic, start=1):
        own = {name: by[scenario.name] for name, by in traces.items() if scenario.name in by}
        comparable = {name: trace for name, trace in own.items() if _same_script(trace, scenario)}
        try:
            played = play(scenario, layout=layout)
        except Exception as error:
            error.add_note(f"while playing {scenario.name}, {file}:{scenario.line}")
            raise
        verdicts.append(judge_apic(scenario, played, traces=comparable, engine=engine))
        on_progress(Progress(file, done, len(recording.apic)))
    return verdicts


def _play_linux(
    file: Path, tests: Sequence[LinuxTest], on_progress: Callable[[Progress], None]
) -> list[Verdict]:
    guest = LinuxGuest(cpus=len(tests[0].cal), driver=tests[0].apic)
    verdicts = []
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
        verdicts.append(judge_linux(test, seen))
        on_progress(Progress(file, done, len(tests)))
    return verdicts


# Files.


def _files(paths: Sequence[Path]) -> list[tuple[Path, bool]]:
    """Every recording once, and whether it is only a companion of the recordings beside it."""
    found: dict[Path, bool] = {}
    for path in paths:
        if path.is_dir():
            inside = [file for file in path.rglob("*") if _is_recording(file)]
            if not inside:
                raise InvalidArgumentError(
                    f"{path}: no recordings in this folder",
                    advice=f"name a folder with files in {' or '.join(SUFFIXES)}",
                )
            companions = {file: _is_companion(file, path) for file in inside}
            for file in sorted(inside, key=lambda file: (companions[file], file)):
                found.setdefault(file, companions[file])
        elif path.exists():
            found[path] = False
        else:
            raise NotFoundError(f"{path}: no such file or folder", advice="check the path")
    return list(found.items())


def _is_companion(file: Path, searched: Path) -> bool:
    """Was it found in an ``engines`` folder below the one that was named?"""
    return ENGINES_FOLDER in file.relative_to(searched).parts[:-1]


def _is_recording(file: Path) -> bool:
    return file.is_file() and file.name.endswith(SUFFIXES)


def _stem(file: Path) -> str:
    return file.name.removesuffix(".gz").removesuffix(".jsonl")


def _engine_of(file: Path) -> str:
    """Whose trace a file is, by its name: ``ENGINE-GROUP``; empty for a consensus."""
    engine, dash, _ = _stem(file).partition("-")
    return engine if dash and engine in _ENGINES else ""


def _engine_traces(file: Path) -> dict[str, Mapping[str, ApicScenario]]:
    """By engine: its own trace of each scenario of ``file``, by name."""
    folder = file.parent / ENGINES_FOLDER
    ending = f"-{_stem(file)}"
    traces: dict[str, Mapping[str, ApicScenario]] = {}
    for candidate in sorted(folder.glob("*")) if folder.is_dir() else []:
        engine = _stem(candidate).removesuffix(ending)
        if _is_recording(candidate) and _stem(candidate) == engine + ending and "-" not in engine:
            traces[engine] = {s.name: s for s in read_recording(candidate).apic}
    return traces


def _same_script(trace: ApicScenario, scenario: ApicScenario) -> bool:
    """Did the engine run these very steps? Otherwise its trace cannot be laid beside the run."""
    return trace.ids == scenario.ids and [step.action for step in trace.steps] == [
        step.action for step in scenario.steps
    ]


def _companion_report(file: Path) -> FileReport:
    recording = read_recording(file)
    return FileReport(
        file=str(file),
        scenarios=len(recording.apic) + len(recording.linux),
        scored=0,
        passed=0,
        note="an engine's own traces: compared where the engines disagree; name the file itself "
        "to replay it",
    )


def _silent(_progress: Progress) -> None:
    """Nobody watches."""
