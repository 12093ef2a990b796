"""``python -m mkrpc.benchmarks.takeover``: how long a machine is without its interconnect.

Clusters whose CPUs ring each other all the time; the interconnect is killed (kill -9) again and
again. Each time: until another one answers, and until a leg through it has its outcome, which is
when all instances are back. Afterwards the books must balance, nothing be lost, and everybody live
on as the same incarnation.
"""

import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from typing import Any

import click

from mkrpc.benchmarks.warden import guarded_directory
from mkrpc.client import Client, apic
from mkrpc.cluster import Cluster
from mkrpc.errors import MkrpcError
from mkrpc.instance.cpu import Cpu
from mkrpc.instance.execution import Body
from mkrpc.instance.instructions import Hlt, Instruction, WriteIcr
from mkrpc.topology import Topology
from mkrpc.x86.icr import fixed
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

__all__ = ["Report", "main", "measure"]

KILLS_PER_CLUSTER = 2
"""On one cluster pauses grow from the second on, and too many within a minute would be
its end."""

SETTLE_S = 4.0
"""Seconds before each kill, so that a spare interconnect has been prepared."""


@dataclass(slots=True, kw_only=True)
class Report:
    """Seconds from each kill on; ``leg_s``: that a client's leg takes before it. ``faults``: what
    should not be, a line each."""

    instances: int
    cpus: int
    load: bool
    cores: int
    load_before: float
    leg_s: list[float] = field(default_factory=list)
    served_s: list[float] = field(default_factory=list)
    routed_s: list[float] = field(default_factory=list)
    written: int = 0
    faults: list[str] = field(default_factory=list)


def _ringing(cpu: Cpu, apic_ids: int) -> Body:
    """Whoever is rung rings the next: as much load as the machine carries without queues."""

    def program() -> Generator[Instruction | None, Any, Any]:
        while True:
            yield Hlt()
            yield WriteIcr(fixed((cpu.apic_id + 1) % apic_ids, MULTIKERNEL_VECTOR))

    return program()


def measure(*, instances: int = 8, cpus: int = 2, kills: int = 10, load: bool = True) -> Report:
    """Kill so many interconnects; starts clusters of its own and takes them down."""
    report = Report(
        instances=instances,
        cpus=cpus,
        load=load,
        cores=len(os.sched_getaffinity(0)),
        load_before=os.getloadavg()[0],
    )
    apic_ids = instances * cpus
    programs = {
        each: lambda cpu: _ringing(cpu, apic_ids) for each in range(apic_ids if load else 0)
    }
    topology = Topology.of(instances=instances, cpus=cpus)
    while len(report.routed_s) < kills:
        several = min(kills - len(report.routed_s), KILLS_PER_CLUSTER)
        with Cluster.start(topology, name="takeover", programs=programs) as cluster:
            _kill_several(cluster, several, apic_ids, report)
    return report


def _kill_several(cluster: Cluster, kills: int, apic_ids: int, report: Report) -> None:
    client = cluster.client
    before = _incarnations(client)
    for _ in range(kills):
        time.sleep(SETTLE_S)
        for apic_id in range(apic_ids):
            client.inject(to=apic(apic_id))
        asked_s = time.monotonic()
        client.inject(to=apic(0))
        report.leg_s.append(time.monotonic() - asked_s)
        view = client.cluster()
        began_s = time.monotonic()
        os.kill(view.interconnect_pid, signal.SIGKILL)
        while client.cluster().epoch == view.epoch:
            continue
        report.served_s.append(time.monotonic() - began_s)
        if not client.inject(to=apic(0)).all_arrived:
            report.faults.append("the leg after a takeover did not arrive")
        report.routed_s.append(time.monotonic() - began_s)
    books = client.ledger()
    report.written += books.totals.written
    report.faults += books.discrepancies
    if books.totals.lost:
        report.faults.append(f"{books.totals.lost} legs were lost")
    if _incarnations(client) != before:
        report.faults.append("an instance did not live on")


def _incarnations(client: Client) -> dict[int, bytes]:
    return {i.id: i.incarnation for i in client.cluster().instances if i.state == "active"}


def _text(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):.3f} s, at most {max(seconds):.3f} s"


@click.command()
@click.option("--instances", type=click.IntRange(1, 512), default=8, show_default=True)
@click.option("--cpus", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option("--kills", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.option("--idle", is_flag=True, help="Nobody rings.")
@click.option("--json", "as_json", is_flag=True)
def main(*, instances: int, cpus: int, kills: int, idle: bool, as_json: bool) -> None:
    """Kill the interconnect of a machine under load, and measure until it routes again.

    Exits 0 if nothing was lost and everybody lived on, 1 if not.
    """
    with guarded_directory("mk") as directory:
        os.environ["MKRPC_STATE_DIR"] = str(directory)
        try:
            report = measure(instances=instances, cpus=cpus, kills=kills, load=not idle)
        except MkrpcError as error:
            click.echo(f"takeover: {error}\n  → {error.advice}", err=True)
            sys.exit(3)
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2))
    else:
        click.echo(
            f"{len(report.routed_s)} interconnects killed, {instances} instances of {cpus} CPUs, "
            f"{report.written} legs written"
        )
        click.echo(f"a leg of a client takes: {_text(report.leg_s)}")
        click.echo(f"another one answers: {_text(report.served_s)}")
        click.echo(f"it routes again: {_text(report.routed_s)}")
        for fault in report.faults:
            click.echo(f"FAULT: {fault}")
    sys.exit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
