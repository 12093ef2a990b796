"""``python -m mkrpc.compiled``: compile the model, say whether it is, or go back to Python."""

import json
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import click

from mkrpc.compiled.artefacts import PURE_VARIABLE, default_folder, read_manifest, staleness
from mkrpc.compiled.build import build, check_ours
from mkrpc.errors import MkrpcError

__all__ = ["main"]


@click.group(help="Compile the model, say whether it is compiled, or go back to Python.")
def main() -> None:
    """The group of commands."""


@main.command("build")
@click.option("--into", type=click.Path(path_type=Path), help="Another folder than the usual one.")
def build_command(into: Path | None) -> None:
    """Compile the model, unless there is a build of these very sources. Needs gcc and mypyc."""
    folder = into or default_folder()
    manifest = read_manifest(folder)
    if manifest is not None and not staleness(folder, manifest):
        click.echo(f"up to date: {folder}")
        return
    try:
        build(folder)
    except MkrpcError as error:
        _fail(error)
    click.echo(f"compiled: {folder}")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(as_json: bool) -> None:
    """Whether the next process will run the compiled model. Exits with 1 for a stale build."""
    folder = default_folder()
    manifest = read_manifest(folder)
    why = "" if manifest is None else staleness(folder, manifest)
    modules = sorted(manifest["modules"]) if manifest is not None else []
    if as_json:
        built = manifest is not None
        found = {"folder": str(folder), "built": built, "stale": why, "modules": modules}
        click.echo(json.dumps(found))
    elif manifest is None:
        click.echo("nothing was compiled: the model runs as Python")
    elif why:
        click.echo(f"stale, and not used: {why}")
    else:
        click.echo(f"compiled: {len(modules)} modules; {PURE_VARIABLE}=1 leaves them out")
    sys.exit(1 if why else 0)


@main.command()
def clean() -> None:
    """Remove the build: the model runs as Python again."""
    folder = default_folder()
    try:
        check_ours(folder)
    except MkrpcError as error:
        _fail(error)
    shutil.rmtree(folder, ignore_errors=True)


def _fail(error: MkrpcError) -> NoReturn:
    click.echo(f"error: {error}", err=True)
    if error.advice:
        click.echo(f"advice: {error.advice}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
