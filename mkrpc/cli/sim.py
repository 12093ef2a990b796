"""``mkrpc sim``: the whole machine in one thread, under chance and faults that a seed decides."""

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from mkrpc.cli.group import EXIT_NO, EXIT_OK
from mkrpc.cli.options import Number, json_option
from mkrpc.cli.output import print_json
from mkrpc.cli.scenario import Ask, list_scenarios, run_scenarios
from mkrpc.cli.seeds import DEFAULT_SEEDS, MAX_SEED, MAX_SEEDS, in_processes
from mkrpc.errors import InvalidArgumentError

if TYPE_CHECKING:
    # Imported late where they are used: they load the whole machine.
    from mkrpc.simulation.run import Result
    from mkrpc.simulation.shrink import Shrunk

__all__ = ["sim"]

_SHOWN = 10
"""Violations that are listed; the rest is counted."""


class _Setting(click.ParamType):  # type: ignore[type-arg] # generic in new click only
    """``SWITCH=VALUE``."""

    name = "SWITCH=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Both parts; a usage error if there are not two."""
        switch, equals, text = str(value).partition("=")
        if not (switch and equals and text):
            self.fail(f"{value!r} is no SWITCH=VALUE", param, ctx)
        return switch, text


@click.command(short_help="Run the machine under seeds, or play a scenario.")
@click.argument("scenario", required=False, metavar="[SCENARIO | all | FILE.py]")
@click.option("--seeds", type=Number(1, MAX_SEEDS), help=f"How many.  [default: {DEFAULT_SEEDS}]")
@click.option(
    "--first-seed",
    type=Number(0, MAX_SEED),
    default=1,
    show_default=True,
    help="The first of them; each of the others is one more.",
)
@click.option("--jobs", type=Number(1, 512), help="Processes.  [default: one for each CPU]")
@click.option("--seed", type=Number(0, MAX_SEED), help="One seed, in place of many.")
@click.option("--without", default="", metavar="TAGS", help="Leave out of it, as f1,s3-9,i2.")
@click.option("--steps", is_flag=True, help="Print its steps.")
@click.option("--move-cpus", is_flag=True, help="CPUs move from kernel to kernel, besides.")
@click.option("--calls", is_flag=True, help="Clients send different words over streams, besides.")
@click.option("--no-shrink", is_flag=True, help="Leave a run that breaks a law as it is.")
@click.option("--list", "listing", is_flag=True, help="Print the scenarios.")
@click.option("--defect", is_flag=True, help="Play the scenario with its defect alone.")
@click.option("--remedy", is_flag=True, help="Play the scenario with its remedies alone.")
@click.option("--set", "changes", type=_Setting(), multiple=True, help="From its defect on, set.")
@json_option
def sim(  # noqa: PLR0917 - click gives them by name
    scenario: str | None,
    seeds: int | None,
    first_seed: int,
    jobs: int | None,
    seed: int | None,
    without: str,
    steps: bool,
    move_cpus: bool,
    calls: bool,
    no_shrink: bool,
    listing: bool,
    defect: bool,
    remedy: bool,
    changes: tuple[tuple[str, str], ...],
    as_json: bool,
) -> int:
    """Run the machine under seeds: instances, workload and faults are drawn from them.

    Checks the promises of the design in every run. Exits 1 if one is broken, and prints the command
    that replays it, with as few faults and steps as it needs.

    With a SCENARIO of the library, or of a file, plays that: the seed that shows its defect, and
    200 seeds with each of its remedies. Exits 1 if the defect does not show, or a remedy has it.
    """
    from mkrpc.simulation.tags import parse_tags

    if listing:
        return list_scenarios(as_json=as_json)
    if scenario is not None:
        if without or move_cpus or calls:
            given = "without" if without else "move-cpus" if move_cpus else "calls"
            raise InvalidArgumentError(
                f"--{given} is for runs without a scenario",
                advice="leave it out: a scenario has its switches, --set SWITCH=VALUE",
            )
        ask = Ask(
            defect=defect,
            remedy=remedy,
            changes=dict(changes),
            seed=seed,
            seeds=seeds,
            first_seed=first_seed,
            jobs=jobs,
            steps=steps,
            as_json=as_json,
        )
        return run_scenarios(scenario, ask)
    if defect or remedy or changes:
        raise InvalidArgumentError(
            "--defect, --remedy and --set are for a scenario", advice="mkrpc sim --list names them"
        )
    if seed is not None:
        if seeds is not None:
            raise InvalidArgumentError("--seed and --seeds", advice="one seed, or many")
        left_out = parse_tags(without)
        result, lines = _run_one(seed, left_out, steps=steps, moving=move_cpus, calls=calls)
        small = not no_shrink
        return _show_one(result, left_out, lines, steps=steps, small=small, as_json=as_json)
    if without or steps:
        raise InvalidArgumentError(
            "--without and --steps are for one seed", advice="add --seed NUMBER"
        )
    wanted = range(first_seed, first_seed + (seeds or DEFAULT_SEEDS))
    run_all = partial(_run_all, moving=move_cpus, calls=calls)
    jobs = jobs or os.cpu_count() or 1
    return _many(run_all, wanted, jobs, small=not no_shrink, as_json=as_json)


