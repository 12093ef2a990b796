"""``mkrpc replay``: what a recorded cluster did, done again in one thread."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mkrpc.cli.group import EXIT_NO, EXIT_OK
from mkrpc.cli.options import Number, json_option
from mkrpc.cli.output import print_json

if TYPE_CHECKING:
    from mkrpc.journal.format import Step
    from mkrpc.replay.life import Life
    from mkrpc.replay.run import Replay

__all__ = ["replay"]

_BOOKS_SHOWN = 10
"""Lines of books that differ and are printed; the rest is counted."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--object", "chosen", default="", metavar="NAME", help="Only this one, as mk0.")
@click.option("--until", type=Number(1, 1 << 62), help="Stop after so many steps.")
@click.option("--steps", is_flag=True, help="Print every step.")
@json_option
def replay(folder: Path, chosen: str, until: int | None, steps: bool, as_json: bool) -> int:
    """Run a recording of `mkrpc up --record` again, in one thread.

    The same buses, kernels and links are given what they were given then. Exits 1 at the first
    step of any of them that gives something else, or if the books at the end are others.
    """
    from mkrpc.replay.run import replay as run

    lines: list[str] = []

    def look(number: int, life: "Life", step: "Step", words: str, gave: str) -> None:
        line = f"{number} {life.name} #{step.number} {words}{f' -> {gave}' if gave else ''}"
        if as_json:
            lines.append(line)
        else:
            click.echo(line)

    done = run(folder, chosen=chosen, until=until, look=look if steps else None)
    if as_json:
        print_json(_as_dict(done) | ({"lines": lines} if steps else {}))
    else:
        _print(done)
    return EXIT_OK if done.identical else EXIT_NO


def _print(done: "Replay") -> None:
    width = max((len(life.name) for life in done.lives), default=0)
    for life in done.lives:
        verdict = life.verdict if life.over or life.problem else "identical so far"
        click.echo(f"{life.name:{width}}  {life.steps:>8} steps  {verdict}")
        if life.difference is not None:
            click.echo(f"  then: {life.difference.then}")
            click.echo(f"  now:  {life.difference.now}")
            detail = [life.difference.detail] if life.difference.detail else []
            for line in life.fields or detail:
                click.echo(f"    {line}")
        for then, now in life.books_differ[:_BOOKS_SHOWN]:
            click.echo(f"  then: {then}")
            click.echo(f"  now:  {now}")
        if len(life.books_differ) > _BOOKS_SHOWN:
            click.echo(f"  and {len(life.books_differ) - _BOOKS_SHOWN} lines more")
    for line in done.unread:
        click.echo(f"not read: {line}")
    what = "identical" if done.identical else "not identical"
    lives = "1 life" if len(done.lives) == 1 else f"{len(done.lives)} lives"
    click.echo(f"{done.steps} steps of {lives}: {what}")


def _as_dict(done: "Replay") -> dict[str, object]:
    return {
        "identical": done.identical,
        "steps": done.steps,
        "unread": list(done.unread),
        "lives": [
            {
                "name": life.name,
                "journal": life.journal.path.name,
                "steps": life.steps,
                "identical": life.identical,
                "finished": life.over,
                "verdict": life.verdict if life.over else "identical so far",
                "problem": life.problem,
                "ended_by_itself": life.journal.end is not None,
                "stopped": life.journal.stopped,
                "difference": None
                if (found := life.difference) is None
                else {
                    "step": found.step,
                    "offset": found.offset,
                    "method": found.method,
                    "then": found.then,
                    "now": found.now,
                    "detail": found.detail,
                    "fields": life.fields,
                },
                "books_differ": [{"then": a, "now": b} for a, b in life.books_differ],
            }
            for life in done.lives
        ],
    }
