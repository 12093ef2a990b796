"""Finds the programs and handlers that a topology names.

They are given as ``package.module:name``, or as callables from a script; never as generator
objects, which cannot be copied into another process.
"""

import importlib
from collections.abc import Callable
from typing import Any

from mkrpc.errors import TopologyError

__all__ = ["load_entry"]


def load_entry(entry: str) -> Callable[..., Any]:
    """The callable that ``package.module:name`` names.

    Raises :class:`TopologyError` if there is no such module or name, if importing it raises, or if
    it cannot be called.
    """
    module_name, colon, name = entry.partition(":")
    if not colon or not module_name or not name:
        raise TopologyError(
            f"{entry!r} names no program",
            advice="write it as package.module:name, such as mypackage.programs:ping",
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise TopologyError(
            f"cannot import {module_name!r}, which {entry!r} names: {error}",
            advice="install it where the instances run, or start them with PYTHONPATH set",
        ) from error
    except (Exception, SystemExit) as error:
        raise TopologyError(
            f"importing {module_name!r}, which {entry!r} names, raised "
            f"{type(error).__name__}: {error}",
            advice="try `python -c 'import ...'` where the instances run, and mend the module",
        ) from error
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise TopologyError(
            f"{module_name} has no callable {name!r}",
            advice="a program or handler is a function, given by its name",
        )
    return found  # type: ignore[no-any-return]
