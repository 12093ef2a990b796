"""``mkrpc sim NAME``: a scenario of the library, with its defect and with its remedies."""

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from mkrpc.cli.group import EXIT_NO, EXIT_OK
from mkrpc.cli.output import print_json, print_table
from mkrpc.cli.seeds import DEFAULT_SEEDS, in_processes
from mkrpc.errors import InvalidArgumentError

if TYPE_CHECKING:
    # Imported late where they are used: they load the whole machine.
    from mkrpc.scenarios.playing import Played
    from mkrpc.scenarios.scenario import Scenario

__all__ = ["ALL", "Ask", "list_scenarios", "run_scenarios"]

ALL = "all"
"""In place of a name: every scenario of the library."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What was typed. ``defect``, ``remedy``: only that; neither and no ``changes``: both.
    ``seed``: one alone; ``seeds``: how many from ``first_seed`` on."""

    defect: bool = False
    remedy: bool = False
    changes: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    seeds: int | None = None
    first_seed: int = 1
    jobs: int | None = None
    steps: bool = False
    as_json: bool = False


@dataclass(slots=True, kw_only=True)
class _Count:
    """What became of one setting under some seeds. ``wanted``: should a seed show the defect?"""

    kind: str
    changes: dict[str, str]
    first_seed: int
    wanted: bool
    seeds: int = 0
    shown: int = 0
    broken: int = 0
    example: "Played | None" = None
    """The first seed with a finding, or with what is broken in its place."""
    last: "Played | None" = None

    @property
    def held(self) -> bool:
        """Is it as it should be?"""
        return not self.broken and (self.shown > 0) is self.wanted

    def add(self, played: "Played") -> None:
        self.seeds += 1
        self.shown += bool(played.findings)
        self.broken += bool(played.broken)
        example = self.example
        if (played.broken and not (example and example.broken)) or (
            played.findings and example is None
        ):
            self.example = played
        self.last = played


def list_scenarios(*, as_json: bool) -> int:
    """``mkrpc sim --list``."""
    from mkrpc.scenarios.catalogue import scenarios
    from mkrpc.scenarios.scenario import title

    known = scenarios().values()
    if as_json:
        print_json({"scenarios": [_described(each) for each in known]})
    else:
        print_table(("scenario", "what goes wrong"), [(each.name, title(each)) for each in known])
    return EXIT_OK


def run_scenarios(name: str, ask: Ask) -> int:
    """One scenario, or all of the library, as asked. EXIT_NO if one is not as it should be."""
    from mkrpc.scenarios.catalogue import scenario_named, scenarios
    from mkrpc.scenarios.scenario import settings_of

    if ask.seed is not None and ask.seeds is not None:
        raise InvalidArgumentError("--seed and --seeds exclude each other", advice="one, or many")
    if ask.defect + ask.remedy + bool(ask.changes) > 1:
        raise InvalidArgumentError(
            "--defect, --remedy and --set exclude each other",
            advice="--set starts from the settings of the defect",
        )
    if name == ALL:
        if ask.changes or ask.seed is not None or ask.steps:
            raise InvalidArgumentError(
                "--set, --seed and --steps are for one scenario", advice="name it"
            )
        return _all(list(scenarios()), ask)
    if ask.steps and ask.seed is None:
        raise InvalidArgumentError("--steps is for one seed", advice="add --seed NUMBER")
    scenario = scenario_named(name)
    settings_of(scenario, dict(ask.changes))  # Refused before anything is printed.
    if not ask.as_json:
        _introduce(scenario)
    counts = []
    for count in _counts(scenario, ask):
        lines = _run(name, count, ask)
        counts.append(count)
        if not ask.as_json:
            for line in lines:
                click.echo(line)
            _print(name, count, one=ask.seed is not None)
    if ask.as_json:
        steps = {"steps": lines} if ask.steps else {}
        print_json(_described(scenario) | {"runs": [_as_dict(each) for each in counts]} | steps)
    return EXIT_OK if all(count.held for count in counts) else EXIT_NO


def _all(names: Sequence[str], ask: Ask) -> int:
    from mkrpc.scenarios.catalogue import scenario_named

    found = []
    for name in names:
        for count in _counts(scenario_named(name), ask):
            _run(name, count, ask)
            found.append((name, count))
    if ask.as_json:
        print_json({"runs": [{"scenario": name} | _as_dict(count) for name, count in found]})
    else:
        print_table(
            ("scenario", "", "switches", "seeds#", "show it#", ""),
            [
                (
                    *(name, count.kind, _text(count.changes), count.seeds, count.shown),
                    "" if count.held else "broken" if count.broken else "not as it should be",
                )
                for name, count in found
            ],
        )
    return EXIT_OK if all(count.held for _, count in found) else EXIT_NO


