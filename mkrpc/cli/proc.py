"""``mkrpc interrupts`` and ``mkrpc dmesg``: what the kernel of an instance says."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from mkrpc.cli.group import EXIT_FAILED, EXIT_OK, tell_error
from mkrpc.cli.options import cluster_options, connect, instance_key, json_option
from mkrpc.cli.output import print_json, print_table
from mkrpc.errors import MkrpcError

if TYPE_CHECKING:
    from mkrpc.client.answers import InstanceView, LogRecord

__all__ = ["dmesg", "interrupts", "parse_interrupts"]


@click.command(short_help="Print /proc/interrupts of instances.")
@cluster_options
@click.argument("instances", metavar="[INSTANCE]...", nargs=-1)
@click.option("--mirror", is_flag=True, help="The interconnect's copy of irq_stat instead.")
@click.option("--stat", is_flag=True, help="The intr line of /proc/stat instead: their total.")
@json_option
def interrupts(
    *,
    name: str,
    address: str | None,
    instances: tuple[str, ...],
    mirror: bool,
    stat: bool,
    as_json: bool,
) -> int:
    """Print /proc/interrupts of instances, by id or name; of every active one if none is named.

    Exits 3 if one of them cannot tell; the others are printed all the same.
    """
    if mirror and stat:
        raise click.UsageError("--mirror and --stat exclude each other")
    file = "stat" if stat else "interrupts"
    with connect(name, address) as client:
        known = client.cluster().instances
        named = {key: found for found in known for key in (found.id, found.name)}
        asked = [instance_key(which) for which in instances]
        asked = asked or [found.id for found in known if found.state == "active"]
        answers: list[tuple[InstanceView, str | None]] = []
        failed: list[dict[str, object]] = []
        for which in asked:
            try:
                found = named.get(which) or client.find_instance(which)
                answers.append((found, None if mirror else client.proc(found.id, file)))
            except MkrpcError as error:
                tell_error(error, where=_words(which, named.get(which)))
                failed.append({"instance": which, "error": str(error)})
    if as_json:
        form = _stat_as_json if stat else _as_json
        shown = [form(found, text) for found, text in answers]
        print_json({"instances": shown, "failed": failed})
    else:
        _print(answers)
    return EXIT_FAILED if failed else EXIT_OK


def _words(which: int | str, found: "InstanceView | None") -> str:
    return f"instance {which}" if found is None else f"instance {found.id} ({found.name})"


def _print(answers: "Sequence[tuple[InstanceView, str | None]]") -> None:
    for number, (found, text) in enumerate(answers):
        if number:
            click.echo()
        click.echo(_words(found.id, found))
        if text is None:
            _print_mirror(found)
        else:
            click.echo(text.rstrip("\n"))


def parse_interrupts(text: str) -> dict[str, list[int]]:
    """Counts by label of a /proc/interrupts, one a CPU; ERR and MIS have one for the machine."""
    header, *lines = text.splitlines() or [""]
    cpus = len(header.split())
    rows: dict[str, list[int]] = {}
    for line in lines:
        label, colon, rest = line.partition(":")
        if not colon:
            continue
        counts = []
        for word in rest.split()[:cpus]:
            if not word.isdigit():
                break
            counts.append(int(word))
        rows[label.strip()] = counts
    return rows


def _mirror_rows(instance: "InstanceView") -> dict[str, list[int]]:
    from mkrpc.cli.as_json import irq_stat_as_json

    stats = [irq_stat_as_json(cpu.account) for cpu in instance.cpus]
    return {name: [stat[name] for stat in stats] for name in (stats[0] if stats else {})}


def _as_json(instance: "InstanceView", text: str | None) -> dict[str, object]:
    head: dict[str, object] = {"id": instance.id, "name": instance.name}
    if text is None:
        apic_ids = [cpu.address.apic_id for cpu in instance.cpus]
        return head | {"apic_ids": apic_ids, "rows": _mirror_rows(instance)}
    columns = text.partition("\n")[0].split()  # a CPU that is offline has none
    apic_ids = [c.address.apic_id for c in instance.cpus if f"CPU{c.address.cpu}" in columns]
    return head | {"apic_ids": apic_ids, "rows": parse_interrupts(text), "text": text}


def _stat_as_json(instance: "InstanceView", text: str | None) -> dict[str, object]:
    """``total``: the first number of the line; the others are those of interrupt numbers, all 0."""
    assert text is not None
    _, total, *_ = text.split(maxsplit=2)
    return {"id": instance.id, "name": instance.name, "total": int(total), "text": text}


def _print_mirror(instance: "InstanceView") -> None:
    columns = ("", *(f"CPU{cpu.address.cpu}#" for cpu in instance.cpus))
    print_table(columns, ((name, *counts) for name, counts in _mirror_rows(instance).items()))


@click.command()
@cluster_options
@click.argument("instance")
@click.option("--raw", is_flag=True, help="With the level before each record, as <6>.")
@json_option
def dmesg(name: str, address: str | None, instance: str, raw: bool, as_json: bool) -> None:
    """Print the printk ring of an instance, given by id or name."""
    with connect(name, address) as client:
        found = client.find_instance(instance_key(instance))
        log = client.log(found.id)
    if as_json:
        from mkrpc.cli.as_json import log_as_json

        print_json({"id": found.id, "name": found.name} | log_as_json(log))
        return
    if log.dropped:
        click.echo(f"mkrpc: the ring has overwritten {log.dropped} older records", err=True)
    for record in log.records:
        click.echo(_line(record, raw))


def _line(record: "LogRecord", raw: bool) -> str:
    """As dmesg prints it: seconds in five columns, microseconds in six digits."""
    seconds, rest = divmod(record.time_us, 1_000_000)
    level = f"<{record.level}>" if raw else ""
    return f"{level}[{seconds:5d}.{rest:06d}] {record.text}"
