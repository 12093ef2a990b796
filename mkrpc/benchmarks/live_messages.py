"""The workload of ``mkrpc compare`` over the channel of real processes: by memory, and without it.

Times are CLOCK_MONOTONIC, which all processes of a host share; doorbells are counted in the books.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from errno import ENOSPC
from typing import Literal

from mkrpc.benchmarks.figures import percentile
from mkrpc.benchmarks.startup import private_place
from mkrpc.cluster import Cluster
from mkrpc.errors import DeadlineExceededError
from mkrpc.instance.cpu import Cpu
from mkrpc.instance.execution import Body
from mkrpc.instance.instructions import Load, Nop, Store
from mkrpc.instance.multikernel.channel import Delivery
from mkrpc.outcome import Outcome
from mkrpc.simulation.messages import Workload
from mkrpc.topology import Topology
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

__all__ = ["PATIENCE_S", "LiveReport", "run_live"]

PATIENCE_S = 120.0
"""Seconds in which all messages must have come."""

Links = Literal["memory", "interconnect"]

_USER, _READY = 0x4000, 0x0
_RESULT = "messages: "


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveReport:
    """What became of the messages: ``received`` once each and in the order of their senders,
    ``astray`` not. ``refused``: sends that found the channel full, and were tried again.
    ``doorbells``: also those by which the receiver rings itself. ``coalesced``: share of them that
    merged in the IRR. Latencies from the first attempt to send to the handler. ``time_ms``: from
    the first attempt of all to the last handler."""

    links: Links
    sent: int
    received: int
    astray: int
    refused: int
    doorbells: int
    coalesced: float
    p50_us: float
    p99_us: float
    max_us: float
    time_ms: float

    def as_dict(self) -> dict[str, object]:
        """For JSON and for the table."""
        return asdict(self) | {"messages_per_doorbell": self.received / self.doorbells}


def run_live(links: Links, workload: Workload) -> LiveReport:
    """Start a cluster, have its senders send, stop it. ``kill`` and ``link_every`` of the workload
    mean nothing here. Raises as ``Cluster.start``; DeadlineExceededError if not all come."""
    expected = workload.senders * workload.messages
    specs = [
        {"id": n, "cpu_count": 1, "store_buffer": workload.store_buffer}
        for n in range(workload.senders + 1)
    ]
    topology = Topology.from_dict({"links": links, "instances": specs})
    programs = {0: _receiver(expected)} | {
        n: _sender(workload) for n in range(1, workload.senders + 1)
    }
    with private_place(), Cluster.start(topology, name="compare", programs=programs) as cluster:
        client = cluster.client
        deadline_s = time.monotonic() + PATIENCE_S
        found = {n: _result(cluster, n, deadline_s) for n in range(workload.senders + 1)}
        client.quiesce()
        outcomes: dict[str, int] = {}
        for row in client.ledger().rows:
            at_receiver = row.destination is not None and row.destination.instance_id == 0
            if at_receiver and row.vector == MULTIKERNEL_VECTOR:
                for outcome, count in row.outcomes:
                    outcomes[outcome.name] = outcomes.get(outcome.name, 0) + count
    doorbells = sum(outcomes.values())
    here = found.pop(0)
    return LiveReport(
        links=links,
        sent=expected,
        received=here["received"],
        astray=here["astray"],
        refused=sum(each["refused"] for each in found.values()),
        doorbells=doorbells,
        coalesced=outcomes.get(Outcome.COALESCED.name, 0) / doorbells,
        p50_us=here["p50"] / 1e3,
        p99_us=here["p99"] / 1e3,
        max_us=here["max"] / 1e3,
        time_ms=(here["ended"] - min(each["began"] for each in found.values())) / 1e6,
    )


def _result(cluster: Cluster, instance_id: int, deadline_s: float) -> dict[str, int]:
    """What a program has left in the log of its kernel."""
    while time.monotonic() < deadline_s:
        for record in cluster.client.log(instance_id).records:
            if record.text.startswith(_RESULT):
                result: dict[str, int] = json.loads(record.text.removeprefix(_RESULT))
                return result
        time.sleep(0.05)
    raise DeadlineExceededError(
        f"instance {instance_id} was not done within {PATIENCE_S:g} s",
        advice="fewer --messages, or look at the machine: it may have far too much to do",
    )


def _receiver(expected: int) -> Callable[[Cpu], Body]:
    def program(cpu: Cpu) -> Body:
        taken: list[float] = []
        numbers: dict[int, int] = {}
        astray = 0

        def note(cpu: Cpu, delivery: Delivery, _ctx: object) -> None:
            nonlocal astray
            now = time.monotonic_ns()
            taken.append(now - int.from_bytes(delivery.data[:8], "little"))
            number = int.from_bytes(delivery.data[8:16], "little")
            astray += number != numbers.get(delivery.sender, 0)
            numbers[delivery.sender] = number + 1
            if len(taken) == expected:
                taken.sort()
                result = {
                    "received": expected - astray,
                    "astray": astray,
                    "p50": int(percentile(taken, 50)),
                    "p99": int(percentile(taken, 99)),
                    "max": int(taken[-1]),
                    "ended": now,
                }
                cpu.printk(_RESULT + json.dumps(result))

        cpu.kernel.multikernel.register_handler(_USER, note)
        yield Store(_READY, 1)

    return program


def _sender(workload: Workload) -> Callable[[Cpu], Body]:
    def program(cpu: Cpu) -> Body:
        while not (yield Load(_READY)):
            pass
        ipi = cpu.kernel.multikernel
        began = time.monotonic_ns()
        refused = 0
        for number in range(workload.messages):
            stamp = time.monotonic_ns().to_bytes(8, "little") + number.to_bytes(8, "little")
            data = stamp.ljust(workload.size, b"\0")
            while (result := (yield from ipi.send_ipi_data(0, data, _USER))) == -ENOSPC:
                refused += 1
                yield Nop()
            assert result == 0, result
            for _ in range(workload.gap):
                yield Nop()
        cpu.printk(_RESULT + json.dumps({"began": began, "refused": refused}))

    return program
