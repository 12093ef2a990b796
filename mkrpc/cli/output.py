"""How answers are printed: rich tables for people, JSON for scripts."""

import errno
import json
import os
import select
import stat
import sys
from collections.abc import Iterable, Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["apic_ids_text", "check_reader", "console", "print_json", "print_table", "table"]

_PIPE_WIDTH = 1000


def console() -> Console:
    """Standard output. Into a pipe or file, lines are wide and plain, so that nothing is cut."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)


def check_reader(descriptor: int) -> None:
    """BrokenPipeError if this is a pipe that nobody reads any longer; else it would be found out by
    the next line that there is to print, which may be never."""
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        return
    poll = select.poll()
    poll.register(descriptor, 0)  # no event asked for: an error is told anyway
    if any(events & select.POLLERR for _, events in poll.poll(0)):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, indent=2))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A borderless table. A column whose name ends in ``#`` holds numbers, right-aligned."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        numeric = column.endswith("#")
        made.add_column(column.rstrip("#"), justify="right" if numeric else "left")
    for row in rows:
        made.add_row(*(Text(str(cell)) for cell in row))
    return made


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on standard output, without blanks at the ends of lines."""
    out = console()
    with out.capture() as captured:
        out.print(table(columns, rows))
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def apic_ids_text(apic_ids: Iterable[int]) -> str:
    """``0-3,8``: ids in ascending order, runs folded."""
    runs: list[tuple[int, int]] = []
    for apic_id in sorted(apic_ids):
        if runs and runs[-1][1] == apic_id - 1:
            runs[-1] = (runs[-1][0], apic_id)
        else:
            runs.append((apic_id, apic_id))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