def _run_one(
    seed: int, without: frozenset[str], *, steps: bool, moving: bool, calls: bool
) -> "tuple[Result, list[str]]":
    from mkrpc.simulation.run import run

    # Printed afterwards: in the run, a reader that goes away would count as a law that is broken.
    lines: list[str] = []
    tell = lines.append if steps else None
    result = run(seed, random.Random, without=without, tell=tell, moving=moving, calls=calls)
    return result, lines


def _show_one(
    result: "Result",
    without: frozenset[str],
    lines: list[str],
    *,
    steps: bool,
    small: bool,
    as_json: bool,
) -> int:
    shrunk = _shrink(result, without) if result.violation and small else None
    if as_json:
        print_json(_as_dict(result, shrunk) | ({"steps": lines} if steps else {}))
    else:
        for line in lines:
            click.echo(line)
        _print_counts(result.events, result.frames, result.faults, result.outcomes)
        click.echo(f"digest {result.digest}")
        if result.violation:
            _print_violation(result, shrunk)
        else:
            click.echo(f"seed {result.seed} breaks no law")
    return EXIT_NO if result.violation else EXIT_OK


def _many(
    run_all: "Callable[[range], list[Result]]",
    seeds: range,
    jobs: int,
    *,
    small: bool,
    as_json: bool,
) -> int:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    began = time.monotonic()
    faults: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    events = frames = 0
    broken: list[Result] = []
    # Shown on a terminal only: into a pipe or file rich draws no bar, and an empty line.
    with Progress(
        *(BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}")),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task("seeds", total=len(seeds))
        for results in in_processes(run_all, seeds, jobs):
            for result in results:
                events += result.events
                frames += result.frames
                faults.update(result.faults)
                outcomes.update(result.outcomes)
                if result.violation:
                    broken.append(result)
            progress.advance(task, len(results))
            progress.update(task, description=_rates(progress.tasks[0].completed, events, began))
    seconds = time.monotonic() - began
    first = broken[0] if broken else None
    shrunk = _shrink(first, frozenset()) if first is not None and small else None
    if as_json:
        print_json(
            {
                "seeds": len(seeds),
                "first_seed": seeds[0],
                "seconds": round(seconds, 3),
                "events": events,
                "frames": frames,
                "faults": dict(sorted(faults.items())),
                "outcomes": dict(sorted(outcomes.items())),
                "violations": [
                    _as_dict(result, shrunk if result is first else None) for result in broken
                ],
            }
        )
        return EXIT_NO if broken else EXIT_OK
    _print_counts(events, frames, faults, outcomes)
    click.echo(
        f"{len(seeds)} seeds in {seconds:.1f} s: {_rates(len(seeds), events, began)}; "
        f"{len(broken)} of them break a law"
    )
    for result in broken[:_SHOWN]:
        _print_violation(result, shrunk if result is first else None)
    return EXIT_NO if broken else EXIT_OK


def _rates(seeds: float, events: int, began: float) -> str:
    seconds = max(time.monotonic() - began, 0.001)
    return f"{seeds / seconds:.1f} seeds/s, {events / seconds:,.0f} events/s"


def _run_all(seeds: range, *, moving: bool, calls: bool) -> "list[Result]":
    from mkrpc.simulation.run import run

    return [run(seed, random.Random, moving=moving, calls=calls) for seed in seeds]


def _shrink(result: "Result", without: frozenset[str]) -> "Shrunk":
    from mkrpc.simulation.shrink import shrink

    with Console(stderr=True).status("shrinking") as status:
        return shrink(
            result.seed,
            random.Random,
            without=without,
            moving=result.moving,
            calls=result.calls,
            on_try=lambda tries: status.update(f"shrinking seed {result.seed}: {tries} runs"),
        )


def _as_dict(result: "Result", shrunk: "Shrunk | None") -> dict[str, object]:
    from mkrpc.simulation.tags import tags_text

    small: dict[str, object] = {}
    if shrunk is not None:
        small = {
            "without": tags_text(shrunk.without),
            "left": list(shrunk.left),
            "replay": _replay(result, shrunk.without),
        }
    return asdict(result) | small


def _print_counts(
    events: int, frames: int, faults: dict[str, int], outcomes: dict[str, int]
) -> None:
    click.echo(f"events {events}, frames {frames}, legs {sum(outcomes.values())}")
    for name, counts in (("faults", faults), ("legs", outcomes)):
        if counts:
            each = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
            click.echo(f"{name}: {each}")


def _print_violation(result: "Result", shrunk: "Shrunk | None") -> None:
    click.echo(f"seed {result.seed} at {result.at_us} us: {result.violation}")
    if shrunk is None:
        click.echo(f"  replay: {_replay(result, frozenset())}")
        return
    click.echo(f"  small, after {shrunk.tries} runs: {shrunk.result.violation}")
    for line in shrunk.left:
        click.echo(f"    {line}")
    click.echo(f"  replay: {_replay(result, shrunk.without)}")


def _replay(result: "Result", without: frozenset[str]) -> str:
    from mkrpc.simulation.tags import tags_text

    left_out = f" --without {tags_text(without)}" if without else ""
    besides = (" --move-cpus" if result.moving else "") + (" --calls" if result.calls else "")
    return f"mkrpc sim --seed {result.seed}{besides}{left_out} --steps"
