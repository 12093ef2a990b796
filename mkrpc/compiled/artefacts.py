"""What was compiled, from which sources, and where it is kept.

A build is a folder with one extension module for each compiled module, one more that they share,
and a manifest. The manifest has the hash of every source that the build depends on: constants of
one module are inlined in others, so one source that differs makes the whole build stale.
"""

import os
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

__all__ = [
    "FOLDER_VARIABLE",
    "MANIFEST",
    "PURE_VARIABLE",
    "default_folder",
    "hash_of",
    "package_root",
    "read_manifest",
    "staleness",
]

PURE_VARIABLE = "MKRPC_PURE"
"""In the environment, not empty: the model runs as Python, whatever was compiled."""

FOLDER_VARIABLE = "MKRPC_COMPILED"
"""In the environment: the folder of the build, in place of :func:`default_folder`."""

MANIFEST = "manifest.json"


def package_root() -> Path:
    """The folder of the package ``mkrpc`` that is running."""
    return Path(__file__).parent.parent


def default_folder() -> Path:
    """Where the build is for this Python: within the package, so that every copy has its own."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    return package_root() / "_compiled" / abi()


def abi() -> str:
    """The Python that an extension module is for, as in its file's name."""
    return EXTENSION_SUFFIXES[0].removeprefix(".").removesuffix(".so")


def hash_of(source: Path) -> str:
    """The hash of a source file; empty if there is none."""
    import hashlib  # only where there is a build

    try:
        return hashlib.sha256(source.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a build; None if there is none that can be read."""
    import json

    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def staleness(folder: Path, manifest: dict[str, Any]) -> str:
    """Why a build must not be used; empty if it may."""
    if manifest.get("abi") != abi():
        return f"it is for {manifest.get('abi')}, this is {abi()}"
    root = package_root().parent
    for source, expected in manifest["sources"].items():
        if hash_of(root / source) != expected:
            return f"{source} has changed since"
    for module, file in manifest["modules"].items():
        if not (folder / file).is_file():
            return f"the file of {module} is missing"
    return ""
