"""mkrpc as ``mkrpc bench`` measures it: ``python -m mkrpc.benchmarks.machine INSTANCES CPUS``.

A cluster of real processes with its client, answering orders (:mod:`mkrpc.benchmarks.serving`).
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from mkrpc.benchmarks.bench_programs import (
    LAST_AT,
    MAX_STAMPS,
    STAMPS_AT,
    TARGET,
    WRITER,
    Word,
)
from mkrpc.benchmarks.footprint import footprint
from mkrpc.benchmarks.model import model_build
from mkrpc.benchmarks.serving import passed, serve
from mkrpc.benchmarks.stream_client import StreamClient
from mkrpc.client import Client, apic
from mkrpc.cluster import Cluster
from mkrpc.errors import DeadlineExceededError
from mkrpc.host.children import MEMORY_FILE
from mkrpc.instance.mapping import map_memory
from mkrpc.topology import Topology
from mkrpc.transport.choice import chosen
from mkrpc.x86.icr import fixed
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

__all__ = ["MachineUnderTest", "main", "topology"]

PATIENCE_S = 60.0
"""Seconds in which what was begun has to be over."""


def topology(instances: int, cpus: int) -> Topology:
    """Instance 0 writes, all others are rung; APIC ids in order."""
    programs = "mkrpc.benchmarks.bench_programs"
    tables: list[dict[str, Any]] = [
        {
            "id": number,
            "cpus": list(range(number * cpus, (number + 1) * cpus)),
            "handlers": [f"{programs}:on_ring"],
        }
        for number in range(instances)
    ]
    tables[WRITER]["programs"] = [{"cpu": 1, "entry": f"{programs}:write_on_request"}]
    return Topology.from_dict({"name": "bench", "instances": tables})


class MachineUnderTest:
    """One cluster; every method answers an order, its arguments and its answer are JSON."""

    def __init__(self, cluster: Cluster, instances: int, cpus: int) -> None:
        self._cluster = cluster
        self._instances, self._cpus = instances, cpus
        self._streams = StreamClient(cluster.address)
        self._client: Client = cluster.client
        self._memory = map_memory(cluster.state_dir / MEMORY_FILE)
        self._memory.store(Word.TARGET_APIC, TARGET * cpus, 8)
        self._stamps = 0

    def close(self) -> None:
        """What is its own; the cluster goes on."""
        self._streams.close()

    def commands(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        orders = (
            self.delay,
            self.unary_delay,
            self.ping_pong,
            self.offered,
            self.stream,
            self.spread,
            self.natural,
            self.cpu_natural,
            self.memory,
            self.books,
        )
        return {order.__name__: order for order in orders}

    # One interrupt.

    def delay(self, count: int) -> dict[str, Any]:
        """A client's words over a stream, one at a time, to every instance but the writer in turn:
        from before it is written to the handler's first line."""
        targets = [self._target(number) for number in range(count)]
        words = [fixed(target * self._cpus, MULTIKERNEL_VECTOR) for target in targets]
        delays_us = self._streams.closed_loop(words, lambda number: self._last_ns(targets[number]))
        self._stamps += targets.count(TARGET)
        return {"delays_us": delays_us}

    def unary_delay(self, count: int) -> dict[str, Any]:
        """The same with a call of the synchronous client for each."""
        delays_us = []
        for number in range(count):
            target = self._target(number)
            began_ns = time.monotonic_ns()
            self._arrives(self._client.inject(to=apic(target * self._cpus)).all_arrived)
            delays_us.append((self._last_ns(target) - began_ns) / 1000)
            self._stamps += target == TARGET
        return {"delays_us": delays_us}

    def offered(self, rate: int, count: int) -> dict[str, Any]:
        """Words of a client at a rate, whatever became of those before; with the rate it had."""
        word = fixed(TARGET * self._cpus, MULTIKERNEL_VECTOR)
        written_ns, had = self._streams.offered(word, rate=rate, count=count)
        delays_us = [
            (self._stamp(self._stamps + number) - each) / 1000
            for number, each in enumerate(written_ns)
        ]
        self._stamps += count
        return {"delays_us": delays_us, "offered_per_s": had}

    def ping_pong(self, count: int) -> dict[str, Any]:
        """CPU 0 of the writer and of the target ring each other: one way there, each time."""
        assert count <= MAX_STAMPS
        self._memory.store(Word.PINGS, count, 8)
        self._arrives(self._client.inject(to=apic(WRITER)).all_arrived)
        self._wait(lambda: self._memory.load(Word.PINGS, 8) == 0)
        self._client.quiesce()
        self._memory.store(Word.PINGED_AT, 0, 8)
        first, self._stamps = self._stamps, self._stamps + count
        return {"delays_us": [self._stamp(number) / 1000 for number in range(first, self._stamps)]}

    # Many.

    def stream(
        self, messages: int, words: int, window: int, each: bool, in_runs: bool = False
    ) -> dict[str, float]:
        """So many messages of a client, each of so many words to the target's CPUs in turn;
        ``in_runs``: all of a CPU, then all of the next."""
        first, spread = TARGET * self._cpus + 1, self._cpus - 1
        apic_ids = [first + number % spread for number in range(words)]
        if in_runs:
            apic_ids.sort()
        return self._stream(messages, apic_ids, window, each=each)

    def spread(self, messages: int, words: int, window: int) -> dict[str, float]:
        """The same to CPU 1 of every instance but the writer, in turn."""
        apic_ids = [self._target(number) * self._cpus + 1 for number in range(words)]
        return self._stream(messages, apic_ids, window, each=False)

    def _stream(
        self, messages: int, apic_ids: list[int], window: int, *, each: bool
    ) -> dict[str, float]:
        before = self._counts()
        message = [fixed(apic_id, MULTIKERNEL_VECTOR) for apic_id in apic_ids]
        seconds = self._streams.windowed(messages, message, window=window, each=each)
        return self._passed(seconds, before)

    def natural(self, words: int) -> dict[str, float]:
        """A program that writes words one by one, as fast as it can, with the synchronous client;
        messages form by themselves. Until all have their outcomes."""
        before = self._counts()
        spread = self._cpus - 1
        first = TARGET * self._cpus + 1
        each = [fixed(first + n, MULTIKERNEL_VECTOR) for n in range(spread)]
        began = time.perf_counter()
        with self._client.bulk() as stream:
            for number in range(words):
                stream.send(each[number % spread])
            result = stream.flush()
            seconds = time.perf_counter() - began
        self._arrives(result.all_arrived)
        return self._passed(seconds, before)

    def cpu_natural(self, words: int) -> dict[str, float]:
        """A program that writes its ICR one by one, as fast as it can; frames form by themselves.

        Until the handler of the last one has begun.
        """
        before = self._counts()
        at = LAST_AT + 8 * TARGET
        self._memory.store(at, 0, 8)
        self._memory.store(Word.SPREAD, self._cpus - 1, 8)
        self._memory.store(Word.WRITES, words, 8)
        self._arrives(self._client.inject(to=apic(WRITER + 1)).all_arrived)
        self._wait(lambda: self._memory.load(at, 8) != 0)
        self._stamps += 1
        began_ns = self._memory.load(Word.WRITTEN_AT, 8)
        return self._passed((self._memory.load(at, 8) - began_ns) / 1e9, before)

    # What it costs, and whether all is accounted for.

    def memory(self) -> dict[str, Any]:
        """What each process has: its proportional share of memory, what is its own, and so on."""
        pids = {f"mk{number}": pid for number, pid in self._cluster.pids().items()}
        pids["interconnect"] = self._client.cluster().interconnect_pid
        return {name: asdict(footprint(pid)) for name, pid in pids.items()}

    def books(self) -> dict[str, Any]:
        """The ledger and the mirrors, once nothing moves: ``wrong`` says what is not as it must."""
        self._client.quiesce()
        ledger = self._client.ledger()
        totals = ledger.totals
        wrong = list(ledger.discrepancies)
        if not ledger.balanced and not wrong:
            wrong.append("the ledger does not balance")
        if totals.in_flight:
            wrong.append(f"{totals.in_flight} legs are in flight")
        for number in range(self._instances):
            accounts = self._client.accounts(number, from_instance=True)
            if accounts.mirror != accounts.instance:
                wrong.append(f"the mirror of instance {number} differs from it")
        counts = self._counts()
        if counts["handled"] != counts["delivered"]:
            wrong.append(f"{counts['handled']} handlers ran for {counts['delivered']} delivered")
        if counts["written"] != counts["delivered"] + counts["coalesced"]:
            wrong.append(f"not all that was written was delivered or coalesced: {dict(counts)}")
        return {**counts, "in_flight": totals.in_flight, "wrong": wrong}

    # Within.

    def _target(self, number: int) -> int:
        return TARGET + number % (self._instances - 1)

    def _last_ns(self, instance_id: int) -> int:
        return self._memory.load(LAST_AT + 8 * instance_id, 8)

    def _stamp(self, number: int) -> int:
        return self._memory.load(STAMPS_AT + 8 * (number % MAX_STAMPS), 8)

    def _counts(self) -> Counter[str]:
        """All legs so far, and all handlers that ran."""
        self._client.quiesce()
        ledger = self._client.ledger()
        counts = Counter({"written": ledger.totals.written})
        for row in ledger.rows:
            for outcome, count in row.outcomes:
                counts[outcome.kind.name.lower()] += count
        for number in range(self._instances):
            for account in self._client.accounts(number).mirror:
                counts["handled"] += sum(each.handled for each in account.vectors)
        return counts

    def _passed(self, seconds: float, before: Counter[str]) -> dict[str, float]:
        after = self._counts()
        written, handled, coalesced = (
            after[key] - before[key] for key in ("written", "handled", "coalesced")
        )
        return passed(seconds, written, handled, coalesced)

    @staticmethod
    def _arrives(arrived: bool) -> None:
        assert arrived, "a leg did not arrive"

    @staticmethod
    def _wait(over: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not over():
            if time.monotonic() > deadline:
                raise DeadlineExceededError(f"it was not over within {PATIENCE_S:.0f} s")
            time.sleep(0.002)


def main() -> None:
    """Start, answer, stop."""
    instances, cpus = (int(argument) for argument in sys.argv[1:])
    name = f"bench-{os.getpid()}"
    with Cluster.start(topology(instances, cpus), name=name, timeout_s=120.0) as cluster:
        machine = MachineUnderTest(cluster, instances, cpus)
        serve(
            machine.commands(),
            transport=chosen().name,
            model=model_build(),
            orders=sorted(machine.commands()),
        )


if __name__ == "__main__":
    main()
