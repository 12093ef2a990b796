"""Which files hold recordings, and whose.

Files end in ``.jsonl`` or ``.jsonl.gz``. A folder ``engines`` beside recordings holds what each
engine did by itself, as ``ENGINE-GROUP``, where GROUP is the name of the recording beside it. The
name of an engine has no dash. Elsewhere a file whose lines do not say how far engines agree is one
engine's own as well, named likewise.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mkrpc.conformance.parse import read_recording
from mkrpc.conformance.recording import Agree, ApicScenario, Recording
from mkrpc.errors import InvalidArgumentError, NotFoundError

__all__ = [
    "ENGINES_FOLDER",
    "SUFFIXES",
    "engine_named",
    "engine_of",
    "files_of",
    "recordings_in",
    "traces_beside",
]

ENGINES_FOLDER = "engines"
SUFFIXES = (".jsonl", ".jsonl.gz")


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
    for file in _with_companions(paths):
        if (name := engine_named(file)) and _is_own(file):
            known.setdefault(name, []).append(file)
    if engine not in known:
        there = ", ".join(sorted(known)) or "none"
        raise NotFoundError(
            f"no traces of an engine {engine!r} here",
            advice=f"engines with traces of their own beside or below the paths: {there}",
        )
    return known[engine]


def _with_companions(paths: Sequence[Path]) -> Iterable[Path]:
    found: dict[Path, None] = {}
    for file, _ in recordings_in(paths):
        found[file] = None
        found.update((companion, None) for _, companion in _beside(file))
    return found


def _is_own(file: Path) -> bool:
    """One engine's own traces: by its folder, or since no line says how far engines agree."""
    if file.parent.name == ENGINES_FOLDER:
        return True
    scenarios = read_recording(file).apic
    return bool(scenarios) and all(each.agree is Agree.UNSTATED for each in scenarios)


def engine_named(file: Path) -> str:
    """The ENGINE of a file named ``ENGINE-GROUP``; empty if it is named otherwise."""
    engine, dash, _ = _stem(file).partition("-")
    return engine if dash else ""


def engine_of(file: Path, recording: Recording) -> str:
    """Whose own trace a recording is; empty for a consensus, which says how far engines agree."""
    own = all(each.agree is Agree.UNSTATED for each in recording.apic)
    return engine_named(file) if own else ""


def traces_beside(file: Path) -> dict[str, Mapping[str, ApicScenario]]:
    """By engine: its own trace of each scenario of ``file``, by name."""
    return {
        engine: {scenario.name: scenario for scenario in read_recording(candidate).apic}
        for engine, candidate in _beside(file)
    }


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
