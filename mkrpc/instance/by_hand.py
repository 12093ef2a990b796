"""``python -m mkrpc.instance``: an instance by hand, on this host or another.

Exit codes: those of :mod:`mkrpc.instance.process`; 2 for arguments that cannot be.
"""

import sys
from dataclasses import replace
from pathlib import Path

import click

from mkrpc import logs
from mkrpc.errors import InvalidArgumentError, MkrpcError
from mkrpc.instance.boot import boot_from_topology
from mkrpc.instance.process import EXIT_REFUSED, run
from mkrpc.journal.recorder import Recording
from mkrpc.limits import MAX_CPUS
from mkrpc.topology import Topology

__all__ = ["main"]

EXIT_USAGE = 2


@click.command()
@click.option("--connect", "address", required=True, help="The interconnect's address.")
@click.option("--beats", help="Beat here past the stream, not where the welcome says; '': not.")
@click.option("--id", "instance_id", type=int, required=True, help="0 to 511; 0 is the host.")
@click.option("--apic-ids", required=True, help="APIC ids of the CPUs, such as 4,5 or 8-11.")
@click.option("--instance-name", default="", help="Default: mk and the id.")
@click.option(
    "--mode",
    type=click.Choice(["x2apic", "xapic"]),
    default="x2apic",
    show_default=True,
    help="The mode of its local APICs.",
)
@click.option("--program", "programs", multiple=True, help="CPU=package.module:name; repeatable.")
@click.option("--handler", "handlers", multiple=True, help="package.module:name; repeatable.")
@click.option("--panic-on-oops", is_flag=True, help="End when a program or a handler raises.")
@click.option(
    "--doorbell",
    "doorbells",
    multiple=True,
    metavar="ID=APIC_ID",
    help="Which CPU of another instance to ring for a message; repeatable.",
)
@click.option(
    "--record",
    "folder",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Keep a journal of what goes into it, in this folder, for `mkrpc replay`.",
)
def main(  # noqa: PLR0917 - click calls it by keyword
    address: str,
    beats: str | None,
    instance_id: int,
    apic_ids: str,
    instance_name: str,
    mode: str,
    programs: tuple[str, ...],
    handlers: tuple[str, ...],
    panic_on_oops: bool,
    doorbells: tuple[str, ...],
    folder: Path | None,
) -> None:
    """Be one kernel instance until SIGTERM, or until its lease has ended."""
    logs.configure(f"instance {instance_name or instance_id}")
    try:
        spec = {
            "id": instance_id,
            "cpus": _ids(apic_ids),
            "mode": mode,
            "programs": [_program(program) for program in programs],
            "handlers": list(handlers),
            "panic_on_oops": panic_on_oops,
        }
        if instance_name:
            spec["name"] = instance_name
        topology = Topology.from_dict({"instances": [spec]})
        recording = Recording(folder) if folder is not None else None
        boot = boot_from_topology(
            topology, instance_id, address=address, beats=beats, recording=recording
        )
        config = replace(boot.config, doorbells=",".join(map(_doorbell, doorbells)))
        code = run(replace(boot, config=config))
    except MkrpcError as error:
        click.echo(f"mkrpc.instance: {' '.join(str(error).split())}", err=True)
        if error.advice:
            click.echo(f"  → {' '.join(error.advice.split())}", err=True)
        code = EXIT_USAGE if isinstance(error, InvalidArgumentError) else EXIT_REFUSED
    sys.exit(code)


def _ids(text: str) -> list[int]:
    """The APIC ids of ``4,5`` or ``8-11``, MAX_CPUS at most; InvalidArgumentError."""
    ids: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        run_of_ids = range(_id(first, part), _id(last if dash else first, part) + 1)
        if not run_of_ids:
            raise InvalidArgumentError(
                f"the range {part.strip()!r} of APIC ids is empty",
                advice="write the lower id first: 8-11",
            )
        if len(ids) + len(run_of_ids) > MAX_CPUS:
            raise InvalidArgumentError(
                f"--apic-ids names more than {MAX_CPUS} CPUs",
                advice="share them out among several instances",
            )
        ids += run_of_ids
    return ids


def _id(digits: str, part: str) -> int:
    # A 32-bit id has 10 digits at most; a longer number would be read at length for nothing.
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 10):
        raise InvalidArgumentError(
            f"{part[:40].strip()!r} is no APIC id and no range of them", advice="write 4,5 or 8-11"
        )
    return int(digits)


def _program(text: str) -> dict[str, object]:
    cpu, equals, entry = text.partition("=")
    if not (equals and cpu.isascii() and cpu.isdecimal() and len(cpu) <= len(str(MAX_CPUS))):
        raise InvalidArgumentError(
            f"{text[:80]!r} names no CPU", advice="write 0=package.module:name"
        )
    return {"cpu": int(cpu), "entry": entry}


def _doorbell(text: str) -> str:
    instance, equals, apic_id = text.partition("=")
    if not equals:
        raise InvalidArgumentError(f"{text[:80]!r} names no CPU", advice="write 1=4: ID=APIC")
    return f"{_id(instance, text)}={_id(apic_id, text)}"
