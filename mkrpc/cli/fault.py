"""``mkrpc fault``, ``pause`` and ``resume``: what goes wrong on purpose (docs/faults.md)."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from mkrpc.cli.group import Commands
from mkrpc.cli.options import Amount, Number, cluster_options, connect, instance_key, json_option
from mkrpc.cli.output import print_json, print_table

if TYPE_CHECKING:
    from mkrpc.client import Client
    from mkrpc.client.faults import InjectedFault

__all__ = ["fault", "pause", "resume"]

Command = TypeVar("Command", bound=Callable[..., Any])

_SECONDS = Amount(min=0, max=86_400)
_MILLISECONDS = Amount(min=0, max=86_400_000)


def _options(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Those of one kind, and those of all kinds after them."""
    ending = click.option(
        "--for", "for_s", type=_SECONDS, default=0, help="Seconds; without, until it is cleared."
    )

    def decorate(command: Command) -> Command:
        decorated: Any = command
        for option in reversed((*options, ending, cluster_options, json_option)):
            decorated = option(decorated)
        return cast(Command, decorated)

    return decorate


_instance = click.option("--instance", help="Whose link, by id or name; without, that of each.")
_direction = click.option(
    "--direction",
    type=click.Choice(["up", "down", "both"]),
    default="both",
    show_default=True,
    help="up: from the instance to the interconnect.",
)
_share = click.option("--share", type=Amount(0, 1, min_open=True), help="By chance, 0 to 1.")
_every = click.option("--every", type=click.IntRange(min=1), help="Each so-many-th.")
_limit = click.option("--limit", type=click.IntRange(min=1), help="So many at most.")
_seed = click.option(
    "--seed",
    type=Number(1, (1 << 64) - 1, hexadecimal=True),
    help="Of chance; without, one is drawn, and `mkrpc fault list --json` tells it.",
)


@click.group(cls=Commands)
def fault() -> None:
    """Inject faults, list them, and clear them.

    A drop is in the books as rejected(injected_fault). Faults of links change nothing but time.
    """


@fault.command(short_help="Swallow IPIs on their way.")
@_options(
    click.option("--source", help="From which instance, by id or name; without, from anybody."),
    click.option("--destination", help="To which instance; without, to any."),
    click.option("--vector", type=Number(0, 255, hexadecimal=True), help="Without, of any IPI."),
    _share,
    _every,
    _limit,
    _seed,
)
def drop(**asked: Any) -> None:
    """Swallow IPIs on their way: their legs end as rejected(injected_fault)."""
    _inject("drop", asked)


@fault.command()
@_options(
    _instance,
    _direction,
    click.option("--delay-ms", type=_MILLISECONDS, default=0, help="Milliseconds, for each."),
    click.option("--jitter-ms", type=_MILLISECONDS, default=0, help="And up to so many more."),
    _seed,
)
def delay(**asked: Any) -> None:
    """Have the messages of a link come later, in their order."""
    _inject("delay", asked)


@fault.command()
@_options(_instance, _direction, _share, _every, _limit, _seed)
def duplicate(**asked: Any) -> None:
    """Have frames of a link come twice."""
    _inject("duplicate", asked)


@fault.command(short_help="Have frames of a link come late.")
@_options(_instance, _direction, _share, _every, _limit, _seed)
def reorder(**asked: Any) -> None:
    """Have frames of a link come late, over the stream after the one that they were sent on."""
    if asked["every"] is None and asked["share"] is None:
        asked["every"] = 16
    _inject("reorder", asked)


@fault.command(short_help="Let nothing pass over a link, beats included.")
@_options(_instance, _direction)
def partition(**asked: Any) -> None:
    """Let nothing pass over a link, beats included: beyond its lease an instance is fenced."""
    _inject("partition", asked)


@fault.command()
@_options(
    _instance,
    click.option("--period-ms", type=_MILLISECONDS, required=True, help="Between two cuts."),
    _limit,
)
def flap(**asked: Any) -> None:
    """Cut the stream of a link again and again."""
    _inject("flap", asked)


@fault.command("list")
@cluster_options
@json_option
def list_(name: str, address: str | None, as_json: bool) -> None:
    """List the faults that are injected now."""
    with connect(name, address) as client:
        found = client.faults()
    if as_json:
        _print_json(found)
    elif found:
        print_table(_columns, (_row(each) for each in found))
    else:
        click.echo("no faults")


