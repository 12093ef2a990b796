"""``mkrpc show``: the instances and their CPUs."""

from typing import TYPE_CHECKING

import click

from mkrpc.cli.options import cluster_options, connect, json_option
from mkrpc.cli.output import apic_ids_text, print_json, print_table

if TYPE_CHECKING:
    from mkrpc.client.answers import ClusterView, InstanceView

__all__ = ["instance_columns", "instance_row", "show"]

instance_columns = (
    "id#",
    "name",
    "state",
    "pid#",
    "incarnation",
    "apic ids",
    "mode",
    "CAL#",
    "detail",
)


def instance_row(instance: "InstanceView") -> tuple[object, ...]:
    """One instance under :data:`instance_columns`; CAL is the sum over its CPUs."""
    from mkrpc.cli.as_json import irq_stat_as_json, mode_text

    modes = sorted({mode_text(cpu.address.mode) for cpu in instance.cpus})
    return (
        instance.id,
        instance.name,
        instance.state.value,
        instance.pid or "-",
        instance.incarnation.hex()[:8] or "-",
        apic_ids_text(cpu.address.apic_id for cpu in instance.cpus),
        ",".join(modes),
        sum(irq_stat_as_json(cpu.account)["irq_call_count"] for cpu in instance.cpus),
        instance.detail,
    )


@click.command()
@cluster_options
@click.option("--quiesce", is_flag=True, help="Wait first until nothing is in flight.")
@json_option
def show(name: str, address: str | None, quiesce: bool, as_json: bool) -> None:
    """Show every instance with its CPUs, as the interconnect's mirror has them."""
    with connect(name, address) as client:
        if quiesce:
            client.quiesce()
        cluster = client.cluster()
    if as_json:
        from mkrpc.cli.as_json import cluster_as_json

        print_json(cluster_as_json(cluster))
        return
    _print(cluster)


def _print(cluster: "ClusterView") -> None:
    click.echo(f"address {cluster.address}")
    click.echo(
        f"interconnect pid {cluster.interconnect_pid}, epoch {cluster.epoch:016x},"
        f" policy {cluster.policy}"
    )
    print_table(instance_columns, (instance_row(instance) for instance in cluster.instances))
