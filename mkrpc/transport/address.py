"""Addresses: their form, where one may listen, and the lock that keeps a second server away.

Two forms: ``unix:/absolute/path`` and ``host:port`` (``[::1]:port`` for IPv6). The default of the
project is a Unix socket in a private directory: its mode is the protection, because the socket
file itself is created with the process's umask.
"""

import errno
import fcntl
import ipaddress
import os
import re
import socket
import stat
from dataclasses import dataclass, replace
from typing import Final, Self
from urllib.parse import quote

from mkrpc.errors import (
    AddressInUseError,
    InvalidArgumentError,
    MkrpcError,
    PermissionDeniedError,
    StartUpError,
)

__all__ = [
    "BEATS_SUFFIX",
    "MAX_PATH_BYTES",
    "Address",
    "AddressLock",
    "beside",
    "bind_error",
    "check_listen",
    "parse",
]

MAX_PATH_BYTES: Final = 107
"""The longest Unix socket path: ``sun_path`` has 108 bytes, one for the final NUL (unix(7))."""

BEATS_SUFFIX: Final = ".beats"
"""What the socket of beats is called beside the socket of its server."""

_FORMS = "give unix:/absolute/path, host:port or [ipv6]:port"
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_PORT = re.compile(r"[0-9]{1,5}")
_PRIVATE_MODE = 0o700
_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class Address:
    """A validated address: either ``path``, or ``host`` and ``port`` (0: the kernel chooses)."""

    path: str = ""
    host: str = ""
    port: int = 0

    @property
    def is_unix(self) -> bool:
        """True for a Unix socket."""
        return bool(self.path)

    @property
    def is_local(self) -> bool:
        """True when only this host can reach it: a Unix socket or a loopback address.

        A name other than ``localhost`` counts as remote: what it resolves to may change.
        """
        if self.is_unix or self.host == "localhost":
            return True
        literal = _ip_literal(self.host)
        return literal is not None and literal.is_loopback

    @property
    def listen_target(self) -> str:
        """The form that grpc's ``add_insecure_port`` takes."""
        return self.connect_target if self.is_unix else str(self)

    @property
    def connect_target(self) -> str:
        """The form that a grpc channel takes: a URI, so that no host name reads as a scheme."""
        if self.is_unix:
            return f"unix:{quote(os.fsencode(self.path))}"
        literal = _ip_literal(self.host)
        scheme = "dns:///" if literal is None else f"ipv{literal.version}:"
        return f"{scheme}{quote(str(self), safe='[]:.')}"

    def __str__(self) -> str:
        if self.is_unix:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _ip_literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def parse(address: str) -> Address:
    """The address that a string names; ``str()`` of the result gives it back in canonical form.

    Raises :class:`InvalidArgumentError` with advice: a relative or too long path, a missing or
    impossible port, an IPv6 address without brackets.
    """
    if address.startswith("unix:"):
        return _parse_unix(address, address.removeprefix("unix:"))
    host, colon, port = address.rpartition(":")
    if not colon or not host:
        raise InvalidArgumentError(f"{address!r} is not an address", advice=_FORMS)
    if not _PORT.fullmatch(port) or int(port) > 0xFFFF:
        raise InvalidArgumentError(f"{address!r} has no port from 0 to 65535", advice=_FORMS)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not isinstance(_ip_literal(host), ipaddress.IPv6Address):
            raise InvalidArgumentError(f"{host!r} is not an IPv6 address", advice=_FORMS)
    elif ":" in host:
        raise InvalidArgumentError(
            f"{address!r} has several colons", advice="put an IPv6 address in brackets: [::1]:port"
        )
    elif not _HOST_NAME.fullmatch(host):
        raise InvalidArgumentError(f"{host!r} is not a host name", advice=_FORMS)
    return Address(host=host, port=int(port))


def beside(reached: Address, told: str) -> Address:
    """The address that a server which was reached under one tells of itself.

    ``:port`` is on the same host, whatever name it was reached by; else as :func:`parse`.
    """
    return replace(reached, port=int(told[1:])) if told.startswith(":") else parse(told)


def _parse_unix(address: str, path: str) -> Address:
    if path.startswith("//"):
        path = "/" + path.lstrip("/")
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise InvalidArgumentError(
            f"{address!r} does not name a socket by its absolute path", advice=_FORMS
        )
    size = len(os.fsencode(path))
    if size > MAX_PATH_BYTES:
        raise InvalidArgumentError(
            f"the socket path has {size} bytes, the kernel takes {MAX_PATH_BYTES}: {path}",
            advice="use a shorter directory, for instance below $XDG_RUNTIME_DIR or /tmp",
        )
    return Address(path=path)