@fault.command()
@click.argument("numbers", nargs=-1, type=Number(1, 2**32 - 1))
@cluster_options
@json_option
def clear(numbers: tuple[int, ...], name: str, address: str | None, as_json: bool) -> None:
    """End the faults of these numbers; without numbers, all. A pause ends with a SIGCONT."""
    with connect(name, address) as client:
        cleared = client.clear_faults(numbers)
    if as_json:
        _print_json(cleared)
    for each in () if as_json else cleared:
        click.echo(f"cleared fault {each.number} ({each.text}): struck {each.struck}")
    if not cleared and not as_json:
        click.echo("no faults")


@click.command()
@click.argument("instance")
@click.option(
    "--for", "for_s", type=_SECONDS, default=0, help="Seconds; without, until it is resumed."
)
@cluster_options
@json_option
def pause(*, instance: str, for_s: float, name: str, address: str | None, as_json: bool) -> None:
    """Stop the process of an instance (SIGSTOP), by id or name.

    Beyond its lease it is dead to the others, and ends when it goes on.
    """
    with connect(name, address) as client:
        found = client.find_instance(instance_key(instance))
        pid = client.pause_instance(found.id, for_s=for_s)
    until = f"for {for_s:g} s" if for_s else f"until `mkrpc resume {found.id}`"
    if as_json:
        print_json({"id": found.id, "name": found.name, "pid": pid, "for_s": for_s or None})
    else:
        click.echo(f"instance {found.id} ({found.name}), process {pid}, is stopped {until}")


@click.command(short_help="Let a paused process go on (SIGCONT).")
@click.argument("instance")
@cluster_options
@json_option
def resume(instance: str, name: str, address: str | None, as_json: bool) -> None:
    """Let the process of an instance that was paused go on (SIGCONT), by id or name."""
    with connect(name, address) as client:
        found = client.find_instance(instance_key(instance))
        pid = client.resume_instance(found.id)
    if as_json:
        print_json({"id": found.id, "name": found.name, "pid": pid})
    else:
        click.echo(f"instance {found.id} ({found.name}), process {pid}, goes on")


def _inject(kind: str, asked: dict[str, Any]) -> None:
    # Imported late, as everything that needs a cluster.
    from mkrpc.fault import Direction, Fault, FaultKind

    name, address, as_json = asked.pop("name"), asked.pop("address"), asked.pop("as_json")
    with connect(name, address) as client:
        said: dict[str, Any] = {"kind": FaultKind(kind)}
        for key, value in asked.items():
            if value is None:
                continue
            if key in ("instance", "source", "destination"):
                said[key] = _instance_id(client, value)
            elif key == "direction":
                said[key] = Direction(value)
            elif key.endswith("_ms"):
                said[f"{key[:-3]}_us"] = round(value * 1e3)
            elif key == "for_s":
                said["for_us"] = round(value * 1e6)
            else:
                said[key] = value
        injected = client.set_fault(Fault(**said))
    if as_json:
        _print_json((injected,))
        return
    left = "until it is cleared" if injected.left_s is None else f"for {asked['for_s']:g} s"
    click.echo(f"fault {injected.number} ({injected.text}) {left}")


def _instance_id(client: "Client", text: str) -> int:
    """An id is taken as it is: the instance may come later. That it is not there is told."""
    from mkrpc.errors import NotFoundError

    key = instance_key(text)
    try:
        return client.find_instance(key).id
    except NotFoundError as error:
        if not isinstance(key, int):
            raise
        click.echo(f"mkrpc: {error}, yet\n  → {error.advice}", err=True)
        return key


_columns = ("fault#", "what", "age#", "left#", "struck#")


def _row(injected: "InjectedFault") -> tuple[object, ...]:
    left = "-" if injected.left_s is None else f"{injected.left_s:.1f} s"
    return (injected.number, injected.text, f"{injected.age_s:.1f} s", left, injected.struck)


def _print_json(faults: "Sequence[InjectedFault]") -> None:
    from mkrpc.cli.as_json import fault_as_json

    print_json({"faults": [fault_as_json(each) for each in faults]})
