"""Where a cluster lives: names, private directories, and its processes by their environment."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mkrpc.errors import (
    ClusterStateError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)
from mkrpc.state_dir import (
    CLUSTER_VARIABLE,
    cluster_dir,
    cluster_names,
    end_all,
    locked,
    make_dir,
    make_private,
    members,
    remove_dir,
    root,
    writing,
)


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MKRPC_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.mark.parametrize(
    ("chosen", "runtime", "expected"),
    [
        ("/a", "/r", "/a"),
        ("", "/r", "/r/mkrpc"),
        (None, "/r", "/r/mkrpc"),
        (None, None, f"/tmp/mkrpc-{os.getuid()}"),
        (None, "", f"/tmp/mkrpc-{os.getuid()}"),
    ],
)
def test_the_root_is_chosen_by_the_environment(monkeypatch, chosen, runtime, expected):
    for name, value in (("MKRPC_STATE_DIR", chosen), ("XDG_RUNTIME_DIR", runtime)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert root() == Path(expected)


def test_a_relative_choice_holds_wherever_a_process_goes(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MKRPC_STATE_DIR", "here")
    assert root() == tmp_path / "here"


@pytest.mark.parametrize("name", ["a", "default", "A-1.b_c", "0", "x" * 32])
def test_names_that_can_be(name, state):
    assert cluster_dir(name) == state / name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".a", "-a", "_a", "a/b", "/a", "a b", "a\n", "x" * 33, "é", "a\0"]
)
def test_names_that_cannot_be(name):
    with pytest.raises(InvalidArgumentError, match="cannot be the name"):
        cluster_dir(name)


def test_the_clusters_are_the_directories_that_were_made_here(state):
    assert cluster_names() == []
    make_private(state)
    for name in ("b", "a"):
        make_dir(cluster_dir(name))
    (state / "file").touch()
    (state / "somebody-elses").mkdir()
    (state / "link").symlink_to(state / "a")
    assert cluster_names() == ["a", "b"]
    remove_dir(cluster_dir("a"))
    assert cluster_names() == ["b"]
    assert {path.name for path in state.iterdir()} == {"b", "file", "somebody-elses", "link"}


def test_a_root_that_is_no_directory_holds_no_clusters(state):
    state.touch()
    assert cluster_names() == []


def test_the_root_is_the_same_through_a_link(state, tmp_path, monkeypatch):
    """Processes are found by this path: another name for it must not hide them."""
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    monkeypatch.setenv("MKRPC_STATE_DIR", str(tmp_path / "elsewhere" / "state"))
    assert root() == state


def test_a_directory_that_was_not_made_here_is_never_removed(state):
    make_private(state)
    (state / "a").mkdir()
    (state / "a" / "precious").write_text("1")
    with pytest.raises(ClusterStateError, match="was not made by mkrpc"):
        remove_dir(state / "a")
    make_dir(state / "b")
    (state / "link").symlink_to(state / "b")
    with pytest.raises(ClusterStateError, match="was not made by mkrpc"):
        remove_dir(state / "link")
    assert (state / "a" / "precious").read_text() == "1"
    assert (state / "b").is_dir()


def test_a_removal_stays_within_the_directory(state, tmp_path):
    make_private(state)
    make_dir(state / "a")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").touch()
    (state / "a" / "link").symlink_to(tmp_path / "outside")
    (state / "a" / "logs").mkdir()
    (state / "a" / "logs" / "log").touch()
    remove_dir(state / "a")
    assert not (state / "a").exists()
    assert (tmp_path / "outside" / "precious").exists()


HOLDER = """
import sys
from mkrpc.state_dir import locked
with locked("a", "started"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(state) -> Iterator[subprocess.Popen]:
    """Another process, which holds the name ``a`` until its standard input ends."""
    make_private(state)
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_name_is_held_by_one_at_a_time(holder, state):
    expected = f"'a' is being started by process {holder.pid}"
    with pytest.raises(ClusterStateError, match=expected), locked("a", "stopped"):
        pass
    with locked("b", "stopped"):
        pass  # another name is free
    holder.stdin.close()
    with locked("a", "stopped", wait_s=30.0):
        pass
    assert list(state.iterdir()) == []


def test_what_a_killed_holder_leaves_hinders_nobody(holder, state):
    holder.kill()
    holder.wait()
    assert [path.name for path in state.iterdir()] == [".a.lock"]
    with locked("a", "stopped"):
        pass
    assert list(state.iterdir()) == []


def test_a_name_is_held_by_one_thread_at_a_time_however_often_the_file_is_removed(state):
    make_private(state)
    inside, most, done = [0], [0], []

    def hold() -> None:
        for _ in range(20):
            with locked("a", "started", wait_s=60.0):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                os.sched_yield()
                inside[0] -= 1
        done.append(True)

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, len(done)) == ([1], 4)
    assert list(state.iterdir()) == []


