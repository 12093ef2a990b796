"""``mkrpc create``, ``update``, ``load``, ``unload`` and ``delete``: which instances there are."""

from typing import TYPE_CHECKING, Any

import click

from mkrpc.cli.options import Number, cluster_options, connect, instance_key, json_option
from mkrpc.cli.output import apic_ids_text, print_json

if TYPE_CHECKING:
    from mkrpc.client.lifecycle import Created, Image

__all__ = ["create", "delete", "load", "unload", "update"]


class ApicIds(click.ParamType):  # type: ignore[type-arg] # generic in new click only
    """APIC ids and ranges of them, such as ``4,6-8,0x10``; none of them: an empty text."""

    name = "apic ids"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The ids in their order."""
        found: list[int] = []
        for part in str(value).replace(" ", "").split(","):
            first, dash, last = part.partition("-")
            if not part:
                continue
            try:
                low = int(first, 0)
                high = int(last, 0) if dash else low
            except ValueError:
                self.fail(f"{part!r} is no APIC id; write them as 4,6-8 or 0x10", param, ctx)
            if not 0 <= low <= high <= 0xFFFF_FFFE or high - low >= _MOST:
                self.fail(f"{part} is out of range", param, ctx)
            found += range(low, high + 1)
        return tuple(found)


_MOST = 512
"""CPUs of one instance."""


@click.command(short_help="Reserve an id, a name and CPUs for an instance.")
@cluster_options
@click.argument("instance", default="", metavar="[INSTANCE | FILE]")
@click.option("--id", "instance_id", type=Number(1, 511), help="The lowest free one if not given.")
@click.option("--cpus", "-c", type=ApicIds(), help="APIC ids from the pool, such as 4,6-8.")
@click.option("--cpu-count", type=Number(1, 512), help="So many of the pool, the lowest.")
@click.option(
    "--device-tree",
    "-i",
    "files",
    multiple=True,
    metavar="FILE",
    help="What it describes, .dts or .dtb, all of it or INSTANCE alone; repeatable.",
)
@json_option
def create(
    *,
    name: str,
    address: str | None,
    instance: str,
    instance_id: int | None,
    cpus: tuple[int, ...] | None,
    cpu_count: int | None,
    files: tuple[str, ...],
    as_json: bool,
) -> None:
    """Reserve an id, a name (mk and the id if not given) and CPUs of the pool.

    Without --cpus and --cpu-count it is empty until `mkrpc update` gives it some. A device tree
    says all of that, of one instance or of several: mkrpc create web.dts.
    """
    if cpus is not None and cpu_count is not None:
        raise click.UsageError("--cpus and --cpu-count exclude each other")
    if "." in instance or "/" in instance:
        # No instance can be called so.
        instance, files = "", (instance, *files)
    if files:
        if cpus is not None or cpu_count is not None or instance_id is not None:
            raise click.UsageError("a device tree has ids and CPUs: leave the options out")
        _create_described(name, address, files, instance, as_json=as_json)
        return
    with connect(name, address) as client:
        made = client.create_instance(
            instance, instance_id=instance_id, apic_ids=cpus or (), cpu_count=cpu_count or 0
        )
    if as_json:
        print_json(_as_json(made))
    else:
        _tell(made)


def _create_described(
    name: str, address: str | None, files: tuple[str, ...], instance: str, *, as_json: bool
) -> None:
    with connect(name, address) as client:
        made = client.create_described(
            *files, name=instance, on_warning=lambda line: click.echo(f"warning: {line}", err=True)
        )
    if as_json:
        print_json({"created": [_as_json(each) for each in made]})
        return
    for each in made:
        _tell(each)


def _as_json(made: "Created") -> dict[str, Any]:
    return {"id": made.id, "name": made.name, "apic_ids": list(made.apic_ids)}


def _tell(made: "Created") -> None:
    has = f"APIC ids {apic_ids_text(made.apic_ids)}" if made.apic_ids else "no CPUs"
    click.echo(f"instance {made.id} ({made.name}) has {has}")


@click.command()
@cluster_options
@click.argument("instance")
@click.option("--cpus", "-c", type=ApicIds(), required=True, help="All that it is to have.")
@json_option
def update(
    *, name: str, address: str | None, instance: str, cpus: tuple[int, ...], as_json: bool
) -> None:
    """Give an instance other CPUs, or none.

    One that runs gives up those that are not named, but for its boot CPU, and takes in those that
    it has not: of the pool, so that a CPU moves by two commands. One that does not run must have
    nothing loaded.
    """
    with connect(name, address) as client:
        found = client.find_instance(instance_key(instance))
        client.update_instance(found.id, cpus)
    if as_json:
        print_json({"id": found.id, "name": found.name, "apic_ids": list(cpus)})
    else:
        has = f"APIC ids {apic_ids_text(cpus)}" if cpus else "no CPUs"
        click.echo(f"instance {found.id} ({found.name}) has {has}")


@click.command(short_help="Load a kernel into an instance.")
@cluster_options
@click.argument("instance")
@click.option("--handler", "handlers", multiple=True, help="package.module:name; repeatable.")
@click.option(
    "--program",
    "programs",
    multiple=True,
    help="[CPU=]package.module:name, by the CPU's number, 0 if left out; repeatable.",
)
@click.option("--cmdline", help="Parameters of the kernel, such as maxcpus=1.")
@json_option
def load(
    *,
    name: str,
    address: str | None,
    instance: str,
    handlers: tuple[str, ...],
    programs: tuple[str, ...],
    cmdline: str | None,
    as_json: bool,
) -> None:
    """Load a kernel: with these, or what the instance had when the cluster began."""
    from mkrpc.client.lifecycle import Image

    image = None
    if handlers or programs or cmdline is not None:
        placed = dict(_placed(program) for program in programs)
        if len(placed) != len(programs):
            raise click.UsageError("two programs on one CPU")
        image = Image(cmdline=cmdline or "", handlers=handlers, programs=placed)
    with connect(name, address) as client:
        found = client.find_instance(instance_key(instance))
        loaded = client.load_instance(found.id, image)
    if as_json:
        from mkrpc.cli.as_json import image_as_json

        print_json({"id": found.id, "name": found.name, "image": image_as_json(loaded)})
        return
    click.echo(f"instance {found.id} ({found.name}): a kernel is loaded{_with(loaded)}")


def _with(image: "Image") -> str:
    """What is loaded beside the kernel itself."""
    counts = {
        "handler": len(image.handlers),
        "program": len(image.programs),
        "callable of a script": image.callables,
    }
    what = [f"{count} {_plural(noun, count)}" for noun, count in counts.items() if count]
    if image.cmdline:
        what.append(f"command line '{image.cmdline}'")
    return f", with {', '.join(what)}" if what else ""


def _plural(noun: str, count: int) -> str:
    first, *rest = noun.split(" ")
    return noun if count == 1 else " ".join((f"{first}s", *rest))


_CPU_DIGITS = 5


def _placed(program: str) -> tuple[int, str]:
    cpu, equals, entry = program.partition("=")
    if not equals:
        return 0, program
    if not (cpu.isascii() and cpu.isdigit() and len(cpu) <= _CPU_DIGITS):
        raise click.UsageError(f"--program {program}: write it as CPU=package.module:name")
    return int(cpu), entry


@click.command()
@cluster_options
@click.argument("instance")
@json_option
def unload(name: str, address: str | None, instance: str, as_json: bool) -> None:
    """Unload the kernel of an instance that does not run."""
    with connect(name, address) as client:
        found = client.find_instance(instance_key(instance))
        client.unload_instance(found.id)
    if as_json:
        print_json({"id": found.id, "name": found.name})
    else:
        click.echo(f"instance {found.id} ({found.name}) has nothing loaded")


@click.command(short_help="Forget an instance; its CPUs go back to the pool.")
@cluster_options
@click.argument("instance")
@json_option
def delete(name: str, address: str | None, instance: str, as_json: bool) -> None:
    """Forget an instance that has nothing loaded, or has failed; its CPUs go back to the pool."""
    with connect(name, address) as client:
        found = client.find_instance(instance_key(instance))
        apic_ids = client.delete_instance(found.id)
    if as_json:
        print_json({"id": found.id, "name": found.name, "apic_ids": list(apic_ids)})
    else:
        back = f"; back in the pool: APIC ids {apic_ids_text(apic_ids)}" if apic_ids else ""
        click.echo(f"instance {found.id} ({found.name}) is gone{back}")
