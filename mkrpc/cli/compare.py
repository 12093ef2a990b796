"""``mkrpc compare``: one workload of messages over several channels, side by side."""

import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mkrpc.cli.group import EXIT_NO, EXIT_OK
from mkrpc.cli.options import Number, json_option
from mkrpc.cli.output import print_json, print_table
from mkrpc.cli.seeds import MAX_SEED
from mkrpc.errors import InvalidArgumentError, NotFoundError

if TYPE_CHECKING:
    # Imported late where they are used: they load the whole machine.
    from mkrpc.instance.multikernel.channel import Channel
    from mkrpc.simulation.messages import Report, Workload

__all__ = ["MAX_COMPARED_SEEDS", "compare"]

MAX_COMPARED_SEEDS = 1_000_000
"""Seeds of one command at most."""

_COLUMNS = (
    ("channel", "channel"),
    ("sent#", "sent"),
    ("received#", "received"),
    ("lost#", "lost"),
    ("held#", "held"),
    ("torn#", "torn"),
    ("doubled#", "doubled"),
    ("hung#", "hung"),
    ("wedged#", "wedged"),
    ("doorbells#", "doorbells"),
    ("msgs/doorbell#", "messages_per_doorbell"),
    ("coalesced#", "coalescing_ratio"),
    ("p50#", "latency_p50"),
    ("p99#", "latency_p99"),
    ("max#", "latency_max"),
)

_LIVE_COLUMNS = (
    ("processes, by", "links"),
    ("sent#", "sent"),
    ("received#", "received"),
    ("astray#", "astray"),
    ("refused#", "refused"),
    ("doorbells#", "doorbells"),
    ("msgs/doorbell#", "messages_per_doorbell"),
    ("coalesced#", "coalesced"),
    ("p50 us#", "p50_us"),
    ("p99 us#", "p99_us"),
    ("max us#", "max_us"),
    ("time ms#", "time_ms"),
)


@click.command(short_help="Run one workload over several message channels.")
@click.argument("channels", nargs=-1, metavar="[CHANNEL | FILE.py]...")
@click.option("--seed", type=Number(0, MAX_SEED), help="The first seed.  [default: 0]")
@click.option(
    "--seeds",
    type=Number(1, MAX_COMPARED_SEEDS),
    default=1,
    show_default=True,
    help="How many seeds, each a run of its own.",
)
@click.option("--senders", type=int, help="Instances that send to instance 0, 1 to 15.")
@click.option("--messages", type=int, help="Messages of each, 1 to 1000.")
@click.option("--size", type=int, help="Bytes of a message, 16 to 256.")
@click.option("--gap", type=int, help="Instructions between two messages of a sender.")
@click.option("--link-every", type=int, help="One tick in so many moves the links.")
@click.option("--store-buffer", type=int, help="Stores that wait in a CPU, 0 to 64.")
@click.option("--kill", is_flag=True, help="One of the senders dies at a step of its own.")
@click.option("--defect", metavar="NAME", help="A known defect, beside the default channel.")
@click.option("--live", is_flag=True, help="Beside it, two clusters of real processes.")
@click.option("--list", "listing", is_flag=True, help="Print the channels and the known defects.")
@json_option
def compare(  # noqa: PLR0917 - click gives them by name
    channels: tuple[str, ...],
    seed: int | None,
    seeds: int,
    senders: int | None,
    messages: int | None,
    size: int | None,
    gap: int | None,
    link_every: int | None,
    store_buffer: int | None,
    kill: bool,
    defect: str | None,
    live: bool,
    listing: bool,
    as_json: bool,
) -> int:
    """Run one workload over message channels and print what became of it.

    All channels that there are, or those named; a FILE.py brings its own. Every load and store is a
    step of an interleaving that the seed draws; latencies are in such ticks. The doorbell is an ICR
    write with vector 0xea. With --defect, exits 1 if the seed does not show it.

    With --live the same senders and messages are processes too, over the channel of a cluster: by
    shared memory, and through the interconnect. Their latencies are microseconds of this machine.
    """
    from mkrpc.simulation.messages import Workload

    if listing:
        return _list(as_json)
    given = {
        name: value
        for name, value in (
            ("senders", senders),
            ("messages", messages),
            ("size", size),
            ("gap", gap),
            ("link_every", link_every),
            ("store_buffer", store_buffer),
        )
        if value is not None
    }
    if defect is not None:
        if channels or seeds > 1 or live:
            raise InvalidArgumentError(
                "--defect names its channel and is one run",
                advice="leave out channels, --seeds and --live",
            )
        return _defect(defect, seed, given, as_json=as_json)
    workload = Workload(kill=kill, **given)
    first = seed or 0
    reports = [
        _run(channel, range(first, first + seeds), workload) for channel in _chosen(channels)
    ]
    lived = _live(workload) if live else []
    more = {"live": lived} if live else {}
    _print(reports, workload, first, as_json=as_json, **more)
    if lived and not as_json:
        click.echo()
        names = [title for title, _ in _LIVE_COLUMNS]
        print_table(names, [[_cell(row[key]) for _, key in _LIVE_COLUMNS] for row in lived])
    return EXIT_OK


