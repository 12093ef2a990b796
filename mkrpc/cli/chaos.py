"""``mkrpc chaos``: kill, stop and cut real processes under load, and look at what is left."""

import json
import logging
import secrets
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from mkrpc.cli.group import EXIT_NO, EXIT_OK
from mkrpc.cli.ledger import totals_text
from mkrpc.cli.options import Amount, Number, json_option
from mkrpc.cli.output import print_json, print_table, table
from mkrpc.cli.seeds import MAX_SEED
from mkrpc.cli.show import instance_columns, instance_row

if TYPE_CHECKING:
    from mkrpc.chaos.run import Options, Result, Status
    from mkrpc.cluster import Cluster

__all__ = ["chaos"]

_MOST_MINUTES = 7 * 24 * 60.0

_SHOWN_LINES = 12
"""Faults that the view shows, the latest ones."""
_SHOWN_FINDINGS = 20
"""Findings of one checker that are printed; --json has them all."""


@click.command(short_help="Do faults to a cluster under load, and check what must hold.")
@click.option(
    "--minutes",
    type=Amount(0.05, _MOST_MINUTES),
    default=1.0,
    show_default=True,
    help="How long faults are done.",
)
@click.option(
    "--every",
    "every_s",
    type=Amount(0.2, 3600),
    default=5.0,
    show_default=True,
    help="Seconds between two faults.",
)
@click.option(
    "--instances", type=Number(2, 60), default=8, show_default=True, help="Of the cluster."
)
@click.option("--cpus", type=Number(1, 30), default=2, show_default=True, help="Of each instance.")
@click.option("--seed", type=Number(0, MAX_SEED), help="Draws the faults.  [default: any]")
@click.option(
    "--kinds", default="kill,stop,link,interconnect", show_default=True, help="Of faults."
)
@click.option(
    "--rate",
    type=Amount(1, 1e6),
    default=1000,
    show_default=True,
    help="ICR writes per second, of all CPUs together.",
)
@click.option("--plan", "only_plan", is_flag=True, help="Print the faults and do none.")
@click.option("--name", default="chaos", show_default=True, help="Name of the cluster.")
@json_option
def chaos(  # noqa: PLR0917 - click gives them by name
    minutes: float,
    every_s: float,
    instances: int,
    cpus: int,
    seed: int | None,
    kinds: str,
    rate: float,
    only_plan: bool,
    name: str,
    as_json: bool,
) -> int:
    """Start a cluster, do faults to it under load, and check what must hold in the end.

    Exits 1 if anything was lost without a reason, happened twice, or does not add up; then the logs
    and the memory are kept. Ctrl-C ends the faults; all is checked then as well.
    """
    from mkrpc import logs
    from mkrpc.chaos.plan import parse_kinds
    from mkrpc.chaos.run import Options, run_chaos

    logs.configure("chaos", level=logging.WARNING)
    options = Options(
        name=name,
        seed=secrets.randbelow(1 << 32) if seed is None else seed,
        length_s=60 * minutes,
        every_s=every_s,
        instances=instances,
        cpus=cpus,
        kinds=parse_kinds(kinds),
        rate=rate,
    )
    if only_plan:
        _print_plan(options, as_json)
        return EXIT_OK
    over = threading.Event()
    screen = _Screen(options, quiet=as_json)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ender(over, screen))
    found: list[dict[str, Any]] = []

    def on_end(cluster: "Cluster", result: "Result") -> None:
        from mkrpc.chaos.run import keep

        report = _report(options, result)
        if not report["passed"]:
            place = keep(cluster, options.seed)
            report["kept"] = str(place)
            (place / "report.json").write_text(json.dumps(report, indent=2))
        found.append(report)

    with screen:
        run_chaos(options, tell=screen.tell, show=screen.show, over=over, on_end=on_end)
    (report,) = found
    if as_json:
        print_json(report)
    else:
        _print_report(report)
    return EXIT_OK if report["passed"] else EXIT_NO


