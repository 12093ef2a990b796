"""``python -m mkrpc.interconnect``: an interconnect by hand, without a host agent."""

import sys

import click

from mkrpc import logs
from mkrpc.errors import MkrpcError
from mkrpc.interconnect.lease import LEASE_US
from mkrpc.interconnect.policy import PROFILES
from mkrpc.interconnect.server import serve


@click.command()
@click.option("--listen", "address", required=True, help="unix:/path or host:port; port 0: any.")
@click.option("--policy", type=click.Choice(sorted(PROFILES)), default="bare-metal")
@click.option(
    "--lease",
    "lease_s",
    type=click.FloatRange(0.1, 3600),
    default=LEASE_US / 1e6,
    show_default=True,
    help="Seconds of silence after which an instance is taken for dead.",
)
@click.option("--insecure", is_flag=True, help="Listen beyond this host without any protection.")
def main(address: str, policy: str, lease_s: float, insecure: bool) -> None:
    """Serve an interconnect until SIGTERM. Instances: python -m mkrpc.instance --connect ..."""
    logs.configure("interconnect")
    try:
        code = serve(
            address=address,
            policy=policy,
            lease_us=int(lease_s * 1e6),
            insecure=insecure,
            on_listening=lambda where: click.echo(f"listening on {where}"),
        )
    except MkrpcError as error:
        click.echo(f"mkrpc.interconnect: {error}\n  → {error.advice}", err=True)
        code = 3
    sys.exit(code)


main()
