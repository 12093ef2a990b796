"""What the host agent runs in the processes that it starts.

These are plain functions of plain values, which reach them through a pipe. The host agent, which
must not import gRPC, imports them: so they import what needs it only once they run, where the fork
server has imported it already (:mod:`mkrpc.host.preload`).
"""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkrpc import logs
from mkrpc.errors import MkrpcError
from mkrpc.fault import Fault

if TYPE_CHECKING:
    from mkrpc.journal.recorder import Recording

__all__ = ["BEGIN", "PROGRAMS_FILE", "START_TIMEOUT_S", "run_instance", "run_interconnect"]

START_TIMEOUT_S = 30.0
"""Seconds for a process to report that it is ready."""

BEGIN = b"begin"
"""What a spare interconnect waits for."""

PROGRAMS_FILE = "programs.dill"
"""Callables given to :meth:`mkrpc.cluster.Cluster.start`, in the private state directory."""

MEMORY_FILE = "memory"
"""The memory that all instances of a host share; it goes with the state directory."""


def run_interconnect(options: dict[str, Any], log_path: str, ready: Any) -> None:
    """Be the interconnect until told to stop; a spare one first waits for :data:`BEGIN`."""
    _begin("interconnect", log_path)
    from mkrpc.interconnect.answers import Switches
    from mkrpc.interconnect.bucket import Rates
    from mkrpc.interconnect.lease import lease_us_for
    from mkrpc.interconnect.server import serve
    from mkrpc.transport.choice import chosen

    if options["spare"]:
        chosen()  # To try what works here takes time that a successor has not.
        try:
            ready.recv_bytes()
        except EOFError:
            return  # The host agent is gone: nobody is to take over from anybody.
    lease_s, instances = options["lease"]
    _report(
        ready,
        lambda tell: serve(
            address=options["address"],
            insecure=options["insecure"],
            policy=options["policy"],
            rates=Rates.of(options["rates"]),
            faults=[Fault.of(table) for table in options["faults"]],
            arbitration=options["arbitration"],
            switches=Switches(apic=options["apic"], instances=options["switches"]),
            lease_us=lease_s * 1_000_000 or lease_us_for(instances, len(os.sched_getaffinity(0))),
            books=Path(options["books"]),
            recording=_recording(options),
            hosted=True,
            on_listening=lambda address: tell({"address": address, "transport": chosen().name}),
        ),
    )


def run_instance(options: dict[str, Any], log_path: str, ready: Any) -> None:
    """Be one instance until told to stop, or until its lease has ended."""
    from mkrpc.instance.boot import boot_from_entries, load_callables
    from mkrpc.instance.process import run
    from mkrpc.transport.choice import trust

    trust(options["transport"])
    config = options["config"]
    _begin(f"instance {config.name}", log_path)

    callables = options["callables"]

    def start(tell: Callable[[dict[str, Any]], None]) -> int:
        boot = boot_from_entries(
            config,
            programs=options["programs"],
            handlers=options["handlers"],
            address=options["address"],
            beats=options["beats"],
            memory=Path(options["memory"]),
            callables=load_callables(Path(callables)) if callables is not None else None,
            recording=_recording(options),
            on_attached=lambda: tell({"pid": os.getpid()}),
        )
        return run(boot)

    _report(ready, start)


def _recording(options: dict[str, Any]) -> "Recording | None":
    """Where the process keeps a journal, if it is to."""
    from mkrpc.journal.recorder import Recording

    record = options.get("record")
    return Recording(Path(record["folder"]), record["limit"]) if record is not None else None


def _begin(process: str, log_path: str) -> None:
    # Until the event loop takes them. With Python's own handler of SIGINT asyncio would put one of
    # its own in between, which costs each process 0.2 MiB.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    descriptor = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    logs.configure(process)
    logs.bound(Path(log_path))


def _report(ready: Any, start: Callable[[Callable[[dict[str, Any]], None]], int]) -> None:
    """Run ``start``; its first report, or its error, goes to the host agent as JSON."""
    told = False

    def tell(message: dict[str, Any]) -> None:
        nonlocal told
        told = True
        ready.send_bytes(json.dumps(message).encode())
        ready.close()

    try:
        code = start(tell)
    except MkrpcError as error:
        if told:
            raise
        tell({"error": str(error), "reason": error.reason, "advice": error.advice})
        code = 1
    raise SystemExit(code)
