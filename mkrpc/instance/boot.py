"""From a topology to what an instance starts with."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dill

from mkrpc.instance.config import kernel_config
from mkrpc.instance.process import Boot
from mkrpc.instance.programs import load_entry
from mkrpc.topology import Topology

__all__ = ["boot_from_topology", "load_callables"]

Callables = Mapping[str, Mapping[int, list[Callable[..., Any]]]]
"""``programs`` by APIC id and ``handlers`` by instance id."""


def boot_from_topology(
    topology: Topology,
    instance_id: int,
    *,
    address: str,
    memory: Path | None = None,
    callables: Callables | None = None,
    on_attached: Callable[[], None] = lambda: None,
) -> Boot:
    """What the instance starts with: its topology's programs, then the callables of a script.

    Raises :class:`mkrpc.errors.TopologyError` for an entry that names nothing.
    """
    spec = topology.instance(instance_id)
    given = callables or {}
    programs = [(p.cpu, load_entry(p.entry)) for p in spec.programs]
    for apic_id, found in given.get("programs", {}).items():
        if apic_id in spec.cpus:
            programs += [(spec.cpus.index(apic_id), program) for program in found]
    handlers = [load_entry(entry) for entry in spec.handlers]
    handlers += given.get("handlers", {}).get(instance_id, [])
    return Boot(
        config=kernel_config(topology, instance_id),
        address=address,
        programs=programs,
        handlers=handlers,
        memory=memory,
        on_attached=on_attached,
    )


def load_callables(path: Path) -> Callables | None:
    """What a script gave to its cluster; None if it gave nothing.

    The file lies in the cluster's private directory (0700): nothing pickled crosses the network.
    """
    if not path.exists():
        return None
    found: Callables = dill.loads(path.read_bytes())
    return found
