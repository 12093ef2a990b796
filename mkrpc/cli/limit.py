"""``mkrpc limit``: token buckets of a cluster that runs."""

import re

import click

from mkrpc.cli.options import cluster_options, connect, instance_key, json_option
from mkrpc.cli.output import print_json

__all__ = ["limit"]

_RATE = re.compile(r"([0-9]{1,10})(?::([0-9]{1,10}))?")


@click.command(short_help="Limit the ICR writes per second of an instance, or clients.")
@cluster_options
@click.argument("who", metavar="INSTANCE|clients")
@click.argument("rate", metavar="WRITES_PER_S[:BURST]|off")
@json_option
def limit(name: str, address: str | None, who: str, rate: str, as_json: bool) -> None:
    """Let so many ICR writes of an instance pass, or of all clients together.

    What is over is rejected(rate_limited). Lasts until the interconnect ends; a topology's
    [rate] lasts. An instance whose name is `clients` is meant by its id alone.
    """
    numbers = _RATE.fullmatch("0" if rate == "off" else rate)
    if numbers is None:
        raise click.UsageError(f"{rate!r} is no rate: give WRITES_PER_S[:BURST], or off")
    with connect(name, address) as client:
        found = None if who == "clients" else client.find_instance(instance_key(who))
        instance_id = None if found is None else found.id
        set_to = client.set_rate(instance_id, int(numbers[1]), burst=int(numbers[2] or 0))
    if as_json:
        from mkrpc.cli.as_json import rate_as_json

        print_json({"id": instance_id, "rate": rate_as_json(set_to)})
    else:
        from mkrpc.cli.show import rate_text

        whose = "clients" if found is None else f"instance {found.id} ({found.name})"
        click.echo(f"{whose}: {rate_text(set_to)}")
