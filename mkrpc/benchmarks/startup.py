"""``python -m mkrpc.benchmarks.startup``: how fast clusters start, and what each instance costs.

Clusters of several sizes are started in turns, forked from the fork server and by spawn, and taken
down again. In each, a client rings all and every instance thereupon its neighbour, everything must
arrive, and the books must balance. Memory is what the kernel says (``/proc/PID/smaps_rollup``): the
proportional share of each instance, and what it has for itself.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import click

from mkrpc.benchmarks.footprint import Footprint, footprint
from mkrpc.benchmarks.startup_programs import ring_neighbour
from mkrpc.benchmarks.warden import guarded_directory
from mkrpc.client import Client, shorthand
from mkrpc.cluster import Cluster, StartMethod
from mkrpc.errors import MkrpcError
from mkrpc.state_dir import members
from mkrpc.topology import Topology

__all__ = ["Report", "Start", "main", "measure", "measure_one"]

METHODS: tuple[StartMethod, ...] = ("forkserver", "spawn")

START_TIMEOUT_S = 300.0
"""The longest silence of a start; by spawn hundreds of instances take a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One cluster. Seconds from the call to its return: ``up_s``; of that until all instances were
    registered from when the first was to be started, the interconnect being there:
    ``registered_s``. ``per_instance``: means over the instances."""

    method: StartMethod
    instances: int
    up_s: float
    registered_s: float
    rung_s: float
    down_s: float
    per_instance: Footprint
    interconnect: Footprint
    written: int
    faults: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Report:
    """``spawn_over_forkserver``: by instances, the ratio of the medians of ``up_s``."""

    cores: int
    load_before: float
    starts: list[Start] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """What should not be, a line each."""
        return [fault for start in self.starts for fault in start.faults]

    def median(self, figure: str, method: StartMethod, instances: int) -> float | None:
        """Of the starts of one kind; None if there was none."""
        found = [
            getattr(start, figure)
            for start in self.starts
            if (start.method, start.instances) == (method, instances)
        ]
        return statistics.median(found) if found else None

    def ratio(self, instances: int, figure: str = "up_s") -> float | None:
        """How many times as long a start takes by spawn; None if not both were measured."""
        forked = self.median(figure, "forkserver", instances)
        spawned = self.median(figure, "spawn", instances)
        return spawned / forked if forked and spawned else None

    @property
    def sizes(self) -> list[int]:
        """The numbers of instances, in ascending order."""
        return sorted({start.instances for start in self.starts})


def _topology(instances: int) -> Topology:
    program = {"cpu": 0, "entry": f"{ring_neighbour.__module__}:{ring_neighbour.__name__}"}
    return Topology.from_dict(
        {
            "instances": [
                {"id": number, "cpus": [number], "programs": [program]}
                for number in range(instances)
            ]
        }
    )


def measure_one(method: StartMethod, instances: int) -> Start:
    """Start one cluster of one-CPU instances, an even number, look at it and take it down.

    Raises the :class:`MkrpcError` that kept it from starting.
    """
    assert instances % 2 == 0, "they ring each other in pairs"
    began_s = time.monotonic()
    first_s = last_s = began_s

    def progress(line: str) -> None:
        nonlocal first_s, last_s
        last_s = time.monotonic()
        if line.startswith("starting ") and line.endswith(" instances"):
            first_s = last_s

    cluster = Cluster.start(
        _topology(instances),
        name="startup",
        start_method=method,
        timeout_s=START_TIMEOUT_S,
        on_progress=progress,
    )
    up_s = time.monotonic() - began_s
    directory = cluster.state_dir
    try:
        faults, written = _books_of(cluster.client, instances)
        rung_s = time.monotonic() - began_s
        view = cluster.client.cluster()
        each = [footprint(instance.pid) for instance in view.instances]
        per_instance = Footprint.mean(each)
        interconnect = footprint(view.interconnect_pid)
    finally:
        ending_s = time.monotonic()
        cluster.stop()
    if left := members(directory):
        faults.append(f"processes {left} were left")
    return Start(
        method=method,
        instances=instances,
        up_s=up_s,
        registered_s=last_s - first_s,
        rung_s=rung_s,
        down_s=time.monotonic() - ending_s,
        per_instance=per_instance,
        interconnect=interconnect,
        written=written,
        faults=faults,
    )


def _books_of(client: Client, instances: int) -> tuple[list[str], int]:
    """Have everybody ring its neighbour: what should not be, and how many legs there were."""
    client.inject(to=shorthand("all"))
    client.quiesce()
    books = client.ledger()
    faults = list(books.discrepancies)
    totals = books.totals
    if not totals.written == totals.delivered == 2 * instances:
        faults.append(
            f"{instances} instances were rung and rang their neighbours: {totals.written} legs, of "
            f"which {totals.delivered} were delivered"
        )
    attached = sum(instance.state == "active" for instance in client.cluster().instances)
    if attached != instances:
        faults.append(f"{attached} of {instances} instances are attached")
    return faults, totals.written


def measure(
    *,
    sizes: Sequence[int] = (8, 32, 128),
    methods: Sequence[StartMethod] = METHODS,
    rounds: int = 3,
    on_start: Callable[[Start], None] = lambda _start: None,
) -> Report:
    """Start clusters of each size by each method, alternating, so many times each.

    The first round is for warming up and does not count: it fills the page cache, and writes what
    Python keeps compiled.
    """
    report = Report(cores=len(os.sched_getaffinity(0)), load_before=os.getloadavg()[0])
    for method in methods:
        measure_one(method, 2)
    for instances in sizes:
        for _ in range(rounds):
            for method in methods:
                start = measure_one(method, instances)
                report.starts.append(start)
                on_start(start)
    return report


@contextmanager
def private_place() -> Iterator[None]:
    """Clusters in a directory of their own, with bytecode that is kept, for a fresh interpreter
    would have to compile all of it again."""
    variables = ("MKRPC_STATE_DIR", "PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE")
    before = {name: os.environ.get(name) for name in variables}
    with guarded_directory("mk") as directory:
        os.environ["MKRPC_STATE_DIR"] = str(directory)
        if os.environ.pop("PYTHONDONTWRITEBYTECODE", None) is not None:
            os.environ["PYTHONPYCACHEPREFIX"] = str(directory / ".bytecode")
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def as_json(report: Report) -> dict[str, Any]:
    """The report with its ratios."""
    return asdict(report) | {
        "spawn_over_forkserver": {str(size): report.ratio(size) for size in report.sizes},
        "spawn_over_forkserver_registered": {
            str(size): report.ratio(size, "registered_s") for size in report.sizes
        },
    }


def _line(start: Start) -> str:
    memory, cost = start.per_instance, start.interconnect
    return (
        f"{start.instances:4} by {start.method:10} up {start.up_s:6.2f} s, registered "
        f"{start.registered_s:6.2f} s, down {start.down_s:5.2f} s; each PSS {memory.pss_mib:5.2f} "
        f"MiB, private {memory.private_mib:5.2f} MiB, {memory.threads:.0f} threads, "
        f"{memory.cpu_s * 1000:.0f} ms CPU; interconnect {cost.cpu_s:.2f} s, {cost.pss_mib:.0f} MiB"
    )


@click.command()
@click.option("--instances", "sizes", type=click.IntRange(2, 512), multiple=True)
@click.option("--method", "methods", type=click.Choice(METHODS), multiple=True)
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True)
@click.option("--json", "json_wanted", is_flag=True)
def main(
    *, sizes: tuple[int, ...], methods: tuple[Any, ...], rounds: int, json_wanted: bool
) -> None:
    """Start clusters of 8, 32 and 128 instances by fork server and by spawn, in turns.

    --instances and --method, repeatable, choose others. Exits 1 if the books of one do not balance,
    an interrupt did not arrive, or a process was left.
    """
    with private_place():
        try:
            report = measure(
                sizes=sizes or (8, 32, 128),
                methods=methods or METHODS,
                rounds=rounds,
                on_start=lambda start: click.echo(_line(start), err=json_wanted),
            )
        except MkrpcError as error:
            click.echo(f"startup: {error}\n  → {error.advice}", err=True)
            sys.exit(3)
    if json_wanted:
        click.echo(json.dumps(as_json(report), indent=2))
    else:
        for size in report.sizes:
            ratio, registered = report.ratio(size), report.ratio(size, "registered_s")
            if ratio is not None and registered is not None:
                click.echo(
                    f"{size} instances: by spawn {ratio:.1f} times as long until all is up, "
                    f"{registered:.1f} times from the first instance on"
                )
    for line in report.faults:
        click.echo(f"NOT as promised: {line}", err=True)
    sys.exit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
