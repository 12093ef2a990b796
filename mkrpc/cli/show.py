"""``mkrpc show``: the instances and their CPUs."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import click

from mkrpc.cli.kernfs import print_kernfs
from mkrpc.cli.options import cluster_options, connect, json_option
from mkrpc.cli.output import apic_ids_text, print_json, print_table
from mkrpc.cli.why import stall_line

if TYPE_CHECKING:
    from mkrpc.client.answers import ClusterView, InstanceView, MirroredCpu, RateLimit

__all__ = [
    "FEW_CPUS",
    "instance_columns",
    "instance_row",
    "rate_text",
    "restarts_text",
    "show",
    "trouble_lines",
]

FEW_CPUS = 16
"""CPUs of a machine that are listed one by one unless ``--no-cpus``; of a larger one ``--cpus``."""

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
        apic_ids_text(instance.apic_ids or (cpu.address.apic_id for cpu in instance.cpus)),
        ",".join(modes),
        sum(irq_stat_as_json(cpu.account)["irq_call_count"] for cpu in instance.cpus),
        instance.detail,
    )


@click.command(short_help="Show every instance and its CPUs.")
@cluster_options
@click.option(
    "--cpus/--no-cpus",
    default=None,
    help=f"A line for each CPU; without either, if there are at most {FEW_CPUS}.",
)
@click.option("--kernfs", is_flag=True, help="The files of /sys/fs/multikernel instead.")
@click.option("--quiesce", is_flag=True, help="Wait first until nothing is in flight.")
@json_option
def show(
    *,
    name: str,
    address: str | None,
    cpus: bool | None,
    kernfs: bool,
    quiesce: bool,
    as_json: bool,
) -> None:
    """Show every instance with its CPUs, as the interconnect's mirror has them."""
    with connect(name, address) as client:
        if kernfs:
            print_kernfs(client, as_json=as_json)
            return
        if quiesce:
            client.quiesce()
        cluster = client.cluster()
    if as_json:
        from mkrpc.cli.as_json import cluster_as_json
        from mkrpc.cli.why_json import stall_as_json

        stalls = [stall_as_json(stall) for stall in cluster.stalls]
        print_json(cluster_as_json(cluster) | {"stalls": stalls})
        return
    _print(cluster)
    found = list(_cpu_rows(cluster))
    if cpus or (cpus is None and 0 < len(found) <= FEW_CPUS):
        click.echo()
        print_table(_cpu_columns, found)
    elif cpus is None and found:
        click.echo(f"--cpus lists all {len(found)} CPUs")


def _print(cluster: "ClusterView") -> None:
    click.echo(f"address {cluster.address}")
    click.echo(
        f"interconnect pid {cluster.interconnect_pid}, epoch {cluster.epoch:016x},"
        f" policy {cluster.policy}{restarts_text(cluster)}"
    )
    for line in trouble_lines(cluster):
        click.echo(line)
    if cluster.pool:
        click.echo(f"pool {apic_ids_text(cluster.pool)}")
    if cluster.apic:
        click.echo(f"apic {_settings(cluster.apic)}")
    if cluster.client_rate is not None:
        click.echo(f"clients: {rate_text(cluster.client_rate)}")
    if cluster.faults:
        numbers = ", ".join(f"{fault.number} ({fault.text})" for fault in cluster.faults)
        click.echo(f"faults {numbers}")
    for instance in cluster.instances:
        who = f"instance {instance.id} ({instance.name})"
        if instance.switches:
            click.echo(f"{who}: {_settings(instance.switches)}")
        if instance.rate is not None:
            click.echo(f"{who}: {rate_text(instance.rate)}")
    print_table(instance_columns, (instance_row(instance) for instance in cluster.instances))
    for stall in cluster.stalls:
        click.echo(stall_line(stall))


def restarts_text(cluster: "ClusterView") -> str:
    """What a line about the interconnect says besides, if it took over from another one."""
    return f", restarts {cluster.restarts}" if cluster.restarts else ""


def trouble_lines(cluster: "ClusterView") -> list[str]:
    """What is wrong with the interconnect, a line each."""
    lines = []
    if (recovery := cluster.recovery) is not None:
        lines.append(
            f"recovering: {recovery.back} of {recovery.expected} instances are back,"
            f" at most {recovery.left_us / 1e6:.1f} s more"
        )
    if cluster.books_trouble:
        lines.append(f"books are not kept: {cluster.books_trouble}")
    return lines


def rate_text(rate: "RateLimit | None") -> str:
    """A source's token bucket in one line."""
    if rate is None:
        return "no limit"
    return (
        f"{rate.writes_per_s} writes/s, burst {rate.burst}: "
        f"{rate.passed} passed, {rate.refused} refused"
    )


def _settings(switches: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in switches.items())


_cpu_columns = ("apic#", "instance", "cpu#", "state", "IF", "tpr#", "ppr#", "irr#", "isr#", "CAL#")


def _cpu_rows(cluster: "ClusterView") -> Iterator[tuple[object, ...]]:
    """The CPUs of the instances that run. IRR and ISR as the number of vectors in them."""
    for instance in cluster.instances:
        if instance.state == "active":
            yield from (_cpu_row(instance, cpu) for cpu in instance.cpus)


def _cpu_row(instance: "InstanceView", cpu: "MirroredCpu") -> tuple[object, ...]:
    from mkrpc.cli.as_json import irq_stat_as_json

    account = cpu.account
    return (
        cpu.apic_id,
        instance.name,
        account.cpu,
        account.activity,
        "on" if account.interrupts_enabled else "off",
        f"{account.tpr:#04x}",
        f"{account.ppr:#04x}",
        account.irr.bit_count(),
        account.isr.bit_count(),
        irq_stat_as_json(account)["irq_call_count"],
    )
