"""One run: a cluster under load, a plan done to it, and what is known when it is over."""

import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from mkrpc.chaos.evidence import Evidence
from mkrpc.chaos.injectors import GRANTS_PER_S, Injectors
from mkrpc.chaos.links import Links
from mkrpc.chaos.load import Load, run_load
from mkrpc.chaos.lookout import Lookout, sample_of
from mkrpc.chaos.nemesis import Nemesis
from mkrpc.chaos.plan import Fault, Kind, draw
from mkrpc.chaos.tables import MAX_LOAD_CPUS, Layout
from mkrpc.client.answers import Accounts, ClusterView
from mkrpc.client.books import Ledger, LedgerTotals
from mkrpc.cluster import Cluster
from mkrpc.errors import InvalidArgumentError, MkrpcError
from mkrpc.host.children import MEMORY_FILE
from mkrpc.interconnect.lease import lease_us_for
from mkrpc.state_dir import MARK, cluster_dir, members
from mkrpc.topology import Topology
from mkrpc.transport.address import parse

__all__ = ["Options", "Result", "Status", "keep", "run_chaos"]

_LOOK_S = 0.1
_STATUS_EVERY_S = 1.0
_REST_TIMEOUT_S = 60.0
_SOCKET = "interconnect.sock"

AnswerT = TypeVar("AnswerT")

_log = structlog.get_logger("mkrpc.chaos")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a run is. ``rate``: ICR writes per second that all CPUs together are granted."""

    name: str
    seed: int
    length_s: float
    every_s: float
    instances: int
    cpus: int
    kinds: Sequence[Kind]
    rate: float

    def plan(self) -> tuple[Fault, ...]:
        """The faults of this seed. Raises InvalidArgumentError for what no run can be."""
        if self.instances < 2 or self.instances * self.cpus > MAX_LOAD_CPUS:
            raise InvalidArgumentError(
                f"{self.instances} instances of {self.cpus} CPUs are no load",
                advice=f"take 2 instances or more, and {MAX_LOAD_CPUS} CPUs at most in all",
            )
        return draw(
            random.Random(self.seed),
            length_s=self.length_s,
            every_s=self.every_s,
            instance_ids=range(self.instances),
            kinds=self.kinds,
            lease_s=self.lease_s,
        )

    @property
    def lease_s(self) -> float:
        """The lease of the instances, in seconds."""
        return lease_us_for(self.instances, len(os.sched_getaffinity(0))) / 1e6


@dataclass(frozen=True, slots=True)
class Status:
    """How far a run has got. ``totals`` are None while nobody answers."""

    elapsed_s: float
    begun: int
    planned: int
    totals: LedgerTotals | None
    view: ClusterView | None


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it. ``writes_per_s``: legs that the ledger got while the faults went on."""

    evidence: Evidence
    planned: Sequence[Fault]
    skipped: Sequence[Fault]
    seconds: float
    writes_per_s: float
    resumes: int
    connections: int
    cut_short: bool


def run_chaos(
    options: Options,
    *,
    tell: Callable[[str], None],
    show: Callable[[Status], None],
    over: threading.Event,
    on_end: Callable[[Cluster, Result], None],
) -> Result:
    """Start a cluster, do the plan to it, let it come to rest, gather the evidence, stop it.

    ``tell`` gets a line for each fault, ``show`` how it goes, once a second. ``over``, when set,
    ends the faults early: what is under way is undone, and all is looked at as in the end.
    ``on_end`` is called before the cluster is stopped. Raises what starting a cluster raises.
    """
    plan = options.plan()
    topology = Topology.of(instances=options.instances, cpus=options.cpus)
    burst = max(1, round(options.rate / GRANTS_PER_S / len(topology.apic_ids)))
    load = Load(len(topology.apic_ids), options.seed, burst)
    address = f"unix:{cluster_dir(options.name) / _SOCKET}"
    with Links(parse(address), (spec.id for spec in topology.instances)) as links:
        cluster = Cluster.start(
            topology,
            name=options.name,
            address=address,
            programs={apic_id: partial(run_load, load=load) for apic_id in topology.apic_ids},
            via=links.via,
            on_progress=tell,
        )
        with cluster, Lookout(address) as lookout:
            run = _Run(options, plan, cluster, links, lookout, tell, show, over)
            result = run.go(Injectors((address, links.client_address), topology))
            on_end(cluster, result)
    return result


