"""``mkrpc proc`` and ``mkrpc show --kernfs``: files that a kernel, or the host, would show."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from mkrpc.cli.options import cluster_options, connect, instance_key, json_option
from mkrpc.cli.output import print_json

if TYPE_CHECKING:
    from mkrpc.client import Client

__all__ = ["kernfs_files", "print_kernfs", "proc_file"]

ROOT = "/sys/fs/multikernel"


@click.command("proc", short_help="Print a file of an instance's /proc.")
@cluster_options
@click.argument("file")
@click.argument("instance", default="0")
@json_option
def proc_file(name: str, address: str | None, file: str, instance: str, as_json: bool) -> None:
    """Print a file of an instance's /proc, of the host's if none is named.

    Every kernel has interrupts, stat and cmdline; the host's has multikernel and kimage too, the
    tables of what is loaded.
    """
    with connect(name, address) as client:
        found = client.find_instance(instance_key(instance))
        text = client.proc(found.id, file.removeprefix("/proc/"))
    if as_json:
        print_json({"id": found.id, "name": found.name, "file": file, "text": text})
    else:
        click.echo(text, nl=False)


def kernfs_files(client: "Client", path: str = "") -> Iterator[tuple[str, str]]:
    """Every file below a folder, with its text."""
    entry = client.kernfs(path)
    if entry.text is not None:
        yield path, entry.text
    for name in entry.entries:
        below = name.rstrip("/")
        yield from kernfs_files(client, f"{path}/{below}" if path else below)


def print_kernfs(client: "Client", *, as_json: bool) -> None:
    """The whole tree."""
    files = list(kernfs_files(client))
    if as_json:
        print_json({"root": ROOT, "files": dict(files)})
        return
    for path, text in files:
        if text.count("\n") == 1:
            click.echo(f"{ROOT}/{path}: {text}", nl=False)
        else:
            click.echo(f"{ROOT}/{path}:\n{text}", nl=False)
