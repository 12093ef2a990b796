"""The file that every instance of a host maps as its shared memory."""

import mmap
from pathlib import Path

from mkrpc.errors import StartUpError
from mkrpc.instance.memory import SharedMemory, Windows

__all__ = ["map_memory"]


def map_memory(path: Path, windows: Windows | None = None) -> SharedMemory:
    """Map it; StartUpError if that cannot be. ``windows``: what there is beside it."""
    try:
        with path.open("r+b") as file:
            return SharedMemory(mmap.mmap(file.fileno(), 0), windows)
    except (OSError, ValueError) as error:
        raise StartUpError(
            f"cannot map the shared memory {path}: {error}",
            advice="it is made by `mkrpc up`; instances on another host have none",
        ) from error
