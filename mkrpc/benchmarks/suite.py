"""``mkrpc bench``: what is measured, in which order, and what it is compared with.

Every subject is a process of its own (:mod:`mkrpc.benchmarks.subject`). Those that are compared
stand side by side and are asked in turns, forwards and backwards, so that what drifts falls on all
alike; a first turn warms up and is not counted.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mkrpc
from mkrpc.benchmarks.figures import Figures
from mkrpc.benchmarks.placement import host, kept_awake, pinned
from mkrpc.benchmarks.plan import (
    CPUS,
    GROWTH_CPUS,
    PEERS,
    Measure,
    Plan,
    delays_of,
    of_baselines,
    of_chain,
    of_mkrpc,
    of_model,
)
from mkrpc.benchmarks.startup import METHODS, measure_one, private_place
from mkrpc.benchmarks.turns import Command, Report, Run, Tell
from mkrpc.benchmarks.warden import guarded_directory
from mkrpc.compiled.artefacts import PURE_VARIABLE
from mkrpc.compiled.finder import state
from mkrpc.errors import MkrpcError
from mkrpc.transport.choice import TRANSPORT_VARIABLE, chosen

__all__ = ["BASELINES", "baselines", "machine_command", "measure", "private_state_dir"]

BASELINES = Path(mkrpc.__file__).parent.parent / "tests" / "benchmarks" / "baselines"
"""The programs that mkrpc is compared with: part of the sources, not of an installed package."""

DEMANDED = 128
"""Instances of the ratios that are demanded of many."""


def measure(plan: Plan, tell: Tell = lambda _line: None) -> Report:
    """Run the plan; takes everything down that it started.

    Clusters live in a state directory of their own. What cannot be measured here is in the report,
    with its reason.
    """
    report = Report(plan=plan, host=host())
    before = pinned(plan.pin)
    if plan.transport:
        os.environ[TRANSPORT_VARIABLE] = plan.transport
    try:
        awake = os.sched_getaffinity(0) if plan.awake else ()
        with private_state_dir() as directory, kept_awake(awake):
            run = Run(report, directory, tell)
            _one_machine(run)
            _builds(run)
            if plan.growth:
                _growth(run)
            if plan.startup:
                _startup(run)
    finally:
        os.sched_setaffinity(0, before)
    for name, sizes in (("mkrpc", plan.growth), ("startup", plan.startup)):
        if DEMANDED not in sizes and not plan.only:
            report.reasons[f"{name}_{DEMANDED}"] = f"this run did without {DEMANDED} instances"
    _best_peer(report.figures)
    _by_transport(report.figures)
    report.failures += report.figures.failures
    return report


@contextmanager
def private_state_dir() -> Iterator[Path]:
    """Clusters that a subject has left behind are taken down at the end."""
    from mkrpc.cluster import remove
    from mkrpc.state_dir import cluster_names

    before = os.environ.get("MKRPC_STATE_DIR")
    with guarded_directory("mkb") as directory:
        os.environ["MKRPC_STATE_DIR"] = f"{directory}/s"
        try:
            yield directory
        finally:
            for name in cluster_names():
                remove(name)
            if before is None:
                del os.environ["MKRPC_STATE_DIR"]
            else:
                os.environ["MKRPC_STATE_DIR"] = before


def machine_command(instances: int, cpus: int) -> list[str]:
    """What Python runs to be a machine under test."""
    return ["-m", "mkrpc.benchmarks.machine", str(instances), str(cpus)]


def _one_machine(run: Run) -> None:
    """mkrpc, the model alone, the baselines and the peers; delays on the other transport too."""
    other = {TRANSPORT_VARIABLE: _other_transport()}
    on_other = f"_on_{_other_transport()}"
    machine = machine_command(2, CPUS)
    commands = {
        "mkrpc": Command(machine),
        f"mkrpc{on_other}": Command(machine, other, may_lack=True),
        "model": Command(["-m", "mkrpc.benchmarks.model"]),
    }
    found, reasons = baselines(BASELINES, peers=run.plan.peers)
    commands |= found
    if relay := found.get("raw_relay"):
        commands[f"raw_relay{on_other}"] = Command(relay.arguments, other, may_lack=True)
    run.report.reasons |= reasons
    measures = of_mkrpc(run.plan) + of_model(run.plan) + of_baselines(run.plan)
    measures += delays_of(run.plan, on_other)
    for name in PEERS:
        measures += of_chain(run.plan, name)
    measures = [each for each in measures if run.plan.wants(each.name)]
    asked = {each.subject for each in measures}
    wanted = {name: command for name, command in commands.items() if name in asked}
    with run.together(wanted) as subjects:
        run.in_turns(subjects, measures)


def baselines(folder: Path, *, peers: bool) -> tuple[dict[str, Command], dict[str, str]]:
    """How to start what mkrpc is compared with, and why what is not in the folder is not there."""
    wanted = ("raw_relay", "idiomatic", *(PEERS if peers else ()))
    paths = {name: folder / f"{name}.py" for name in wanted}
    found = {
        name: Command([str(path)], may_lack=name in PEERS)
        for name, path in paths.items()
        if path.exists()
    }
    reasons = {
        name: f"its program is part of the sources of mkrpc, and not at {path}"
        for name, path in paths.items()
        if name not in found
    }
    return found, reasons


def _other_transport() -> str:
    return "aio" if chosen().name == "reactor" else "reactor"


def _by_transport(figures: Figures) -> None:
    """What was measured on the transport that was chosen, under the name of that as well."""
    for name in list(figures):
        subject, dot, rest = name.partition(".")
        if subject in ("mkrpc", "raw_relay"):
            figures[f"{subject}_on_{chosen().name}{dot}{rest}"] = figures[name]


def _best_peer(figures: Figures) -> None:
    """The figures of the fastest peer under a name of their own."""
    for name in ("one", "burst_1k", "burst_10k"):
        found = [
            figure for peer in PEERS if (figure := figures.get(f"{peer}.{name}.per_s")) is not None
        ]
        if found:
            best = max(found, key=lambda figure: figure.median)
            figures[f"best_brokered_peer.{name}.per_s"] = best


def _builds(run: Run) -> None:
    """Bursts with the compiled model and with the pure one, where there is a compiled one."""
    reasons = run.report.reasons
    bursts = [name for name in ("burst_1k", "burst_10k") if run.plan.wants(name)]
    if not bursts:
        return
    if run.report.subjects.get("mkrpc", {}).get("model") != "compiled":
        reasons["compiled"] = (
            f"the model is {state().text}; `python -m mkrpc.compiled build` compiles it"
        )
        return
    machine = machine_command(2, CPUS)
    commands = {"compiled": Command(machine), "pure": Command(machine, {PURE_VARIABLE: "1"})}
    with run.together(commands) as subjects:
        builds = {name: subject.about["model"] for name, subject in subjects.items()}
        if builds != {name: name for name in commands}:
            reasons["compiled"] = f"asked for both builds, there were {builds}"
            return
        for name in bursts:
            (burst,) = (each for each in of_mkrpc(run.plan) if each.name == name)
            both = [Measure(build, name, burst.order, burst.arguments) for build in commands]
            run.in_turns(subjects, both)


def _growth(run: Run) -> None:
    """The same machine with more and more instances, all of them up at a time."""
    names = {number: f"mkrpc_{number}" for number in run.plan.growth}
    commands = {
        name: Command(machine_command(number, GROWTH_CPUS)) for number, name in names.items()
    }
    with run.together(commands) as subjects:
        burst = {"messages": run.plan.growth_bursts, "words": 10_000}
        measures = [
            each
            for name in names.values()
            for each in (
                Measure(name, "delay", "delay", {"count": run.plan.growth_delays}),
                Measure(name, "spread", "spread", {**burst, "window": run.plan.burst_window}),
            )
        ]
        run.in_turns(subjects, measures)


def _startup(run: Run) -> None:
    """Clusters of several sizes, by fork server and by spawn in turns."""
    figures, failures = run.report.figures, run.report.failures
    with private_place():
        measure_one("spawn", 2)  # fills the page cache, and writes what Python keeps compiled
        for size in run.plan.startup:
            for number in range(1, run.plan.rounds + 1):
                run.tell(f"starting {size} instances, round {number}")
                figures.round = number
                for method in METHODS[::-1] if number % 2 else METHODS:
                    key = f"startup_{size}.{method}"
                    try:
                        start = measure_one(method, size)
                    except MkrpcError as error:
                        failures.append(f"{key}: {error}")
                        run.report.reasons.setdefault(f"startup_{size}", f"{method}: {error}")
                        continue
                    failures += [f"{key}: {fault}" for fault in start.faults]
                    figures.note(f"{key}.s", start.up_s)
                    figures.note(f"{key}.registered_s", start.registered_s)
                    figures.note(f"{key}.pss_mib", start.per_instance.pss_mib)
                    figures.note(f"{key}.private_mib", start.per_instance.private_mib)
