"""Addresses, where one may listen, and the lock on an address (design section 7)."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.errors import (
    AddressInUseError,
    InvalidArgumentError,
    PermissionDeniedError,
    StartUpError,
)
from mkrpc.transport.address import (
    MAX_PATH_BYTES,
    Address,
    AddressLock,
    bind_error,
    check_listen,
    parse,
)

HOLD_THE_LOCK = """
import sys
from mkrpc.transport.address import AddressLock, parse
AddressLock(parse(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def directory() -> Iterator[str]:
    """A private directory with a short name: pytest's tmp_path can pass the 107 bytes."""
    path = tempfile.mkdtemp(prefix="mk-", dir="/tmp")
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/run/mkrpc/s", Address(path="/run/mkrpc/s")),
        ("unix:///run/mkrpc/s", Address(path="/run/mkrpc/s")),
        ("unix:/tmp/a b%20#?é", Address(path="/tmp/a b%20#?é")),
        ("127.0.0.1:0", Address(host="127.0.0.1", port=0)),
        ("localhost:50051", Address(host="localhost", port=50051)),
        ("[::1]:65535", Address(host="::1", port=65535)),
        ("node-3.example.org:1", Address(host="node-3.example.org", port=1)),
    ],
)
def test_parse_reads_both_forms(text: str, address: Address) -> None:
    assert parse(text) == address
    assert parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unix:",
        "unix:relative/s",
        "unix:/a/",
        "unix:/a\0b",
        "unix-abstract:name",
        "localhost",
        ":50051",
        "localhost:",
        "localhost:65536",
        "localhost:-1",
        "localhost:+5",
        "localhost:٣",
        "localhost:5 ",
        "::1:50051",
        "[::1]",
        "[nonsense]:1",
        "[127.0.0.1]:1",
        "a_b:1",
        "-a:1",
        "http://localhost:1",
    ],
)
def test_parse_refuses_with_advice(text: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        parse(text)
    assert refused.value.advice
    assert "\n" not in str(refused.value)


@given(st.text(max_size=120))
def test_parse_answers_any_text_with_an_address_or_a_typed_error(text: str) -> None:
    try:
        address = parse(text)
    except InvalidArgumentError:
        return
    assert parse(str(address)) == address


@pytest.mark.parametrize("letter", ["a", "é"])
def test_a_path_beyond_107_bytes_is_refused_and_says_how_to_shorten(letter: str) -> None:
    fits = "/" + "x" * (MAX_PATH_BYTES - 1 - len(letter.encode())) + letter
    assert parse(f"unix:{fits}").path == fits
    with pytest.raises(InvalidArgumentError, match="108 bytes") as refused:
        parse(f"unix:{fits}y")
    assert "shorter directory" in refused.value.advice


def test_107_bytes_are_what_the_kernel_takes(directory: str) -> None:
    path = directory + "/" + "x" * (MAX_PATH_BYTES - len(directory) - 1)
    with socket.socket(socket.AF_UNIX) as fits, socket.socket(socket.AF_UNIX) as too_long:
        fits.bind(path)
        with pytest.raises(OSError, match="too long"):
            too_long.bind(path + "y")


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("unix:/run/s", True),
        ("127.0.0.1:1", True),
        ("127.255.0.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("192.168.0.1:1", False),
        ("localhost.example.org:1", False),
        ("2130706433:1", False),  # 127.0.0.1 as one number: a name to us
    ],
)
def test_beyond_loopback_only_with_insecure(text: str, local: bool) -> None:
    address = parse(text)
    assert address.is_local is local
    check_listen(address, insecure=True)
    if local:
        check_listen(address, insecure=False)
        return
    with pytest.raises(PermissionDeniedError, match="no identities and no encryption") as refused:
        check_listen(address, insecure=False)
    assert "--insecure" in refused.value.advice


def test_the_lock_makes_a_private_directory_and_names_its_holder(directory: str) -> None:
    path = Path(directory) / "new" / "s"
    with AddressLock(Address(path=str(path))):
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert Path(f"{path}.lock").stat().st_mode & 0o777 == 0o600
        with pytest.raises(AddressInUseError, match=f"process {os.getpid()}$"):
            AddressLock(Address(path=str(path))).acquire()
    with AddressLock(Address(path=str(path))) as again:
        assert again.held
    assert not again.held