def test_with_no_root_there_is_nothing_to_hold(state):
    with pytest.raises(NotFoundError, match="is gone"), locked("a", "stopped"):
        pass
    assert not state.exists()


def test_a_directory_is_made_private_and_accepted_again(state):
    for _ in range(2):
        make_private(state)
        assert state.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o720, 0o704, 0o755, 0o777])
def test_a_directory_that_others_can_enter_is_refused(state, mode):
    state.mkdir()
    state.chmod(mode)
    with pytest.raises(PermissionDeniedError, match="is open to others") as refused:
        make_private(state)
    assert refused.value.advice.startswith(f"chmod 700 {state}, ")


def test_a_link_to_a_private_directory_is_refused(state, tmp_path):
    """Somebody else could turn it round between the check and the use."""
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    state.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionDeniedError, match="not a private directory"):
        make_private(state)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(state):
    state.mkdir(mode=0o700)
    os.chown(state, 12345, -1)
    with pytest.raises(PermissionDeniedError, match="not a private directory"):
        make_private(state)


@pytest.fixture
def spawn() -> Iterator[Callable[[str], subprocess.Popen]]:
    """``spawn(mark)``: a process that runs until killed, with this value in its environment."""
    started = []

    def start(mark: str) -> subprocess.Popen:
        code = "print(flush=True); import sys; sys.stdin.read()"
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {CLUSTER_VARIABLE: mark},
        )
        started.append(process)
        process.stdout.readline()
        return process

    yield start
    for process in started:
        with process:
            process.kill()


def test_members_are_found_by_the_whole_of_their_mark(spawn, state, monkeypatch):
    ours = spawn(str(state / "a"))
    other = spawn(str(state / "ab"))
    monkeypatch.setenv(CLUSTER_VARIABLE, str(state / "a"))
    assert members(state / "a") == [ours.pid]
    assert members(state / "ab") == [other.pid]
    assert members(state / "none") == []


def test_a_zombie_is_no_member(spawn, state):
    process = spawn(str(state / "a"))
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert members(state / "a") == []


def test_what_is_left_is_killed_and_the_rest_let_be(spawn, state):
    left, other = spawn(str(state / "a")), spawn(str(state / "b"))
    assert end_all(state / "a", grace_s=0.0) == [left.pid]
    assert left.wait() == -signal.SIGKILL
    assert other.poll() is None


def test_with_nothing_left_nobody_waits(state):
    assert end_all(state / "a", grace_s=3600.0) == []


def test_a_root_that_cannot_be_made_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ClusterStateError, match="cannot make the directory") as refused:
        make_private(tmp_path / "file" / "root")
    assert "MKRPC_STATE_DIR" in refused.value.advice


def test_what_a_full_disk_refuses_is_told_in_one_line(tmp_path):
    with (
        pytest.raises(ClusterStateError, match="No space left") as refused,
        writing(tmp_path),
        open("/dev/full", "w") as full,
    ):
        full.write("a record")
    assert "MKRPC_STATE_DIR" in refused.value.advice


def test_other_errors_pass_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), writing(tmp_path):
        (tmp_path / "nothing").read_text()
