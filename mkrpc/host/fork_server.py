"""The process from which all others of a cluster are forked; it begins before this one is ready.

While it imports what instances are made of, on another core, the host agent imports its own and
reads what it is to start. Nothing here takes long to import, for that reason.
"""

import json
from pathlib import Path

import multiprocess
from multiprocess import forkserver

from mkrpc.state_dir import CONFIG_FILE
from mkrpc.transport.descriptors import raise_limit

__all__ = ["FORK_SERVER", "PRELOAD", "begin"]

FORK_SERVER = "forkserver"
"""The start method by this name is the one unless the launcher wants another."""

PRELOAD = ["mkrpc.host.preload"]
"""What the fork server imports once for every child."""


def begin(state_dir: Path) -> None:
    """Start it, if the cluster of this directory is to have one; it may have as many files open as
    the system lets it."""
    config = json.loads((state_dir / CONFIG_FILE).read_text())
    if config.get("start_method", FORK_SERVER) != FORK_SERVER:
        return
    raise_limit()
    multiprocess.get_context(FORK_SERVER).set_forkserver_preload(PRELOAD)
    forkserver.ensure_running()
