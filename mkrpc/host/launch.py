"""What the launcher does to bring the host agent up: writes what it needs, starts it, follows it.

This runs in the process that starts a cluster, ``mkrpc up`` or a script; the rest of this room
runs in the host agent and its children.
"""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import dill

from mkrpc.errors import InvalidArgumentError, StartUpError, error_for_reason
from mkrpc.host.child import last_words
from mkrpc.host.children import MEMORY_FILE, PROGRAMS_FILE
from mkrpc.journal.recorder import Recording
from mkrpc.journal.writer import check_folder
from mkrpc.state_dir import CLUSTER_VARIABLE, CONFIG_FILE
from mkrpc.topology import Topology

__all__ = [
    "STOP_TIMEOUT_S",
    "Program",
    "StartMethod",
    "Via",
    "count_callables",
    "launch",
    "write_callables",
    "write_config",
]

MEMORY_BYTES = 1 << 20
"""Memory that the instances of a cluster share."""

STOP_TIMEOUT_S = 15.0
"""Seconds for a cluster to stop by itself before its processes are killed."""

_FEW = 16
"""Ids that an advice names."""

Program = Callable[..., Any]

StartMethod: TypeAlias = Literal["forkserver", "spawn"]
"""How the host agent starts processes: forked from one that has imported everything, or each as a
fresh interpreter, which takes some 0.3 s of a core and shares nothing."""


@dataclass(frozen=True, slots=True)
class Via:
    """Where one instance reaches its interconnect if not at its own address: a proxy, a tunnel.

    ``beats``: the same for its beats past the stream, which the interconnect serves at another
    address; empty: it has no such way, and beats over its stream alone.
    """

    address: str
    beats: str = ""


def write_config(
    directory: Path,
    topology: Topology,
    *,
    address: str | None,
    insecure: bool,
    via: Mapping[int, Via],
    recording: Recording | None = None,
    start_method: StartMethod = "forkserver",
    scripted: Mapping[int, int] | None = None,
) -> None:
    """Write what the host agent starts from, and make what all instances share.

    ``scripted``: how many callables of the caller's script each instance has.
    """
    record = None
    if recording is not None:
        folder = check_folder(recording.folder)
        record = {"folder": str(folder), "limit": recording.limit}
    (directory / "logs").mkdir(mode=0o700)
    with (directory / MEMORY_FILE).open("wb") as memory:
        memory.truncate(MEMORY_BYTES)
    config = {
        "address": address or f"unix:{directory / 'interconnect.sock'}",
        "insecure": insecure,
        "topology": topology.to_dict(),
        "via": {str(instance_id): asdict(way) for instance_id, way in via.items()},
        "record": record,
        "scripted": {str(instance_id): count for instance_id, count in (scripted or {}).items()},
        "start_method": start_method,
    }
    # Whole or not at all: whoever clears up after a start that was cut short reads it.
    temporary = directory / f"{CONFIG_FILE}.new"
    temporary.write_text(json.dumps(config))
    temporary.rename(directory / CONFIG_FILE)


def count_callables(
    topology: Topology,
    programs: Mapping[int, Program],
    handlers: Mapping[int, Sequence[Program]],
) -> dict[int, int]:
    """By instance id, how many of a script's callables it has.

    InvalidArgumentError for one that nobody would run: its APIC id or its instance is not there.
    """
    _check_known("programs", programs, "APIC id", topology.apic_ids)
    _check_known("handlers", handlers, "instance", [spec.id for spec in topology.instances])
    for instance_id, found in handlers.items():
        if not isinstance(found, Sequence):
            raise InvalidArgumentError(
                f"handlers[{instance_id}] is no list of handlers",
                advice=f"write handlers={{{instance_id}: [handler]}}",
            )
    return {
        spec.id: sum(apic_id in programs for apic_id in spec.cpus) + len(handlers.get(spec.id, ()))
        for spec in topology.instances
    }


def write_callables(
    directory: Path, programs: Mapping[int, Program], handlers: Mapping[int, Sequence[Program]]
) -> None:
    """Write the callables of the caller's script, for the instances to load.

    InvalidArgumentError if they cannot be copied.
    """
    if not programs and not handlers:
        return
    callables = {
        "programs": {apic_id: [program] for apic_id, program in programs.items()},
        "handlers": {instance_id: list(found) for instance_id, found in handlers.items()},
    }
    try:
        copied = dill.dumps(callables, recurse=True)
    except (TypeError, dill.PicklingError, RecursionError) as error:
        raise InvalidArgumentError(
            f"programs and handlers reach their instances as copies, and these cannot: {error}",
            advice="give functions, not what they return, and let them make for themselves what "
            "cannot be copied, as sockets and files",
        ) from error
    (directory / PROGRAMS_FILE).write_bytes(copied)


def _check_known(argument: str, given: Iterable[int], what: str, known: Sequence[int]) -> None:
    unknown = [each for each in given if each not in known]
    if unknown:
        there = ", ".join(map(str, known[:_FEW])) + (", ..." if len(known) > _FEW else "")
        raise InvalidArgumentError(
            f"{argument}[{unknown[0]!r}]: the topology has no {what} {unknown[0]!r}",
            advice=f"it has {there}",
        )


def launch(directory: Path, timeout_s: float, on_progress: Callable[[str], None]) -> None:
    """Start the host agent and read what it says until it is ready or has failed.

    ``timeout_s``: the longest silence. Raises what it says kept the cluster from starting, or
    :class:`StartUpError`. It runs no longer then; its children may still, if it was killed.
    """
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
                _wait_for_end(process)
                raise error_for_reason(message["reason"])(
                    message["error"], advice=message["advice"]
                )
            on_progress(message["progress"])
    ended = process.poll()
    raise StartUpError(
        f"the host agent said nothing for {timeout_s:.0f} s"
        if ended is None
        else f"the host agent ended with exit code {ended}",
        advice=f"its last words: {last_words(log_path)}",
    )


def _wait_for_end(process: "subprocess.Popen[bytes]") -> None:
    """It stops what it had started before it ends; if that takes too long, all are killed."""
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _lines(descriptor: int, timeout_s: float) -> Iterator[bytes]:
    """Lines from a pipe until its end, or until nothing has come for ``timeout_s``."""
    buffer = b""
    poll = select.poll()  # select(2) takes no descriptor beyond 1023, which a program may have
    poll.register(descriptor, select.POLLIN)
    while True:
        chunk = os.read(descriptor, 65536) if poll.poll(timeout_s * 1000) else b""
        if not chunk:
            return
        *lines, buffer = (buffer + chunk).split(b"\n")
        yield from lines
