"""``mkrpc cpu``: the registers of one CPU; set IF, TPR, halt or wake it."""

from typing import TYPE_CHECKING

import click

from mkrpc.cli.options import Number, cluster_options, connect, instance_key, json_option
from mkrpc.cli.output import print_json, print_table

if TYPE_CHECKING:
    from mkrpc.link.frames import CpuView

__all__ = ["cpu"]

_64_BITS = ("IA32_APIC_BASE", "ICR")


@click.command(short_help="Show a CPU's registers; set IF, TPR or HLT, take it offline.")
@cluster_options
@click.argument("apic_id", type=Number(0, 0xFFFF_FFFE))
@click.option("--if", "if_", type=click.Choice(["on", "off"]), help="Set or clear EFLAGS.IF.")
@click.option("--halt/--wake", "halt", default=None, help="Execute HLT, or end it.")
@click.option("--online", type=click.Choice(["on", "off"]), help="Take it offline, or bring it up.")
@click.option(
    "--ask", "asker", metavar="INSTANCE", help="With --online: this instance asks, by message."
)
@click.option("--tpr", type=Number(0, 0xFF, hexadecimal=True), help="Task priority, 0 to 0xff.")
@json_option
def cpu(
    *,
    name: str,
    address: str | None,
    apic_id: int,
    if_: str | None,
    halt: bool | None,
    online: str | None,
    asker: str | None,
    tpr: int | None,
    as_json: bool,
) -> None:
    """Show the CPU with this APIC id, after setting what was asked for.

    --online acts as its own kernel's /sys does. With --ask another kernel requests it, and its own
    answers or refuses: that is the way of the multikernel series.
    """
    if asker is not None and online is None:
        raise click.UsageError("--ask goes with --online")
    with connect(name, address) as client:
        if asker is not None:
            source = client.find_instance(instance_key(asker))
            client.ask_for_cpu(source.id, apic_id, online=online == "on")
        elif online is not None:
            client.set_cpu(apic_id, online=online == "on")
        if if_ is not None or halt is not None or tpr is not None:
            interrupts_enabled = None if if_ is None else if_ == "on"
            client.set_cpu(apic_id, interrupts_enabled=interrupts_enabled, halt=halt, tpr=tpr)
        answer = client.cpu(apic_id)
    if as_json:
        from mkrpc.cli.as_json import cpu_as_json

        print_json(cpu_as_json(answer.view, answer.instance_id))
        return
    _print(answer.view, answer.instance_id)


def _print(view: "CpuView", instance_id: int | None) -> None:
    from mkrpc.cli.as_json import mode_text, vectors_of

    account = view.account
    click.echo(
        f"apic {view.apic_id}, CPU {account.cpu} of instance {instance_id}: {account.activity},"
        f" IF {'on' if account.interrupts_enabled else 'off'}, {mode_text(view.mode)}"
    )
    rows = [
        (name, f"{value:#0{2 + (16 if name in _64_BITS else 8)}x}")
        for name, value in sorted(view.registers.items())
    ]
    for register, value in (("irr", account.irr), ("isr", account.isr)):
        rows.append((register, " ".join(f"{vector:#04x}" for vector in vectors_of(value)) or "-"))
    print_table(("register", "value"), rows)
