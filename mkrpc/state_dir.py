"""Where a cluster lives on disk, and which processes belong to it.

Each cluster has a private directory (mode 0700) by its name, below ``$MKRPC_STATE_DIR``, else
``$XDG_RUNTIME_DIR/mkrpc``, else ``/tmp/mkrpc-UID``. Every process of a cluster carries the
directory in its environment, so that all of them can be found after any crash without a list that
could be stale.
"""

import os
import re
import shutil
import signal
import stat
import time
from pathlib import Path

from mkrpc.errors import ClusterStateError, InvalidArgumentError, PermissionDeniedError

__all__ = ["CLUSTER_VARIABLE", "cluster_dir", "cluster_names", "end_all", "members", "remove_dir"]

CLUSTER_VARIABLE = "MKRPC_CLUSTER"
"""The environment variable that marks the processes of a cluster."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_POLL_S = 0.01


def root() -> Path:
    """The directory of all clusters of this user."""
    chosen = os.environ.get("MKRPC_STATE_DIR")
    if chosen:
        return Path(chosen).absolute()
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "mkrpc" if runtime else Path(f"/tmp/mkrpc-{os.getuid()}")


def cluster_dir(name: str) -> Path:
    """The directory of a cluster; :class:`InvalidArgumentError` for a name that cannot be one."""
    if not _NAME.fullmatch(name):
        raise InvalidArgumentError(
            f"{name!r} cannot be the name of a cluster",
            advice="use up to 32 letters, digits, dots, dashes and underscores",
        )
    return root() / name


def cluster_names() -> list[str]:
    """The clusters that have a directory, running or not."""
    if not root().is_dir():
        return []
    return sorted(path.name for path in root().iterdir() if path.is_dir())


def make_private(path: Path) -> None:
    """Make a directory that only this user can enter, or make sure that it is one."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionDeniedError(
            f"{path} is not a private directory of yours",
            advice="remove it, or name another with MKRPC_STATE_DIR",
        )


def members(directory: Path) -> list[int]:
    """Process ids of the cluster's processes that run (zombies do not), this one left out."""
    mark = f"{CLUSTER_VARIABLE}={directory}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue  # It ended meanwhile, or it belongs to somebody else: not ours either way.
        if mark in environment.split(b"\0") and state != "Z":
            found.append(int(entry.name))
    return sorted(found)


def end_all(directory: Path, *, grace_s: float) -> list[int]:
    """Kill what is left of a cluster after ``grace_s`` seconds; the ids of those killed."""
    deadline = time.monotonic() + grace_s
    while (left := members(directory)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    killed = []
    while left:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            if pid not in killed:
                killed.append(pid)
        if time.monotonic() > deadline + 2 * grace_s + 5:
            raise ClusterStateError(
                f"processes {left} of {directory.name} do not end",
                advice="look at them with ps; a process in state D waits for the kernel",
            )
        time.sleep(_POLL_S)
        left = members(directory)
    return killed


def remove_dir(directory: Path) -> None:
    """Remove the cluster's directory with its socket, logs and memory."""
    shutil.rmtree(directory, ignore_errors=False)
