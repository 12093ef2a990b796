"""``mkrpc up``: start a cluster, in the background or under one's eyes."""

import re
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, cast

import click

from mkrpc.cli.options import ApicSwitch, Number, json_option, name_option
from mkrpc.cli.output import print_json
from mkrpc.x86.apic_policy import ApicPolicy

if TYPE_CHECKING:
    from mkrpc.cluster import Cluster
    from mkrpc.topology import Mode, PolicyName, Topology

__all__ = ["up"]

_DEFAULT_INSTANCES = 2
_DEFAULT_CPUS = 2
_FEW_INSTANCES = 8
"""Instances whose start is told one by one; of more so many are."""


@click.command()
@name_option
@click.option("--instances", type=Number(1, 512), help="Instances 0 to N-1; 2 if not given.")
@click.option("--cpus", type=Number(1, 512), help="CPUs of each instance; 2 if not given.")
@click.option("--pool", type=Number(1, 4096), help="CPUs that no instance has, for `mkrpc create`.")
@click.option(
    "--topology",
    "paths",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="A TOML file, or a device tree (.dts, .dtb, a `kerf dump`), in place of --instances, "
    "--cpus, --policy and --mode; device trees: repeatable.",
)
@click.option(
    "--policy", type=click.Choice(["bare-metal", "filtered"]), help="bare-metal if not given."
)
@click.option("--mode", type=click.Choice(["x2apic", "xapic"]), help="x2apic if not given.")
@click.option(
    "--apic",
    type=ApicSwitch(),
    multiple=True,
    help="A switch of every local APIC, in place of that in the file's [apic]; repeatable. "
    f"Keys: {', '.join(field.name for field in fields(ApicPolicy))}.",
)
@click.option("--detach", is_flag=True, help="Return once it runs; `mkrpc down` stops it.")
@click.option("--address", help="Listen here instead of at a private Unix socket.")
@click.option("--insecure", is_flag=True, help="Permit an address beyond loopback, unprotected.")
@click.option(
    "--record",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Journal what goes into every process, in a new folder, for `mkrpc replay`.",
)
@click.option(
    "--record-limit",
    "limit_mib",
    type=Number(1, 1 << 20),
    help="MiB of one process's journal at most; 256 if not given.",
)
@json_option
def up(
    *,
    name: str,
    instances: int | None,
    cpus: int | None,
    pool: int | None,
    paths: tuple[Path, ...],
    policy: str | None,
    mode: str | None,
    apic: tuple[tuple[str, str | bool], ...],
    detach: bool,
    address: str | None,
    insecure: bool,
    folder: Path | None,
    limit_mib: int | None,
    as_json: bool,
) -> None:
    """Start a cluster. In the foreground it is stopped by Ctrl-C, SIGTERM or SIGHUP."""
    if as_json and not detach:
        raise click.UsageError("--json needs --detach: in the foreground up prints a live view")
    topology = _topology(instances, cpus, paths, policy, mode, apic=dict(apic))
    topology = topology.with_pool(pool or 0)
    if address is not None:
        _check_directory(address)
    if limit_mib is not None and folder is None:
        raise click.UsageError("--record-limit without --record: nothing is recorded")
    from mkrpc.cluster import STOP_SIGNALS, Cluster
    from mkrpc.journal.recorder import Recording
    from mkrpc.journal.writer import JOURNAL_LIMIT

    for number in STOP_SIGNALS:
        # What nohup or a shell's & has switched off stays off.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    limit = JOURNAL_LIMIT if limit_mib is None else limit_mib << 20
    recording = Recording(folder, limit) if folder is not None else None

    def start() -> Cluster:
        return Cluster.start(
            topology,
            name=name,
            address=address,
            insecure=insecure,
            recording=recording,
            on_progress=None if as_json else _progress(len(topology.instances)),
        )

    if not detach:
        _foreground(start, topology)
        return
    cluster = start()
    if as_json:
        where = {"address": cluster.address, "state_dir": str(cluster.state_dir)}
        print_json({"name": cluster.name} | where)
    else:
        click.echo(_is_up(cluster, topology))


def _topology(
    instances: int | None,
    cpus: int | None,
    paths: tuple[Path, ...],
    policy: str | None,
    mode: str | None,
    *,
    apic: dict[str, str | bool],
) -> "Topology":
    from mkrpc.errors import TopologyError
    from mkrpc.topology import Topology

    if not paths:
        try:
            return Topology.of(
                instances=_DEFAULT_INSTANCES if instances is None else instances,
                cpus=_DEFAULT_CPUS if cpus is None else cpus,
                policy=cast("PolicyName", policy or "bare-metal"),
                mode=cast("Mode", mode or "x2apic"),
                apic=apic,
            )
        except TopologyError as error:
            # There is no file in which to write the key.
            advice = re.sub(r'mode = "(\w+)"', r"--mode \1", error.advice)
            raise TopologyError(str(error), advice=advice) from None
    beside = {"--instances": instances, "--cpus": cpus, "--policy": policy, "--mode": mode}
    given = [option for option, value in beside.items() if value is not None]
    if given:
        raise click.UsageError(f"{' and '.join(given)} beside --topology: the file says it all")
    return Topology.load(*paths, apic=apic, on_warning=_warn)


def _warn(line: str) -> None:
    click.echo(f"warning: {line}", err=True)


def _progress(instances: int) -> Callable[[str], None]:
    """Tells how the start goes; of many instances every so often, and the last."""
    every = max(1, instances // _FEW_INSTANCES)

    def tell(line: str) -> None:
        number, of, _ = line.partition(f" of {instances} ")
        if not of or int(number) % every == 0 or int(number) == instances:
            click.echo(line, err=True)

    return tell


def _check_directory(address: str) -> None:
    """A socket's directory is not made on request: a slip of the pen would leave one behind."""
    from mkrpc.errors import InvalidArgumentError
    from mkrpc.transport.address import parse

    where = parse(address)
    if where.is_unix and not (directory := Path(where.path).parent).is_dir():
        raise InvalidArgumentError(
            f"--address {address}: the directory {directory} does not exist",
            advice=f"mkdir -m 700 {directory}, or leave --address out",
        )


def _is_up(cluster: "Cluster", topology: "Topology") -> str:
    instances, cpus = len(topology.instances), len(topology.apic_ids)
    size = f"{instances} instance{'s'[: instances != 1]}, {cpus} CPU{'s'[: cpus != 1]}"
    return f"cluster {cluster.name} is up: {size}, at {cluster.address}"


def _foreground(start: "Callable[[], Cluster]", topology: "Topology") -> None:
    cluster = start()
    # Nothing may come between the start and this: from here on a signal must stop the cluster.
    try:
        from mkrpc.cli.live import follow

        click.echo(_is_up(cluster, topology))
        follow(cluster)
    except KeyboardInterrupt:
        click.echo(f"stopping cluster {cluster.name}", err=True)
    finally:
        _stop(cluster)


def _stop(cluster: "Cluster") -> None:
    """Stop it whole: a second signal must not leave half of it behind. Takes seconds at most."""
    from mkrpc.cluster import STOP_SIGNALS
    from mkrpc.errors import NotFoundError

    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    # Somebody may have taken it down while we looked on: then nothing is left to stop.
    with suppress(NotFoundError):
        cluster.stop()


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
