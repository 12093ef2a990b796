"""``python -m mkrpc.instance``: an instance by hand, on this host or another."""

import sys

import click

from mkrpc import logs
from mkrpc.errors import MkrpcError, TopologyError
from mkrpc.instance.boot import boot_from_topology
from mkrpc.instance.process import run
from mkrpc.topology import Topology


@click.command()
@click.option("--connect", "address", required=True, help="The interconnect's address.")
@click.option("--id", "instance_id", type=int, required=True, help="0 to 511; 0 is the host.")
@click.option("--apic-ids", required=True, help="APIC ids of the CPUs, such as 4,5 or 8-11.")
@click.option("--instance-name", default="", help="Default: mk and the id.")
@click.option("--mode", type=click.Choice(["x2apic", "xapic"]), default="x2apic")
@click.option("--program", "programs", multiple=True, help="CPU=package.module:name; repeatable.")
@click.option("--handler", "handlers", multiple=True, help="package.module:name; repeatable.")
@click.option("--panic-on-oops", is_flag=True)
def main(  # noqa: PLR0917 - click calls it by keyword
    address: str,
    instance_id: int,
    apic_ids: str,
    instance_name: str,
    mode: str,
    programs: tuple[str, ...],
    handlers: tuple[str, ...],
    panic_on_oops: bool,
) -> None:
    """Be one kernel instance until SIGTERM, or until the link breaks."""
    logs.configure(f"instance {instance_name or instance_id}")
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
    try:
        topology = Topology.from_dict({"instances": [spec]})
        code = run(boot_from_topology(topology, instance_id, address=address))
    except MkrpcError as error:
        click.echo(f"mkrpc.instance: {error}\n  → {error.advice}", err=True)
        code = 3
    sys.exit(code)


def _ids(text: str) -> list[int]:
    ids: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        try:
            ids += range(int(first), int(last if dash else first) + 1)
        except ValueError:
            raise click.BadParameter(f"{part!r} is no APIC id and no range of them") from None
    return ids


def _program(text: str) -> dict[str, object]:
    cpu, equals, entry = text.partition("=")
    if not equals or not cpu.isdecimal():
        raise TopologyError(f"{text!r} names no CPU", advice="write 0=package.module:name")
    return {"cpu": int(cpu), "entry": entry}


main()
