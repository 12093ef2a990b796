"""The rounds of ``mkrpc bench``: subjects side by side, asked in turns, and what they answer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mkrpc.benchmarks.figures import Figures, ratios_of
from mkrpc.benchmarks.plan import Measure, Plan
from mkrpc.benchmarks.subject import Subject
from mkrpc.errors import MkrpcError

__all__ = ["Command", "Report", "Run", "Tell", "side_by_side"]

Tell = Callable[[str], None]
"""Takes a line of progress."""


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


@dataclass(frozen=True, slots=True)
class Command:
    """How a subject is started. ``may_lack``: it is no failure if it cannot be."""

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    may_lack: bool = False


def side_by_side(measures: Sequence[Measure]) -> list[Measure]:
    """In an order in which all subjects do the same before any does the next: a machine that is
    slow for a while, as one that others share, is then slow for all that is compared."""
    names = list(dict.fromkeys(each.name for each in measures))
    return sorted(measures, key=lambda each: names.index(each.name))


class Run:
    """A run under way: its directory, its report, and whom to tell."""

    def __init__(self, report: Report, directory: Path, tell: Tell) -> None:
        self.report = report
        self.plan = report.plan
        self.directory = directory
        self.tell = tell

    @contextmanager
    def together(self, commands: Mapping[str, Command]) -> Iterator[dict[str, Subject]]:
        """Start subjects side by side; those that cannot be are left out, with the reason."""
        with ExitStack() as stack:
            started = {
                name: stack.enter_context(
                    Subject(
                        name,
                        command.arguments,
                        log=self.directory / f"{name}.log",
                        environment=command.environment,
                    )
                )
                for name, command in commands.items()
            }
            subjects = {}
            for name, subject in started.items():
                try:
                    subject.wait_until_ready()
                except MkrpcError as error:
                    self.report.reasons[name] = f"{error}: {error.advice}"
                    if not commands[name].may_lack:
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
        asked = side_by_side([each for each in measures if each.subject in subjects])
        for number in range(self.plan.rounds + 1):
            self.tell(f"round {number} of {self.plan.rounds}" if number else "warming up")
            self.report.figures.round = number
            for each in asked if number % 2 else reversed(asked):
                if not subjects[each.subject].silent:
                    self._ask(subjects[each.subject], each, warm_up=not number)
        for name, subject in subjects.items():
            if "books" in subject.about.get("orders", ()) and not subject.silent:
                self._close_books(name, subject)

    def _ask(self, subject: Subject, measure: Measure, *, warm_up: bool) -> None:
        try:
            answer = subject.ask(
                measure.order, **(measure.small() if warm_up else measure.arguments)
            )
        except MkrpcError as error:
            self.report.failures.append(f"{measure.key}: {error}")
            self.report.reasons.setdefault(measure.subject, f"{measure.name}: {error}")
            return
        if not warm_up:
            self.report.figures.add(measure.key, answer)

    def _close_books(self, name: str, subject: Subject) -> None:
        try:
            books = subject.ask("books")
            self.report.books[name] = books
            self.report.failures += [f"{name}: {line}" for line in books["wrong"]]
            if "memory" in subject.about.get("orders", ()):
                self.report.subjects[name]["memory"] = subject.ask("memory")
        except MkrpcError as error:
            self.report.failures.append(f"{name}: {error}")