def test_a_refused_holder_leaves_the_first_ones_socket_alone(directory: str) -> None:
    address = Address(path=f"{directory}/s")
    with AddressLock(address), socket.socket(socket.AF_UNIX) as served:
        served.bind(address.path)
        with pytest.raises(AddressInUseError):
            AddressLock(address).acquire()
        assert os.path.exists(address.path)


def test_a_stale_socket_is_removed_under_the_lock(directory: str) -> None:
    address = Address(path=f"{directory}/s")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(address.path)
    with AddressLock(address):
        assert not os.path.exists(address.path)


def test_a_file_that_is_no_socket_is_not_removed(directory: str) -> None:
    path = Path(directory) / "s"
    path.write_text("precious")
    lock = AddressLock(Address(path=str(path)))
    with pytest.raises(AddressInUseError, match="not a socket"):
        lock.acquire()
    assert path.read_text() == "precious"
    assert not lock.held


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o755, 0o770, 0o777])
def test_a_directory_open_to_others_is_refused(directory: str, mode: int) -> None:
    os.chmod(directory, mode)
    with pytest.raises(PermissionDeniedError, match=f"mode {mode:04o}") as refused:
        AddressLock(Address(path=f"{directory}/s")).acquire()
    assert "chmod 700" in refused.value.advice
    assert os.listdir(directory) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(directory: str) -> None:
    os.chown(directory, 65534, 65534)
    with pytest.raises(PermissionDeniedError, match="belongs to user 65534"):
        AddressLock(Address(path=f"{directory}/s")).acquire()


def test_a_symbolic_link_is_not_followed(directory: str) -> None:
    os.mkdir(f"{directory}/real", 0o700)
    os.symlink(f"{directory}/real", f"{directory}/link")
    with pytest.raises(PermissionDeniedError, match="symbolic link"):
        AddressLock(Address(path=f"{directory}/link/s")).acquire()
    os.symlink("/etc/passwd", f"{directory}/real/s.lock")
    with pytest.raises(StartUpError):
        AddressLock(Address(path=f"{directory}/real/s")).acquire()


def test_a_directory_that_cannot_be_made_is_a_typed_error(directory: str) -> None:
    (Path(directory) / "file").write_text("")
    with pytest.raises(StartUpError, match="cannot use"):
        AddressLock(Address(path=f"{directory}/file/sub/s")).acquire()


def test_the_lock_dies_with_its_holder_killed(directory: str) -> None:
    address = Address(path=f"{directory}/s")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_LOCK, str(address)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(AddressInUseError, match=f"process {holder.pid}$"):
            AddressLock(address).acquire()
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=10)
    with AddressLock(address) as mine:
        assert mine.held


def test_a_lock_file_removed_between_open_and_flock_locks_nothing(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder of the lock may remove its file; whoever had just opened it must look again."""
    address = Address(path=f"{directory}/s")
    Path(directory).chmod(0o700)
    flock = fcntl.flock
    raced = []

    def removed_first(descriptor: int, operation: int) -> None:
        if not raced:
            raced.append(Path(f"{address.path}.lock").unlink())
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", removed_first)
    with AddressLock(address), pytest.raises(AddressInUseError):
        AddressLock(address).acquire()
    assert raced


def test_tcp_needs_no_lock_file() -> None:
    with AddressLock(Address(host="127.0.0.1", port=1)) as lock:
        assert not lock.held


def test_bind_error_tells_a_port_in_use_from_a_foreign_address() -> None:
    with socket.socket() as served:
        served.bind(("127.0.0.1", 0))
        served.listen()
        taken = Address(host="127.0.0.1", port=served.getsockname()[1])
        assert isinstance(bind_error(taken), AddressInUseError)
    foreign = bind_error(Address(host="192.0.2.1", port=0))  # TEST-NET-1 (RFC 5737)
    assert isinstance(foreign, StartUpError)
    assert "assign requested address" in str(foreign)
