"""Starts, finds and stops clusters of real processes.

A cluster is a host agent that starts an interconnect and instances; it goes on when the process
that started it ends. As a context manager it is stopped at the end::

    with Cluster.start(Topology.of(instances=2, cpus=2)) as cluster:
        cluster.client.inject(to=apic(2))
"""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dill

from mkrpc.client import Client
from mkrpc.errors import (
    ClusterStateError,
    NotFoundError,
    StartUpError,
    error_for_reason,
)
from mkrpc.host.children import MEMORY_FILE, PROGRAMS_FILE
from mkrpc.state_dir import (
    CLUSTER_VARIABLE,
    cluster_dir,
    cluster_names,
    end_all,
    make_private,
    members,
    remove_dir,
)
from mkrpc.topology import Topology

__all__ = ["Cluster", "find", "remove", "running"]

MEMORY_BYTES = 1 << 20
"""Memory that the instances of a cluster share."""

STOP_TIMEOUT_S = 15.0
"""Seconds for a cluster to stop by itself before its processes are killed."""

Program = Callable[..., Any]


class Cluster:
    """A running cluster, of this process's making or found by name."""

    def __init__(self, name: str, address: str, host_pid: int) -> None:
        self.name = name
        self.address = address
        self.host_pid = host_pid
        self.state_dir: Path = cluster_dir(name)

    @classmethod
    def start(
        cls,
        topology: Topology,
        *,
        name: str = "default",
        address: str | None = None,
        insecure: bool = False,
        programs: Mapping[int, Program] | None = None,
        handlers: Mapping[int, Sequence[Program]] | None = None,
        timeout_s: float = 60.0,
        on_progress: Callable[[str], None] | None = None,
    ) -> Self:
        """Start the processes of ``topology`` and return once every instance is attached.

        ``programs`` by APIC id and ``handlers`` by instance id are callables of the caller's
        script; they reach the instances as copies. Raises :class:`ClusterStateError` if a cluster
        of this name runs, :class:`mkrpc.errors.AddressInUseError`, and what else kept a process
        from starting; whatever had started is stopped again.
        """
        directory = cluster_dir(name)
        with _starting(directory):
            _write_config(directory, topology, address, insecure)
            _write_callables(directory, programs or {}, handlers or {})
            _launch(directory, timeout_s, on_progress or (lambda _line: None))
        return cls._read(name)

    @classmethod
    def _read(cls, name: str) -> Self:
        record = json.loads((cluster_dir(name) / "cluster.json").read_text())
        return cls(record["name"], record["address"], record["host_pid"])

    @cached_property
    def client(self) -> Client:
        """A client of this cluster, closed when the cluster is stopped."""
        return Client(self.address)

    def pids(self) -> dict[int, int]:
        """Process id of each instance that is attached, by instance id."""
        return {i.id: i.pid for i in self.client.cluster().instances if i.state == "active"}

    def stop(self) -> None:
        """Stop every process and remove the state directory; nothing is left behind."""
        if "client" in self.__dict__:
            self.client.close()
            del self.__dict__["client"]
        remove(self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def find(name: str = "default") -> Cluster:
    """The cluster that runs under a name; :class:`NotFoundError` if none does."""
    if name in running():
        return Cluster._read(name)
    others = running()
    advice = f"running: {', '.join(others)}" if others else "start one with `mkrpc up`"
    raise NotFoundError(f"no cluster named {name!r} runs", advice=advice)


def running() -> list[str]:
    """Names of the clusters of this user that run."""
    return [name for name in cluster_names() if _host_runs(cluster_dir(name))]


def remove(name: str) -> list[str]:
    """Stop a cluster, kill what a crash has left of it, remove its directory.

    Returns what was done, a line each. :class:`NotFoundError` if there is nothing of that name.
    """
    directory = cluster_dir(name)
    if not directory.is_dir():
        others = cluster_names()
        advice = f"there are: {', '.join(others)}" if others else "nothing is running"
        raise NotFoundError(f"no cluster named {name!r}", advice=advice)
    done = []
    if _host_runs(directory):
        host_pid = Cluster._read(name).host_pid
        os.kill(host_pid, signal.SIGTERM)
        _reap(host_pid)
        grace_s = STOP_TIMEOUT_S
        done.append(f"{name}: stopped")
    else:
        grace_s = 0.0
        done.append(f"{name}: its host agent was gone already")
    killed = end_all(directory, grace_s=grace_s)
    if killed:
        done.append(f"{name}: killed what was left: {', '.join(map(str, killed))}")
    remove_dir(directory)
    done.append(f"{name}: removed {directory}")
    return done


def _reap(host_pid: int) -> None:
    """Wait for a host agent that this very process started; for any other, init does."""
    try:
        os.waitpid(host_pid, 0)
    except ChildProcessError:
        return


def _host_runs(directory: Path) -> bool:
    try:
        record = json.loads((directory / "cluster.json").read_text())
    except FileNotFoundError:
        return False
    return record["host_pid"] in members(directory)


@contextmanager
def _starting(directory: Path) -> Iterator[None]:
    """Make the directory, and leave nothing behind if the start fails."""
    make_private(directory.parent)
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        if members(directory):
            raise ClusterStateError(
                f"a cluster named {directory.name!r} runs already",
                advice=f"stop it with `mkrpc down --name {directory.name}`, or give another --name",
            ) from None
        remove_dir(directory)
        directory.mkdir(mode=0o700)
    try:
        yield
    except BaseException:
        end_all(directory, grace_s=0.0)
        remove_dir(directory)
        raise


def _write_config(directory: Path, topology: Topology, address: str | None, insecure: bool) -> None:
    (directory / "logs").mkdir(mode=0o700)
    with (directory / MEMORY_FILE).open("wb") as memory:
        memory.truncate(MEMORY_BYTES)
    config = {
        "address": address or f"unix:{directory / 'interconnect.sock'}",
        "insecure": insecure,
        "topology": topology.to_dict(),
    }
    (directory / "config.json").write_text(json.dumps(config))


def _write_callables(
    directory: Path, programs: Mapping[int, Program], handlers: Mapping[int, Sequence[Program]]
) -> None:
    if not programs and not handlers:
        return
    callables = {
        "programs": {apic_id: [program] for apic_id, program in programs.items()},
        "handlers": {instance_id: list(found) for instance_id, found in handlers.items()},
    }
    (directory / PROGRAMS_FILE).write_bytes(dill.dumps(callables, recurse=True))


def _launch(directory: Path, timeout_s: float, on_progress: Callable[[str], None]) -> None:
    """Start the host agent and read what it says until it is ready or has failed."""
    log_path = directory / "logs" / "host-agent.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mkrpc.host", str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | {CLUSTER_VARIABLE: str(directory)},
            start_new_session=True,
        )
    try:
        _follow(process, log_path, timeout_s, on_progress)
    except BaseException:
        process.kill()
        process.wait()
        raise
    # It goes on without us: nobody here waits for it until the cluster is stopped.
    process.returncode = 0


