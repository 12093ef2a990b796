"""How a bad topology is reported: in one error, by line, each problem with its key and its hint.

The rules themselves are in :mod:`mkrpc.topology`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mkrpc.errors import TopologyError

__all__ = ["MAX_PROBLEMS_NAMED", "KeyPath", "Problem", "lines_of", "report"]

MAX_PROBLEMS_NAMED = 5
"""Problems that one error spells out, the first of the file; it counts the rest."""

KeyPath = tuple[str | int, ...]
"""Where in a topology: ``("instances", 2, "cpus")``."""

_ENTRY = 'should be "package.module:name"'
_NAME = "should be lower-case letters, digits and hyphens, beginning with a letter, at most 63"
_TYPES = {
    "bool_type": "should be true or false",
    "float_type": "should be a number",
    "int_type": "should be an integer",
    "model_type": "should be a table",
    "string_type": "should be a string",
    "tuple_type": "should be a list",
}
"""In the words of TOML what pydantic says in those of Python."""
_PATTERNS = {"entry": _ENTRY, "handlers": _ENTRY, "name": _NAME}
_ADVICE = {
    "programs.entry": "name a callable that can be imported, such as package.module:name",
    "handlers": "name callables that can be imported, such as package.module:name",
    "name": "choose a name such as web or mk-3",
    "apic": "write a table [apic], or [instances.apic] below an instance",
    "rate": "write a table, such as rate = { writes_per_s = 2000, burst = 200 }",
    "client_rate": "write a table, such as client_rate = { writes_per_s = 2000, burst = 200 }",
    "faults": "write a [[faults]] table, with a kind",
    "instances": "write one [[instances]] table for each, at most 512",
    "cpus": "list APIC ids, such as cpus = [0, 1]",
    "cpu_count": "give a number of CPUs, 1 to 512",
    "id": "instance ids are 0 (the host) to 511",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: at which key, what, and what to do."""

    path: KeyPath
    what: str
    advice: str


def report(
    error: ValidationError,
    *,
    where: str,
    specs: Mapping[tuple[str, ...], type[BaseModel]],
    lines: Mapping[KeyPath, int],
) -> TopologyError:
    """One error for everything that pydantic, and the checks of the whole machine, found.

    ``where``: the file. ``specs``: the model at each path of table names, for "did you mean".
    ``lines``: from :func:`lines_of`. By line, what has none first. The advice is that for each
    problem named, with its place if it is not for all of them.
    """
    problems = [(_line_of(p.path, lines), p) for p in _problems_of(error, specs)]
    problems.sort(key=lambda found: found[0] or 0)
    parts = []
    places_by_advice: dict[str, list[str]] = {}
    for line, problem in problems[:MAX_PROBLEMS_NAMED]:
        key = _dotted(problem.path)
        place = f"line {line}" if line else key
        parts.append(f"{place}: {key}: {problem.what}" if line else f"{key}: {problem.what}")
        places = places_by_advice.setdefault(problem.advice, [])
        places.extend([place] * (place not in places))
    if (more := len(problems) - len(parts)) > 0:
        parts.append(f"and {more} more, named once these are mended")
    advice = [f"{', '.join(places)}: {text}" for text, places in places_by_advice.items()]
    only = next(iter(places_by_advice)) if len(advice) == 1 else ""
    return TopologyError(f"{where}: {'; '.join(parts)}", advice=only or "; ".join(advice))


def _problems_of(
    error: ValidationError, specs: Mapping[tuple[str, ...], type[BaseModel]]
) -> list[Problem]:
    problems: list[Problem] = []
    details = error.errors(include_url=False)
    for detail in details:
        if detail["type"] == "machine":
            problems.extend(detail["ctx"]["problems"])
        elif not (detail["type"] == "too_short" and _is_echo(detail, details)):
            problems.append(_problem_of(detail, specs))
    return problems


def _is_echo(detail: ErrorDetails, details: Sequence[ErrorDetails]) -> bool:
    """A list is also too short, says pydantic, when its items are wrong."""
    path = detail["loc"]
    return any(len(d["loc"]) > len(path) and d["loc"][: len(path)] == path for d in details)


def _problem_of(detail: ErrorDetails, specs: Mapping[tuple[str, ...], type[BaseModel]]) -> Problem:
    path = detail["loc"]
    key = str(path[-1]) if path else ""
    spec = specs.get(tuple(part for part in path[:-1] if isinstance(part, str)))
    if detail["type"] == "extra_forbidden" and spec is not None:
        close = get_close_matches(key, spec.model_fields, n=1)
        hint = f", did you mean {close[0]}?" if close else ""
        return Problem(path, f"unknown key{hint}", f"known keys: {', '.join(spec.model_fields)}")
    if detail["type"] == "missing":
        return Problem(path, "missing", _ADVICE.get(key, f"add {key} = …"))
    named = [part for part in path if isinstance(part, str)]
    leaf = named[-1] if named else ""
    advice = _ADVICE.get(".".join(named[-2:])) or _ADVICE.get(
        leaf, "choose one of them" if detail["type"] == "literal_error" else "correct the value"
    )
    what = _TYPES.get(detail["type"], detail["msg"].removeprefix("Input "))
    if detail["type"] == "string_pattern_mismatch":
        what = _PATTERNS[leaf]
    elif detail["type"] in ("too_short", "too_long"):
        short = detail["type"] == "too_short"
        bound = "least" if short else "most"
        limit = detail["ctx"]["min_length" if short else "max_length"]
        return Problem(path, f"should have at {bound} {limit} entries", advice)
    return Problem(path, f"{what}, not {_given(detail['input'])}", advice)


def _given(value: object) -> str:
    """A value in the words of TOML, shortened."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "a table"
        case list() | tuple():
            return "a list"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int | None:
    """The line of the key, or of the nearest table around it."""
    for length in range(len(path), 0, -1):
        if (line := lines.get(path[:length])) is not None:
            return line
    return None


def _dotted(path: KeyPath) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".") or "topology"


_HEADER = re.compile(r"^\s*(\[\[?)\s*([\w.\s-]+?)\s*\]")
_KEY = re.compile(r"^\s*([\w-]+)\s*=")


def lines_of(text: str) -> dict[KeyPath, int]:
    """The line, from 1, on which each key and table of a TOML text begins.

    tomllib does not say. Text inside a multi-line string or array that looks like a key may be
    taken for one: a line number is a help to the reader, and nothing else depends on it.
    """
    lines: dict[KeyPath, int] = {}
    latest: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            *outer, last = (part.strip() for part in header[2].split("."))
            table = ()
            for part in outer:
                table += (part,)
                table += (latest[table],) if table in latest else ()
            table += (last,)
            if header[1] == "[[":
                latest[table] = latest.get(table, -1) + 1
                lines.setdefault(table, number)
                table += (latest[table],)
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, key[1]), number)
    return lines
