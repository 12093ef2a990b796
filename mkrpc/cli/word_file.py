"""``mkrpc ipi --from-file``: ICR words of a file, read whole before any of them is sent."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING

import click

from mkrpc.errors import InvalidArgumentError

if TYPE_CHECKING:
    from mkrpc.client import Client
    from mkrpc.client.answers import IpiResult

__all__ = ["MAX_WORDS", "read_words", "send_with_a_bar", "send_words"]

MAX_WORDS = 100_000_000
"""Words of one file, repetitions included."""

CHUNK = 65_536
"""Words after which progress is told."""

_FORM = "one ICR word a line, decimal or 0x, and perhaps how many times; # begins a comment"

Run = tuple[int, int]
"""A word, and how many times in a row."""


def read_words(lines: Iterable[str], source: str) -> list[Run]:
    """The words of a file in order, runs of equal ones as one.

    Every word has to be one that an external agent can send: InvalidArgumentError, with the line,
    for the first that is none, for more than :data:`MAX_WORDS`, and if there are none.
    """
    runs: list[Run] = []
    known: dict[str, int] = {}
    total = 0
    for number, line in enumerate(lines, 1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        try:
            if len(fields) > 2:
                raise _not_so(f"{line.strip()!r} is more than a word and a count", _FORM)
            word = known.get(fields[0])
            if word is None:
                word = known[fields[0]] = _word(fields[0])
            count = _count(fields[1]) if fields[1:] else 1
        except InvalidArgumentError as error:
            raise _not_so(f"{source}, line {number}: {error}", error.advice) from None
        total += count
        if total > MAX_WORDS:
            raise _not_so(f"{source} has more than {MAX_WORDS} words", "send it in parts")
        if runs and runs[-1][0] == word:
            runs[-1] = word, runs[-1][1] + count
        else:
            runs.append((word, count))
    if not runs:
        raise _not_so(f"{source} has no words", _FORM)
    return runs


def _word(text: str) -> int:
    from mkrpc.x86.icr import Shorthand, decode, reserved_bits_x2apic

    word = _number(text, "ICR word")
    if word >> 64:
        raise _not_so(f"{text} does not fit 64 bits", "destination in the high half")
    if reserved := reserved_bits_x2apic(word):
        raise _not_so(f"{text}: reserved bits {reserved:#x} are set", "bits 31:20, 17:16, 13 are 0")
    if decode(word).shorthand in (Shorthand.SELF, Shorthand.ALL_EXCLUDING_SELF):
        raise _not_so(
            f"{text} is to self or to all but self, and an external agent has no APIC",
            "name a destination",
        )
    return word


def _count(text: str) -> int:
    count = _number(text, "count")
    if not 1 <= count <= MAX_WORDS:
        raise _not_so(f"count {text} is not between 1 and {MAX_WORDS}", _FORM)
    return count


def _number(text: str, what: str) -> int:
    try:
        number = int(text, 16 if text.lower().startswith("0x") else 10)
    except ValueError:
        raise _not_so(f"{text!r} is no {what}", _FORM) from None
    if number < 0:
        raise _not_so(f"{what} {text} is less than 0", _FORM)
    return number


def _not_so(what: str, advice: str) -> InvalidArgumentError:
    return InvalidArgumentError(what, advice=advice)


def send_words(
    client: "Client", runs: Sequence[Run], *, tell: Callable[[int], None]
) -> "IpiResult":
    """Send them over a stream of their own, in this order; ``tell`` is told of how many are known
    what became, now and then and at the end. Who interrupts it is told how far it came."""
    with client.bulk() as stream:
        try:
            for chunk in _chunks(runs):
                stream.send(chunk)
                tell(stream.answered)
            result = stream.flush()
        except KeyboardInterrupt:
            click.echo(f"mkrpc: interrupted: {stream.answered} words have outcomes", err=True)
            click.echo("  → a few more may have been sent: mkrpc ledger", err=True)
            raise
        tell(result.written)
    return result


def _chunks(runs: Iterable[Run]) -> Iterator[list[int]]:
    chunk: list[int] = []
    for word, count in runs:
        left = count
        while left:
            part = min(left, CHUNK - len(chunk))
            chunk.extend(repeat(word, part))
            left -= part
            if len(chunk) == CHUNK:
                yield chunk
                chunk = []
    if chunk:
        yield chunk


def send_with_a_bar(client: "Client", runs: Sequence[Run]) -> "IpiResult":
    """The same, with a bar on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress

    # Shown on a terminal only: into a pipe or file rich draws no bar, and an empty line.
    with Progress(
        *(BarColumn(), MofNCompleteColumn()),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task("words", total=sum(count for _, count in runs))
        return send_words(client, runs, tell=lambda done: progress.update(task, completed=done))
