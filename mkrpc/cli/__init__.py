"""The command line: parse, call, print.

Exit codes: 0 done, or the answer is yes; 1 the answer is no (legs that did not arrive, books that
do not balance, scenarios that failed); 2 the command as typed cannot be; 3 the cluster cannot be
reached, or refused; 130 interrupted. Errors are two lines on stderr: what happened and where, and
what to do.
"""

import click

from mkrpc.cli.bench import bench
from mkrpc.cli.chaos import chaos
from mkrpc.cli.compare import compare
from mkrpc.cli.conform import conform
from mkrpc.cli.cpu import cpu
from mkrpc.cli.fault import fault, pause, resume
from mkrpc.cli.group import Commands
from mkrpc.cli.instances import create, delete, load, unload, update
from mkrpc.cli.ipi import ipi
from mkrpc.cli.kernfs import proc_file
from mkrpc.cli.ledger import ledger
from mkrpc.cli.lifecycle import down, exec_, kill
from mkrpc.cli.limit import limit
from mkrpc.cli.message import message
from mkrpc.cli.proc import dmesg, interrupts
from mkrpc.cli.replay import replay
from mkrpc.cli.show import show
from mkrpc.cli.sim import sim
from mkrpc.cli.topology import topology
from mkrpc.cli.up import up
from mkrpc.cli.watch import watch
from mkrpc.cli.why import why
from mkrpc.compiled.finder import state

__all__ = ["main"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(
    package_name="mkrpc", message=f"%(prog)s, version %(version)s; the model is {state().text}"
)
def main() -> None:
    """A multikernel machine in software: start one, ring it, read its books.

    Commands find a cluster by --name (or MKRPC_NAME), or by --address.

    \b
    Exit codes: 0 done or yes, 1 the answer is no, 2 wrong usage,
    3 cannot be reached or was refused, 130 interrupted,
    141 whoever read the output has gone.
    """


for command in (
    up,
    down,
    topology,
    show,
    ipi,
    message,
    cpu,
    interrupts,
    dmesg,
    ledger,
    watch,
    why,
    create,
    update,
    load,
    exec_,
    kill,
    unload,
    delete,
    proc_file,
    limit,
    pause,
    resume,
    fault,
    conform,
    sim,
    compare,
    replay,
    chaos,
    bench,
):
    main.add_command(command)
