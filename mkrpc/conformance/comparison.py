"""Walks an engine's trace beside the model's run, and names what parts them.

A difference that leaves nothing behind, such as a register that merely reads otherwise, is noted
and the walk goes on. The first step with any other difference ends it: from there on the two
machines are in different states, and whatever differs later has that step as its cause.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from mkrpc.conformance.deviations import DEVIATIONS, UNEXPLAINED, Deviation
from mkrpc.conformance.recording import EVENT_FIELDS, ApicScenario, FieldValue
from mkrpc.conformance.scene import Clue, Scene, Script
from mkrpc.conformance.score import Difference, Run, comparable, differences

__all__ = ["Comparison", "Departure", "compare", "compare_line", "compare_listed", "explain"]


@dataclass(frozen=True, slots=True)
class Departure:
    """The first difference of a step that ``deviation`` explains; None: nothing explains it.

    ``passing``: the walk goes on behind the step.
    """

    difference: Difference
    deviation: Deviation | None
    passing: bool

    @property
    def step(self) -> int:
        """Where."""
        return self.difference.step

    @property
    def name(self) -> str:
        """Of the deviation, or ``unexplained``."""
        return UNEXPLAINED if self.deviation is None else self.deviation.name

    @property
    def rules(self) -> tuple[str, ...]:
        """Of the deviation."""
        return () if self.deviation is None else self.deviation.rules

    @property
    def text(self) -> str:
        """For people: ``cluster-15 (R27)``."""
        return f"{self.name} ({', '.join(self.rules)})" if self.rules else self.name


@dataclass(frozen=True, slots=True)
class Comparison:
    """One engine's trace of one script beside the model's run, in the ``fields`` that it has."""

    engine: str
    fields: frozenset[str]
    departures: tuple[Departure, ...]

    @property
    def shown(self) -> Departure | None:
        """The departure that says most: what nothing explains, else what ended the walk, else the
        first in passing. None: the engine and the model agree to the end."""
        for departure in self.departures:
            if departure.deviation is None:
                return departure
        lasting = [each for each in self.departures if not each.passing]
        return next(iter(lasting or self.departures), None)

    @property
    def unexplained(self) -> bool:
        """Is there a difference that no deviation explains?"""
        return any(departure.deviation is None for departure in self.departures)

    @property
    def agrees(self) -> bool:
        """To the end, but for what leaves nothing behind."""
        return all(departure.passing for departure in self.departures)

    def went_along(self, step: int, field: str) -> bool:
        """Was the engine still with the model in that field of that step?"""
        return field in self.fields and not any(
            (not departure.passing and departure.step <= step)
            or (departure.step, departure.difference.field) == (step, field)
            for departure in self.departures
        )


def compare(engine: str, trace: ApicScenario, run: Run) -> Comparison:
    """An engine's own trace, in the fields that it can be compared in."""
    fields = comparable(engine, trace)
    return _walk(engine, fields, Script(trace, run), differences(trace, run))


def compare_line(scenario: ApicScenario, run: Run) -> Comparison:
    """A line as it stands: what it does not say does not differ."""
    return compare("", scenario, run)


def compare_listed(scenario: ApicScenario, run: Run) -> dict[str, Comparison]:
    """By engine, from the disagreements that the line itself lists, for want of its own trace.

    Before the first of them the line holds what all engines did.
    """
    listed = [d for d in scenario.disagreements if d.step < len(run.steps)]
    if not listed:
        return {}
    start = min(entry.step for entry in listed)
    common = [d for d in differences(scenario, run) if d.step < start]
    script = Script(scenario, run)
    made = {}
    for engine in sorted({engine for entry in listed for engine in entry.values}):
        own = [
            Difference(entry.step, entry.cpu, entry.field, entry.values[engine], actual)
            for entry in sorted(listed, key=lambda entry: entry.step)
            if engine in entry.values
            and (actual := _seen(run, entry.step, entry.cpu, entry.field)) != entry.values[engine]
        ]
        made[engine] = _walk(engine, comparable(engine, scenario), script, [*common, *own])
    return made


def _seen(run: Run, step: int, cpu: int | None, field: str) -> FieldValue | None:
    observation = run.steps[step]
    if cpu is not None:
        return observation.cpus[cpu][field]
    value: FieldValue | None = getattr(observation, field)
    return value


def _walk(
    engine: str, fields: frozenset[str], script: Script, found: Iterable[Difference]
) -> Comparison:
    departures: list[Departure] = []
    before: Mapping[Difference, int] = {}
    for step, group in groupby(found, key=lambda difference: difference.step):
        here = [difference for difference in group if difference.field in fields]
        new = [
            difference
            for difference in here
            if before.get(_standing(difference)) is None
            and not (departures and difference.field == "delivered_total")
        ]
        before = {_standing(d): step for d in here if d.field not in EVENT_FIELDS}
        if not new:
            continue
        departed = _departures(explain(Scene(script, step, new)))
        departures += departed
        if not all(departure.passing for departure in departed):
            break
    return Comparison(engine, fields, tuple(departures))


def _standing(difference: Difference) -> Difference:
    """The difference wherever it stands: one that is there to stay is not a new one."""
    if difference.cpu is None:
        return difference
    return Difference(0, difference.cpu, difference.field, difference.expected, difference.actual)


def _departures(explained: Mapping[Clue, Deviation | None]) -> list[Departure]:
    """One for each deviation of a step."""
    by_deviation: dict[Deviation | None, list[Clue]] = {}
    for clue, deviation in explained.items():
        by_deviation.setdefault(deviation, []).append(clue)
    return [
        Departure(
            clues[0].difference,
            deviation,
            deviation is not None and all(clue.field in deviation.passing for clue in clues),
        )
        for deviation, clues in by_deviation.items()
    ]


def explain(scene: Scene) -> dict[Clue, Deviation | None]:
    """Each clue of the step with what explains it, None if nothing does.

    What only follows from another difference of the same CPU has the same explanation.
    """
    found: dict[Clue, Deviation | None] = {}
    followers = [clue for clue in scene.clues if scene.follows(clue)]
    for clue in scene.clues:
        if clue not in followers:
            found[clue] = _first(scene, clue)
    for clue in followers:
        leaders = (found[each] for each in scene.clues if each in found and each.cpu == clue.cpu)
        found[clue] = next(filter(None, leaders), None) or _first(scene, clue)
    return found


def _first(scene: Scene, clue: Clue) -> Deviation | None:
    return next((each for each in DEVIATIONS if each.holds(scene, clue)), None)
