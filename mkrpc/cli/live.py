"""What ``mkrpc up`` shows in the foreground: instances, CAL and the books, as they move."""

import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from mkrpc.cli.ledger import totals_text
from mkrpc.cli.output import check_reader, console, table
from mkrpc.cli.show import instance_columns, instance_row, restarts_text, trouble_lines
from mkrpc.errors import UnavailableError

if TYPE_CHECKING:
    from mkrpc.client.answers import ClusterView
    from mkrpc.client.books import Ledger
    from mkrpc.cluster import Cluster

__all__ = ["DOWN_GRACE_S", "PERIOD_S", "Lines", "follow"]

PERIOD_S = 0.5
"""Seconds between two looks at the cluster."""
DOWN_GRACE_S = 5.0
"""Seconds in which a cluster that no longer answers may turn out to have been taken down."""


def follow(cluster: "Cluster") -> None:
    """Show the cluster until KeyboardInterrupt, or until somebody takes it down.

    On a terminal one view is redrawn; elsewhere a plain line is printed whenever something moved.
    Raises UnavailableError if the cluster crashes, BrokenPipeError if nobody reads any longer.
    """
    out = console()
    if not out.is_terminal:
        lines = Lines()

        def tell(view: "ClusterView", books: "Ledger") -> None:
            check_reader(sys.stdout.fileno())
            lines(view, books)

        _look(cluster, tell)
        return
    with Live(console=out, auto_refresh=False) as live:
        _look(cluster, lambda view, books: live.update(_picture(view, books), refresh=True))


def _look(cluster: "Cluster", draw: "Callable[[ClusterView, Ledger], object]") -> None:
    pause = threading.Event()
    while True:
        try:
            view, books = cluster.client.cluster(), cluster.client.ledger(totals_only=True)
        except UnavailableError as error:
            if _was_taken_down(cluster):
                click.echo(f"cluster {cluster.name} was taken down", err=True)
                return
            message = f"cluster {cluster.name} no longer answers: {error}"
            raise UnavailableError(
                message, advice="it is cleared away now: start another"
            ) from None
        draw(view, books)
        pause.wait(PERIOD_S)


def _was_taken_down(cluster: "Cluster") -> bool:
    """``mkrpc down`` removes the state directory last; after a crash it stays."""
    end_s = time.monotonic() + DOWN_GRACE_S
    pause = threading.Event()
    while cluster.state_dir.exists() and time.monotonic() < end_s:
        pause.wait(PERIOD_S / 5)
    return not cluster.state_dir.exists()


def _verdict(books: "Ledger") -> str:
    return "the books balance" if books.balanced else "the books do NOT balance"


def _picture(view: "ClusterView", books: "Ledger") -> Group:
    # What a small terminal cuts off is at the end: instances that are well.
    by_need = sorted(view.instances, key=lambda instance: instance.state == "active")
    return Group(
        Text(f"{view.address}  policy {view.policy}  epoch {view.epoch:016x}{restarts_text(view)}"),
        *(Text(line, style="bold") for line in trouble_lines(view)),
        Text(f"{totals_text(books.totals)}; {_verdict(books)}"),
        Text("Ctrl-C stops the cluster", style="dim"),
        table(instance_columns, map(instance_row, by_need)),
    )


class Lines:
    """Plain lines: instances whose state changed, and the books when they moved."""

    def __init__(self) -> None:
        self._states: dict[int, tuple[str, int]] = {}
        self._books = ""
        self._epoch = 0
        self._trouble: list[str] = []

    def __call__(self, view: "ClusterView", books: "Ledger") -> None:
        if self._epoch not in (0, view.epoch):
            click.echo(
                f"the interconnect was started again: pid {view.interconnect_pid}"
                f"{restarts_text(view)}"
            )
        self._epoch = view.epoch
        # How far it has got is no news of its own, or every look would print a line.
        if bool(trouble := trouble_lines(view)) != bool(self._trouble):
            click.echo("\n".join(trouble) or "the interconnect has recovered")
        self._trouble = trouble
        for instance in view.instances:
            state = (instance.state.value, instance.pid)
            if self._states.get(instance.id) != state:
                self._states[instance.id] = state
                pid = f" pid {instance.pid}" if instance.pid else ""
                detail = f" ({instance.detail})" if instance.detail else ""
                click.echo(
                    f"instance {instance.id} ({instance.name}): {instance.state.value}{pid}{detail}"
                )
        line = f"{totals_text(books.totals)}; {_verdict(books)}"
        if line != self._books:
            self._books = line
            click.echo(line)