def _counts(scenario: "type[Scenario]", ask: Ask) -> list[_Count]:
    """What is to be run: the defect (by default its seed alone), its remedies, or what was set."""
    first = ask.first_seed if ask.seed is None else ask.seed
    if ask.changes:
        return [_Count(kind="set", changes=dict(ask.changes), first_seed=first, wanted=False)]
    counts = []
    if not ask.remedy:
        own = ask.seed is None and not (ask.defect and ask.seeds is not None)
        counts.append(
            _Count(
                kind="defect",
                changes=dict(scenario.defect),
                first_seed=scenario.seed if own else first,
                wanted=True,
            )
        )
    if not ask.defect:
        counts += [
            _Count(kind="remedy", changes=dict(each), first_seed=first, wanted=False)
            for each in scenario.remedies
        ]
    return counts


def _run(name: str, count: _Count, ask: Ask) -> list[str]:
    """Play it; the lines of the run, if they were asked for."""
    own = ask.seed is not None or (count.wanted and not (ask.defect and ask.seeds is not None))
    seeds = range(count.first_seed, count.first_seed + (1 if own else ask.seeds or DEFAULT_SEEDS))
    lines: list[str] = []
    if len(seeds) == 1:
        for played in _play_all(name, count.changes, seeds, lines.append if ask.steps else None):
            count.add(played)
        return lines
    run_all = partial(_play_all, name, count.changes)
    for results in in_processes(run_all, seeds, ask.jobs or os.cpu_count() or 1):
        for played in results:
            count.add(played)
    return lines


def _play_all(name: str, changes: dict[str, str], seeds: range, tell: Any = None) -> "list[Played]":
    from mkrpc.scenarios.catalogue import scenario_named
    from mkrpc.scenarios.playing import play

    scenario = scenario_named(name)
    return [play(scenario, seed, random.Random, changes=changes, tell=tell) for seed in seeds]


def _introduce(scenario: "type[Scenario]") -> None:
    from mkrpc.scenarios.scenario import description

    click.echo(f"{scenario.name}: {description(scenario)}\n")
    print_table(
        ("switch", "what it means", "values"),
        [(each.name, each.text, " | ".join(each.values)) for each in scenario.switches],
    )
    click.echo()


def _print(name: str, count: _Count, *, one: bool) -> None:
    last, example = count.last, count.example
    assert last is not None, "at least one seed was played"
    if count.seeds == 1:
        found = "shows it" if count.shown else "does not show it"
        click.echo(f"{count.kind} {_text(count.changes)}: seed {last.seed} {found}")
    else:
        click.echo(
            f"{count.kind} {_text(count.changes)}: {count.shown} of {count.seeds} seeds show it, "
            f"from seed {count.first_seed} on"
        )
    if example is not None:
        where = f"seed {example.seed}: " if count.seeds > 1 else ""
        for line in (*example.broken, *example.findings):
            click.echo(f"  {where}{line}")
    if one:
        click.echo(f"  {last.ticks} ticks, digest {last.digest}")
    elif example is not None:
        changes = "".join(f" --set {key}={value}" for key, value in example.settings.items())
        click.echo(f"  replay: mkrpc sim {name}{changes} --seed {example.seed} --steps")


def _text(changes: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in changes.items())


def _described(scenario: "type[Scenario]") -> dict[str, object]:
    from mkrpc.scenarios.scenario import description, title

    return {
        "scenario": scenario.name,
        "title": title(scenario),
        "text": description(scenario),
        "switches": [asdict(switch) for switch in scenario.switches],
        "defect": dict(scenario.defect),
        "remedies": [dict(each) for each in scenario.remedies],
        "seed": scenario.seed,
    }


def _as_dict(count: _Count) -> dict[str, object]:
    assert count.last is not None, "at least one seed was played"
    return {
        "kind": count.kind,
        "changes": count.changes,
        "settings": count.last.settings,
        "first_seed": count.first_seed,
        "seeds": count.seeds,
        "shown": count.shown,
        "broken": count.broken,
        "held": count.held,
        "example": None if count.example is None else asdict(count.example),
        "digest": count.last.digest,
    }
