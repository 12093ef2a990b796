"""Where a cluster lives on disk, and which processes belong to it.

Each cluster has a private directory (mode 0700) by its name, below ``$MKRPC_STATE_DIR``, else
``$XDG_RUNTIME_DIR/mkrpc``, else ``/tmp/mkrpc-UID``. Every process of a cluster carries the
directory in its environment, so that all of them can be found after any crash without a list that
could be stale. Only directories that bear mkrpc's mark are ever removed, and whoever starts or
removes a cluster holds the lock of its name meanwhile.
"""

import errno
import fcntl
import os
import re
import shutil
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mkrpc.errors import (
    ClusterStateError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)

__all__ = [
    "BOOKS_FILE",
    "CLUSTER_VARIABLE",
    "CONFIG_FILE",
    "MARK",
    "RECORD_FILE",
    "check_made_here",
    "check_private",
    "cluster_dir",
    "cluster_names",
    "end_all",
    "locked",
    "make_dir",
    "make_private",
    "members",
    "remove_dir",
    "root",
    "writing",
]

CLUSTER_VARIABLE = "MKRPC_CLUSTER"
"""The environment variable that marks the processes of a cluster."""

MARK = "made-by-mkrpc"
"""The file that tells a cluster's directory from one that somebody else put in its place."""

CONFIG_FILE = "config.json"
"""What the launcher wants, written before the host agent starts."""

RECORD_FILE = "cluster.json"
"""What the host agent writes once the cluster is up: name, address, its process id."""

BOOKS_FILE = "books.sqlite"
"""What the interconnect keeps for the one that may have to take over from it."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_POLL_S = 0.01
_NOT_WRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def root() -> Path:
    """The directory of all clusters of this user.

    Resolved, because processes are found by this very path: through a symbolic link a cluster
    would seem to have none. The last part of a path that this module chose by itself stays as it
    is: there a link would be somebody else's, and :func:`check_private` refuses it.
    """
    chosen = os.environ.get("MKRPC_STATE_DIR")
    if chosen:
        return Path(chosen).resolve()
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime).resolve() / "mkrpc"
    return Path("/tmp").resolve() / f"mkrpc-{os.getuid()}"


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
    try:
        entries = list(root().iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(path.name for path in entries if _NAME.fullmatch(path.name) and _is_marked(path))


def make_private(path: Path) -> None:
    """Make a directory that only this user can enter, or make sure that it is one."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ClusterStateError(
            f"cannot make the directory {path}: {error.strerror}",
            advice="name another with MKRPC_STATE_DIR",
        ) from error
    check_private(path)


def check_private(path: Path) -> None:
    """:class:`PermissionDeniedError` unless only this user can enter the directory."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionDeniedError(
            f"{path} is not a private directory of yours",
            advice="remove it, or name another with MKRPC_STATE_DIR",
        )
    if status.st_mode & 0o077:
        raise PermissionDeniedError(
            f"{path} is open to others: its mode is {stat.S_IMODE(status.st_mode):04o}",
            advice=f"chmod 700 {path}, or name another with MKRPC_STATE_DIR",
        )


def make_dir(directory: Path) -> None:
    """Make a cluster's directory, private and marked. Call under :func:`locked`."""
    directory.mkdir(mode=0o700)
    (directory / MARK).touch(mode=0o600)


def check_made_here(directory: Path) -> None:
    """:class:`ClusterStateError` unless mkrpc made this directory."""
    if not _is_marked(directory):
        raise ClusterStateError(
            f"{directory} was not made by mkrpc, and is left as it is",
            advice="move it away, or use another --name or MKRPC_STATE_DIR",
        )


def _is_marked(directory: Path) -> bool:
    return not directory.is_symlink() and (directory / MARK).is_file()


@contextmanager
def writing(directory: Path) -> Iterator[None]:
    """What a full, read-only or forbidden file system refuses is :class:`ClusterStateError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_WRITABLE:
            raise
        raise ClusterStateError(
            f"cannot write below {directory}: {error.strerror}",
            advice="make room there, or name another directory with MKRPC_STATE_DIR",
        ) from error


@contextmanager
def locked(name: str, doing: str, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the name of a cluster for one start or one removal.

    ``doing``, such as ``started``, is what others are told that happens. Whoever holds the name is
    waited for ``wait_s`` seconds, then :class:`ClusterStateError`; :class:`NotFoundError` if the
    directory of all clusters is gone. The kernel frees the lock with the process; its file is
    removed at the end, save by a process that is killed: then the next holder removes it.
    """
    # No name of a cluster begins with a dot.
    path = root() / f".{name}.lock"
    with writing(path.parent):
        descriptor = _take(path, name, time.monotonic() + wait_s)
    try:
        with writing(path.parent):
            os.pwrite(descriptor, f"{doing} by process {os.getpid()}\n".encode(), 0)
        yield
    finally:
        # First the file, then the lock: who waits for a file that is gone looks again, see _take.
        path.unlink(missing_ok=True)
        # Not by closing alone: a child forked meanwhile may hold a copy of the descriptor.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _take(path: Path, name: str, deadline: float) -> int:
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            raise NotFoundError(
                f"no cluster named {name!r}: {path.parent} is gone", advice="nothing is running"
            ) from None
        holder = ""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                os.ftruncate(descriptor, 0)
                return descriptor
            busy = False
        except BlockingIOError:
            holder = os.pread(descriptor, 80, 0).decode("ascii", "replace").strip()
            busy = True
        os.close(descriptor)
        if not busy:
            continue  # The last holder has removed this file: there may be another by now.
        if time.monotonic() >= deadline:
            raise ClusterStateError(
                f"a cluster named {name!r} is being {holder or 'started or stopped'}",
                advice="wait until that is done, or give another --name",
            )
        time.sleep(_POLL_S)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def members(directory: Path, *, variable: str = CLUSTER_VARIABLE) -> list[int]:
    """Process ids of the cluster's processes that run (zombies do not), this one left out.

    ``variable``: another mark than a cluster's, whose value is the directory.
    """
    mark = f"{variable}={directory}".encode()
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


def end_all(directory: Path, *, grace_s: float, variable: str = CLUSTER_VARIABLE) -> list[int]:
    """Kill what is left of a cluster after ``grace_s`` seconds; the ids of those killed.

    ``variable`` as of :func:`members`.
    """
    deadline = time.monotonic() + grace_s
    while (left := members(directory, variable=variable)) and time.monotonic() < deadline:
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
        left = members(directory, variable=variable)
    return killed


def remove_dir(directory: Path) -> None:
    """Remove the cluster's directory with its socket, logs and memory.

    :class:`ClusterStateError` if mkrpc did not make it. The mark goes last, so that a removal that
    was cut short can be taken up again.
    """
    check_made_here(directory)
    for entry in directory.iterdir():
        if entry.name == MARK:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
    (directory / MARK).unlink()
    directory.rmdir()
