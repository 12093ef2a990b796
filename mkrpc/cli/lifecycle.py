"""``mkrpc down``, ``exec`` and ``kill``: ends and new beginnings."""

import click

from mkrpc.cli.group import EXIT_FAILED, EXIT_OK, tell_error
from mkrpc.cli.options import Number, cluster_options, connect, instance_key, json_option
from mkrpc.cli.output import print_json
from mkrpc.errors import MkrpcError

__all__ = ["down", "exec_", "kill"]


@click.command()
@cluster_options
@click.option("--all", "everything", is_flag=True, help="Every cluster of this user.")
def down(name: str, address: str | None, everything: bool) -> int:
    """Stop a cluster; after a crash, clear away what it left behind.

    With --all, one that cannot be stopped does not keep the others; exits 3 then.
    """
    if everything and address is not None:
        raise click.UsageError("--all and --address exclude each other")
    if address is not None:
        with connect(name, address) as client:
            client.shutdown()
        click.echo(f"stopped the cluster at {address}")
        return EXIT_OK
    from mkrpc.cluster import remove
    from mkrpc.state_dir import cluster_names

    if not everything:
        click.echo("\n".join(remove(name)))
        return EXIT_OK
    names = cluster_names()
    if not names:
        click.echo("nothing is running")
    code = EXIT_OK
    for each in names:
        try:
            click.echo("\n".join(remove(each)))
        except MkrpcError as error:
            tell_error(error)
            code = EXIT_FAILED
    return code


@click.command("exec", short_help="Start an instance that has a kernel loaded.")
@cluster_options
@click.argument("instance")
@click.option(
    "--cpu", "apic_id", type=Number(0, 0xFFFF_FFFE), help="Boot on it, by APIC id; or on the first."
)
@click.option("--direct", is_flag=True, help="Without INIT and SIPI, as when the cluster starts.")
@json_option
def exec_(
    *,
    name: str,
    address: str | None,
    instance: str,
    apic_id: int | None,
    direct: bool,
    as_json: bool,
) -> None:
    """Start an instance that has a kernel loaded, by id or name: a new incarnation.

    The host's boot CPU sends INIT and SIPI to its boot CPU, and that one brings up the others.
    """
    with connect(name, address) as client:
        found = client.find_instance(instance_key(instance))
        pid = client.exec_instance(found.id, direct=direct, apic_id=apic_id)
    if as_json:
        print_json({"id": found.id, "name": found.name, "pid": pid})
    else:
        click.echo(f"instance {found.id} ({found.name}) runs as process {pid}")


@click.command(short_help="End an instance: ask it to shut down, or force it.")
@cluster_options
@click.argument("instance")
@click.option("--force", is_flag=True, help="Do not ask: an NMI to every CPU, then SIGKILL.")
@click.option("--signal", is_flag=True, help="Only SIGTERM to its process, or SIGKILL by --force.")
@json_option
def kill(
    *, name: str, address: str | None, instance: str, force: bool, signal: bool, as_json: bool
) -> None:
    """End an instance, by id or name: it is asked to shut down and parks its CPUs first."""
    with connect(name, address) as client:
        found = client.find_instance(instance_key(instance))
        exit_code = client.kill_instance(found.id, force=force, signal=signal)
    if as_json:
        print_json({"id": found.id, "name": found.name, "exit_code": exit_code})
    else:
        from mkrpc.lifecycle import describe_end

        how = "was" if exit_code < 0 else "ended with"
        click.echo(f"instance {found.id} ({found.name}) {how} {describe_end(exit_code)}")
