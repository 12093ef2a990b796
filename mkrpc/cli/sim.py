"""``mkrpc sim``: the whole machine in one thread, under chance and faults that a seed decides."""

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.console import Console

from mkrpc.cli.group import EXIT_NO, EXIT_OK
from mkrpc.cli.options import Number, json_option
from mkrpc.cli.output import print_json
from mkrpc.errors import InvalidArgumentError

if TYPE_CHECKING:
    # Imported late where they are used: they load the whole machine.
    from mkrpc.simulation.run import Result
    from mkrpc.simulation.shrink import Shrunk

__all__ = ["DEFAULT_SEEDS", "MAX_SEED", "MAX_SEEDS", "sim"]

DEFAULT_SEEDS = 200
MAX_SEEDS = 10_000_000
"""Seeds of one command at most."""
MAX_SEED = (1 << 63) - 1
"""The highest seed."""

_CHUNK = 10
"""Seeds that a process runs before it reports."""
_SHOWN = 10
"""Violations that are listed; the rest is counted."""


@click.command()
@click.option("--seeds", type=Number(1, MAX_SEEDS), help=f"How many.  [default: {DEFAULT_SEEDS}]")
@click.option("--first-seed", type=Number(0, MAX_SEED), default=1, show_default=True)
@click.option("--jobs", type=Number(1, 512), help="Processes.  [default: one for each CPU]")
@click.option("--seed", type=Number(0, MAX_SEED), help="One seed, in place of many.")
@click.option("--without", default="", metavar="TAGS", help="Leave out of it, as f1,s3-9,i2.")
@click.option("--steps", is_flag=True, help="Print its steps.")
@click.option("--no-shrink", is_flag=True, help="Leave a run that breaks a law as it is.")
@json_option
def sim(  # noqa: PLR0917 - click gives them by name
    seeds: int | None,
    first_seed: int,
    jobs: int | None,
    seed: int | None,
    without: str,
    steps: bool,
    no_shrink: bool,
    as_json: bool,
) -> int:
    """Run the machine under seeds: instances, workload and faults are drawn from them.

    Checks the promises of the design in every run. Exits 1 if one is broken, and prints the command
    that replays it, with as few faults and steps as it needs.
    """
    from mkrpc.simulation.tags import parse_tags

    if seed is not None:
        if seeds is not None:
            raise InvalidArgumentError("--seed and --seeds", advice="one seed, or many")
        return _one(seed, parse_tags(without), steps=steps, small=not no_shrink, as_json=as_json)
    if without or steps:
        raise InvalidArgumentError(
            "--without and --steps are for one seed", advice="add --seed NUMBER"
        )
    wanted = range(first_seed, first_seed + (seeds or DEFAULT_SEEDS))
    return _many(wanted, jobs or os.cpu_count() or 1, small=not no_shrink, as_json=as_json)


def _one(seed: int, without: frozenset[str], *, steps: bool, small: bool, as_json: bool) -> int:
    from mkrpc.simulation.run import run

    # Printed afterwards: in the run, a reader that goes away would count as a law that is broken.
    lines: list[str] = []
    result = run(seed, random.Random, without=without, tell=lines.append if steps else None)
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
            click.echo(f"seed {seed} breaks no law")
    return EXIT_NO if result.violation else EXIT_OK


def _many(seeds: range, jobs: int, *, small: bool, as_json: bool) -> int:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    began = time.monotonic()
    faults: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    events = frames = 0
    broken: list[Result] = []
    # Shown on a terminal only: rich draws no bar into a pipe or file.
    with Progress(
        *(BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}")),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task("seeds", total=len(seeds))
        for results in _results(seeds, jobs):
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


def _results(seeds: range, jobs: int) -> "Iterator[list[Result]]":
    """In the order of the seeds, whoever runs them."""
    chunks = [seeds[at : at + _CHUNK] for at in range(0, len(seeds), _CHUNK)]
    if jobs == 1 or len(chunks) == 1:
        yield from map(_run_all, chunks)
        return
    # Ctrl-C comes to the whole group, and is the parent's to answer: children inherit what is
    # blocked. Not forked: whoever calls this may have threads.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        made = multiprocessing.get_context("spawn").Pool(min(jobs, len(chunks)))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with made as pool:
        yield from pool.imap(_run_all, chunks)


def _run_all(seeds: range) -> "list[Result]":
    from mkrpc.simulation.run import run

    return [run(seed, random.Random) for seed in seeds]


def _shrink(result: "Result", without: frozenset[str]) -> "Shrunk":
    from mkrpc.simulation.shrink import shrink

    with Console(stderr=True).status("shrinking") as status:
        return shrink(
            result.seed,
            random.Random,
            without=without,
            on_try=lambda tries: status.update(f"shrinking seed {result.seed}: {tries} runs"),
        )


def _as_dict(result: "Result", shrunk: "Shrunk | None") -> dict[str, object]:
    from mkrpc.simulation.tags import tags_text

    small: dict[str, object] = {}
    if shrunk is not None:
        small = {
            "without": tags_text(shrunk.without),
            "left": list(shrunk.left),
            "replay": _replay(result.seed, shrunk.without),
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
        click.echo(f"  replay: {_replay(result.seed, frozenset())}")
        return
    click.echo(f"  small, after {shrunk.tries} runs: {shrunk.result.violation}")
    for line in shrunk.left:
        click.echo(f"    {line}")
    click.echo(f"  replay: {_replay(result.seed, shrunk.without)}")


def _replay(seed: int, without: frozenset[str]) -> str:
    from mkrpc.simulation.tags import tags_text

    left_out = f" --without {tags_text(without)}" if without else ""
    return f"mkrpc sim --seed {seed}{left_out} --steps"
