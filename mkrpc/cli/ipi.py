"""``mkrpc ipi``: ring CPUs, and say what became of every leg."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

import click

from mkrpc.cli.group import EXIT_NO, EXIT_OK
from mkrpc.cli.options import Number, cluster_options, connect, instance_key, json_option
from mkrpc.cli.output import print_json, print_table
from mkrpc.cli.word_file import MAX_WORDS, read_words, send_with_a_bar

if TYPE_CHECKING:
    from mkrpc.client import Client
    from mkrpc.client.answers import IpiResult, LegCount
    from mkrpc.client.destination import Destination

__all__ = ["MAX_LINES", "DestinationType", "ipi"]

MAX_LINES = 16
"""Kinds of legs that get a line each; more are a table."""

_WORD_DIGITS = 8
_FORMS = (
    "APIC_ID (decimal or 0x and up to 8 digits), an instance NAME, instance:ID, self, all, others, "
    "logical:MASK, icr:WORD, or 0x with more than 8 digits, which is an ICR word too"
)


class DestinationType(click.ParamType):  # type: ignore[type-arg] # generic in new click only
    """``--to``. A number is an APIC id, except that hexadecimal beyond 8 digits is an ICR word."""

    name = "destination"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Destination":
        """The destination; a usage error, or InvalidArgumentError for a number out of range."""
        from mkrpc.client import destination as to

        if isinstance(value, to.Destination):
            return value
        text = str(value)
        kind, colon, rest = text.partition(":")
        if colon:
            if kind == "instance":
                if not rest:
                    self.fail("instance: needs an id or a name after it", param, ctx)
                return to.instance(instance_key(rest))
            makers = {"apic": to.apic, "icr": to.icr, "logical": to.logical}
            if kind not in makers:
                self.fail(f"{text!r} is not a destination: give {_FORMS}", param, ctx)
            return makers[kind](self._number(rest, param, ctx))
        if text in to.SHORTHANDS:
            return to.shorthand(text)
        if re.fullmatch(r"0[xX].*|[-+]?[0-9]+", text):
            number = self._number(text, param, ctx)
            is_word = text[:2].lower() == "0x" and len(text) - 2 > _WORD_DIGITS
            return to.icr(number) if is_word else to.apic(number)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", text):
            self.fail(f"{text!r} is not a destination: give {_FORMS}", param, ctx)
        return to.instance(text)

    def _number(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return int(text, 16 if text.lower().startswith("0x") else 10)
        except ValueError:
            self.fail(f"{text!r} is not a number (decimal, or hexadecimal after 0x)", param, ctx)


@click.command()
@cluster_options
@click.option("--to", type=DestinationType(), help=f"{_FORMS}.")
@click.option(
    "--from-file",
    "file",
    type=click.File(encoding="utf-8", errors="replace"),
    help="In place of --to: the ICR words of this file (- for standard input), over one stream; "
    "a word a line, decimal or 0x, and perhaps how many times. # begins a comment.",
)
@click.option(
    "--from",
    "from_apic_id",
    type=Number(0, 0xFFFF_FFFE),
    metavar="APIC_ID",
    help="Let this CPU write its ICR. By default an external agent sends, which has no APIC.",
)
@click.option(
    "--vector",
    type=Number(0, 0xFF, hexadecimal=True),
    help="0x10 to 0xff; 0xea, MULTIKERNEL_VECTOR, if not given.",
)
@click.option(
    "--mode",
    "delivery_mode",
    type=click.Choice(["fixed", "nmi", "init", "sipi", "smi", "lowest"]),
    help="Delivery mode; fixed if not given.",
)
@click.option(
    "--count",
    type=Number(1, MAX_WORDS),
    help=f"How many times, to {MAX_WORDS}; more than 1000000 go over a stream, without --from.",
)
@json_option
def ipi(
    *,
    name: str,
    address: str | None,
    to: "Destination | None",
    file: TextIO | None,
    from_apic_id: int | None,
    vector: int | None,
    delivery_mode: str | None,
    count: int | None,
    as_json: bool,
) -> int:
    """Send IPIs and print the outcome of every leg.

    Exits 0 only if all of them were delivered or coalesced.
    """
    # Checked before the cluster is looked for: a bad command is bad with or without one.
    if file is not None:
        if any(each is not None for each in (to, from_apic_id, vector, delivery_mode, count)):
            raise click.UsageError("--from-file stands for --to, --from, --vector, --mode, --count")
        runs = read_words(file, file.name)
        with connect(name, address) as client:
            result = send_with_a_bar(client, runs)
    elif to is None:
        raise click.UsageError("Missing option '--to', or '--from-file'.")
    else:
        result = _send(
            lambda: connect(name, address),
            from_apic_id,
            to=to,
            vector=vector,
            delivery_mode=delivery_mode,
            count=1 if count is None else count,
        )
    if as_json:
        from mkrpc.cli.as_json import ipi_as_json

        print_json(ipi_as_json(result))
    else:
        _print(result)
    return EXIT_OK if result.all_arrived else EXIT_NO


def _send(
    connected: Callable[[], "Client"], from_apic_id: int | None, *, to: "Destination", **what: Any
) -> "IpiResult":
    from mkrpc.client.destination import MAX_COUNT, Ipi
    from mkrpc.errors import InvalidArgumentError

    over_a_stream = what["count"] > MAX_COUNT
    ipi = Ipi(to=to, **what | {"count": 1 if over_a_stream else what["count"]})
    if over_a_stream and from_apic_id is not None:
        raise InvalidArgumentError(
            f"count {what['count']} is more than the {MAX_COUNT} writes of its ICR that a CPU can "
            "be asked for in one call",
            advice="repeat the command, or leave out --from, so that an external agent sends",
        )
    if from_apic_id is None and to.needs_an_apic:
        raise InvalidArgumentError(
            f"an external agent has no APIC of its own: {to.value!r} means nothing to it",
            advice="add --from APIC_ID, so that this CPU sends, or use --to all",
        )
    with connected() as client:
        if over_a_stream:
            word = ipi.word(lambda which: _first_cpu(client, which))
            return send_with_a_bar(client, [(word, what["count"])])
        if from_apic_id is None:
            return client.inject(to=to, **what)
        return client.write_icr(from_apic_id, to=to, **what)


def _first_cpu(client: "Client", which: int | str) -> int:
    from mkrpc.errors import NotFoundError
    from mkrpc.lifecycle import InstanceState

    found = client.find_instance(which)
    if found.state is not InstanceState.ACTIVE or not found.cpus:
        raise NotFoundError(
            f"instance {found.id} ({found.name}) does not run: it is {found.state.name.lower()}",
            advice=f"`mkrpc exec {found.name}`, or name a CPU by its APIC id",
        )
    return found.cpus[0].address.apic_id


def _print(result: "IpiResult") -> None:
    if len(result.legs) > MAX_LINES:
        rows = [(*_where(leg), leg.outcome.text, leg.count) for leg in result.legs]
        print_table(("to", "instance", "outcome", "count#"), rows)
        return
    if not result.legs:
        click.echo("no legs")
    for leg in result.legs:
        to, instance = _where(leg)
        of = f" of instance {instance}" if leg.instance_id is not None else ""
        times = f" x {leg.count}" if leg.count > 1 else ""
        click.echo(f"{to}{of}: {leg.outcome.text}{times}")


def _where(leg: "LegCount") -> tuple[str, str]:
    to = "nobody" if leg.apic_id is None else f"apic {leg.apic_id}"
    return to, "-" if leg.instance_id is None else str(leg.instance_id)
