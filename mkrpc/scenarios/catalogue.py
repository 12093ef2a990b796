"""Scenarios by name, and out of a file of the user's."""

import importlib
import inspect
import pkgutil
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

from mkrpc.errors import InvalidArgumentError
from mkrpc.python_file import execute
from mkrpc.scenarios import library as room
from mkrpc.scenarios.scenario import Scenario, problem_of

__all__ = ["load_scenario", "scenario_named", "scenarios"]


def scenarios() -> dict[str, type[Scenario]]:
    """All scenarios of the library, by name."""
    found: dict[str, type[Scenario]] = {}
    for entry in pkgutil.iter_modules(room.__path__):
        module = importlib.import_module(f"{room.__name__}.{entry.name}")
        found |= {each.name: each for each in _defined_in(module)}
    return dict(sorted(found.items()))


def scenario_named(name: str) -> type[Scenario]:
    """One of the library, or that of a file whose name ends in ``.py``.

    Raises InvalidArgumentError, which names those that there are.
    """
    if name.endswith(".py"):
        return load_scenario(Path(name))
    known = scenarios()
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InvalidArgumentError(
            f"no scenario {name!r}", advice=f"{hint}there are {', '.join(known)}"
        )
    return known[name]


def load_scenario(path: Path) -> type[Scenario]:
    """The scenario that a Python file defines; it is executed.

    Raises InvalidArgumentError for a file that cannot be executed, one that defines none or more
    than one, and for a scenario that cannot be played.
    """
    wanted = "a scenario is one of mkrpc sim --list, or a Python file"
    module = execute(path, wanted=wanted)
    found = _defined_in(module)
    if len(found) != 1:
        raise InvalidArgumentError(
            f"{path} defines {len(found) or 'no'} scenario{'s' if found else ''}",
            advice="one subclass of Scenario with a name, which has play and check",
        )
    problem = problem_of(found[0])
    if problem:
        raise InvalidArgumentError(
            f"{path}: {problem}", advice="docs/scenarios.md has a whole one, to begin with"
        )
    return found[0]


def _defined_in(module: ModuleType) -> list[type[Scenario]]:
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Scenario)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
        and isinstance(getattr(value, "name", None), str)
    ]
