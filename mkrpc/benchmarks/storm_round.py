"""One round of :mod:`mkrpc.benchmarks.storm`: described and read in the cluster's shared memory."""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mkrpc.benchmarks.footprint import process_cpu_s
from mkrpc.benchmarks.storm_programs import MAX_SAMPLES, SAMPLES_AT, Kind, Word
from mkrpc.host.children import MEMORY_FILE
from mkrpc.instance.mapping import map_memory

__all__ = ["Round", "Table", "cpu_seconds"]

LEAD_NS = 100_000_000
"""Between the description of a round and its beginning, for all to be rung."""


@dataclass(slots=True, kw_only=True)
class Round:
    """What one round showed. Latencies in microseconds: there and back, or one way."""

    kind: str
    storm: bool
    sent: int
    received: int
    p50_us: float
    p99_us: float
    worst_us: float
    attacked: list[int]
    offered_per_s: list[float]
    cpu: dict[str, float] = field(default_factory=dict)

    def cpu_shares(
        self, before: Mapping[str, float], after: Mapping[str, float], seconds: float
    ) -> None:
        """How much of a core each process took."""
        self.cpu = {who: round((after[who] - before[who]) / seconds, 2) for who in before}

    def text(self) -> str:
        """In a line."""
        cpu = ", ".join(f"{who} {share:.2f}" for who, share in self.cpu.items())
        return (
            f"{self.kind:9} {'storm' if self.storm else 'quiet'}: {self.received} of {self.sent}, "
            f"p50 {self.p50_us:.0f} us, p99 {self.p99_us:.0f} us, worst {self.worst_us:.0f} us; "
            f"offered {sum(self.attacked)}; cores: {cpu}"
        )


class Table:
    """The shared memory of the cluster."""

    def __init__(self, state_dir: Path, *, nice: int, at_pair: bool) -> None:
        self._memory = map_memory(state_dir / MEMORY_FILE)
        self._put(Word.NICE, nice)
        self._put(Word.ATTACKS_PAIR, int(at_pair))
        self._attacked: list[int] = []

    def _put(self, word: Word, value: int) -> None:
        self._memory.store(word, value, 8)

    def begin(self, kind: Kind, *, attack_rate: int, seconds: float) -> int:
        """Describe the next round; when it begins, in ns."""
        begin_ns = time.monotonic_ns() + LEAD_NS
        self._put(Word.SENT, 0)
        self._put(Word.RECEIVED, 0)
        self._put(Word.KIND, kind)
        self._put(Word.BEGIN, begin_ns)
        self._put(Word.END, begin_ns + int(seconds * 1e9))
        self._put(Word.ATTACK_RATE, attack_rate)
        self._put(Word.ROUND, self._memory.load(Word.ROUND, 8) + 1)
        return begin_ns

    def end(self, kind: Kind, *, storm: bool, attackers: int, seconds: float) -> Round:
        """Read what it showed."""
        load = self._memory.load
        received = load(Word.RECEIVED, 8)
        latencies = sorted(
            load(SAMPLES_AT + 8 * number, 8) / 1000 for number in range(min(received, MAX_SAMPLES))
        )
        total = [load(Word.ATTACKED + 8 * number, 8) for number in range(attackers)]
        before, self._attacked = self._attacked or [0] * attackers, total
        attacked = [now - then for now, then in zip(total, before, strict=True)]
        cuts = statistics.quantiles(latencies, n=100)
        return Round(
            kind=kind.name.lower(),
            storm=storm,
            sent=load(Word.SENT, 8),
            received=received,
            p50_us=cuts[49],
            p99_us=cuts[98],
            worst_us=latencies[-1],
            attacked=attacked,
            offered_per_s=[made / seconds for made in attacked] if storm else [],
        )


def cpu_seconds(interconnect: int, pids: Mapping[int, int]) -> dict[str, float]:
    """CPU time that the processes have had: the interconnect, the pair, all attackers together."""
    return {
        "interconnect": process_cpu_s(interconnect),
        "pair": sum(process_cpu_s(pid) for number, pid in pids.items() if number < 2),
        "attackers": sum(process_cpu_s(pid) for number, pid in pids.items() if number >= 2),
    }