class _Run:
    """What goes on between the start of the cluster and its end."""

    def __init__(  # noqa: PLR0917 - one caller, above
        self,
        options: Options,
        plan: Sequence[Fault],
        cluster: Cluster,
        links: Links,
        lookout: Lookout,
        tell: Callable[[str], None],
        show: Callable[[Status], None],
        over: threading.Event,
    ) -> None:
        self._options = options
        self._plan = plan
        self._cluster = cluster
        self._links = links
        self._lookout = lookout
        self._tell = tell
        self._show = show
        self._over = over
        self._gathering: list[str] = []
        self._patience_end_s = 0.0

    def go(self, injectors: Injectors) -> Result:
        """All of it; the load and the faults, then the rest and the looking."""
        self._lookout.wait(lambda _view: True, _REST_TIMEOUT_S)
        began_s = time.monotonic()
        nemesis = Nemesis(
            self._cluster, self._links, self._lookout, tell=self._tell, over=self._over
        )
        try:
            with injectors:
                begun = self._do_plan(nemesis, began_s)
                self._tell("no more faults; all come back")
                nemesis.finish()
                seconds = time.monotonic() - began_s
            self._tell("no more load; all come to rest")
            for spec_id in range(self._options.instances):
                if not nemesis.revive(spec_id):
                    self._gathering.append(f"instance {spec_id} does not come back")
            self._gathering += nemesis.failures
            evidence = self._gather(nemesis, injectors)
        finally:
            # Also when a bug ends this: nothing of a fault may stay, or stopping would take long.
            self._over.set()
            nemesis.finish()
            nemesis.close()
        return Result(
            evidence=evidence,
            planned=self._plan,
            skipped=nemesis.skipped,
            seconds=seconds,
            writes_per_s=evidence.ledger.totals.written / max(seconds, 0.001),
            resumes=_count_resumes(self._cluster.state_dir / "logs"),
            connections=self._links.connections,
            cut_short=begun < len(self._plan),
        )

    def _do_plan(self, nemesis: Nemesis, began_s: float) -> int:
        """Begin each fault when it is due; how many came to that."""
        shown_s = 0.0
        for number, fault in enumerate(self._plan):
            while (left_s := began_s + fault.at_s - time.monotonic()) > 0:
                if self._over.wait(min(left_s, _LOOK_S)):
                    return number
                nemesis.collect()
                nemesis.mend()
                if not nemesis.cluster_runs:
                    self._gathering.append("the cluster has ended by itself: see host-agent.log")
                    return number
                if time.monotonic() >= shown_s:
                    shown_s = time.monotonic() + _STATUS_EVERY_S
                    self._show(self._status(time.monotonic() - began_s, number))
            if self._over.is_set():
                return number
            nemesis.begin(fault)
        self._over.wait(max(0.0, began_s + self._options.length_s - time.monotonic()))
        return len(self._plan)

    def _status(self, elapsed_s: float, begun: int) -> Status:
        totals = None
        if self._lookout.answers:
            try:
                totals = self._cluster.client.ledger(totals_only=True).totals
            except MkrpcError as error:
                _log.debug("no totals", error=str(error))
        view = self._lookout.view
        return Status(elapsed_s, begun, len(self._plan), totals, view)

    def _gather(self, nemesis: Nemesis, injectors: Injectors) -> Evidence:
        client = self._cluster.client
        self._patience_end_s = time.monotonic() + _REST_TIMEOUT_S * nemesis.cluster_runs
        self._try("come to rest", client.quiesce)
        memory = (self._cluster.state_dir / MEMORY_FILE).read_bytes()
        layout = Layout(self._options.instances * self._options.cpus, len(memory))
        view = self._try("the cluster", client.cluster) or self._lookout.view
        assert view is not None
        accounts: dict[int, Accounts] = {}
        for found in view.instances:
            ask = partial(client.accounts, found.id, from_instance=True)
            answer = self._try(f"the accounts of instance {found.id}", ask)
            if answer is not None:
                accounts[found.id] = answer
        ledger = self._try("the ledger", client.ledger)
        return Evidence(
            cluster=view,
            ledger=ledger or Ledger(False, LedgerTotals(0, 0, 0, 0, 0, 0), (), ()),
            accounts=accounts,
            done=nemesis.done,
            incarnations={key: tuple(seen) for key, seen in self._lookout.incarnations.items()},
            lives=tuple(layout.read(memory)),
            clients=injectors.tallies,
            samples=(*self._lookout.samples, *sample_of(view.interconnect_pid)),
            unrecorded=layout.unrecorded(memory),
            processes=len(members(self._cluster.state_dir)),
            lease_s=self._options.lease_s,
            restarts=len(self._lookout.epochs) - 1,
            gathering=tuple(self._gathering),
        )

    def _try(self, what: str, ask: Callable[[], AnswerT]) -> AnswerT | None:
        """Ask until there is an answer, for a while; it is a finding if there is none."""
        while True:
            try:
                return ask()
            except MkrpcError as error:
                if time.monotonic() >= self._patience_end_s:
                    self._gathering.append(f"could not learn: {what}: {error}")
                    return None
                time.sleep(_LOOK_S)


def _count_resumes(logs: Path) -> int:
    """How often instances say that they resumed over another stream."""
    mark = b'"event": "resumed"'
    return sum(path.read_bytes().count(mark) for path in logs.glob("*.log*"))


def keep(cluster: Cluster, seed: int) -> Path:
    """Copy a cluster's directory to where it stays when the cluster is stopped; where that is."""
    place = Path(tempfile.mkdtemp(prefix=f"mkrpc-chaos-{seed}-"))

    def left_out(directory: str, names: list[str]) -> set[str]:
        # Without its mark the copy is no cluster's directory.
        return {name for name in names if name == MARK or (Path(directory) / name).is_socket()}

    shutil.copytree(cluster.state_dir, place, ignore=left_out, dirs_exist_ok=True)
    return place
