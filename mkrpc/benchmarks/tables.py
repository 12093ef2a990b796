"""What a saved run of ``mkrpc bench`` says, as text: for a terminal, or in Markdown.

``python -m mkrpc.benchmarks.tables FILE`` prints the tables of the page on performance.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

__all__ = [
    "GROWTH_HEAD",
    "NOT_ALIKE",
    "START_HEAD",
    "SUBJECTS",
    "THROUGHPUT_HEAD",
    "delay_rows",
    "growth_rows",
    "markdown",
    "number",
    "ratio_rows",
    "start_rows",
    "throughput_rows",
]

NOT_ALIKE = (
    "The raw relay does nothing: no model, no ledger, no sequence numbers.",
    "The idiomatic design and the peers run the same model, count what is written, delivered and "
    "coalesced, and acknowledge every message within the same window of 256 messages (mkrpc "
    "`one_cumulative`: 512, that of its streams); they have no sequence numbers, no resend, no "
    "policy and no leases, which mkrpc pays for.",
    "A client of mkrpc waits for outcomes that are in the books; theirs waits for a number.",
    "Peers other than gRPC talk to a broker of one client and one instance, not of many.",
)
"""What of the comparison is not like for like."""

SUBJECTS = {
    "mkrpc": "mkrpc",
    "raw_relay": "raw relay, same transport",
    "idiomatic": "idiomatic gRPC",
    "unix_socket": "Unix-socket broker",
    "pipe": "multiprocessing Pipe",
    "queue_broker": "multiprocessing Queue",
    "shared_memory": "shared memory + eventfd",
    "zeromq": "ZeroMQ",
    "nats_broker": "NATS",
    "redis_lists": "Redis lists",
    "model": "the model alone",
}
"""What stands side by side, by the name of its figures."""

_MEASURES = (
    "one",
    "one_cumulative",
    "natural",
    "cpu_natural",
    "burst_1k",
    "burst_10k",
    "burst_10k_in_runs",
)

THROUGHPUT_HEAD = (
    "one a message",
    "cumulative",
    "natural",
    "natural, a CPU's",
    "1k bursts",
    "10k bursts",
    "10k in runs",
)

GROWTH_HEAD = ("delay p50 us", "p99 us", "words a second to all")
START_HEAD = ("up after s", "PSS MiB each", "private MiB each")
_MEMORY = ("pss_mib", "private_mib")

Run = Mapping[str, Any]
"""A saved run: what ``mkrpc bench --save`` writes."""


def number(value: float | None) -> str:
    """Three digits that count, thousands and millions by their letter."""
    if value is None:
        return "-"
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def ratio_rows(run: Run) -> list[tuple[str, str, str, str]]:
    """Name, value, goal, and the rounds or the reason why there is none; of a run of some measures
    alone, those that there are."""
    rows = []
    for name, ratio in run["ratios"].items():
        goal = ratio["goal"]
        wanted = "-" if goal is None else f"{'≤' if ratio['at_most'] else '≥'} {goal:g}"
        if ratio["value"] is None:
            if not run["plan"].get("only"):
                rows.append((name, "-", wanted, ratio["reason"]))
            continue
        rounds = " ".join(f"{value:.3g}" for value in ratio["rounds"])
        rows.append((name, f"{ratio['value']:.3g}", wanted, rounds))
    return rows


def delay_rows(run: Run) -> list[tuple[str, str, str]]:
    """Whose delay, its median and its 99th percentile in microseconds."""
    figures = run["figures"]
    rows = []
    for key in figures:
        stem = key.removesuffix(".p50_us")
        subject, _, what = stem.partition(".")
        if stem == key or subject.endswith(_chosen(run)) or subject in _growing(run):
            continue  # those on the transport that was chosen stand under their plain names
        label = SUBJECTS.get(subject, subject) + ("" if what == "delay" else f", {what}")
        p99 = figures[f"{stem}.p99_us"]["median"]
        rows.append((label, f"{figures[key]['median']:.0f}", f"{p99:.0f}"))
    return rows


def throughput_rows(run: Run) -> list[tuple[str, ...]]:
    """Words a second of each subject: one a message, cumulative, natural, bursts."""
    figures = run["figures"]
    rows = []
    for subject, label in SUBJECTS.items():
        cells = [figures.get(f"{subject}.{name}.per_s") for name in _MEASURES]
        if any(cells):
            rows.append((label, *(number(each["median"]) if each else "-" for each in cells)))
        elif subject in run["not_measured"]:
            rows.append((label, "not measured", *[""] * (len(_MEASURES) - 1)))
    return rows


def _chosen(run: Run) -> str:
    """What names of figures end in that were measured on the transport that was chosen."""
    return f"_on_{run['subjects'].get('mkrpc', {}).get('transport', '')}"


def _growing(run: Run) -> set[str]:
    return {f"mkrpc_{size}" for size in run["plan"]["growth"]}


def growth_rows(run: Run) -> list[tuple[str, ...]]:
    """Instances, the delay's median and 99th percentile in us, words a second to all of them."""
    figures = run["figures"]
    rows = []
    for size in run["plan"]["growth"]:
        names = (
            f"mkrpc_{size}.{each}" for each in ("delay.p50_us", "delay.p99_us", "spread.per_s")
        )
        cells = [figures.get(name) for name in names]
        if all(cells):
            rows.append((str(size), *(number(each["median"] if each else None) for each in cells)))
    return rows


def start_rows(run: Run) -> list[tuple[str, ...]]:
    """Instances, how they were started, seconds until all were up, MiB of each of them."""
    figures = run["figures"]
    rows = []
    for key in figures:
        stem = key.removesuffix(".s")
        if stem == key or not key.startswith("startup_"):
            continue
        size, _, method = stem.removeprefix("startup_").partition(".")
        cells = (figures[f"{stem}.{unit}"]["median"] for unit in ("s", *_MEMORY))
        rows.append((size, method, *(f"{value:.2f}" for value in cells)))
    return rows


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)


def markdown(run: Run) -> str:
    """All tables of a run."""
    host, plan = run["host"], run["plan"]
    packages = ", ".join(f"{name} {found}" for name, found in host["packages"].items())
    transport = run["subjects"].get("mkrpc", {}).get("transport", "unknown")
    parts = [
        f"{host['cores']} CPUs ({host['cpu']}), kernel {host['kernel']}, Python {host['python']}, "
        f"{packages}; transport {transport}; placement {plan['pin_text']}; medians of "
        f"{plan['rounds']} alternating rounds; load before {host['load_before']}.",
        _grid(("ratio", "value", "goal", "rounds"), ratio_rows(run)),
        _grid(("delay to the handler's first line", "p50 us", "p99 us"), delay_rows(run)),
        _grid(
            ("words a second", *THROUGHPUT_HEAD),
            throughput_rows(run),
        ),
        "\n".join(f"- {name}: {why}" for name, why in run["not_measured"].items()),
        _grid(("instances", *GROWTH_HEAD), growth_rows(run)),
        _grid(("instances", "started by", *START_HEAD), start_rows(run)),
        "Not like for like:\n\n" + "\n".join(f"- {line}" for line in NOT_ALIKE),
    ]
    return "\n\n".join(parts) + "\n"


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(file: Path) -> None:
    """Print a saved run in Markdown."""
    sys.stdout.write(markdown(json.loads(file.read_text())))


if __name__ == "__main__":
    main()
