"""How much ``mkrpc bench`` measures, and what each subject is asked to do."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mkrpc.benchmarks.model import MODEL_CPUS, model_words
from mkrpc.errors import InvalidArgumentError
from mkrpc.interconnect.injection_stream import STREAM_REQUESTS
from mkrpc.x86.icr import fixed
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

__all__ = [
    "CPUS",
    "GROWTH_CPUS",
    "PEERS",
    "Measure",
    "Plan",
    "delays_of",
    "of_baselines",
    "of_chain",
    "of_mkrpc",
    "of_model",
]

PEERS = {
    "unix_socket": "a Unix-socket broker",
    "pipe": "multiprocessing Pipe with a broker",
    "queue_broker": "multiprocessing Queue with a broker",
    "shared_memory": "rings in shared memory with eventfd, and a broker",
    "zeromq": "ZeroMQ",
    "nats_broker": "NATS",
    "redis_lists": "Redis",
}
"""By the name of their program among the baselines; all have a broker between two processes."""

CPUS = MODEL_CPUS
"""CPUs of each instance where bursts are measured."""

GROWTH_CPUS = 2

LOW_RATE = 1000
"""Words a second at which nothing waits for anything: what a delay is at a low load."""

WARM_UP = 10
"""The first turn does one in so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much. Counts are those of one round; ``window``: messages that are unacknowledged at
    most, ``burst_window``: bursts; ``offered``: words a second, and how many. ``growth``,
    ``startup``: numbers of instances, none to leave that out. ``transport``: of all of mkrpc's
    processes; empty: as they choose by themselves. ``awake``: no CPU halts meanwhile. ``only``:
    names of the measures that are asked for; empty: all."""

    rounds: int = 5
    delays: int = 500
    unary_delays: int = 200
    ping_pongs: int = 500
    offered: tuple[tuple[int, int], ...] = ((LOW_RATE, 500), (10_000, 5000), (50_000, 25_000))
    singles: int = 5000
    slow_singles: int = 1000
    bursts_1k: int = 160
    bursts_10k: int = 40
    natural: int = 100_000
    cpu_natural: int = 20_000
    window: int = 256
    burst_window: int = 2
    growth: tuple[int, ...] = (2, 8, 32, 128)
    growth_delays: int = 300
    growth_bursts: int = 5
    startup: tuple[int, ...] = (8, 32, 128)
    peers: bool = True
    pin: frozenset[int] | None = None
    pin_text: str = "none"
    transport: str = ""
    awake: bool = False
    only: tuple[str, ...] = ()

    def restricted_to(self, only: Sequence[str]) -> "Plan":
        """The same with nothing but these measures, without growth and start-up.

        :raises InvalidArgumentError: there is no such measure.
        """
        names = [each.name for each in of_mkrpc(self)]
        for name in only:
            if name not in names:
                raise InvalidArgumentError(
                    f"there is no measure {name}",
                    advice=f"those that there are: {', '.join(names)}",
                )
        return replace(self, only=tuple(only), growth=(), startup=())

    def wants(self, name: str) -> bool:
        """Whether this measure is asked for."""
        return not self.only or name in self.only

    @classmethod
    def quick(cls) -> "Plan":
        """A look, not a measurement."""
        return cls(
            rounds=1,
            delays=50,
            unary_delays=20,
            ping_pongs=50,
            offered=((LOW_RATE, 50),),
            singles=200,
            slow_singles=100,
            bursts_1k=4,
            bursts_10k=2,
            natural=2000,
            cpu_natural=1000,
            growth=(),
            startup=(),
        )


@dataclass(frozen=True, slots=True)
class Measure:
    """One order to one subject. ``name`` is that of its figure."""

    subject: str
    name: str
    order: str
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """``SUBJECT.MEASURE``: what its figures begin with."""
        return f"{self.subject}.{self.name}"

    def small(self) -> dict[str, Any]:
        """The arguments of the turn that warms up."""
        return {
            key: max(1, value // WARM_UP) if key in ("count", "messages") else value
            for key, value in self.arguments.items()
        }


def of_mkrpc(plan: Plan) -> list[Measure]:
    """A machine of two instances."""
    one = {"messages": plan.singles, "words": 1}
    bursts = {"window": plan.burst_window, "each": False}
    ten_thousand = {"messages": plan.bursts_10k, "words": 10_000, **bursts}
    return [
        Measure("mkrpc", "delay", "delay", {"count": plan.delays}),
        Measure("mkrpc", "unary_delay", "unary_delay", {"count": plan.unary_delays}),
        Measure("mkrpc", "cpu_delay", "ping_pong", {"count": plan.ping_pongs}),
        *(
            Measure("mkrpc", f"offered_{rate}", "offered", {"rate": rate, "count": count})
            for rate, count in plan.offered
        ),
        Measure("mkrpc", "one", "stream", {**one, "window": plan.window, "each": True}),
        Measure(
            "mkrpc", "one_cumulative", "stream", {**one, "window": STREAM_REQUESTS, "each": False}
        ),
        Measure("mkrpc", "natural", "natural", {"words": plan.natural}),
        Measure("mkrpc", "cpu_natural", "cpu_natural", {"words": plan.cpu_natural}),
        Measure(
            "mkrpc", "burst_1k", "stream", {"messages": plan.bursts_1k, "words": 1000, **bursts}
        ),
        Measure("mkrpc", "burst_10k", "stream", ten_thousand),
        Measure("mkrpc", "burst_10k_in_runs", "stream", {**ten_thousand, "in_runs": True}),
    ]


def of_baselines(plan: Plan) -> list[Measure]:
    """The raw relay and the idiomatic design."""
    one = {"messages": plan.singles, "words": model_words(1), "window": plan.window}
    slow = {**one, "messages": plan.slow_singles}
    word = fixed(0, MULTIKERNEL_VECTOR)
    found = [
        Measure(name, "delay", "delay", {"count": plan.delays, "word": word})
        for name in ("raw_relay", "idiomatic")
    ]
    found += [
        Measure(
            "raw_relay",
            f"offered_{LOW_RATE}",
            "offered",
            {"rate": rate, "count": count, "word": word},
        )
        for rate, count in plan.offered
        if rate == LOW_RATE
    ]
    found += [
        Measure("raw_relay", "one", "stream", one),
        Measure("idiomatic", "one", "stream", slow),
        Measure("idiomatic", "one_cumulative", "stream_cumulative", slow),
    ]
    return found


def of_model(plan: Plan) -> list[Measure]:
    """The model alone: the same bursts."""
    found = []
    for name, count, words in (
        ("burst_1k", plan.bursts_1k, 1000),
        ("burst_10k", plan.bursts_10k, 10_000),
    ):
        arguments = {"messages": count, "words": model_words(words)}
        found.append(Measure("model", name, "stream", arguments))
    return found


def delays_of(plan: Plan, suffix: str) -> list[Measure]:
    """Delays alone, of mkrpc and the raw relay on another transport."""
    word = fixed(0, MULTIKERNEL_VECTOR)
    return [
        Measure(f"mkrpc{suffix}", "delay", "delay", {"count": plan.delays}),
        Measure(f"mkrpc{suffix}", "cpu_delay", "ping_pong", {"count": plan.ping_pongs}),
        Measure(f"raw_relay{suffix}", "delay", "delay", {"count": plan.delays, "word": word}),
    ]


def of_chain(plan: Plan, name: str) -> list[Measure]:
    """A peer."""
    return [
        Measure(
            name, "delay", "delay", {"count": plan.delays, "word": fixed(0, MULTIKERNEL_VECTOR)}
        ),
        *(
            Measure(
                name,
                what,
                "stream",
                {"messages": count, "words": model_words(words), "window": window},
            )
            for what, count, words, window in (
                ("one", plan.singles, 1, plan.window),
                ("burst_1k", plan.bursts_1k, 1000, plan.burst_window),
                ("burst_10k", plan.bursts_10k, 10_000, plan.burst_window),
            )
        ),
    ]
