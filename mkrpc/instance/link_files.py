"""Doors and links as files that the instances of one host map: real shared memory.

They lie in a private directory of the cluster (mode 0700) and go with it, whoever was killed. A
file appears whole under its name or not at all, and its blocks are allocated before it is mapped: a
full file system refuses, and no store ends in SIGBUS. An instance holds a lock on its door, which
the kernel frees with the process.

What is relied upon. An item of a memoryview of format Q, H, I or B is copied with memcpy of its
constant size, which compilers for x86-64 make one MOV; at an aligned address that is atomic (SDM
vol. 3, 9.1.1), and stores become visible to others in program order (9.2.2), as do loads. That is
all that rings with one producer and one consumer need; nothing here compares and exchanges. On
other machines nothing is shared.
"""

import fcntl
import mmap
import os
import platform
import secrets
from contextlib import suppress
from pathlib import Path

import structlog

from mkrpc.instance.link_windows import DOOR_BYTES, Door

__all__ = ["BOOT_ID", "LINKS_DIRECTORY", "LinkFiles", "memory_is_ordered"]

LINKS_DIRECTORY = "links"
"""In the state directory of a cluster."""

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Another one, and the directory is shared with another host, or left from before a reboot."""

_log = structlog.get_logger("mkrpc.instance")


def memory_is_ordered() -> bool:
    """Whether this machine's loads and stores are seen in program order (x86-TSO)."""
    return platform.machine() in ("x86_64", "AMD64")


class LinkFiles:
    """A :class:`mkrpc.instance.link_windows.LinkStore` in a directory. Call :meth:`close`.

    A directory below it is that of this boot of this host, so that one that several hosts can
    reach, or that is older than the machine's memory, makes nobody believe in memory."""

    def __init__(self, directory: Path) -> None:
        try:
            boot = BOOT_ID.read_text().strip()
        except OSError:
            boot = platform.node()
        self._directory = directory / boot
        self._lock = -1

    def publish(self, own: int, incarnation: bytes) -> Door | None:
        """As ``LinkStore``. Whatever keeps the memory from being shared is logged; the messages
        then go through the interconnect."""
        if not memory_is_ordered():
            _log.warning("no links over shared memory", machine=platform.machine())
            return None
        try:
            for directory in (self._directory.parent, self._directory):
                directory.mkdir(mode=0o700, exist_ok=True)
            before = self.door(own)
            door = self._make_door(self._directory / str(own), Door.image(incarnation))
            if before is not None:
                before.retire()
                self._remove_links(own, incarnation)
        except OSError as error:
            _log.warning("no links over shared memory", error=str(error))
            return None
        return door

    def door(self, instance: int) -> Door | None:
        """As ``LinkStore``."""
        memory = _map(self._directory / str(instance), DOOR_BYTES)
        return Door(memory) if memory is not None else None

    def lives(self, instance: int) -> bool:
        """As ``LinkStore``, by its lock."""
        try:
            descriptor = os.open(self._directory / str(instance), os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def link(self, name: str, image: bytes) -> memoryview | None:
        """As ``LinkStore``; whoever comes first makes it."""
        path = self._directory / name
        memory = _map(path, len(image))
        if memory is None:
            try:
                _make(path, image, replace=False)
            except OSError as error:
                _log.warning("no memory for a link", error=str(error))
                return None
            memory = _map(path, len(image))
        return memory

    def close(self) -> None:
        """This instance is over."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _make_door(self, path: Path, image: bytes) -> Door | None:
        self.close()
        self._lock = _make(path, image, replace=True)
        memory = _map(path, len(image))
        return Door(memory) if memory is not None else None

    def _remove_links(self, own: int, incarnation: bytes) -> None:
        """Those of earlier incarnations."""
        current = f"{own}-{incarnation.hex()}"
        for path in self._directory.iterdir():
            ends = path.name.split(".")
            if ends[0] and current not in ends and any(end.startswith(f"{own}-") for end in ends):
                path.unlink(missing_ok=True)


def _make(path: Path, image: bytes, *, replace: bool) -> int:
    """A file with these bytes under this name, all at once.

    With ``replace`` it takes the place of another one, and is locked: the descriptor that holds the
    lock, else -1. Without, one that is there already stays.
    """
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, len(image))
        os.pwrite(descriptor, image, 0)
        if replace:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            temporary.rename(path)
            kept, descriptor = descriptor, -1
            return kept
        with suppress(FileExistsError):
            os.link(temporary, path)
        return -1
    finally:
        temporary.unlink(missing_ok=True)
        if descriptor >= 0:
            os.close(descriptor)


def _map(path: Path, size: int) -> memoryview | None:
    """The file's first ``size`` bytes; None if there is no such file, or a shorter one."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if os.fstat(descriptor).st_size < size:
            return None
        return memoryview(mmap.mmap(descriptor, size))
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)
