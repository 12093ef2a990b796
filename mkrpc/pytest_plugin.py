"""Test tools for whoever builds on mkrpc; pytest finds them by itself once mkrpc is installed.

Fixtures: ``mk_machine`` (a factory of machines in one thread: no process, no socket, no clock) and
``mk_cluster`` (a running cluster of real processes, stopped after the test). The topology of
``mk_cluster`` is that of the marker ``mk_topology``: ``instances=``, ``cpus=`` and what else
:meth:`mkrpc.topology.Topology.of` takes, or a file.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mkrpc.cluster import Cluster
    from mkrpc.simulation.machine import Machine
    from mkrpc.topology import Topology

__all__ = ["mk_cluster", "mk_cluster_factory", "mk_machine"]


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, so that ``--strict-markers`` knows it."""
    config.addinivalue_line(
        "markers",
        "mk_topology(file=None, *, instances=2, cpus=2, policy='bare-metal', mode='x2apic', "
        "apic={}, lease_s=0): the topology of the mk_cluster fixture",
    )


@pytest.fixture
def mk_machine() -> "Callable[..., Machine]":
    """``mk_machine(instances=2, cpus=2)`` or ``mk_machine(topology)``: an in-memory machine."""
    from mkrpc.instance.config import kernel_config
    from mkrpc.interconnect.policy import Policy
    from mkrpc.simulation.machine import Machine

    def make(topology: "Topology | None" = None, **shape: object) -> Machine:
        topology = _topology(topology, shape)
        configs = [kernel_config(topology, instance.id) for instance in topology.instances]
        return Machine(
            configs, policy=Policy.named(topology.policy), arbitration=topology.arbitration
        )

    return make


@pytest.fixture
def mk_cluster_factory(monkeypatch: pytest.MonkeyPatch) -> "Iterator[Callable[..., Cluster]]":
    """``mk_cluster_factory(topology, programs=..., ...)``: starts clusters, stops them all."""
    from mkrpc.cluster import Cluster
    from mkrpc.errors import NotFoundError

    # A directory of their own, with a short name: the path of a Unix socket has 107 bytes.
    directory = tempfile.mkdtemp(prefix="mk", dir="/tmp")
    monkeypatch.setenv("MKRPC_STATE_DIR", directory)
    started: list[Cluster] = []

    def start(topology: "Topology | None" = None, **options: object) -> Cluster:
        shape = {key: options.pop(key) for key in _SHAPE if key in options}
        options.setdefault("name", f"test{len(started)}")
        cluster = Cluster.start(_topology(topology, shape), **options)  # type: ignore[arg-type]
        started.append(cluster)
        return cluster

    try:
        yield start
    finally:
        for cluster in started:
            try:
                cluster.stop()
            except NotFoundError:
                continue  # The test stopped it itself.
        shutil.rmtree(directory)


@pytest.fixture
def mk_cluster(
    request: pytest.FixtureRequest, mk_cluster_factory: "Callable[..., Cluster]"
) -> "Cluster":
    """A running cluster; two instances of two CPUs unless ``mk_topology`` says otherwise."""
    marker = request.node.get_closest_marker("mk_topology")
    if marker is None:
        return mk_cluster_factory()
    return mk_cluster_factory(_marked_topology(*marker.args, **marker.kwargs))


def _marked_topology(*files: object, **arguments: object) -> "Topology":
    """What a marker asks for; a marker that cannot be fails its test in one line."""
    from mkrpc.errors import TopologyError
    from mkrpc.topology import Topology

    given = [*files, *([arguments.pop("file")] if "file" in arguments else [])]
    unknown = sorted(arguments.keys() - set(_SHAPE))
    problem = ""
    if unknown:
        problem = f"unknown argument {', '.join(unknown)}; it takes file, {', '.join(_SHAPE)}"
    elif len(given) > 1:
        problem = f"{len(given)} files were given, it takes one"
    elif given and arguments:
        problem = f"a file was given, and {', '.join(arguments)} beside it"
    elif given and not isinstance(given[0], str | os.PathLike):
        problem = f"{given[0]!r} is no file; give numbers by name: instances=, cpus="
    else:
        try:
            return Topology.load(Path(str(given[0]))) if given else _topology(None, arguments)
        except TopologyError as error:
            problem = f"{error}\n{error.advice}"
    pytest.fail(f"mk_topology: {problem}", pytrace=False)


_SHAPE = ("instances", "cpus", "policy", "mode", "apic", "lease_s")


def _topology(topology: "Topology | None", shape: dict[str, object]) -> "Topology":
    from mkrpc.topology import Topology

    if topology is not None:
        assert not shape, "a topology and a shape were given"
        return topology
    return Topology.of(**{"instances": 2, "cpus": 2, **shape})  # type: ignore[arg-type]