def check_listen(address: Address, insecure: bool) -> None:
    """Permit to listen on this host; beyond it only if the operator insists.

    Raises :class:`PermissionDeniedError`: without identities and encryption everybody who reaches
    the port can ring every CPU (design 3.5 and 7).
    """
    if address.is_local or insecure:
        return
    raise PermissionDeniedError(
        f"{address} can be reached from other hosts, and there are no identities and no "
        "encryption yet",
        advice="listen on 127.0.0.1 or a Unix socket; --insecure lets everybody who reaches the "
        "port control this cluster",
    )


def bind_error(address: Address) -> MkrpcError:
    """Why a bind failed, as far as a second try tells: grpc says only that it did."""
    reason = "the kernel did not say why"
    if not address.is_unix:
        try:
            _try_bind(address)
        except socket.gaierror as failure:
            return InvalidArgumentError(
                f"cannot listen on {address}: {failure.strerror}", advice="check the host name"
            )
        except OSError as failure:
            if failure.errno == errno.EADDRINUSE:
                return AddressInUseError(
                    f"{address} is in use by another process",
                    advice="choose another port, or port 0 for a free one",
                )
            reason = os.strerror(failure.errno) if failure.errno else str(failure)
    return StartUpError(f"cannot listen on {address}: {reason}", advice="choose another address")


def _try_bind(address: Address) -> None:
    family, kind, protocol, _, where = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(where)


class AddressLock:
    """The exclusive right to serve an address, held until ``release`` or the end of the process.

    A second grpc server on a Unix socket would unlink the first one's file without a word and take
    its clients, so an flock(2) on ``PATH.lock`` is taken before the bind, and a stale socket is
    removed only under it. The kernel drops the lock with the process, kill -9 included. A TCP
    address needs no file: with ``grpc.so_reuseport=0`` the kernel itself refuses the second bind.

    A child forked without exec would inherit the lock (flock(2)): servers spawn, they do not fork.
    The lock file stays behind; only its holder may remove it, as `mkrpc down` does.
    """

    __slots__ = ("_address", "_descriptor")

    def __init__(self, address: Address) -> None:
        self._address = address
        self._descriptor = -1

    @property
    def held(self) -> bool:
        """True between ``acquire`` and ``release`` (never for TCP)."""
        return self._descriptor >= 0

    def acquire(self) -> None:
        """Take the lock and clear a stale socket away.

        Raises :class:`AddressInUseError` naming the holder's process id,
        :class:`PermissionDeniedError` when the directory is not private to this user, and
        :class:`StartUpError` when it cannot be used at all.
        """
        assert not self.held, "acquired twice"
        if not self._address.is_unix:
            return
        try:
            directory = _open_private_directory(os.path.dirname(self._address.path))
            try:
                self._descriptor = _lock_file(self._address, directory)
                _remove_stale_socket(self._address, directory)
            finally:
                os.close(directory)
        except OSError as failure:
            self.release()
            raise StartUpError(
                f"cannot use {self._address}: {failure.strerror}",
                advice="choose a socket path in a directory that you can write to",
            ) from failure
        except MkrpcError:
            self.release()
            raise

    def release(self) -> None:
        """Give the address back; idempotent."""
        if self.held:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _open_private_directory(path: str) -> int:
    os.makedirs(path, mode=_PRIVATE_MODE, exist_ok=True)
    if os.path.islink(path):
        raise PermissionDeniedError(
            f"{path} is a symbolic link: it could lead elsewhere tomorrow",
            advice="name the directory itself",
        )
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(directory)
    if status.st_uid == os.geteuid() and not status.st_mode & _OTHERS:
        return directory
    os.close(directory)
    if status.st_uid != os.geteuid():
        raise PermissionDeniedError(
            f"{path} belongs to user {status.st_uid}, not to you ({os.geteuid()})",
            advice="choose a socket path in a directory of your own",
        )
    raise PermissionDeniedError(
        f"{path} is open to other users (mode {stat.S_IMODE(status.st_mode):04o})",
        advice=f"chmod 700 {path}, or choose a directory of your own",
    )


def _lock_file(address: Address, directory: int) -> int:
    name = os.path.basename(address.path) + ".lock"
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        descriptor = os.open(name, flags, 0o600, dir_fd=directory)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise AddressInUseError(
                f"{address} is served by process {holder or '(just starting)'}",
                advice="use that one, stop it, or choose another address",
            ) from None
        # A holder may have removed the file between our open and flock: then this locks nothing
        # that the next one would see.
        if _is_named(descriptor, name, directory):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
            return descriptor
        os.close(descriptor)


def _is_named(descriptor: int, name: str, directory: int) -> bool:
    try:
        named = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), named)


def _remove_stale_socket(address: Address, directory: int) -> None:
    name = os.path.basename(address.path)
    try:
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise AddressInUseError(
            f"{address.path} exists and is not a socket", advice="choose another path"
        )
    os.unlink(name, dir_fd=directory)
