"""``mkrpc topology``: what a file means, what is wrong with it, and the same in another form."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mkrpc.cli.group import EXIT_NO, EXIT_OK
from mkrpc.cli.options import json_option
from mkrpc.cli.output import apic_ids_text, print_json, print_table
from mkrpc.errors import InvalidArgumentError, TopologyError

if TYPE_CHECKING:
    # Imported late where they are used: pydantic is for those who need it.
    from mkrpc.devicetree.description import Description
    from mkrpc.devicetree.finding import Finding
    from mkrpc.topology import Topology

__all__ = ["topology"]

_MAX_CPUINFO_BYTES = 16 << 20
"""Size of a /proc/cpuinfo."""

_File = click.Path(dir_okay=False, path_type=Path)


@click.command(short_help="Check or convert a topology: a TOML file, or device trees.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=_File)
@click.option(
    "--cpuinfo",
    type=_File,
    help="/proc/cpuinfo of the machine that the device trees are for: are their CPUs APIC ids?",
)
@click.option("--to", "form", type=click.Choice(["toml", "dts", "dtb"]), help="Convert.")
@click.option("--output", "-o", type=_File, help="Write what is converted here.")
@json_option
def topology(
    *,
    files: tuple[Path, ...],
    cpuinfo: Path | None,
    form: str | None,
    output: Path | None,
    as_json: bool,
) -> int:
    """Check a topology: a TOML file, or device trees of any multikernel dialect.

    Prints the machine that it describes, or with --to the same in another form; exits 1 if it
    describes none. Several device trees are one machine: a baseline, dumps, overlays.
    """
    if form is None and output is not None:
        raise click.UsageError("--output without --to: nothing is converted")
    if form is not None and as_json:
        raise click.UsageError("--json beside --to: choose one")
    from mkrpc.topology_file import read_device_trees, read_files

    read = read_files(files)
    apic_ids = None if cpuinfo is None else _apic_ids(cpuinfo)
    description = read_device_trees(read, apic_ids)
    if description is None and apic_ids is not None:
        raise InvalidArgumentError(
            "--cpuinfo beside TOML", advice="it is for device trees, which describe real machines"
        )
    machine, findings = _checked(files[0], description)
    if as_json:
        print_json(_as_json(machine, description, findings))
    else:
        _tell(findings)
        if machine is not None and form is not None:
            _convert(form, output, machine, description)
        elif machine is not None:
            _show(machine, description, apic_ids)
    return EXIT_NO if machine is None else EXIT_OK


def _apic_ids(path: Path) -> Mapping[int, int]:
    from mkrpc.devicetree.cpuinfo import parse_cpuinfo

    try:
        with path.open("rb") as file:
            data = file.read(_MAX_CPUINFO_BYTES + 1)
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}"
        raise InvalidArgumentError(message, advice="give a copy of /proc/cpuinfo") from None
    if len(data) > _MAX_CPUINFO_BYTES:
        message = f"{path}: more than {_MAX_CPUINFO_BYTES} bytes"
        raise InvalidArgumentError(message, advice="give a copy of /proc/cpuinfo")
    return parse_cpuinfo(data.decode("utf-8", "replace"), str(path))


def _checked(
    path: Path, description: "Description | None"
) -> "tuple[Topology | None, list[Finding]]":
    """The machine, None if there is none, and what there is to say."""
    from mkrpc.devicetree.finding import DeviceTreeError, Place, error
    from mkrpc.devicetree.loading import machine_of
    from mkrpc.topology import Topology

    said = [] if description is None else list(description.findings)
    try:
        if description is not None:
            return Topology.from_dict(machine_of(description)), said
        return Topology.load(path), said
    except DeviceTreeError:
        return None, said
    except TopologyError as problem:
        return None, [*said, error(Place(""), str(problem), problem.advice)]


def _tell(findings: "list[Finding]") -> None:
    for found in findings:
        where = str(found.place)
        click.echo(f"{found.severity}: {where}{': ' * bool(where)}{found.what}", err=True)
        if found.current:
            click.echo(f"  Current state: {found.current}", err=True)
        click.echo(f"  Suggestion:    {found.suggestion}", err=True)


def _show(
    machine: "Topology", description: "Description | None", apic_ids: Mapping[int, int] | None
) -> None:
    for file, dialect in (description.dialects if description is not None else {}).items():
        click.echo(f"{file}: dialect {dialect}")
    logical = {apic_id: number for number, apic_id in (apic_ids or {}).items()}
    columns = ["ID#", "NAME", "CPUS#", "APIC IDS", *(["LOGICAL CPUS"] if logical else [])]
    rows = []
    for spec in machine.instances:
        numbers = [logical[one] for one in spec.cpus if one in logical]
        row = (spec.id, spec.name, len(spec.cpus), apic_ids_text(spec.cpus))
        rows.append((*row, *([apic_ids_text(numbers)] if logical else [])))
    print_table(columns, rows)
    if machine.pool:
        click.echo(f"pool: APIC ids {apic_ids_text(machine.pool)}")
    if description is None:
        return
    if description.host is None:
        ids = apic_ids_text(description.host_cpus)
        click.echo(f"no file says which CPUs the host has: APIC id {ids} is assumed")
    if description.left_out:
        click.echo(f"left out: {', '.join(sorted(description.left_out))}")


def _as_json(
    machine: "Topology | None", description: "Description | None", findings: "list[Finding]"
) -> dict[str, Any]:
    told = [
        {
            "severity": str(found.severity),
            "file": found.place.file,
            "line": found.place.line,
            "node": found.place.path,
            "property": found.place.key,
            "what": found.what,
            "current": found.current,
            "suggestion": found.suggestion,
        }
        for found in findings
    ]
    return {
        "valid": machine is not None,
        "dialects": {} if description is None else description.dialects,
        "host_assumed": description is not None and description.host is None,
        "left_out": [] if description is None else sorted(description.left_out),
        "findings": told,
        "topology": None if machine is None else machine.to_dict(),
    }


def _convert(
    form: str, output: Path | None, machine: "Topology", description: "Description | None"
) -> None:
    from mkrpc.devicetree.blob import write_blob
    from mkrpc.devicetree.writing import as_overlay, as_source, as_toml, described

    if description is None:
        plain = machine.to_dict()
        description = described(plain)
        _tell_left_out(machine)
    if form == "toml":
        data = as_toml(description).encode("utf-8")
    elif form == "dts":
        data = as_source(as_overlay(description)).encode("ascii")
    else:
        data = write_blob(as_overlay(description))
    if output is not None:
        try:
            output.write_bytes(data)
        except OSError as error:
            message = f"{output}: cannot be written: {error.strerror}"
            raise InvalidArgumentError(message, advice="choose another --output") from None
    elif form == "dtb" and sys.stdout.isatty():
        raise click.UsageError("a blob is not for a terminal: add --output FILE")
    else:
        click.echo(data, nl=False)


def _tell_left_out(machine: "Topology") -> None:
    """A device tree says nothing of what mkrpc alone has."""
    from mkrpc.topology import Topology

    carried = {"id", "name", "cpus"}
    plain = Topology.from_dict({"instances": [{"id": 0, "cpus": [0]}]}).to_dict()
    whole = machine.to_dict()
    left = {key for key in whole.keys() - {"name", "instances", "pool"} if whole[key] != plain[key]}
    for spec in whole["instances"]:
        (own,) = plain["instances"]
        left |= {f"instances.{key}" for key in spec.keys() - carried if spec[key] != own[key]}
    if left:
        said = "left out, since a device tree has no place for it"
        click.echo(f"{said}: {', '.join(sorted(left))}", err=True)
