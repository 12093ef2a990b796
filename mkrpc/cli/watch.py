"""``mkrpc watch``: events as they happen."""

import json

import click

from mkrpc.cli.options import cluster_options, connect

__all__ = ["watch"]


@click.command()
@cluster_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
def watch(name: str, address: str | None, as_json: bool) -> None:
    """Print events as they happen, until interrupted."""
    with connect(name, address) as client:
        missed = 0
        for batch in client.watch():
            if batch.gap:
                click.echo(f"mkrpc: events are missing here: {batch.gap}", err=True)
                missed = 0
            if batch.missed > missed:
                click.echo(f"mkrpc: missed {batch.missed - missed} events", err=True)
                missed = batch.missed
            for event in batch.events:
                if as_json:
                    line = {"number": event.number, "kind": event.kind, "fields": event.fields}
                    click.echo(json.dumps(line))
                else:
                    fields = " ".join(f"{key}={value}" for key, value in event.fields.items())
                    click.echo(f"{event.number} {event.kind} {fields}")
