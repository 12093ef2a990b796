"""Starts, finds and stops clusters of real processes.

A cluster is a host agent that starts an interconnect and instances; it goes on when the process
that started it ends. As a context manager it is stopped at the end::

    with Cluster.start(Topology.of(instances=2, cpus=2)) as cluster:
        cluster.client.inject(to=apic(2))
"""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mkrpc.client import Client
from mkrpc.errors import (
    AddressInUseError,
    ClusterStateError,
    MkrpcError,
    NotFoundError,
)
from mkrpc.host.launch import (
    STOP_TIMEOUT_S,
    Program,
    StartMethod,
    Via,
    count_callables,
    launch,
    write_callables,
    write_config,
)
from mkrpc.journal.recorder import Recording
from mkrpc.state_dir import (
    CONFIG_FILE,
    RECORD_FILE,
    check_made_here,
    check_private,
    cluster_dir,
    cluster_names,
    end_all,
    locked,
    make_dir,
    make_private,
    members,
    remove_dir,
    writing,
)
from mkrpc.topology import Topology
from mkrpc.transport.address import BEATS_SUFFIX, AddressLock, parse

__all__ = ["STOP_SIGNALS", "Cluster", "StartMethod", "Via", "find", "remove", "running"]

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What tells a process that keeps a cluster up to stop it."""

LOCK_WAIT_S = 30.0
"""Seconds that a removal waits for a start or a removal of the same name to be over."""


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
        via: Mapping[int, Via] | None = None,
        recording: Recording | None = None,
        start_method: StartMethod = "forkserver",
        timeout_s: float = 60.0,
        on_progress: Callable[[str], None] | None = None,
    ) -> Self:
        """Start the processes of ``topology`` and return once every instance is attached.

        ``programs`` by APIC id and ``handlers`` by instance id are callables of the caller's
        script; they reach the instances as copies. ``via`` by instance id: another way to the
        interconnect than its address. ``recording``: a folder in which every process keeps a
        journal of its inputs. ``start_method``: how its processes are started.

        Whatever has started when one of these is raised is stopped again:

        :raises ClusterStateError: a cluster of this name runs, starts or stops, or something else
            has its directory.
        :raises InvalidArgumentError: callables for a CPU or an instance that the topology does not
            have, or that cannot be copied.
        :raises AddressInUseError: somebody else serves the address.
        :raises StartUpError: a process ended before all were up.
        :raises MkrpcError: whatever else kept a process from starting.
        """
        directory = cluster_dir(name)
        with _starting(name, directory), writing(directory.parent):
            write_config(
                directory,
                topology,
                address=address,
                insecure=insecure,
                via=via or {},
                recording=recording,
                start_method=start_method,
                scripted=count_callables(topology, programs or {}, handlers or {}),
            )
            write_callables(directory, programs or {}, handlers or {})
            launch(directory, timeout_s, on_progress or (lambda _line: None))
            found = _record(directory)
        assert found is not None, "the host agent writes it before it is ready"
        return cls(name, found["address"], found["host_pid"])

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
    """The cluster that runs under a name; :class:`NotFoundError` if none does.

    It runs as long as any of its processes does: without its host agent no instance can be
    started or killed, and everything else goes on.
    """
    directory = cluster_dir(name)
    record = _record(directory)
    alive = bool(members(directory))
    if record is not None and alive:
        return Cluster(name, record["address"], record["host_pid"])
    if alive:
        advice = f"it is being started; if that was cut short: mkrpc down --name {name}"
    elif name in cluster_names():
        advice = f"a crash has left its directory behind; clear it away: mkrpc down --name {name}"
    elif others := running():
        advice = f"running: {', '.join(others)}"
    else:
        advice = "start one with `mkrpc up`"
    raise NotFoundError(f"no cluster named {name!r} runs", advice=advice)


def running() -> list[str]:
    """Names of the clusters of this user that run."""
    return [
        name
        for name in cluster_names()
        if _record(cluster_dir(name)) is not None and members(cluster_dir(name))
    ]


def remove(name: str) -> list[str]:
    """Stop a cluster, kill what a crash has left of it, remove its directory.

    Returns what was done, a line each. Takes some 25 s at most, whatever hangs; a start or removal
    under way is waited for. :class:`NotFoundError` if there is nothing of that name,
    :class:`ClusterStateError` if its place is taken by a directory that mkrpc did not make.
    """
    directory = cluster_dir(name)
    # First without the lock, which would make a file.
    _check_exists(name, directory)
    check_private(directory.parent)
    with locked(name, "stopped", wait_s=LOCK_WAIT_S):
        _check_exists(name, directory)
        check_made_here(directory)
        return _remove(name, directory)


def _check_exists(name: str, directory: Path) -> None:
    if not os.path.lexists(directory):
        others = cluster_names()
        advice = f"there are: {', '.join(others)}" if others else "nothing is running"
        raise NotFoundError(f"no cluster named {name!r}", advice=advice)


def _remove(name: str, directory: Path) -> list[str]:
    done = []
    record = _record(directory)
    host_pid = record["host_pid"] if record is not None else None
    if host_pid in members(directory):
        _ask_to_end(host_pid)
        grace_s = STOP_TIMEOUT_S
        done.append(f"{name}: stopped")
    else:
        grace_s = 0.0
        done.append(f"{name}: its host agent was gone already")
    killed = end_all(directory, grace_s=grace_s)
    if host_pid is not None:
        _reap(host_pid)
    if killed:
        done.append(f"{name}: killed what was left: {', '.join(map(str, killed))}")
    done += [f"{name}: {line}" for line in _clear_socket(directory)]
    remove_dir(directory)
    done.append(f"{name}: removed {directory}")
    return done


def _ask_to_end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
        # A stopped process takes no SIGTERM before it goes on (signal(7)).
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return  # It ended by itself just now.


def _reap(host_pid: int) -> None:
    """Take the end of a host agent that this very process started; for any other, init does."""
    try:
        os.waitpid(host_pid, os.WNOHANG)
    except ChildProcessError:
        return


def _clear_socket(directory: Path) -> list[str]:
    """Remove the Unix socket that a cluster had elsewhere, and its lock; what is to be told of it.

    It stays if somebody else serves there by now.
    """
    try:
        config = json.loads((directory / CONFIG_FILE).read_text())
    except (FileNotFoundError, ValueError):
        return []  # never written, or cut off where the machine stopped
    try:
        address = parse(config["address"])
        path = Path(address.path)
        if not address.is_unix or path.parent == directory or not path.parent.is_dir():
            return []
        with AddressLock(address):
            Path(f"{path}{BEATS_SUFFIX}").unlink(missing_ok=True)
            Path(f"{path}.lock").unlink(missing_ok=True)
    except AddressInUseError:
        return []
    except MkrpcError as error:
        return [f"left what may be at {config['address']}: {error}"]
    return [f"removed {path}"]


def _record(directory: Path) -> dict[str, Any] | None:
    """What the host agent wrote once the cluster was up; None before that, when it is gone, and
    where a machine that stopped has cut it off."""
    try:
        record: dict[str, Any] = json.loads((directory / RECORD_FILE).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return record


@contextmanager
def _starting(name: str, directory: Path) -> Iterator[None]:
    """Make the directory, and leave nothing behind if the start fails."""
    make_private(directory.parent)
    with locked(name, "started"):
        if os.path.lexists(directory):
            check_made_here(directory)
            if members(directory):
                raise ClusterStateError(
                    f"a cluster named {name!r} runs already",
                    advice=f"stop it with `mkrpc down --name {name}`, or give another --name",
                )
            _clear_socket(directory)
            remove_dir(directory)
        with writing(directory.parent):
            make_dir(directory)
        try:
            yield
        except BaseException:
            with _undisturbed():
                end_all(directory, grace_s=0.0)
                _clear_socket(directory)
                remove_dir(directory)
            raise


@contextmanager
def _undisturbed() -> Iterator[None]:
    """What clears up is not cut short by the next Ctrl-C. Elsewhere than in the main thread no
    signal does that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