def _follow(
    process: "subprocess.Popen[bytes]",
    log_path: Path,
    timeout_s: float,
    on_progress: Callable[[str], None],
) -> None:
    """Pass on what the host agent says until it is ready; raise what it, or its end, says."""
    assert process.stdout is not None
    with process.stdout as lines:
        for line in _lines(lines.fileno(), timeout_s):
            message = json.loads(line)
            if "ready" in message:
                return
            if "error" in message:
                # It stops what it had started before it ends.
                process.wait()
                raise error_for_reason(message["reason"])(
                    message["error"], advice=message["advice"]
                )
            on_progress(message["progress"])
    ended = process.poll()
    last_words = log_path.read_text(errors="replace").strip().rpartition("\n")[2]
    raise StartUpError(
        f"the host agent said nothing for {timeout_s:.0f} s"
        if ended is None
        else f"the host agent ended with exit code {ended}",
        advice=f"its last words: {last_words or 'none'}",
    )


def _lines(descriptor: int, timeout_s: float) -> Iterator[bytes]:
    """Lines from a pipe until its end, or until nothing has come for ``timeout_s``."""
    buffer = b""
    while True:
        readable, _, _ = select.select([descriptor], [], [], timeout_s)
        chunk = os.read(descriptor, 65536) if readable else b""
        if not chunk:
            return
        *lines, buffer = (buffer + chunk).split(b"\n")
        yield from lines
