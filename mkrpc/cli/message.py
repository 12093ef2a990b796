"""``mkrpc message``: one kernel sends a few words to another."""

import click

from mkrpc.cli.group import EXIT_NO, EXIT_OK
from mkrpc.cli.options import Amount, Number, cluster_options, connect, instance_key, json_option
from mkrpc.cli.output import print_json

__all__ = ["message"]

USER_MESSAGE = 0x4000

_LISTEN = (
    "a kernel that runs --program 0=mkrpc.instance.multikernel.cpu_hotplug:serve_cpus takes them: "
    "mkrpc load; docs/messages.md"
)

_WAYS = {"memory": "over shared memory", "interconnect": "through the interconnect"}


@click.command(short_help="Have one instance send a text to another, and ring it.")
@cluster_options
@click.argument("sender")
@click.argument("receiver")
@click.argument("text")
@click.option(
    "--type",
    "ipi_type",
    type=Number(0, 0xFFFF_FFFF),
    default=USER_MESSAGE,
    help="Of the message, which chooses its handler; MK_MSG_USER, 0x4000, if not given.",
)
@click.option("--wait", type=Amount(0, 3600), default=5.0, show_default=True, help="s")
@json_option
def message(
    *,
    name: str,
    address: str | None,
    sender: str,
    receiver: str,
    text: str,
    ipi_type: int,
    wait: float,
    as_json: bool,
) -> int:
    """Have one instance send TEXT to another, by id or name, and ring it.

    Waits until the receiver has taken it, and tells by which way it went. Exits 1 if it has not
    within --wait seconds, or never will.
    """
    with connect(name, address) as client:
        source, target = (client.find_instance(instance_key(each)) for each in (sender, receiver))
        end = client.send_message(source.id, target.id, text, ipi_type=ipi_type, patience_s=wait)
    if as_json:
        print_json({"from": source.id, "to": target.id, "way": end.way, "fate": end.fate})
    else:
        what = {
            "taken": "has taken it",
            "waiting": f"has not taken it in {wait:g} s: nothing there has asked for messages, or "
            "it does not look",
            "left": "has ended, and may have taken it before",
        }.get(end.fate, f"does not get it: {end.fate}")
        way = _WAYS.get(end.way, end.way)
        click.echo(f"instance {target.id} ({target.name}) {what}; sent {way}", err=not end.taken)
        if end.fate == "waiting":
            click.echo(f"  → {_LISTEN}", err=True)
    return EXIT_OK if end.taken else EXIT_NO
