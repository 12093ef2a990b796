"""``python -m mkrpc.benchmarks.storm``: what a storm costs those who have no part in it.

Real processes: a pair of instances that rings each other, and attackers that each offer many ICR
writes per second, limited by a token bucket. Rounds in which the attackers storm alternate with
rounds in which they rest, in one cluster, so that all else is the same. The pair plays ping-pong in
one kind of round, and in the other rings one way at a pace, so that a slower answer does not make
the next question later.
"""

import json
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import click

from mkrpc.benchmarks.startup import private_place
from mkrpc.benchmarks.storm_programs import (
    ATTACKERS_FROM,
    IDLE_CLASS,
    MAX_STAMPS,
    METRONOME_VECTOR,
    PARTNER,
    PINGER,
    Kind,
)
from mkrpc.benchmarks.storm_round import Round, Table, cpu_seconds
from mkrpc.client import Client, apic
from mkrpc.client.books import LedgerRow
from mkrpc.cluster import Cluster
from mkrpc.errors import MkrpcError
from mkrpc.outcome import Outcome
from mkrpc.topology import Topology

__all__ = ["P50_BOUND", "P99_BOUND", "Plan", "Report", "main", "measure"]

P50_BOUND = 1.5
P99_BOUND = 2.0
"""How many times as long the pair's latency may be: its median, and its 99th percentile."""

OFFERED_SHARE = 0.95
"""Of the rate asked for that every attacker must really have offered."""

WARM_UP_S = 1.0
SETTLE_S = 0.3
"""After a round, before it is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured. ``rate``: writes per second that each attacker offers; ``bucket`` and
    ``burst``: how many pass. ``seconds`` of each round, ``rounds`` of each kind, with and without.
    ``at_pair``: attackers ring the pair, else one another.

    ``nice``: of the attackers' processes. Each kernel of a machine has its own CPUs; here they
    share a few cores. In the idle class the attackers have those when nobody else wants them, and
    what is measured is what they cost others at the interconnect, not what any process that
    computes costs its neighbours.
    """

    attackers: int = 4
    rate: int = 20_000
    bucket: int = 2_000
    burst: int = 200
    seconds: float = 10.0
    rounds: int = 3
    one_way_rate: int = 100
    at_pair: bool = True
    nice: int = IDLE_CLASS

    def topology(self) -> Topology:
        """Instances 0 and 1 are the pair."""
        storm = "mkrpc.benchmarks.storm_programs"
        programs = ("send_paced", "receive_paced")
        handlers = ("ping", "pong")
        pair = [
            {
                "id": number,
                "cpus": [number],
                "programs": [{"cpu": 0, "entry": f"{storm}:{programs[number]}"}],
                "handlers": [f"{storm}:{handlers[number]}"],
            }
            for number in (PINGER, PARTNER)
        ]
        attackers = [
            {
                "id": number,
                "cpus": [number],
                "programs": [{"cpu": 0, "entry": f"{storm}:attack"}],
                "rate": {"writes_per_s": self.bucket, "burst": self.burst},
            }
            for number in range(ATTACKERS_FROM, ATTACKERS_FROM + self.attackers)
        ]
        return Topology.from_dict({"name": "storm", "instances": pair + attackers})


@dataclass(slots=True)
class Report:
    """What came out. ``failures``: what is not as promised, a line each; ``slow``: what
    is beyond the bounds of the latencies, or of what attackers offered, which a busy machine does
    too."""

    plan: Plan
    cores: int
    load_before: float
    rounds: list[Round] = field(default_factory=list)
    ratios: dict[str, dict[str, float]] = field(default_factory=dict)
    offered_per_s: list[float] = field(default_factory=list)
    attackers: dict[str, int] = field(default_factory=dict)
    pair: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)


def measure(plan: Plan, tell: Callable[[str], None] = lambda _line: None) -> Report:
    """Start the cluster, run the rounds, take it down. Raises what keeps it from starting."""
    report = Report(plan, len(os.sched_getaffinity(0)), os.getloadavg()[0])
    with private_place(), Cluster.start(plan.topology(), name="storm") as cluster:
        table = Table(cluster.state_dir, nice=plan.nice, at_pair=plan.at_pair)
        client = cluster.client
        pids = cluster.pids()
        interconnect = client.cluster().interconnect_pid
        for kind in Kind:
            _round(plan, table, client, kind, storm=False, seconds=WARM_UP_S)
        for number in range(plan.rounds):
            for kind in Kind:
                # The order alternates too: what drifts falls on both alike.
                for storm in (False, True) if number % 2 == 0 else (True, False):
                    before = cpu_seconds(interconnect, pids)
                    found = _round(plan, table, client, kind, storm=storm, seconds=plan.seconds)
                    found.cpu_shares(before, cpu_seconds(interconnect, pids), plan.seconds)
                    report.rounds.append(found)
                    tell(found.text())
        client.quiesce()
        _books(report, client)
    _judge(report)
    return report


def _round(
    plan: Plan, table: Table, client: Client, kind: Kind, *, storm: bool, seconds: float
) -> Round:
    rate = plan.rate if storm else 0
    begin_s = table.begin(kind, attack_rate=rate, seconds=seconds) / 1e9
    if storm:
        for number in range(plan.attackers):
            client.inject(to=apic(ATTACKERS_FROM + number))
    _wait_until(begin_s)
    if kind is Kind.PING_PONG:
        client.inject(to=apic(PINGER))
    else:
        for number in range(int(plan.one_way_rate * seconds)):
            _wait_until(begin_s + number / plan.one_way_rate)
            client.inject(to=apic(PINGER), vector=METRONOME_VECTOR)
    _wait_until(begin_s + seconds + SETTLE_S)
    client.quiesce()
    return table.end(kind, storm=storm, attackers=plan.attackers, seconds=seconds)


