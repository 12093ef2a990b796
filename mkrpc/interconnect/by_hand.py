"""``python -m mkrpc.interconnect``: an interconnect by hand, without a host agent."""

import sys
from pathlib import Path
from typing import get_args

import click

from mkrpc import logs
from mkrpc.errors import MkrpcError
from mkrpc.interconnect.answers import Switches
from mkrpc.interconnect.bucket import Rates
from mkrpc.interconnect.lease import LEASE_US
from mkrpc.interconnect.policy import PROFILES
from mkrpc.interconnect.routing import Arbitration
from mkrpc.interconnect.server import serve
from mkrpc.interconnect.stalls import STALL_US
from mkrpc.journal.recorder import Recording

__all__ = ["main"]


@click.command()
@click.option("--listen", "address", required=True, help="unix:/path or host:port; port 0: any.")
@click.option(
    "--policy",
    type=click.Choice(sorted(PROFILES)),
    default="bare-metal",
    show_default=True,
    help="Who may ring whom: everybody, or 0xea alone across instances.",
)
@click.option(
    "--rate",
    "rates",
    multiple=True,
    metavar="[WHO=]WRITES[:BURST]",
    help="ICR writes per second, and at once, that pass of each instance, of instance WHO, or, "
    "with WHO = clients, of all clients together; repeatable.",
)
@click.option(
    "--lowest-priority",
    "arbitration",
    type=click.Choice(get_args(Arbitration)),
    default="ppr",
    help="Who gets a lowest-priority IPI: the lowest PPR, or one by the vector.",
)
@click.option(
    "--lease",
    "lease_s",
    type=click.FloatRange(0.1, 3600),
    default=LEASE_US / 1e6,
    show_default=True,
    help="Seconds of silence after which an instance is taken for dead.",
)
@click.option(
    "--stall",
    "stall_s",
    type=click.FloatRange(0, 3600),
    default=STALL_US / 1e6,
    show_default=True,
    help="Seconds after which an interrupt that nobody takes is reported; 0: never.",
)
@click.option(
    "--books",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file that outlives it: another one, started with it, takes the instances over.",
)
@click.option(
    "--record",
    "folder",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Keep a journal of what goes into it, in this folder, for `mkrpc replay`.",
)
@click.option("--insecure", is_flag=True, help="Listen beyond this host without any protection.")
def main(
    *,
    address: str,
    policy: str,
    rates: tuple[str, ...],
    arbitration: Arbitration,
    lease_s: float,
    stall_s: float,
    books: Path | None,
    folder: Path | None,
    insecure: bool,
) -> None:
    """Serve an interconnect until SIGTERM. Instances: python -m mkrpc.instance --connect ..."""
    logs.configure("interconnect")
    try:
        code = serve(
            address=address,
            policy=policy,
            rates=Rates.parse(rates),
            arbitration=arbitration,
            switches=Switches(apic={} if arbitration == "ppr" else {"lowest_priority": "hash"}),
            lease_us=int(lease_s * 1e6),
            stall_us=int(stall_s * 1e6),
            insecure=insecure,
            books=books,
            recording=Recording(folder) if folder is not None else None,
            on_listening=lambda where: click.echo(f"listening on {where}"),
        )
    except MkrpcError as error:
        click.echo(f"mkrpc.interconnect: {error}\n  → {error.advice}", err=True)
        code = 3
    sys.exit(code)
