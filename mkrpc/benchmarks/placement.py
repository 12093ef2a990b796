"""Where what is measured runs: which CPUs of the host, and what host that is."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mkrpc.errors import InvalidArgumentError

__all__ = ["host", "kept_awake", "parse_pin", "pinned"]

_PACKAGES = ("grpcio", "protobuf", "multiprocess", "numpy", "uvloop", "pyzmq", "nats-py", "redis")


_CPU_DIGITS = 5
"""Linux has 8,192 CPUs at most."""


def parse_pin(text: str) -> frozenset[int] | None:
    """``none``: wherever the kernel puts them, None. ``one``: all on one CPU. Else a CPU list, as
    ``0,2-3``. Raises InvalidArgumentError, also for CPUs that this process may not use."""
    may_use = os.sched_getaffinity(0)
    if text == "none":
        return None
    if text == "one":
        return frozenset({min(may_use)})
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        ends = (first, last or first)
        if not all(end.isascii() and end.isdigit() and len(end) <= _CPU_DIGITS for end in ends):
            raise InvalidArgumentError(
                f"{text!r} is no placement", advice="give none, one, or a list of CPUs as 0,2-3"
            )
        found.update(range(int(ends[0]), int(ends[1]) + 1))
    if not found or not found <= may_use:
        raise InvalidArgumentError(
            f"CPUs {text} are not all this process's",
            advice=f"it may use {','.join(map(str, sorted(may_use)))}",
        )
    return frozenset(found)


def pinned(cpus: frozenset[int] | None) -> set[int]:
    """Put this process, and so what it starts, on ``cpus``; where it was before, to put it back."""
    before = os.sched_getaffinity(0)
    if cpus is not None:
        os.sched_setaffinity(0, cpus)
    return before


_SPIN = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
while os.getppid() == int(sys.argv[2]):
    for _ in range(100_000):
        pass
"""


@contextmanager
def kept_awake(cpus: Iterable[int]) -> Iterator[list[int]]:
    """On each of these CPUs a process turns that runs when nothing else wants to (SCHED_IDLE).

    So none of them halts. A CPU of a virtual machine that halts is given back to the host, and
    takes long to come back, with cold caches. Yields the processes; they end with this one too.
    """
    with ExitStack() as stack:
        spinning = []
        for cpu in cpus:
            command = [sys.executable, "-c", _SPIN, str(cpu), str(os.getpid())]
            process = stack.enter_context(subprocess.Popen(command))
            stack.callback(process.kill)
            spinning.append(process.pid)
        yield spinning


def host() -> dict[str, Any]:
    """What every figure depends on."""
    return {
        "cores": os.cpu_count(),
        "usable_cpus": sorted(os.sched_getaffinity(0)),
        "cpu": _cpu_name(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "grpc_experiments": os.environ.get("GRPC_EXPERIMENTS", ""),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