def _wait_until(when_s: float) -> None:
    time.sleep(max(0.0, when_s - time.monotonic()))


def _books(report: Report, client: Client) -> None:
    ledger = client.ledger()
    report.failures += [f"the books do not balance: {line}" for line in ledger.discrepancies]
    attackers: Counter[str] = Counter()
    pair: Counter[str] = Counter()
    for row in ledger.rows:
        source = row.source.instance_id
        if source is not None:
            _add(attackers if source >= ATTACKERS_FROM else pair, row)
    report.attackers, report.pair = dict(attackers), dict(pair)


def _add(counts: Counter[str], row: LedgerRow) -> None:
    counts["written"] += row.totals.written
    counts["in flight"] += row.totals.in_flight
    for outcome, count in row.outcomes:
        counts[outcome.text] += count


def _judge(report: Report) -> None:
    plan, failures = report.plan, report.failures
    for kind in Kind:
        quiet, storm = (
            [r for r in report.rounds if r.kind == kind.name.lower() and r.storm is flag]
            for flag in (False, True)
        )
        ratios = {
            name: statistics.median(getattr(r, f"{name}_us") for r in storm)
            / statistics.median(getattr(r, f"{name}_us") for r in quiet)
            for name in ("p50", "p99")
        }
        report.ratios[kind.name.lower()] = ratios
        for name, bound in (("p50", P50_BOUND), ("p99", P99_BOUND)):
            if ratios[name] > bound:
                what = f"{kind.name.lower()} {name}"
                report.slow.append(
                    f"{what} is {ratios[name]:.2f} times as long, {bound} is allowed"
                )
    for each in report.rounds:
        if each.sent != each.received:
            failures.append(f"the pair sent {each.sent}, and {each.received} arrived")
        report.offered_per_s += each.offered_per_s
    if min(report.offered_per_s) < OFFERED_SHARE * plan.rate:
        report.slow.append(
            f"an attacker offered {min(report.offered_per_s):.0f} writes/s, not {plan.rate}"
        )
    pair, attackers = report.pair, report.attackers
    if pair["written"] != pair.get(Outcome.DELIVERED.text):
        failures.append(f"of the pair's writes not all were delivered: {pair}")
    ended = sum(n for key, n in attackers.items() if key not in ("written", "in flight"))
    made = sum(sum(each.attacked) for each in report.rounds)
    if not attackers["written"] == ended == made:
        failures.append(f"attackers made {made} writes, and the books have {attackers}")
    storms = sum(each.storm for each in report.rounds)
    allowed = plan.attackers * storms * (plan.burst + plan.bucket * (plan.seconds + 1))
    passed = made - attackers.get(Outcome.REJECTED_RATE_LIMITED.text, 0)
    if passed > allowed:
        failures.append(f"{passed} writes of attackers passed, {allowed:.0f} may")


def _print(report: Report) -> None:
    for kind, ratios in report.ratios.items():
        click.echo(
            f"{kind}: p50 {ratios['p50']:.2f} times the control's (at most {P50_BOUND}), "
            f"p99 {ratios['p99']:.2f} times (at most {P99_BOUND})"
        )
    offered = [f"{rate:.0f}" for rate in (min(report.offered_per_s), max(report.offered_per_s))]
    click.echo(f"offered by each attacker: {' to '.join(offered)} writes/s")
    for whose, counts in (("attackers", report.attackers), ("the pair", report.pair)):
        click.echo(f"{whose}: {', '.join(f'{key} {n}' for key, n in counts.items())}")
    for line in report.failures + report.slow:
        click.echo(f"NOT as promised: {line}")
    if not report.failures + report.slow:
        click.echo("as promised")


@click.command()
@click.option("--attackers", type=click.IntRange(2, 32), default=4, show_default=True)
@click.option("--rate", type=click.IntRange(1), default=20_000, show_default=True)
@click.option("--bucket", type=click.IntRange(1), default=2_000, show_default=True)
@click.option("--burst", type=click.IntRange(1), default=200, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.5, 60), default=10.0, show_default=True)
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True)
@click.option("--one-way-rate", type=click.IntRange(1, 500), default=100, show_default=True)
@click.option("--at-pair/--at-one-another", default=True, show_default=True)
@click.option(
    "--nice",
    type=click.IntRange(0, IDLE_CLASS),
    default=IDLE_CLASS,
    show_default=True,
    help=f"Of the attackers' processes; {IDLE_CLASS} is the idle class.",
)
@click.option("--json", "as_json", is_flag=True)
def main(*, as_json: bool, **options: Any) -> None:
    """Measure what a storm costs a pair of instances that has no part in it.

    Exits 0 if the pair lost nothing, every refused write is in the books, and its latency stays
    within the bounds; 1 if not.
    """
    plan = Plan(**options)
    if plan.one_way_rate * plan.seconds > MAX_STAMPS:
        raise click.UsageError(f"more than {MAX_STAMPS} one-way writes in a round")
    try:
        report = measure(plan, lambda line: click.echo(line, err=True))
    except MkrpcError as error:
        click.echo(f"storm: {error}\n  → {error.advice}", err=True)
        sys.exit(3)
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2))
    else:
        _print(report)
    sys.exit(1 if report.failures or report.slow else 0)


if __name__ == "__main__":
    main()
