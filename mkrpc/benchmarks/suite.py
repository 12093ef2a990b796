"""``mkrpc bench``: what is measured, in which order, and what it is compared with.

Every subject is a process of its own (:mod:`mkrpc.benchmarks.subject`). Those that are compared
stand side by side and are asked in turns, forwards and backwards, so that what drifts falls on all
alike; a first turn warms up and is not counted.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import mkrpc
from mkrpc.benchmarks.figures import Figures, ratios_of
from mkrpc.benchmarks.model import MODEL_CPUS, model_words
from mkrpc.benchmarks.placement import host, pinned
from mkrpc.benchmarks.subject import Subject
from mkrpc.errors import MkrpcError
from mkrpc.x86.icr import fixed
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

__all__ = ["BASELINES", "Measure", "Plan", "Report", "measure"]

BASELINES = Path(mkrpc.__file__).parent.parent / "tests" / "benchmarks" / "baselines"
"""The programs that mkrpc is compared with: part of the sources, not of an installed package."""

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

WARM_UP = 10
"""The first turn does one in so many."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much. Counts are those of one round; ``window``: messages that are unacknowledged at
    most, ``burst_window``: bursts. ``growth``: numbers of instances, none to leave that out."""

    rounds: int = 5
    delays: int = 500
    ping_pongs: int = 500
    singles: int = 1000
    bursts_1k: int = 40
    bursts_10k: int = 6
    natural: int = 50_000
    window: int = 256
    burst_window: int = 8
    growth: tuple[int, ...] = (2, 8, 32, 128)
    growth_delays: int = 300
    peers: bool = True
    pin: frozenset[int] | None = None
    pin_text: str = "none"

    @classmethod
    def quick(cls) -> "Plan":
        """A look, not a measurement."""
        return cls(
            rounds=1,
            delays=50,
            ping_pongs=50,
            singles=100,
            bursts_1k=2,
            bursts_10k=1,
            natural=2000,
            growth=(2, 4),
            growth_delays=20,
        )


@dataclass(frozen=True, slots=True)
class Measure:
    """One order to one subject. ``name`` is that of its figure."""

    subject: str
    name: str
    order: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def small(self) -> dict[str, Any]:
        """The arguments of the turn that warms up."""
        return {
            key: max(1, value // WARM_UP) if key in ("count", "messages") else value
            for key, value in self.arguments.items()
        }


@dataclass(slots=True, kw_only=True)
class Report:
    """What came out. ``reasons``: why what is not there was not measured, by subject.
    ``failures``: what must not be, such as books that do not balance, a line each."""

    plan: Plan
    host: dict[str, Any]
    figures: Figures = field(default_factory=Figures)
    reasons: dict[str, str] = field(default_factory=dict)
    subjects: dict[str, dict[str, Any]] = field(default_factory=dict)
    books: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        plan = asdict(self.plan)
        plan["pin"] = sorted(self.plan.pin) if self.plan.pin is not None else None
        figures = {
            name: {"median": figure.median, "rounds": figure.rounds, **figure.counts}
            for name, figure in self.figures.items()
        }
        return {
            "host": self.host,
            "plan": plan,
            "subjects": self.subjects,
            "ratios": ratios_of(self.figures, self.reasons),
            "figures": figures,
            "books": self.books,
            "not_measured": self.reasons,
            "failures": self.failures,
        }


class _Run:
    """A run under way: its directory, its report, and whom to tell."""

    def __init__(self, report: Report, directory: Path, tell: Tell) -> None:
        self.report = report
        self.plan = report.plan
        self.directory = directory
        self.tell = tell

    @contextmanager
    def together(self, commands: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Subject]]:
        """Start subjects side by side; those that cannot be are left out, with the reason."""
        with ExitStack() as stack:
            subjects = {}
            for name, command in commands.items():
                subject = Subject(name, command, log=self.directory / f"{name}.log")
                stack.enter_context(subject)
                try:
                    subject.wait_until_ready()
                except MkrpcError as error:
                    self.report.reasons[name] = f"{error}: {error.advice}"
                    if name.startswith("mkrpc"):
                        self.report.failures.append(f"{error}: {error.advice}")
                    continue
                if reason := subject.about.pop("missing", ""):
                    self.report.reasons[name] = reason
                    continue
                self.report.subjects[name] = subject.about
                subjects[name] = subject
            yield subjects

    def in_turns(self, subjects: dict[str, Subject], measures: Sequence[Measure]) -> None:
        """Ask all in turns, round after round."""
        asked = [measure for measure in measures if measure.subject in subjects]
        for number in range(self.plan.rounds + 1):
            self.tell(f"round {number} of {self.plan.rounds}" if number else "warming up")
            for each in asked if number % 2 else reversed(asked):
                if not subjects[each.subject].silent:
                    self._ask(subjects[each.subject], each, warm_up=not number)
        for name, subject in subjects.items():
            if name.startswith("mkrpc") and not subject.silent:
                self._close_books(name, subject)

    def _ask(self, subject: Subject, measure: Measure, *, warm_up: bool) -> None:
        key = f"{measure.subject}.{measure.name}"
        try:
            answer = subject.ask(
                measure.order, **(measure.small() if warm_up else measure.arguments)
            )
        except MkrpcError as error:
            self.report.failures.append(f"{key}: {error}")
            return
        if not warm_up:
            self.report.figures.add(key, answer)

    def _close_books(self, name: str, subject: Subject) -> None:
        try:
            books = subject.ask("books")
            self.report.books[name] = books
            self.report.failures += [f"{name}: {line}" for line in books["wrong"]]
            if "memory" in subject.about.get("orders", ()):
                self.report.subjects[name]["memory"] = subject.ask("memory")
        except MkrpcError as error:
            self.report.failures.append(f"{name}: {error}")


def measure(plan: Plan, tell: Tell = lambda _line: None) -> Report:
    """Run the plan; takes everything down that it started.

    Clusters live in a state directory of their own. What cannot be measured here is in the report,
    with its reason.
    """
    report = Report(plan=plan, host=host())
    before = pinned(plan.pin)
    try:
        with _private_state_dir() as directory:
            run = _Run(report, directory, tell)
            _one_machine(run)
            if plan.growth:
                _growth(run)
    finally:
        os.sched_setaffinity(0, before)
    _best_peer(report.figures)
    report.failures += report.figures.failures
    return report


@contextmanager
def _private_state_dir() -> Iterator[Path]:
    """Clusters that a subject has left behind are taken down at the end."""
    from mkrpc.cluster import remove
    from mkrpc.state_dir import cluster_names

    before = os.environ.get("MKRPC_STATE_DIR")
    with tempfile.TemporaryDirectory(prefix="mkb", dir="/tmp") as directory:
        os.environ["MKRPC_STATE_DIR"] = f"{directory}/s"
        try:
            yield Path(directory)
        finally:
            for name in cluster_names():
                remove(name)
            if before is None:
                del os.environ["MKRPC_STATE_DIR"]
            else:
                os.environ["MKRPC_STATE_DIR"] = before


def _machine(instances: int, cpus: int) -> list[str]:
    return ["-m", "mkrpc.benchmarks.machine", str(instances), str(cpus)]


def _one_machine(run: _Run) -> None:
    """mkrpc, the model alone, the baselines and the peers."""
    commands: dict[str, Sequence[str]] = {
        "mkrpc": _machine(2, CPUS),
        "model": ["-m", "mkrpc.benchmarks.model"],
    }
    wanted = ["raw_relay", "idiomatic", *(PEERS if run.plan.peers else ())]
    for name in wanted:
        path = BASELINES / f"{name}.py"
        if path.exists():
            commands[name] = [str(path)]
        else:
            run.report.reasons[name] = f"its program is part of the sources, and not at {path}"
    with run.together(commands) as subjects:
        measures = _of_mkrpc(run.plan) + _of_baselines(run.plan)
        for name in PEERS:
            measures += _of_chain(run.plan, name)
        run.in_turns(subjects, measures)


def _of_mkrpc(plan: Plan) -> list[Measure]:
    return [
        Measure("mkrpc", "delay", "delay", {"count": plan.delays}),
        Measure("mkrpc", "cpu_delay", "ping_pong", {"count": plan.ping_pongs}),
        Measure("mkrpc", "one", "stream", {"messages": plan.singles, "words": 1}),
        Measure("mkrpc", "burst_1k", "stream", {"messages": plan.bursts_1k, "words": 1000}),
        Measure("mkrpc", "burst_10k", "stream", {"messages": plan.bursts_10k, "words": 10_000}),
        Measure("mkrpc", "natural", "natural", {"words": plan.natural}),
    ]


def _of_baselines(plan: Plan) -> list[Measure]:
    one = {"messages": plan.singles, "words": model_words(1), "window": plan.window}
    word = fixed(0, MULTIKERNEL_VECTOR)
    found = [
        Measure(name, "delay", "delay", {"count": plan.delays, "word": word})
        for name in ("raw_relay", "idiomatic")
    ]
    found += [
        Measure("raw_relay", "one", "stream", one),
        Measure("idiomatic", "one", "stream", one),
        Measure("idiomatic", "one_cumulative", "stream_cumulative", one),
    ]
    for name, count, words in (
        ("burst_1k", plan.bursts_1k, 1000),
        ("burst_10k", plan.bursts_10k, 10_000),
    ):
        arguments = {"messages": count, "words": model_words(words)}
        found.append(Measure("model", name, "stream", arguments))
    return found


def _of_chain(plan: Plan, name: str) -> list[Measure]:
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


def _best_peer(figures: Figures) -> None:
    """The figures of the fastest peer under a name of their own."""
    for name in ("one", "burst_1k", "burst_10k"):
        found = [
            figure for peer in PEERS if (figure := figures.get(f"{peer}.{name}.per_s")) is not None
        ]
        if found:
            best = max(found, key=lambda figure: figure.median)
            figures[f"best_brokered_peer.{name}.per_s"] = best


def _growth(run: _Run) -> None:
    """The same machine with more and more instances, all of them up at a time."""
    names = {number: f"mkrpc_{number}" for number in run.plan.growth}
    commands = {name: _machine(number, GROWTH_CPUS) for number, name in names.items()}
    with run.together(commands) as subjects:
        measures = [
            Measure(name, "delay", "delay", {"count": run.plan.growth_delays})
            for name in names.values()
        ]
        run.in_turns(subjects, measures)
