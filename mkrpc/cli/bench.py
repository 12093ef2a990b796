"""``mkrpc bench``: how fast it is, and against what."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from mkrpc.cli.group import EXIT_NO, EXIT_OK
from mkrpc.cli.options import json_option
from mkrpc.cli.output import print_json, print_table

__all__ = ["bench"]

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(short_help="Measure delay, throughput and bursts, beside peers.")
@json_option
@click.option("--quick", is_flag=True, help="A look in seconds: one round of small counts.")
@click.option("--rounds", type=click.IntRange(1, 100), help="Alternating rounds.")
@click.option(
    "--only",
    multiple=True,
    metavar="MEASURE",
    help="Nothing but this, as `delay` or `burst_10k`; may be given several times.",
)
@click.option("--save", type=_FILE, metavar="FILE", help="Write the JSON of the run there too.")
@click.option("--plot", type=_FILE, metavar="FILE.svg", help="Draw the run there.")
@click.option(
    "--pin",
    default="none",
    show_default=True,
    metavar="none|one|CPULIST",
    help="CPUs that all processes run on.",
)
@click.option("--awake", is_flag=True, help="Let no CPU halt while it has nothing to do.")
@click.option(
    "--transport",
    type=click.Choice(["aio", "reactor", "auto"]),
    help="Of all of mkrpc's processes; by default as they choose themselves.",
)
@click.option("--no-peers", is_flag=True, help="Leave out ZeroMQ, Pipe, Queue and their like.")
def bench(
    *,
    as_json: bool,
    quick: bool,
    rounds: int | None,
    only: tuple[str, ...],
    save: Path | None,
    plot: Path | None,
    pin: str,
    awake: bool,
    transport: str | None,
    no_peers: bool,
) -> int:
    """Measure one interrupt's delay, throughput and bursts, beside what one would compare with.

    mkrpc, a raw relay over its transport, the gRPC design one would write first, and peers that run
    the same model take turns; only the ratios mean something on another machine. The baselines are
    part of the sources of mkrpc. Exits 1 if the books do not balance afterwards, or if anything
    else went wrong.
    """
    # Imported late: it brings gRPC in, and the placement has to be set before that.
    from dataclasses import replace

    from mkrpc.benchmarks.placement import parse_pin
    from mkrpc.benchmarks.plan import Plan
    from mkrpc.benchmarks.plot import svg
    from mkrpc.benchmarks.suite import measure
    from mkrpc.errors import InvalidArgumentError

    if plot is not None and plot.suffix.lower() != ".svg":
        raise InvalidArgumentError(
            f"--plot {plot}: what it draws is SVG", advice="name a file that ends in .svg"
        )
    plan = Plan.quick() if quick else Plan()
    plan = replace(
        plan,
        rounds=rounds or plan.rounds,
        pin=parse_pin(pin),
        pin_text=pin,
        awake=awake,
        transport=transport or "",
        peers=not no_peers,
    )
    if only:
        plan = plan.restricted_to(only)
    for path in filter(None, (save, plot)):
        try:
            path.touch()
        except OSError as error:  # now, and not after a run whose figures would be lost
            raise click.UsageError(f"{path} cannot be written: {error.strerror}") from None
    report = measure(plan, lambda line: click.echo(line, err=True))
    run = json.loads(json.dumps(report.to_dict()))
    if save is not None:
        save.write_text(json.dumps(run, indent=2) + "\n")
    if plot is not None:
        plot.write_text(svg(run))
    if as_json:
        print_json(run)
    else:
        _print(run)
    return EXIT_NO if report.failures else EXIT_OK


def _print(run: dict[str, Any]) -> None:
    from mkrpc.benchmarks.tables import (
        GROWTH_HEAD,
        NOT_ALIKE,
        START_HEAD,
        THROUGHPUT_HEAD,
        delay_rows,
        growth_rows,
        ratio_rows,
        start_rows,
        throughput_rows,
    )

    print_table(("RATIO", "VALUE#", "GOAL#", "ROUNDS"), ratio_rows(run))
    click.echo()
    if delays := delay_rows(run):
        print_table(("DELAY", "P50 us#", "P99 us#"), delays)
        click.echo()
    if rates := throughput_rows(run):
        heads = (f"{head.upper()}#" for head in THROUGHPUT_HEAD)
        print_table(("WORDS A SECOND", *heads), rates)
        click.echo()
    if grown := growth_rows(run):
        heads = (f"{head.upper()}#" for head in GROWTH_HEAD)
        print_table(("INSTANCES#", *heads), grown)
        click.echo()
    if starts := start_rows(run):
        heads = (f"{head.upper()}#" for head in START_HEAD)
        print_table(("INSTANCES#", "STARTED BY", *heads), starts)
        click.echo()
    for name, reason in run["not_measured"].items():
        click.echo(f"not measured: {name}: {reason}")
    for line in NOT_ALIKE:
        click.echo(f"not alike: {line}")
    failures = run["failures"]
    for line in failures:
        click.echo(f"FAULT: {line}", err=True)
    if not failures:
        click.echo("the books balance, and every mirror equals its instance")
    sys.stdout.flush()