def _live(workload: "Workload") -> list[dict[str, object]]:
    from mkrpc.benchmarks.live_messages import run_live

    return [run_live(links, workload).as_dict() for links in ("memory", "interconnect")]


def _chosen(names: Sequence[str]) -> "list[type[Channel]]":
    from mkrpc.instance.multikernel.catalogue import channels as all_channels
    from mkrpc.instance.multikernel.catalogue import load_channels

    if not names:
        return list(all_channels().values())
    chosen: list[type[Channel]] = []
    for name in names:
        chosen += load_channels(Path(name)) if name.endswith(".py") else [_named(name)]
    return chosen


def _named(name: str) -> "type[Channel]":
    from mkrpc.instance.multikernel.catalogue import channel_named

    try:
        return channel_named(name)
    except NotFoundError as error:  # as typed, it cannot be
        raise InvalidArgumentError(str(error), advice=error.advice) from error


def _run(channel: "type[Channel]", seeds: range, workload: "Workload") -> "Report":
    from mkrpc.simulation.messages import run_messages

    total = run_messages(channel, seeds[0], random.Random, workload)
    for seed in seeds[1:]:
        total.add(run_messages(channel, seed, random.Random, workload))
    return total


def _defect(name: str, seed: int | None, given: dict[str, int], *, as_json: bool) -> int:
    from mkrpc.instance.multikernel.catalogue import DEFAULT_CHANNEL
    from mkrpc.simulation.message_defects import defect_named
    from mkrpc.simulation.messages import Workload

    try:
        known = defect_named(name)
    except NotFoundError as error:
        raise InvalidArgumentError(str(error), advice=error.advice) from error
    workload = Workload(kill=known.workload.kill, **given)
    first = known.seed if seed is None else seed
    reports = [
        _run(_named(channel), range(first, first + 1), workload)
        for channel in (known.channel, DEFAULT_CHANNEL)
    ]
    shown = known.shows(reports[0])
    if not as_json:
        found = "shows" if shown else "does not show"
        click.echo(f"{known.name}: {known.text}; seed {first} {found} it")
    _print(reports, workload, first, as_json=as_json, defect=known.name, shown=shown)
    return EXIT_OK if shown else EXIT_NO


def _print(
    reports: "Sequence[Report]",
    workload: "Workload",
    seed: int,
    *,
    as_json: bool,
    **more: object,
) -> None:
    rows = [report.as_dict() for report in reports]
    if as_json:
        print_json({"seed": seed, "workload": asdict(workload), **more, "channels": rows})
        return
    names = [title for title, _ in _COLUMNS]
    print_table(names, [[_cell(row[key]) for _, key in _COLUMNS] for row in rows])


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _list(as_json: bool) -> int:
    from mkrpc.instance.multikernel.catalogue import DEFAULT_CHANNEL
    from mkrpc.instance.multikernel.catalogue import channels as all_channels
    from mkrpc.simulation.message_defects import DEFECTS

    names = list(all_channels())
    if as_json:
        print_json(
            {
                "channels": names,
                "default": DEFAULT_CHANNEL,
                "defects": [
                    {"name": each.name, "channel": each.channel, "text": each.text}
                    for each in DEFECTS.values()
                ],
            }
        )
        return EXIT_OK
    click.echo(f"channels: {', '.join(names)} (default {DEFAULT_CHANNEL})")
    print_table(
        ("defect", "channel", "what happens"),
        [(each.name, each.channel, each.text) for each in DEFECTS.values()],
    )
    return EXIT_OK