def _ender(over: threading.Event, screen: "_Screen") -> Any:
    """A signal ends the faults; the checks take a while, and further signals change nothing."""

    def end(_number: int, _frame: FrameType | None) -> None:
        over.set()
        screen.note = "asked to stop: what is under way is undone, then all is checked"

    return end


def _print_plan(options: "Options", as_json: bool) -> None:
    plan = options.plan()
    if as_json:
        faults = [
            {"number": f.number, "at_s": round(f.at_s, 3), "kind": f.kind, "what": f.text}
            for f in plan
        ]
        print_json({"seed": options.seed, "faults": faults})
        return
    click.echo(f"seed {options.seed}, {len(plan)} faults")
    print_table(("#", "at s#", "fault"), ((f.number, f"{f.at_s:.1f}", f.text) for f in plan))


class _Screen:
    """How it goes: a view that is redrawn on a terminal, else a line for each fault."""

    def __init__(self, options: "Options", *, quiet: bool) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._options = options
        self._quiet = quiet
        self._lines: list[str] = []
        self._began_s = time.monotonic()
        self._live: Live | None = None
        self._status: Status | None = None
        self._rate = 0.0
        self.note = ""

    def __enter__(self) -> "_Screen":
        if self._console.is_terminal and not self._quiet:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self.tell(f"seed {self._options.seed}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, line: str) -> None:
        """A line; called by any thread."""
        line = f"{time.monotonic() - self._began_s:7.1f} s  {line}"
        self._lines.append(line)
        del self._lines[:-_SHOWN_LINES]
        if self._live is not None:
            self._draw(self._live)
        elif not self._quiet:
            click.echo(line, err=True)

    def show(self, status: "Status") -> None:
        """How far it has got."""
        if self._live is None:
            return
        before = self._status
        if before is not None and status.totals is not None and before.totals is not None:
            passed_s = max(status.elapsed_s - before.elapsed_s, 0.001)
            self._rate = max(0, status.totals.written - before.totals.written) / passed_s
        self._status = status
        self._draw(self._live)

    def _draw(self, live: Live) -> None:
        status = self._status
        parts: list[Any] = []
        if status is not None:
            left_s = max(0.0, self._options.length_s - status.elapsed_s)
            far = f"{status.begun} of {status.planned} faults, {left_s / 60:.1f} min left"
            parts += [
                Text(f"seed {self._options.seed}: {far}, {self._rate:,.0f} legs/s"),
                Text(totals_text(status.totals) if status.totals else "nobody answers"),
                Text(self.note or "Ctrl-C ends the faults and checks", style="dim"),
            ]
        parts += map(Text, self._lines)
        if status is not None and status.view is not None:
            parts.append(table(instance_columns, map(instance_row, status.view.instances)))
        live.update(Group(*parts), refresh=True)


def _report(options: "Options", result: "Result") -> dict[str, Any]:
    from mkrpc.chaos.checkers.causes import explained_losses, unanswered
    from mkrpc.chaos.checkers.verdict import check_all

    evidence = result.evidence
    findings = {name: lines for name, lines in check_all(evidence).items() if lines}
    recoveries: dict[str, float] = {}
    for done in evidence.done:
        if done.recovery_s is not None:
            kind = done.fault.kind
            recoveries[kind] = round(max(recoveries.get(kind, 0.0), done.recovery_s), 3)
    pids = dict.fromkeys(sample.pid for sample in evidence.samples)
    return {
        "passed": not findings,
        "seed": options.seed,
        "seconds": round(result.seconds, 1),
        "cut_short": result.cut_short,
        "instances": options.instances,
        "cpus": options.cpus,
        "planned": len(result.planned),
        "faults": dict(sorted(Counter(done.fault.kind for done in evidence.done).items())),
        "skipped": len(result.skipped),
        "legs": evidence.ledger.totals.written,
        "legs_per_s": round(result.writes_per_s),
        "outcomes": {outcome.text: count for outcome, count in sorted(evidence.outcomes.items())},
        "lost_by_reason": explained_losses(evidence)[0],
        "lost_without_reason": len(findings.get("losses", [])),
        "doubled": len(findings.get("handled once", [])),
        "incarnations": sum(map(len, evidence.incarnations.values())),
        "restarts": evidence.restarts,
        "longest_without_interconnect_s": round(
            max((done.away_s for done in evidence.done), default=0.0), 3
        ),
        "ended_without_interconnect": len(unanswered(evidence)),
        "resumes": result.resumes,
        "connections": result.connections,
        "client_calls": sum(tally.calls for tally in evidence.clients),
        "client_errors": dict(sum((tally.errors for tally in evidence.clients), Counter[str]())),
        "longest_recovery_s": dict(sorted(recoveries.items())),
        "interconnects": [_held(evidence.samples, pid) for pid in pids],
        "processes": evidence.processes,
        "findings": findings,
    }


def _held(samples: Any, pid: int) -> dict[str, int]:
    of_pid = [sample for sample in samples if sample.pid == pid]
    return {
        "pid": pid,
        "resident_kib_first": of_pid[0].resident_kib,
        "resident_kib_last": of_pid[-1].resident_kib,
        "descriptors_first": of_pid[0].descriptors,
        "descriptors_last": of_pid[-1].descriptors,
    }


def _print_report(report: dict[str, Any]) -> None:
    each = ", ".join(f"{kind} {count}" for kind, count in report["faults"].items()) or "none"
    cut = ", cut short" if report["cut_short"] else ""
    click.echo(f"seed {report['seed']}, {report['seconds']:.0f} s{cut}; faults: {each}")
    if report["skipped"]:
        click.echo(f"skipped, their victims being down still: {report['skipped']}")
    click.echo(f"legs {report['legs']}, {report['legs_per_s']} per second:")
    for text, count in report["outcomes"].items():
        click.echo(f"  {text} {count}")
    for text, count in report["lost_by_reason"].items():
        click.echo(f"  of these by a fault: {text} {count}")
    click.echo(
        f"incarnations {report['incarnations']}, restarts of the interconnect "
        f"{report['restarts']}, links resumed {report['resumes']}"
    )
    if report["ended_without_interconnect"]:
        longest_s = report["longest_without_interconnect_s"]
        ended = report["ended_without_interconnect"]
        click.echo(f"ended without an interconnect, which was away for {longest_s:.1f} s: {ended}")
    calls = ", ".join(f"{reason} {count}" for reason, count in report["client_errors"].items())
    click.echo(f"calls of clients {report['client_calls']}, without an answer: {calls or 'none'}")
    longest = report["longest_recovery_s"].items()
    times = ", ".join(f"{kind} {seconds:.1f} s" for kind, seconds in longest)
    click.echo(f"longest recovery: {times or 'none'}")
    held_by = report["interconnects"]
    lives = {held["pid"]: held for held in (*held_by[:1], *held_by[-1:])}
    names = ("first ", "last ") if len(lives) > 1 else ("",)
    for which, held in zip(names, lives.values(), strict=False):
        click.echo(
            f"{which}interconnect: resident {held['resident_kib_first']} to "
            f"{held['resident_kib_last']} KiB, descriptors {held['descriptors_first']} to "
            f"{held['descriptors_last']}"
        )
    click.echo(f"lost without a reason {report['lost_without_reason']}, double {report['doubled']}")
    for name, lines in report["findings"].items():
        for line in lines[:_SHOWN_FINDINGS]:
            click.echo(f"{name}: {line}")
        if len(lines) > _SHOWN_FINDINGS:
            click.echo(f"{name}: and {len(lines) - _SHOWN_FINDINGS} more")
    if report["passed"]:
        click.echo("everything adds up")
    else:
        where = Path(report["kept"])
        click.echo(f"it does NOT add up; kept in {where}; again: --seed {report['seed']}")
