"""Which files hold recordings, and whose.

Files end in ``.jsonl`` or ``.jsonl.gz``. A folder ``engines`` beside recordings holds what each
engine did by itself, as ``ENGINE-GROUP``, where GROUP is the name of the recording beside it. The
name of an engine has no dash. Elsewhere a file whose lines do not say how far engines agree is one
engine's own as well, named likewise.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mkrpc.conformance.parse import read_recording
from mkrpc.conformance.recording import Agree, ApicScenario, Recording
from mkrpc.errors import InvalidArgumentError, NotFoundError

__all__ = [
    "ENGINES_FOLDER",
    "SUFFIXES",
    "OwnTraces",
    "engine_named",
    "engine_of",
    "files_of",
    "is_own",
    "recordings_in",
    "traces_beside",
    "why_alone",
]

ENGINES_FOLDER = "engines"
SUFFIXES = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True, slots=True)
class OwnTraces:
    """One file of an engine's own traces, by the names of the scenarios."""

    engine: str
    file: Path
    by_name: Mapping[str, ApicScenario]


def recordings_in(paths: Sequence[Path]) -> list[tuple[Path, bool]]:
    """Every recording once, and whether it is only a companion of the recordings beside it.

    In a folder they come in order of their names, companions last. Raises NotFoundError for a path
    that does not exist, InvalidArgumentError for a folder without recordings.
    """
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


def files_of(engine: str, paths: Sequence[Path]) -> list[Path]:
    """The files with that engine's own traces: below a folder; for a file itself, if it is one, or
    that which lies beside it in ``engines``.

    Raises as :func:`recordings_in`, and NotFoundError, with the engines that there are, if the
    engine has none.
    """
    known: dict[str, list[Path]] = {}
    nameless: list[str] = []
    for file in _with_companions(paths):
        if not _is_own_file(file):
            continue
        if name := engine_named(file):
            known.setdefault(name, []).append(file)
        else:
            nameless.append(file.name)
    if engine not in known:
        dash = ": the name of an engine has no dash" if "-" in engine else ""
        odd = f"not named ENGINE-GROUP: {', '.join(nameless)}; " if nameless else ""
        there = ", ".join(sorted(known)) or "none"
        raise NotFoundError(
            f"no traces of an engine {engine!r} here{dash}",
            advice=f"{odd}engines with traces of their own beside or below the paths: {there}",
        )
    return known[engine]


def _with_companions(paths: Sequence[Path]) -> Iterable[Path]:
    found: dict[Path, None] = {}
    for file, _ in recordings_in(paths):
        found[file] = None
        found.update((companion, None) for _, companion in _beside(file))
    return found


def _is_own_file(file: Path) -> bool:
    """One engine's own traces: by its folder, or since no line says how far engines agree."""
    return file.parent.name == ENGINES_FOLDER or is_own(read_recording(file))


def is_own(recording: Recording) -> bool:
    """Does no line say how far engines agree, so that it is one engine's own?"""
    scenarios = recording.apic
    return bool(scenarios) and all(each.agree is Agree.UNSTATED for each in scenarios)


def engine_named(file: Path) -> str:
    """The ENGINE of a file named ``ENGINE-GROUP``; empty if it is named otherwise."""
    engine, _, group = _stem(file).partition("-")
    return engine if group else ""


def engine_of(file: Path, recording: Recording) -> str:
    """Whose own trace a recording is; empty for a consensus, which says how far engines agree."""
    return engine_named(file) if is_own(recording) else ""


def traces_beside(file: Path) -> list[OwnTraces]:
    """The engines' own traces of the scenarios of ``file``."""
    return [
        OwnTraces(engine, candidate, {each.name: each for each in read_recording(candidate).apic})
        for engine, candidate in _beside(file)
    ]


def why_alone(file: Path) -> str:
    """Why none of the traces of a file below an ``engines`` folder matches a scenario."""
    if file.parent.name != ENGINES_FOLDER:
        return f"it lies below a folder {ENGINES_FOLDER}, not in it"
    if not engine_named(file):
        return "it is not named ENGINE-GROUP"
    group = _stem(file).partition("-")[2]
    if not any((file.parent.parent / f"{group}{suffix}").is_file() for suffix in SUFFIXES):
        return f"no {group}.jsonl lies beside the folder {ENGINES_FOLDER}"
    if read_recording(file).linux:
        return "tests of a patched kernel are not compared one by one"
    return f"no scenario of {group} has the name, ids and steps of one of its traces"


def _beside(file: Path) -> list[tuple[str, Path]]:
    folder = file.parent / ENGINES_FOLDER
    found = []
    for candidate in sorted(folder.glob("*")) if folder.is_dir() else []:
        engine = engine_named(candidate)
        if engine and _is_recording(candidate) and _stem(candidate) == f"{engine}-{_stem(file)}":
            found.append((engine, candidate))
    return found


def _is_companion(file: Path, searched: Path) -> bool:
    """Was it found in an ``engines`` folder below the one that was named?"""
    return ENGINES_FOLDER in file.relative_to(searched).parts[:-1]


def _is_recording(file: Path) -> bool:
    return file.is_file() and file.name.endswith(SUFFIXES)


def _stem(file: Path) -> str:
    return file.name.removesuffix(".gz").removesuffix(".jsonl")
