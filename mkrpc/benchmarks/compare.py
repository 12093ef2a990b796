"""``python -m mkrpc.benchmarks.compare [REVISION]``: this tree beside one of its commits.

Both run in turns, in one run and on one machine, so that what is printed is what the change made of
it and not what else the machine did. For people: nothing decides by it.
"""

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

import mkrpc
from mkrpc.benchmarks.figures import Figures
from mkrpc.benchmarks.placement import host, parse_pin, pinned
from mkrpc.benchmarks.plan import CPUS, Measure, Plan, of_mkrpc, of_model
from mkrpc.benchmarks.subject import OrderFailedError, Subject
from mkrpc.benchmarks.suite import machine_command, private_state_dir
from mkrpc.errors import InvalidArgumentError, MkrpcError

__all__ = ["compare", "main", "sources_of"]

HERE = Path(mkrpc.__file__).parent.parent
"""The tree that this runs from."""


@contextmanager
def sources_of(revision: str, directory: Path) -> Iterator[Path]:
    """The sources of a commit, unpacked below ``directory``.

    Raises InvalidArgumentError if there is no such commit, or if it has no benchmark.
    """
    archive = subprocess.run(
        ["git", "archive", "--format=tar", revision, "mkrpc"],
        cwd=HERE,
        capture_output=True,
        check=False,
    )
    if archive.returncode:
        words = archive.stderr.decode(errors="replace").strip().splitlines() or [""]
        raise InvalidArgumentError(
            f"{revision!r} cannot be had: {words[-1]}",
            advice="run it in a clone, and name a commit",
        )
    tree = directory / "before"
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
        # As an attribute, for CPython before 3.11.4 knows of no filters.
        packed.extraction_filter = getattr(tarfile, "data_filter", None)
        packed.extractall(tree)
    if not (tree / "mkrpc" / "benchmarks" / "machine.py").exists():
        raise InvalidArgumentError(
            f"{revision!r} has no mkrpc.benchmarks.machine: it is older than this benchmark",
            advice="name a later commit",
        )
    yield tree


def compare(revision: str, plan: Plan) -> dict[str, Any]:
    """What both trees did, and the ratios of this one over the commit; for JSON.

    A measure that one of them does not know is left out. Raises as :func:`sources_of`, and what
    keeps a machine from starting.
    """
    figures, failures = Figures(), list[str]()
    with private_state_dir() as directory, ExitStack() as stack:
        trees = {"before": stack.enter_context(sources_of(revision, directory)), "after": HERE}
        subjects: dict[str, Subject] = {}
        for name, tree in trees.items():
            for kind, command in (
                ("mkrpc", machine_command(2, CPUS)),
                ("model", ["-m", "mkrpc.benchmarks.model"]),
            ):
                subject = Subject(
                    f"{name}.{kind}",
                    command,
                    log=directory / f"{name}.{kind}.log",
                    environment={"PYTHONPATH": str(tree)},
                    directory=tree,
                )
                subjects[f"{name}.{kind}"] = stack.enter_context(subject)
                subject.wait_until_ready()
        left_out: dict[str, str] = {}
        for number in range(plan.rounds + 1):
            figures.round = number
            for measure in of_mkrpc(plan) + of_model(plan):
                if measure.key not in left_out:
                    order = ("before", "after") if number % 2 else ("after", "before")
                    _both(subjects, measure, order, figures if number else Figures(), left_out)
        for name in trees:
            wrong = subjects[f"{name}.mkrpc"].ask("books")["wrong"]
            failures += [f"{name}: {line}" for line in wrong]
    return {
        "revision": revision,
        "host": host(),
        "ratios": _ratios(figures),
        "figures": {name: figure.rounds for name, figure in figures.items()},
        "left_out": left_out,
        "failures": failures + figures.failures,
    }


def _both(
    subjects: Mapping[str, Subject],
    measure: Measure,
    order: tuple[str, str],
    figures: Figures,
    left_out: dict[str, str],
) -> None:
    """One measure of both; it is left out from now on if one cannot do it."""
    answers = {}
    for name in order:
        try:
            answers[name] = subjects[f"{name}.{measure.subject}"].ask(
                measure.order, **measure.arguments
            )
        except OrderFailedError as error:
            left_out[measure.key] = str(error)
            return
    for name, answer in answers.items():
        figures.add(f"{name}.{measure.key}", answer)


def _ratios(figures: Figures) -> dict[str, float]:
    ratios = {}
    for name, after in figures.items():
        before = figures.get(name.replace("after.", "before.", 1))
        if name.startswith("after.") and before is not None:
            ratios[name.removeprefix("after.")] = round(after.median / before.median, 4)
    return ratios


@click.command()
@click.argument("revision", default="HEAD~1")
@click.option("--rounds", type=click.IntRange(1, 100), default=5, show_default=True)
@click.option("--quick", is_flag=True, help="Small counts, to see whether it runs.")
@click.option("--pin", default="none", show_default=True, metavar="none|one|CPULIST")
@click.option("--json", "as_json", is_flag=True)
def main(*, revision: str, rounds: int, quick: bool, pin: str, as_json: bool) -> None:
    """Measure this tree and a commit of it (its parent, if none is named) in turns.

    Prints this tree's figures over the commit's: below 1 is better for delays, above 1 for words a
    second. Exits 1 if the books of either do not balance.
    """
    plan = Plan.quick() if quick else Plan(rounds=rounds)
    try:
        pinned(parse_pin(pin))
        found = compare(revision, plan)
    except MkrpcError as error:
        click.echo(f"compare: {error}\n  → {error.advice}", err=True)
        sys.exit(3)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for name, ratio in found["ratios"].items():
            before, after = (
                " ".join(f"{value:.4g}" for value in found["figures"][f"{side}.{name}"])
                for side in ("before", "after")
            )
            click.echo(f"{name}: {ratio:.3f}   before {before}   after {after}")
        for name, reason in found["left_out"].items():
            click.echo(f"{name}: left out: {reason}")
    for line in found["failures"]:
        click.echo(f"FAULT: {line}", err=True)
    sys.exit(1 if found["failures"] else 0)


if __name__ == "__main__":
    main()
