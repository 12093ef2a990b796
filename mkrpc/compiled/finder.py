"""Imports compiled modules in place of their sources, if there is a build of these very sources."""

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

from mkrpc.compiled.artefacts import (
    MANIFEST,
    PURE_VARIABLE,
    default_folder,
    read_manifest,
    staleness,
)

__all__ = ["State", "install", "state"]


class State:
    """What the model runs as, and why. ``compiled``: as machine code, else as Python.

    ``stale``: there is a build, but not of these sources.
    """

    def __init__(self, reason: str, *, compiled: bool = False, stale: bool = False) -> None:
        self.compiled = compiled
        self.stale = stale
        self.reason = reason

    @property
    def text(self) -> str:
        """A few words for people."""
        return f"{'compiled' if self.compiled else 'pure Python'} ({self.reason})"


class _Finder:
    """Finds the modules of one build."""

    def __init__(self, files: dict[str, str]) -> None:
        self._files = files

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As :meth:`importlib.abc.MetaPathFinder.find_spec`."""
        file = self._files.get(name)
        if file is None:
            return None
        return spec_from_file_location(name, file, loader=ExtensionFileLoader(name, file))


_state = State("nothing was compiled")


def state() -> State:
    """What the model of this process runs as."""
    return _state


def install() -> None:
    """Let what follows import the build, if there is one and it may be used.

    Called before any other module of the package is imported; without a build it looks for one
    file. A build that is stale is not used, and :func:`state` says so.
    """
    global _state  # noqa: PLW0603 - what a process imports is global
    if os.environ.get(PURE_VARIABLE):
        _state = State(f"{PURE_VARIABLE} is set")
        return
    folder = default_folder()
    manifest = read_manifest(folder) if (folder / MANIFEST).exists() else None
    if manifest is None:
        return
    why = staleness(folder, manifest)
    if why:
        _state = State(f"the build in {_short(folder)} is stale: {why}", stale=True)
        return
    files = {module: str(folder / file) for module, file in manifest["modules"].items()}
    sys.meta_path.insert(0, _Finder(files))
    _state = State(f"{len(files) - 1} modules in {_short(folder)}", compiled=True)


def _short(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"
